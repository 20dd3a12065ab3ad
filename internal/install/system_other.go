//go:build !linux && !darwin

package install

import (
	"errors"
	"io/fs"
)

func clone(string, string, fs.FileMode) error { return errors.ErrUnsupported }
