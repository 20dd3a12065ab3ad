package curds

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// abandoned is how long nothing may have changed in work in progress for Prune
// to take it for a leftover: it waits for all who Use the cache, but not
// everywhere are there locks.
const abandoned = time.Hour

// Prune removes what nobody can use any more: trees without their wheel, builds
// whose wheel is gone, damaged entries, and what processes that died left in tmp.
//
// With a keep above 0 it also removes what was not used for so long: files with
// their trees and builds, answers of indexes and interpreters, and logs. What
// was used when is told by the times of access, which most systems keep to the
// day (relatime), and by times of modification that are later: those of the
// file, of its tree's manifest and of the builds that name it. Where the file
// system keeps no times of access, aged is false, and what was fetched,
// unpacked or built longer ago than keep goes, used or not.
func (c *Curds) Prune(ctx context.Context, keep time.Duration, w Wait) (removed []Usage, aged bool, err error) {
	aged = c.keepsAccessTimes()
	removed, err = c.discard(ctx, w, func(b *bin) error {
		p := pruner{bin: b, used: map[string]time.Time{}, held: map[string]bool{}}
		if keep > 0 {
			p.before = time.Now().Add(-keep)
			if err := p.learn(); err != nil {
				return err
			}
		}
		return p.prune()
	})
	return removed, aged, err
}

type pruner struct {
	*bin
	before time.Time            // what was used last before that goes; zero: nothing
	used   map[string]time.Time // when each file was used last, by its hash
	held   map[string]bool      // files that stay
}

// learn finds out when each file was used last.
func (p *pruner) learn() error {
	note := func(sha256, path string) {
		if t := lastUse(path); t.After(p.used[sha256]) {
			p.used[sha256] = t
		}
	}
	for _, kind := range []Kind{Files, Trees, Builds} {
		items, err := p.items(kind)
		if err != nil {
			return err
		}
		for _, path := range items {
			switch kind {
			case Files:
				if file, ok := p.File(filepath.Base(path)); ok {
					note(filepath.Base(path), file)
				}
			case Trees:
				note(filepath.Base(path), filepath.Join(path, "manifest"))
			case Builds:
				if b, err := readBuild(path); err == nil {
					note(b.Source, path)
					note(b.Wheel, path)
				}
			}
		}
	}
	return nil
}

func (p *pruner) prune() error {
	steps := []struct {
		kind Kind
		goes func(path string) bool
	}{
		{Files, func(path string) bool {
			sha256 := filepath.Base(path)
			_, ok := p.File(sha256)
			p.held[sha256] = ok && !p.used[sha256].Before(p.before)
			return !p.held[sha256]
		}},
		{Trees, func(path string) bool { return !p.held[filepath.Base(path)] }},
		{Tarballs, func(path string) bool {
			_, err := readManifest(path)
			return err != nil || lastUse(filepath.Join(path, "manifest")).Before(p.before)
		}},
		{Builds, func(path string) bool {
			b, err := readBuild(path)
			return isLeftover(path) || !isUnfinished(path) && (err != nil || !p.held[b.Wheel])
		}},
		{Memories, func(path string) bool { return isLeftover(path) || lastUse(path).Before(p.before) }},
		{Logs, func(path string) bool { return lastUse(path).Before(p.before) }},
		{Temps, func(path string) bool { return newest(path).Before(time.Now().Add(-abandoned)) }},
	}
	for _, s := range steps {
		if err := p.takeAll(s.goes, s.kind); err != nil {
			return err
		}
	}
	return nil
}

// isUnfinished tells of what writeAtomic has not yet given its name, or never will.
func isUnfinished(path string) bool { return strings.HasPrefix(filepath.Base(path), ".tmp-") }

func isLeftover(path string) bool {
	return isUnfinished(path) && newest(path).Before(time.Now().Add(-abandoned))
}

// newest gives the latest time at which something at or below a path changed.
func newest(path string) (t time.Time) {
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil && info.ModTime().After(t) {
			t = info.ModTime()
		}
		return nil
	})
	return t
}

// lastUse gives the later of a file's times of access and modification; now where it cannot be told.
func lastUse(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Now()
	}
	if t := accessTime(info); t.After(info.ModTime()) {
		return t
	}
	return info.ModTime()
}

// unnoticed reads a file without that it counts as a use.
func unnoticed(path string, read func() error) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	err = read()
	if t := accessTime(info); !t.IsZero() {
		_ = os.Chtimes(path, t, info.ModTime()) // or it counts
	}
	return err
}

// keepsAccessTimes tries whether the file system notes when a file is read.
func (c *Curds) keepsAccessTimes() bool {
	f, err := os.CreateTemp(c.Temp(), "atime-")
	if err != nil {
		return false
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString("x")
	if f.Close() != nil || err != nil {
		return false
	}
	long := time.Now().Add(-48 * time.Hour) // relatime notes an access a day
	if os.Chtimes(f.Name(), long, long) != nil {
		return false
	}
	if _, err := os.ReadFile(f.Name()); err != nil {
		return false
	}
	return lastUse(f.Name()).After(long.Add(time.Hour))
}
