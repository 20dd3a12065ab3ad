package install

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// LinkMode says how files get from a wheel's tree into an environment.
type LinkMode int32

// The ways, best first.
const (
	LinkAuto  LinkMode = iota // the first of the following that the file systems can do
	LinkClone                 // share the blocks, copy on write (FICLONE, clonefile); else as LinkHard
	LinkHard                  // hard links; else as LinkCopy
	LinkCopy
)

var linkModes = [...]string{"auto", "clone", "hardlink", "copy"}

func (m LinkMode) String() string { return linkModes[m] }

// ParseLinkMode reads what String gives; "" is LinkAuto.
func ParseLinkMode(s string) (LinkMode, error) {
	if s == "" {
		return LinkAuto, nil
	}
	if at := slices.Index(linkModes[:], s); at >= 0 {
		return LinkMode(at), nil
	}
	return 0, fmt.Errorf("link mode %q: is none of %s", s, strings.Join(linkModes[:], ", "))
}

// A linker remembers for each pair of file systems what they can do.
type linker struct {
	wanted LinkMode
	warn   func(string)
	said   sync.Once // that it does not go the wanted way
	mu     sync.Mutex
	pairs  map[[2]uint64]*linkPair
}

// A linkPair is two file systems.
type linkPair struct {
	*linker
	mode  atomic.Int32
	cause atomic.Pointer[error] // why the wanted way does not work
}

func newLinker(o Options) *linker {
	return &linker{wanted: o.LinkMode, warn: o.Warn, pairs: map[[2]uint64]*linkPair{}}
}

// pair gives the pair of the two folders' file systems.
func (l *linker) pair(from, to uint64) *linkPair {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := [2]uint64{from, to}
	if l.pairs[key] == nil {
		l.pairs[key] = &linkPair{linker: l}
		l.pairs[key].mode.Store(int32(max(l.wanted, LinkClone)))
	}
	return l.pairs[key]
}

// A route leads from a wheel's tree into the environment. It is for one goroutine.
type route struct {
	*linkPair
	from, to *root
}

// A place is that of a file: a folder, and its path in it, with slashes.
type place struct{ dir, name string }

func (p place) path() string { return p.dir + string(filepath.Separator) + filepath.FromSlash(p.name) }

// put makes a file of what lies at from, with modTime unless that is zero. The
// first file for which a way does not work decides that no further one goes
// that way. Where a way was wanted, it is said once which one is gone instead.
func (l route) put(from, to place, perm fs.FileMode, modTime time.Time) error {
	for {
		mode := LinkMode(l.mode.Load())
		err := l.by(mode, from, to, perm, modTime)
		if err == nil && mode > l.wanted && l.wanted != LinkAuto {
			l.said.Do(func() {
				l.warn(fmt.Sprintf("link mode %s is not possible here (%v), going on with %s", l.wanted, *l.cause.Load(), mode))
			})
		}
		if err == nil || mode == LinkCopy || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) || isDiskFull(err) {
			return err
		}
		cause := err
		l.cause.CompareAndSwap(nil, &cause)
		l.mode.CompareAndSwap(int32(mode), int32(mode)+1)
	}
}

// by goes one way. A hard link has the time of its source already.
func (l route) by(mode LinkMode, from, to place, perm fs.FileMode, modTime time.Time) (err error) {
	switch mode {
	case LinkHard:
		return hardLink(l.from, from, l.to, to)
	case LinkClone:
		err = clone(from.path(), to.path(), perm)
	default:
		err = copyFile(from.path(), to.path(), perm)
	}
	if err == nil && !modTime.IsZero() {
		err = os.Chtimes(to.path(), time.Time{}, modTime)
	}
	return err
}

// copyFile makes a new file with from's content and the mode that the umask leaves of perm.
func copyFile(from, to string, perm fs.FileMode) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	return create(to, perm, func(dst *os.File) error {
		_, err := io.Copy(dst, src)
		return err
	})
}

// create makes a new file. Where perm has the executable bits, the umask does not take them away.
func create(path string, perm fs.FileMode, fill func(*os.File) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil && perm&0o111 != 0 && runtime.GOOS != "windows" {
		var info fs.FileInfo
		if info, err = f.Stat(); err == nil && info.Mode()&0o111 != 0o111 {
			err = f.Chmod(info.Mode() | 0o111)
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
