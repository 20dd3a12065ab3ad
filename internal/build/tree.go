package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// copyTree copies a source without following its links, without what
// virtual environments and test runners keep in it, and without the folder except.
func copyTree(ctx context.Context, from, to, except string) error {
	from, err := realPath(from)
	if err != nil {
		return err
	}
	if except, err = realPath(except); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir() && rel != "." && (path == except || isByproduct(path)):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(target, 0o777)
		case d.Type() == fs.ModeSymlink:
			return copyLink(from, path, target)
		case d.Type().IsRegular():
			return copyFile(path, target)
		}
		return nil // sockets and the like are not a source's
	})
}

func realPath(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// isByproduct tells of folders that are no source, and large.
func isByproduct(dir string) bool {
	switch filepath.Base(dir) {
	case ".tox", ".nox", "__pycache__":
		return true
	}
	_, err := os.Lstat(filepath.Join(dir, "pyvenv.cfg"))
	return err == nil
}

// copyLink copies a link; one that leaves the tree goes on leading where it led.
func copyLink(tree, path, target string) error {
	link, err := os.Readlink(path)
	if err != nil {
		return err
	}
	if !filepath.IsAbs(link) {
		absolute := filepath.Join(filepath.Dir(path), link)
		if rel, err := filepath.Rel(tree, absolute); err != nil || !filepath.IsLocal(rel) {
			link = absolute
		}
	}
	return os.Symlink(link, target)
}

// copyFile keeps the time, by which generated sources are compared.
func copyFile(path, target string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600|info.Mode().Perm()&0o111)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Chtimes(target, info.ModTime(), info.ModTime())
}

// openFile opens a file that a build or its source may have laid, and that so might be anything.
func openFile(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", filepath.Base(path))
	}
	return os.Open(path)
}

// readFile reads such a file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", filepath.Base(path), limit)
	}
	return text, err
}

// removeAll deletes dir even where a build made folders in it read-only. What
// still cannot be deleted stays: there is nobody to tell.
func removeAll(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	_ = os.RemoveAll(dir)
}
