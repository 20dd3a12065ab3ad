// Package disk is a store in a plain folder: a key is a path below it.
//
// Whatever regular file lies there is held, whoever put it there. A link that
// the folder's owner put there is followed to a regular file (so a wheelhouse of
// links works), never to a folder; the store itself makes no links. Names that
// start with a dot are not held: the store keeps its own things in [StateDir],
// which may be deleted while no server runs, and damaged files in [QuarantineDir].
//
// A file comes in as .curdling/tmp/NAME, is synced, is renamed to its place
// without replacing (or linked, where the file system cannot), and the folder is
// synced. What a crash left in .curdling/tmp is swept by the next [Open], unless
// another process has the store open.
package disk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"curdling/internal/store"
)

// StateDir is the folder within the store's for what is not held under a key:
// temporary files, and what a server derives.
const StateDir = ".curdling"

// Store is a folder. Make one with [Open].
type Store struct {
	root string
	tmp  string
	lock *flock.Flock // shared, as long as the store is open
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Spooler = (*Store)(nil)
	_ store.Watcher = (*Store)(nil)

	_ store.Quarantiner = (*Store)(nil)
	_ store.Swapper     = (*Store)(nil)
)

// Open opens the folder dir, and makes it where it is missing. A folder that
// cannot be written can still be read: then Create and Remove fail.
func Open(dir string) (*Store, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o777); err != nil {
		return nil, err
	}
	if f, err := os.Open(root); err != nil {
		return nil, err
	} else if err := f.Close(); err != nil {
		return nil, err
	}
	s := &Store{root: root, tmp: filepath.Join(root, StateDir, "tmp")}
	s.lock = flock.New(filepath.Join(root, StateDir, "lock"))
	if os.MkdirAll(s.tmp, 0o777) != nil {
		return s, nil // read-only: nothing to lock, nothing to sweep
	}
	return s, s.sweep()
}

// sweep removes what a crash left, if no other process has the store open, and
// takes the shared lock. A file system without locks leaves the sweeping to the
// folder's owner.
func (s *Store) sweep() error {
	alone, err := s.lock.TryLock()
	if err != nil {
		return nil //nolint:nilerr // as said
	}
	if alone {
		left, err := os.ReadDir(s.tmp)
		if err != nil {
			return errors.Join(err, s.lock.Close())
		}
		for _, entry := range left {
			if err := os.RemoveAll(filepath.Join(s.tmp, entry.Name())); err != nil {
				return errors.Join(err, s.lock.Close())
			}
		}
		if err := s.lock.Unlock(); err != nil {
			return err
		}
	}
	return s.lock.RLock()
}

// Close lets another process sweep. The store must not be used any more.
func (s *Store) Close() error { return s.lock.Close() }

// Dir is the folder's absolute path.
func (s *Store) Dir() string { return s.root }

// path gives the place of a key.
func (s *Store) path(key string) (string, error) {
	if err := store.CheckKey(key); err != nil {
		return "", err
	}
	local := filepath.FromSlash(key)
	if !filepath.IsLocal(local) { // one of the names that Windows forbids
		return "", fmt.Errorf("key %q: no file can have that name: %w", key, fs.ErrInvalid)
	}
	return filepath.Join(s.root, local), nil
}

// Open gives an *os.File.
func (s *Store) Open(_ context.Context, key string) (io.ReadSeekCloser, store.Info, error) {
	name, err := s.path(key)
	if err != nil {
		return nil, store.Info{}, err
	}
	f, err := os.OpenFile(name, openFlags, 0)
	if errors.Is(err, errNotDir) {
		err = &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, store.Info{}, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if err != nil {
		f.Close()
		return nil, store.Info{}, err
	}
	return f, store.Info{Key: key, Size: fi.Size(), ModTime: fi.ModTime()}, nil
}

// Spool makes an empty temporary file in the store's folder.
func (s *Store) Spool() (*os.File, error) {
	name := filepath.Join(s.tmp, rand.Text())
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrNotExist) { // .curdling was deleted
		if err := os.MkdirAll(s.tmp, 0o777); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	}
	return f, err
}

// Create writes, syncs and renames; a file of Spool it only syncs and renames.
func (s *Store) Create(ctx context.Context, key string, r io.Reader, size int64) (err error) {
	name, err := s.path(key)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(name); err == nil {
		return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	f, spooled := r.(*os.File)
	if spooled = spooled && filepath.Dir(f.Name()) == s.tmp; !spooled {
		if f, err = s.Spool(); err != nil {
			return err
		}
		defer os.Remove(f.Name()) // nothing there after success
		defer f.Close()
		if _, err := io.Copy(f, io.LimitReader(store.Until(ctx, r), size+1)); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	if fi, err := f.Stat(); err != nil {
		return err
	} else if fi.Size() != size {
		return fmt.Errorf("%s: %d bytes came, %d were announced: %w", key, fi.Size(), size, io.ErrUnexpectedEOF)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.commit(f, name)
}

// commit moves a whole file to its place and makes that last.
func (s *Store) commit(f *os.File, name string) error {
	dir := filepath.Dir(name)
	if dir != s.root {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
	}
	if err := renameNew(f, name); err != nil {
		return err
	}
	for ; ; dir = filepath.Dir(dir) { // also the folders that were made on the way
		if err := syncDir(dir); err != nil {
			return errors.Join(err, os.Remove(name))
		}
		if dir == s.root {
			return nil
		}
	}
}

// linkNew is renameNew by a hard link, for systems and file systems that cannot
// rename without replacing.
func linkNew(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	return os.Remove(from)
}

// Remove removes the file, or the link to it.
func (s *Store) Remove(_ context.Context, key string) error {
	name, err := s.path(key)
	if err != nil {
		return err
	}
	fi, err := os.Stat(name)
	if errors.Is(err, errNotDir) || err == nil && !fi.Mode().IsRegular() {
		err = &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	if err != nil {
		return err
	}
	if err := os.Remove(name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}
