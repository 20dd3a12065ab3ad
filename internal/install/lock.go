package install

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// lockName is the file that Lock locks. It stays when the lock is given back:
// removing it would let two processes lock two files of that name.
const lockName = ".curdling.lock"

// Lock waits until no other process works on the environment, or until ctx
// ends. It is held from List through Apply, so that what List saw is still
// true. A folder that may not be written to is an error. The lock is of the
// process and the kernel gives it back when the process dies.
func Lock(ctx context.Context, env Env) (unlock func(), err error) {
	path := filepath.Join(env.home(), lockName)
	l := flock.New(path, flock.SetPermissions(0o666))
	if _, err := l.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		return nil, fmt.Errorf("locking the environment %s (is it writable?): %w", env.home(), err)
	}
	return func() { _ = l.Close() }, nil
}

// home is a folder that belongs to the environment alone: a virtualenv's
// prefix, or the packages of an interpreter that shares its prefix with others.
func (e Env) home() string {
	if e.Python.Prefix != e.Python.BasePrefix {
		return e.Python.Prefix
	}
	return e.Python.Purelib
}
