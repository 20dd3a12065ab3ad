package curds

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"curdling/internal/dist"
)

// Kind is a part of the cache: the folder that holds it.
type Kind string

// The kinds.
const (
	Files    Kind = "files"
	Trees    Kind = "trees"
	Tarballs Kind = "tarballs"
	Builds   Kind = "builds"
	Memories Kind = "memory"
	Logs     Kind = "logs"
	Temps    Kind = "tmp"
)

// Kinds lists all kinds in the order in which they are shown.
var Kinds = []Kind{Files, Trees, Tarballs, Builds, Memories, Logs, Temps}

// depth tells how deep below a kind's folder its items lie.
var depth = map[Kind]string{Files: "*/*", Trees: "*/*", Tarballs: "*/*", Builds: "*/*", Memories: "*/*/*", Logs: "*", Temps: "*"}

// Usage tells how much there is of one kind.
type Usage struct {
	Kind  Kind
	Count int   // files, trees, builds, ...
	Bytes int64 // of their files; what hard links share with environments is counted too
}

// Wait says what Clean and Prune do about other processes.
type Wait struct {
	Force  bool   // do not wait for those that Use the cache
	Notify func() // called when it has to wait; nil: nobody is told
}

// Use tells other processes that this one works with the cache: Clean and Prune
// wait until done is called, and Use waits for them. Where the file system knows no locks nobody waits.
func (c *Curds) Use(ctx context.Context) (done func(), err error) {
	l := flock.New(c.lockPath(useLock))
	if _, err := l.TryRLockContext(ctx, 20*time.Millisecond); err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return func() { l.Close() }, nil
}

const useLock = "use"

// alone waits for all who Use the cache, and keeps others waiting until done is called.
func (c *Curds) alone(ctx context.Context, w Wait) (done func(), err error) {
	if w.Force {
		return func() {}, nil
	}
	if done, ok := c.TryLock(useLock); ok {
		return done, nil
	}
	if w.Notify != nil {
		w.Notify()
	}
	return c.Lock(ctx, useLock)
}

// Usage counts what is there, kind by kind.
func (c *Curds) Usage(ctx context.Context) ([]Usage, error) {
	var all []Usage
	for _, kind := range Kinds {
		items, err := c.items(kind)
		if err != nil {
			return nil, err
		}
		u := Usage{Kind: kind, Count: len(items)}
		for _, path := range items {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			u.Bytes += bytesOf(path)
		}
		all = append(all, u)
	}
	return all, nil
}

// items gives the paths of all items of a kind.
func (c *Curds) items(kind Kind) ([]string, error) {
	dir := filepath.Join(c.dir, string(kind))
	names, err := fs.Glob(os.DirFS(dir), depth[kind])
	if err != nil {
		return nil, c.failed(err)
	}
	for i, name := range names {
		names[i] = filepath.Join(dir, filepath.FromSlash(name))
	}
	return names, nil
}

// bytesOf adds up the sizes of the files at and below a path.
func bytesOf(path string) (total int64) {
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
		}
		return nil
	})
	return total
}

// Clean removes what belongs to the projects, whatever its version: files,
// their trees and builds, and logs. Without names it removes everything, work in progress aside.
func (c *Curds) Clean(ctx context.Context, names []dist.Name, w Wait) ([]Usage, error) {
	return c.discard(ctx, w, func(b *bin) error {
		if len(names) == 0 {
			return b.takeAll(func(string) bool { return true }, Files, Trees, Tarballs, Builds, Memories, Logs)
		}
		gone := map[string]bool{} // sha256 of files
		err := b.takeAll(func(path string) bool {
			sha256 := filepath.Base(path)
			file, ok := c.File(sha256)
			gone[sha256] = ok && belongs(filepath.Base(file), names)
			return gone[sha256]
		}, Files)
		if err == nil {
			err = b.takeAll(func(path string) bool { return gone[filepath.Base(path)] }, Trees)
		}
		if err == nil {
			err = b.takeAll(func(path string) bool {
				m, err := readManifest(path)
				return err == nil && slices.Contains(names, dist.Name(m.Name))
			}, Tarballs)
		}
		if err == nil {
			err = b.takeAll(func(path string) bool {
				build, _ := readBuild(path)
				return gone[build.Source] || gone[build.Wheel]
			}, Builds)
		}
		if err == nil {
			err = b.takeAll(func(path string) bool { return belongs(loggedFile(path), names) }, Logs)
		}
		return err
	})
}

