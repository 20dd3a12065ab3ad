// Package curds keeps what one machine already has, in a folder that any number
// of processes share (~/.curds, or where CURD_CACHE points):
//
//	files/<aa>/<sha256>/<filename>  wheels and source distributions, by their hash
//	trees/<aa>/<sha256>/            unpacked wheels: tree/ and manifest, and bytecode-<tag>-<magic>/
//	                                for each kind of interpreter that it was compiled for
//	shared/<sha256>                 other machines may have the file with that hash; holds the record, if it is a build
//	tarballs/<aa>/<sha256>/         likewise, wheels that came as tar.zst with that hash
//	builds/<sha256>/<key>.json      which wheel was built from a source, and how
//	memory/<kind>/<aa>/<hash>       answers of indexes and interpreters
//	logs/                           the logs of builds
//	locks/, tmp/                    work in progress
//
// Everything may be deleted at any time. What stands under its final name is
// whole: it was written elsewhere and renamed. Locks only keep two processes
// from doing the same work twice; where a file system has none, the renames
// alone keep the folder right.
//
// A file is made durable before it gets its name. A tree is not (it would take
// one fsync per file): its manifest notes the boot of the machine that wrote it,
// and under a later boot the tree is read and hashed once before it is trusted.
// So it is with bytecode.
//
// Bytecode knows its source by size and time of modification (as compileall
// makes it, and pip): an import then reads the source's entry in its folder
// alone, and a source that somebody edits in place is noticed, which hash-based
// bytecode (PEP 552) has either not, if unchecked, or for the price of reading
// and hashing every source. An import of 200 modules with 3.4 MB of sources took
// 34 ms so, 33 ms with unchecked hashes, 37 ms with checked ones while the
// sources were in memory, and 470 ms without bytecode. The price is that sources
// must keep their time: hard links do, clones and copies are given it.
//
// A cache that cannot be written to (a read-only mount of a CI, another user's)
// gives what it has; what it lacks is an error. Where a file system has no locks
// (NFS without its daemon) nobody waits for anybody.
package curds

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"curdling/internal/smallfile"
)

// Curds is a machine's own cache. Make one with Open.
type Curds struct {
	dir   string
	boot  string // id of this boot of the machine, "" where the system has none
	fresh bool
}

// Open makes the folder where it is missing. "" is an error that says what to
// set: there is no home folder then to have a cache in.
func Open(dir string) (*Curds, error) {
	if dir == "" {
		return nil, errors.New("own cache: there is no home folder for it (HOME is not set); set CURD_CACHE to a folder")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("own cache: %w", err)
	}
	c := &Curds{dir: dir, boot: bootID()}
	for _, d := range []string{"files", "trees", "tarballs", "builds", "memory", "logs", "locks", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("own cache (CURD_CACHE moves it): %w", err)
		}
	}
	// https://bford.info/cachedir/: backups leave the folder out.
	tag := filepath.Join(dir, "CACHEDIR.TAG")
	if _, err := os.Stat(tag); errors.Is(err, fs.ErrNotExist) {
		if err := writeAtomic(tag, []byte("Signature: 8a477f597d28d172789f06886806bc55\n")); err != nil {
			return nil, fmt.Errorf("own cache (CURD_CACHE moves it): %w", err)
		}
		c.fresh = true
	}
	c.sweep()
	return c, nil
}

// Fresh tells whether Open made the cache, so that there is nothing in it.
func (c *Curds) Fresh() bool { return c.fresh }

// failed words an error of the cache's own folder.
func (c *Curds) failed(err error) error {
	switch {
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("own cache %s: %w; what is not in it yet cannot be added: set CURD_CACHE to a folder that can be written to", c.dir, err)
	case isFull(err):
		return fmt.Errorf("own cache %s: %w; free some room (curd cache prune), or set CURD_CACHE to a folder elsewhere", c.dir, err)
	}
	return fmt.Errorf("own cache: %w", err)
}

// full words an error that is the cache's only if its disk is full.
func (c *Curds) full(err error) error {
	if isFull(err) {
		return c.failed(err)
	}
	return err
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// Dir is the folder, absolute.
func (c *Curds) Dir() string { return c.dir }

// Temp is the parent for folders of work in progress, on the cache's own file system.
func (c *Curds) Temp() string { return filepath.Join(c.dir, "tmp") }

// Logs is the folder for the logs of builds.
func (c *Curds) Logs() string { return filepath.Join(c.dir, "logs") }

const (
	leftover = 24 * time.Hour      // the age after which work in progress must belong to a process that died
	logsKept = 30 * 24 * time.Hour // how long the logs of builds are kept
)

// sweep removes what processes that died left in tmp, and old logs.
func (c *Curds) sweep() {
	for dir, age := range map[string]time.Duration{c.Temp(): leftover, c.Logs(): logsKept} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > age {
				_ = os.RemoveAll(filepath.Join(dir, e.Name()))
			}
		}
	}
}

// Lock waits for the lock of that name, whatever process holds it. Where the
// file system knows no locks it returns at once.
func (c *Curds) Lock(ctx context.Context, name string) (unlock func(), err error) {
	l := flock.New(c.lockPath(name))
	if _, err := l.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return func() {}, nil
	}
	return func() { l.Close() }, nil
}

// TryLock takes the lock if it is free.
func (c *Curds) TryLock(name string) (unlock func(), ok bool) {
	l := flock.New(c.lockPath(name))
	if ok, err := l.TryLock(); err == nil && !ok {
		return nil, false
	}
	return func() { l.Close() }, true
}

// lockPath gives a lock's file. The files stay: to remove one is a race.
func (c *Curds) lockPath(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(c.dir, "locks", hex.EncodeToString(sum[:8]))
}

// Memory remembers small answers: it satisfies index.Cache and python.Memory.
type Memory struct{ dir string }

// Memory gives the memory of one kind: "http", "python".
func (c *Curds) Memory(kind string) Memory {
	return Memory{filepath.Join(c.dir, "memory", kind)}
}

func (m Memory) path(key string) string {
	sum := sha256.Sum256([]byte(key))
	name := hex.EncodeToString(sum[:])
	return filepath.Join(m.dir, name[:2], name)
}

const maxMemory = 1 << 30 // bytes of one value

// Get gives what was put under the key.
func (m Memory) Get(key string) ([]byte, bool) {
	b, err := smallfile.Read(m.path(key), maxMemory)
	return b, err == nil
}

// Put remembers value; what cannot be written is forgotten.
func (m Memory) Put(key string, value []byte) {
	path := m.path(key)
	if os.MkdirAll(filepath.Dir(path), 0o755) == nil {
		_ = writeAtomic(path, value)
	}
}

// writeAtomic writes a file that is whole or not there. It is not made
// durable: only for what can be had again and is checked when it is read.
func writeAtomic(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
