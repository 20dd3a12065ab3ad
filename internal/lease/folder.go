package lease

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

const (
	suffix   = ".json"
	maxValue = 2 << 20 // bytes of a document in a folder
)

// Folder keeps documents as files in a folder: a/b/c is a.b.c.json, and its
// version the hash of what is in it. Any number of processes use it at once: one
// at a time, whoever holds the lock on the file "lock", changes something, by renaming.
//
// The folder is made when it is needed, and may be deleted at any time: leases
// are lost with it. Nothing is synced, as a document is
// worth a minute or so, and there may be many changes in a second: a crash of the machine
// may leave an old document or a broken one, and the worst is work that is done twice.
type Folder struct {
	dir  string
	turn chan struct{} // held beside the lock, which knows processes only by polling
}

// NewFolder gives documents in the folder dir.
func NewFolder(dir string) *Folder { return &Folder{dir: dir, turn: make(chan struct{}, 1)} }

// path gives the file of a document.
func (f *Folder) path(name string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	return filepath.Join(f.dir, strings.ReplaceAll(name, "/", ".")+suffix), nil
}

func read(path string) (value []byte, version string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer file.Close()
	value, err = io.ReadAll(io.LimitReader(file, maxValue+1))
	if err != nil {
		return nil, "", err
	}
	if len(value) > maxValue {
		return nil, "", fmt.Errorf("%s: longer than %d bytes", path, maxValue)
	}
	sum := sha256.Sum256(value)
	return value, hex.EncodeToString(sum[:16]), nil
}

// Get is Documents'.
func (f *Folder) Get(_ context.Context, name, known string) (value []byte, version string, err error) {
	path, err := f.path(name)
	if err != nil {
		return nil, "", err
	}
	if value, version, err = read(path); err == nil && version == known {
		value = nil
	}
	return value, version, err
}

// lock waits for the right to change something.
func (f *Folder) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	lock := flock.New(filepath.Join(f.dir, "lock"))
	_, err = lock.TryLockContext(ctx, 5*time.Millisecond)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(f.dir, 0o777); err == nil {
			_, err = lock.TryLockContext(ctx, 5*time.Millisecond)
		}
	}
	if err != nil {
		<-f.turn
		return nil, errors.Join(fmt.Errorf("%s cannot be locked: %w", f.dir, err), lock.Close())
	}
	return func() {
		_ = lock.Close()
		<-f.turn
	}, nil
}

// change runs do while the document has that version, and no other process changes it.
func (f *Folder) change(ctx context.Context, name, version string, do func(path string) error) error {
	path, err := f.path(name)
	if err != nil {
		return err
	}
	unlock, err := f.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	_, is, err := read(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if is != version {
		return fmt.Errorf("%s: %w", path, ErrConflict)
	}
	return do(path)
}

// Swap is Documents'.
func (f *Folder) Swap(ctx context.Context, name, version string, value []byte) (newVersion string, err error) {
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:16]), f.change(ctx, name, version, func(path string) error {
		temporary := path + ".new" // the lock makes it ours
		if err := os.WriteFile(temporary, value, 0o666); err != nil {
			_ = os.Remove(temporary)
			return err
		}
		return os.Rename(temporary, path)
	})
}

// Delete is Documents'.
func (f *Folder) Delete(ctx context.Context, name, version string) error {
	return f.change(ctx, name, version, os.Remove)
}

// List is Documents'.
func (f *Folder) List(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for entry, err := range f.entries(ctx) {
			if err != nil {
				yield("", err)
				return
			}
			stem, ok := strings.CutSuffix(entry.Name(), suffix)
			if name := strings.ReplaceAll(stem, ".", "/"); ok && CheckName(name) == nil && !yield(name, nil) {
				return
			}
		}
	}
}

func (f *Folder) entries(ctx context.Context) iter.Seq2[fs.DirEntry, error] {
	return func(yield func(fs.DirEntry, error) bool) {
		dir, err := os.Open(f.dir)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(nil, err)
			return
		}
		defer dir.Close()
		for {
			entries, err := dir.ReadDir(512)
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for _, entry := range entries {
				if !yield(entry, nil) {
					return
				}
			}
		}
	}
}

// Prune removes what was not changed for so long, of documents and of what a crash left.
func (f *Folder) Prune(ctx context.Context, age time.Duration) error {
	var old []string
	for entry, err := range f.entries(ctx) {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && entry.Name() != "lock" && info.Mode().IsRegular() && time.Since(info.ModTime()) > age {
			old = append(old, filepath.Join(f.dir, entry.Name()))
		}
	}
	if len(old) == 0 {
		return nil
	}
	unlock, err := f.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	var failures []error
	for _, path := range old {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}
