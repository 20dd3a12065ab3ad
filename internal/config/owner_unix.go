//go:build unix

package config

import (
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// strange tells whether a file, or a link to it, belongs neither to root, nor
// to who runs us, nor to the owner of the folder dir.
func strange(path, dir string) bool {
	owner := func(info fs.FileInfo, err error) int {
		if err != nil {
			return -1
		}
		return int(info.Sys().(*syscall.Stat_t).Uid)
	}
	known := []int{0, os.Geteuid(), owner(os.Stat(dir))}
	return !slices.Contains(known, owner(os.Stat(path))) || !slices.Contains(known, owner(os.Lstat(path)))
}