// belongs tells whether a file name is of one of the projects.
func belongs(filename string, names []dist.Name) bool {
	for _, name := range names {
		if _, err := dist.ParseFilename(filename, name); err == nil {
			return true
		}
	}
	return false
}

// loggedFile gives the source distribution's name that a log is about: logs are called name-version-number.log.
func loggedFile(path string) string {
	stem := strings.TrimSuffix(filepath.Base(path), ".log")
	return stem[:max(0, strings.LastIndexByte(stem, '-'))] + ".tar.gz"
}

func readBuild(path string) (b Build, err error) {
	err = unnoticed(path, func() error {
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &b)
	})
	return b, err
}

// A bin is a folder in tmp that things are renamed into, so that nobody sees a
// part of one, and deleted later.
type bin struct {
	*Curds
	ctx  context.Context
	dir  string
	used map[Kind]*Usage
}

// discard lets choose take things away while nobody Uses the cache, then deletes them.
func (c *Curds) discard(ctx context.Context, w Wait, choose func(*bin) error) ([]Usage, error) {
	done, err := c.alone(ctx, w)
	if err != nil {
		return nil, err
	}
	b, err := c.newBin(ctx)
	if err == nil {
		err = choose(b)
	}
	done()
	if b == nil {
		return nil, err
	}
	removed, derr := b.empty()
	return removed, errors.Join(err, derr)
}

func (c *Curds) newBin(ctx context.Context) (*bin, error) {
	dir, err := os.MkdirTemp(c.Temp(), "gone-")
	if err != nil {
		return nil, c.failed(err)
	}
	return &bin{Curds: c, ctx: ctx, dir: dir, used: map[Kind]*Usage{}}, nil
}

// takeAll takes every item of the kinds for which choose says yes.
func (b *bin) takeAll(choose func(path string) bool, kinds ...Kind) error {
	for _, kind := range kinds {
		items, err := b.items(kind)
		if err != nil {
			return err
		}
		for _, path := range items {
			if err := b.ctx.Err(); err != nil {
				return err
			}
			if !choose(path) {
				continue
			}
			if err := b.take(kind, path); err != nil {
				return err
			}
		}
	}
	return nil
}

// take renames one item into the bin.
func (b *bin) take(kind Kind, path string) error {
	u := b.used[kind]
	if u == nil {
		u = &Usage{Kind: kind}
		b.used[kind] = u
	}
	if kind == Files {
		mark := b.sharePath(filepath.Base(path))
		_ = os.Remove(mark) // nobody hears of it any more; left over it says nothing
		_ = os.Remove(mark + signedMark)
	}
	err := os.Rename(path, filepath.Join(b.dir, string(kind)+"-"+strconv.Itoa(u.Count)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return b.failed(err)
	}
	u.Count++
	return nil
}

// empty deletes what is in the bin and tells how much that was.
func (b *bin) empty() (removed []Usage, err error) {
	for _, kind := range Kinds {
		u := b.used[kind]
		if u == nil || u.Count == 0 {
			continue
		}
		for i := range u.Count {
			u.Bytes += bytesOf(filepath.Join(b.dir, string(kind)+"-"+strconv.Itoa(i)))
		}
		removed = append(removed, *u)
	}
	// Over NFS a file that a process still reads stays, as .nfs and a number: a later sweep finds it closed.
	if err := os.RemoveAll(b.dir); err != nil && !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EBUSY) {
		return removed, b.failed(err)
	}
	return removed, nil
}
