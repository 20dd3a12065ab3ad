package install

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// clone makes a file that shares its blocks with from (ioctl_ficlone(2)).
func clone(from, to string, perm fs.FileMode) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	return create(to, perm, func(dst *os.File) error {
		return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd()))
	})
}
