// Package livefile reads and changes small files that are in use: what a program
// has read of one is read again when the file changes, and of several processes
// that change one at once none loses what another wrote.
package livefile

import (
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// statEvery is how long what was read is believed without a look at the files.
const statEvery = time.Second

// File is what one file, or several together, say. Make one with [Open]; it is
// safe for concurrent use.
type File[T any] struct {
	paths []string
	what  string
	read  func() (*T, error)
	log   *slog.Logger
	start time.Time

	current atomic.Pointer[T]
	next    atomic.Int64 // when to look again, in nanoseconds since start
	mu      sync.Mutex
	seen    []os.FileInfo // what was there when it was last read, good or bad; nil: missing
}

// Open reads the files by means of read. When they change later and read gives
// an error then, log is told, in a sentence that begins with what, and what was
// read before stays.
func Open[T any](log *slog.Logger, what string, read func() (*T, error), paths ...string) (*File[T], error) {
	f := &File[T]{paths: paths, what: what, read: read, log: log, start: time.Now()}
	f.next.Store(int64(statEvery))
	f.seen = f.look()
	value, err := read()
	if err != nil {
		return nil, err
	}
	f.current.Store(value)
	return f, nil
}

// Get gives what the files say. It looks at them once a second at most.
func (f *File[T]) Get() *T {
	next, now := f.next.Load(), int64(time.Since(f.start))
	if now >= next && f.next.CompareAndSwap(next, now+int64(statEvery)) {
		f.Refresh()
	}
	return f.current.Load()
}

// Refresh looks at the files at once, and reads them again if they changed.
func (f *File[T]) Refresh() {
	if !f.mu.TryLock() {
		return // somebody else does
	}
	defer f.mu.Unlock()
	now := f.look()
	if slices.EqualFunc(now, f.seen, same) {
		return
	}
	f.seen = now // before it is read: what changes from now on shows at the next look
	value, err := f.read()
	if err != nil {
		f.log.Error(f.what+" cannot be read again, and stays as it was", "err", err)
		return
	}
	f.current.Store(value)
	f.log.Info(f.what+" was read again", "path", f.paths[0])
}

func (f *File[T]) look() []os.FileInfo {
	infos := make([]os.FileInfo, len(f.paths))
	for i, path := range f.paths {
		if fi, err := os.Stat(path); err == nil {
			infos[i] = fi
		}
	}
	return infos
}

func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}
