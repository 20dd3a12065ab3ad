package install

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// lockName is the file that Lock locks. It stays when the lock is given back:
// removing it would let two processes lock two files of that name.
const lockName = ".curdling.lock"

// Lock waits until no other process works on the environment, or until ctx
// ends. It is held from List through Apply, so that what List saw is still
// true. A folder that may not be written to is an error. The lock is of the
// process and the kernel gives it back when the process dies. Where the
// environment's file system has no locks (NFS without its daemon), a file in
// the system's folder for temporary files stands for it: that keeps the
// user's other processes on this machine waiting, and nobody on another one.
func Lock(ctx context.Context, env Env) (unlock func(), err error) {
	return lockFolder(ctx, env.home(), lockFile)
}

// lockFolder locks a folder by means of try, which locks a file.
func lockFolder(ctx context.Context, dir string, try func(ctx context.Context, path string) (unlock func(), err error)) (unlock func(), err error) {
	if unlock, err = try(ctx, filepath.Join(dir, lockName)); hasNoLocks(err) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
		}
		sum := sha256.Sum256([]byte(dir))
		unlock, err = try(ctx, filepath.Join(os.TempDir(), fmt.Sprintf("curdling-%d-%x.lock", os.Getuid(), sum[:8])))
	}
	if err != nil {
		return nil, fmt.Errorf("locking the environment %s (is it writable?): %w", dir, err)
	}
	return unlock, nil
}

func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	l := flock.New(path, flock.SetPermissions(0o666))
	if _, err := l.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return func() { _ = l.Close() }, nil
}

// hasNoLocks tells of errors that every file of the file system would give.
func hasNoLocks(err error) bool {
	return errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, errors.ErrUnsupported)
}

// home is a folder that belongs to the environment alone: a virtualenv's
// prefix, or the packages of an interpreter that shares its prefix with others.
func (e Env) home() string {
	if e.Python.Prefix != e.Python.BasePrefix {
		return e.Python.Prefix
	}
	return e.Python.Purelib
}
