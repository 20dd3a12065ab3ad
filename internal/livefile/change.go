package livefile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// lockTimeout is how long another process may take to change a file.
const lockTimeout = 10 * time.Second

// Change has a file hold what edit makes of what it held; nil is a file that was
// missing. One process at a time changes it (PATH.lock is the lock, and stays),
// and a reader sees the old content or the new one, after a crash too. A new file
// can be read by its owner alone; an old one keeps its mode.
func Change(ctx context.Context, path string, edit func(old []byte) ([]byte, error)) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	lock := flock.New(path+".lock", flock.SetPermissions(0o600))
	if _, err := lock.TryLockContext(ctx, 10*time.Millisecond); err != nil {
		return errors.Join(fmt.Errorf("%s cannot be locked: %w", path, err), lock.Close())
	}
	defer lock.Close()
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	content, err := edit(old)
	if err != nil {
		return err
	}
	return errors.Join(Adopt(path+".lock"), replace(path, content))
}

// replace writes a file under another name, which the lock makes ours, and renames it.
func replace(path string, content []byte) (err error) {
	temporary := path + ".new"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(temporary))
		}
	}()
	if fi, err := os.Stat(path); err == nil {
		if err := f.Chmod(fi.Mode().Perm()); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := Adopt(temporary); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
