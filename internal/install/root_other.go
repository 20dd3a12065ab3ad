//go:build !linux

package install

import (
	"io/fs"
	"os"
)

// A root is a folder in which much is made or linked; what it is good for on Linux it does not do here.
type root struct{}

func openRoot(string) (*root, error) { return &root{}, nil }

func (*root) close() {}

func (*root) mkdir(path string, perm fs.FileMode) error { return os.Mkdir(path, perm) }

func hardLink(_ *root, from place, _ *root, to place) error { return os.Link(from.path(), to.path()) }
