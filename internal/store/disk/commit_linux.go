package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// renameNew renames f to a name that is not taken: an error that wraps fs.ErrExist where it is.
func renameNew(f *os.File, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, f.Name(), unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	switch err {
	case nil:
		return nil
	case unix.EINVAL, unix.ENOSYS, unix.ENOTSUP: // the file system cannot
		return linkNew(f.Name(), to)
	}
	return &os.LinkError{Op: "rename", Old: f.Name(), New: to, Err: err}
}
