package install

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Endings of what a move between file systems may leave behind when it is
// interrupted: an unfinished copy, and an original that is being removed.
const (
	partSuffix = ".curdling-part"
	goneSuffix = ".curdling-gone"
)

// move renames a file, link or folder to a path that does not exist. Between
// file systems (and, for folders, between the layers of an overlay) it copies:
// the copy appears whole at the target before the original goes. That vanishes
// at once, unless it is a folder of an overlay's lower layer, which cannot be
// renamed: a stash never is, so a stash that is there is whole.
func move(from, to string) error {
	err := os.Rename(from, to)
	if !isCrossDevice(err) {
		return err
	}
	part, gone := to+partSuffix, from+goneSuffix
	if err := errors.Join(os.RemoveAll(part), os.RemoveAll(gone)); err != nil {
		return err
	}
	if err := copyTree(from, part); err != nil {
		return errors.Join(err, os.RemoveAll(part))
	}
	if err := os.Rename(part, to); err != nil {
		return err
	}
	if os.Rename(from, gone) != nil {
		return os.RemoveAll(from)
	}
	return os.RemoveAll(gone)
}

// copyTree copies a file, a link or a folder with all that is in it, modes and times included.
func copyTree(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case info.IsDir():
		if err := copyFolder(from, to); err != nil {
			return err
		}
	default:
		if err := copyFile(from, to, 0o666); err != nil {
			return err
		}
	}
	return errors.Join(os.Chmod(to, info.Mode().Perm()), os.Chtimes(to, info.ModTime(), info.ModTime()))
}

func copyFolder(from, to string) error {
	if err := os.Mkdir(to, 0o777); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	for _, e := range entries {
		err = errors.Join(err, copyTree(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())))
	}
	return err
}
