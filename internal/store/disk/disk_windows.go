package disk

import (
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/windows"

	"curdling/internal/store"
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

// statIn fills in what is known of a regular file in an open folder, and tells
// whether it is one. It follows links.
func statIn(dir *os.File, name string, info *store.Info) (regular bool, err error) {
	fi, err := os.Stat(filepath.Join(dir.Name(), name))
	if err != nil {
		return false, err
	}
	info.Size, info.ModTime = fi.Size(), fi.ModTime()
	return fi.Mode().IsRegular(), nil
}
