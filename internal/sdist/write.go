package sdist

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"
)

// writer lays entries into a folder. The folder is an os.Root, and each
// entry's own folders are looked at on disk (where names may be equal that
// differ in the archive), so that nothing is ever written through a link.
type writer struct {
	root  *os.Root
	now   time.Time
	known map[string]bool // folders that are there, and are no links
}

func newWriter(dir string) (*writer, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	if there, err := os.ReadDir(dir); err != nil {
		return nil, err
	} else if len(there) > 0 {
		return nil, fmt.Errorf("%s is not empty", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &writer{root: root, now: time.Now(), known: map[string]bool{".": true}}, nil
}

func (w *writer) write(e *entry) error {
	if e.kind == folder {
		return w.mkdir(e.name)
	}
	if err := w.mkdir(path.Dir(e.name)); err != nil {
		return err
	}
	err := w.put(e)
	if errors.Is(err, fs.ErrExist) {
		if err = w.remove(e.name); err == nil {
			err = w.put(e)
		}
	}
	return err
}

func (w *writer) put(e *entry) error {
	switch e.kind {
	case symlink:
		return w.root.Symlink(e.target, e.name)
	case hardlink:
		info, err := w.root.Lstat(e.target)
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("is a hard link to %q, which is no file", e.target)
		}
		if err != nil {
			return err
		}
		return w.root.Link(e.target, e.name)
	}
	return w.file(e)
}

func (w *writer) mkdir(dir string) error {
	if w.known[dir] {
		return nil
	}
	if err := w.mkdir(path.Dir(dir)); err != nil {
		return err
	}
	err := w.root.Mkdir(dir, 0o777)
	if errors.Is(err, fs.ErrExist) {
		var info fs.FileInfo
		if info, err = w.root.Lstat(dir); err == nil && !info.IsDir() {
			err = fmt.Errorf("%q is a folder and something else at once", dir)
		}
	}
	if err != nil {
		return err
	}
	w.known[dir] = true
	return nil
}

func (w *writer) remove(name string) error {
	info, err := w.root.Lstat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return errors.New("is a file and a folder at once")
	}
	return w.root.Remove(name)
}

func (w *writer) file(e *entry) error {
	perm := fs.FileMode(0o666)
	if e.exec {
		perm = 0o777
	}
	f, err := w.root.OpenFile(e.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, e.body)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if e.mtime.IsZero() {
		return nil
	}
	mtime := e.mtime
	if mtime.After(w.now) {
		mtime = w.now
	}
	return w.root.Chtimes(e.name, mtime, mtime)
}
