package disk

import (
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

const openFlags = os.O_RDONLY

const errNotDir = syscall.ERROR_PATH_NOT_FOUND

// syncDir: NTFS journals its folders, and they cannot be synced.
func syncDir(string) error { return nil }

// renameNew renames f to a name that is not taken: an error that wraps fs.ErrExist where it is.
func renameNew(f *os.File, to string) error {
	from, err := windows.UTF16PtrFromString(f.Name())
	if err != nil {
		return err
	}
	target, err := windows.UTF16PtrFromString(to)
	if err != nil {
		return err
	}
	// An open file cannot be renamed; its bytes are on the disk already.
	if err := f.Close(); err != nil {
		return err
	}
	if err := windows.MoveFileEx(from, target, windows.MOVEFILE_WRITE_THROUGH); err != nil {
		return &os.LinkError{Op: "rename", Old: f.Name(), New: to, Err: err}
	}
	return nil
}
