package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"curdling/internal/dist"
	"curdling/internal/store"
)

// slack is the part of the bound that is freed beyond what is needed, so that
// what goes is not searched for again with the next file.
const slack = 20

// QuotaError says that a file does not fit, whatever may go.
type QuotaError struct {
	Filename  string
	Size      int64 // of the file; these are all in bytes
	MaxSize   int64
	Permanent int64 // what is held and never goes
}

func (e *QuotaError) Error() string {
	return fmt.Sprintf("%s: %d bytes do not fit: %d may be held here, and %d are taken by files that cannot be had again; nothing was kept",
		e.Filename, e.Size, e.MaxSize, e.Permanent)
}

// Unwrap makes [store.IsFull] true of it.
func (*QuotaError) Unwrap() error { return store.ErrFull }

// Why tells why a file may be evicted.
type Why string

// What may go, in the order in which it goes. Files that somebody uploaded or put
// into the store never do.
const (
	Second   Why = "bucket"   // the bucket that is the second level has it, see WriteBack
	Upstream Why = "upstream" // the upstream has it
	Rebuild  Why = "build"    // it can be built again
)

// order is the order of reasons.
func (w Why) order() int { return slices.Index([]Why{Second, Upstream, Rebuild}, w) }

// expendable tells whether a file may be evicted, and why; else it is "".
func (f *File) expendable() Why {
	switch {
	case f.Second:
		return Second
	case f.Build != nil:
		return Rebuild
	case f.From.Upstream != "":
		return Upstream
	}
	return ""
}

// keptAbove notes that the second level holds files of a project, with these bytes.
func (c *Catalog) keptAbove(name dist.Name, files []*File) {
	if c.maxSize == 0 || len(files) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.projects[name]
	if p == nil {
		return
	}
	all := slices.Clone(p.Files)
	for i, f := range all {
		if f.Second || !slices.ContainsFunc(files, func(g *File) bool { return g.Filename == f.Filename && g.SHA256 == f.SHA256 }) {
			continue
		}
		again := *f
		again.Second = true
		c.count(f, -1)
		c.count(&again, 1)
		c.files[f.Filename], all[i] = &again, &again
	}
	c.projects[name] = c.marked(&Project{Name: name, Files: all})
}

// Candidate is a file that may be evicted.
type Candidate struct {
	*File
	Why      Why
	Uses     int64     // that are known of
	LastUsed time.Time // or when it came
	worth    float64
}

// candidate judges a file. The caller holds mu.
func (c *Catalog) candidate(f *File, why Why, now time.Time) Candidate {
	x := Candidate{File: f, Why: why, LastUsed: f.ModTime}
	if u := c.uses[f.Filename]; u != nil && u.count.Load() > 0 {
		x.Uses = u.count.Load()
		x.LastUsed = time.Unix(u.last.Load(), 0).UTC()
	}
	x.judge(now)
	return x
}

// judge finds what a file is worth to keep: the time to have it again, weighed by its uses, for its size and for how
// long nobody asked for it.
func (x *Candidate) judge(now time.Time) {
	const perSecond = 10e6 // bytes that an upstream is taken to send
	again := 1 + float64(x.Size)/perSecond
	if x.Why == Rebuild {
		again = x.Build.Time.Seconds()
	}
	days := 1 + max(0, now.Sub(x.LastUsed).Hours()/24)
	x.worth = again * float64(1+x.Uses) / days / float64(max(x.Size, 1))
}

// Evictable gives the files that would go for size bytes to be held at most, in
// the order in which they go. Where that is not enough, the rest cannot go.
func (c *Catalog) Evictable(size int64) []Candidate {
	now := time.Now()
	var all []Candidate
	c.mu.RLock()
	excess := c.bytes - size
	if excess > 0 {
		for _, f := range c.files {
			if why := f.expendable(); why != "" {
				all = append(all, c.candidate(f, why, now))
			}
		}
	}
	c.mu.RUnlock()
	slices.SortFunc(all, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(a.Why.order(), b.Why.order()), cmp.Compare(a.worth, b.worth), cmp.Compare(a.Filename, b.Filename))
	})
	for i, x := range all {
		if excess <= 0 {
			return all[:i]
		}
		excess -= x.Size
	}
	return all
}

// Removal tells of a file that was taken out of what is held.
type Removal struct {
	Action           string // "evict", "quarantine", or "scope-remove" of a whole scope
	Scope            string // "" is scope.Main
	Filename, SHA256 string // SHA256 is "" where nothing was known of the file
	Size             int64
	Why              string
}

// told tells of a removal.
func (c *Catalog) told(r Removal) {
	if c.removed != nil {
		r.Scope = c.scope
		c.removed(r)
	}
}

// Evict removes a file. Who reads it reads on to its end.
func (c *Catalog) Evict(ctx context.Context, x Candidate) error {
	if err := c.store.Remove(ctx, x.Filename); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s cannot be removed: %w", x.Filename, err)
	}
	c.drop(x.Filename)
	for _, suffix := range []string{RecordSuffix, SignatureSuffix} {
		if err := c.store.Remove(ctx, x.Filename+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.log.Warn("what lay beside an evicted file is left", "file", x.Filename+suffix, "err", err)
		}
		c.drop(x.Filename + suffix)
	}
	c.log.Info("evicted", "file", x.Filename, "bytes", x.Size, "why", x.Why, "uses", x.Uses, "last_used", x.LastUsed)
	c.told(Removal{Action: "evict", Filename: x.Filename, SHA256: x.SHA256, Size: x.Size, Why: string(x.Why)})
	return nil
}

// reserve makes room for a file that is about to come. The room is given back
// by release, when the file is counted or did not come.
func (c *Catalog) reserve(ctx context.Context, filename string, size int64) (release func(), err error) {
	if c.far != nil {
		return func() {}, c.far.reserve(filename, size)
	}
	if c.maxSize == 0 {
		return func() {}, nil
	}
	c.evicting.Lock()
	defer c.evicting.Unlock()
	c.mu.RLock()
	held, permanent := c.bytes+c.tarballs.bytes, c.bytes-c.expendable
	c.mu.RUnlock()
	reserved := c.reserved.Load()
	if permanent+reserved+size > c.maxSize {
		return nil, &QuotaError{filename, size, c.maxSize, permanent}
	}
	if held+reserved+size > c.maxSize {
		if err := c.shrink(ctx, max(0, c.maxSize-c.maxSize/slack-reserved-size)); err != nil {
			return nil, err
		}
	}
	c.reserved.Add(size)
	return func() {
		c.reserved.Add(-size)
		c.tarballs.stir()
	}, nil
}

// shrink evicts until size bytes are held at most. The caller holds evicting.
func (c *Catalog) shrink(ctx context.Context, size int64) error {
	c.ShedTarballs(size)
	for _, x := range c.Evictable(size) {
		if err := c.Evict(ctx, x); err != nil {
			return err
		}
	}
	return nil
}

// enforce evicts where files that came by hand took too much room.
func (c *Catalog) enforce(ctx context.Context) {
	if held := c.Stats(); c.maxSize == 0 || c.far != nil || held.Bytes+held.TarballBytes <= c.maxSize {
		return
	}
	c.evicting.Lock()
	defer c.evicting.Unlock()
	if err := c.shrink(ctx, c.maxSize-c.maxSize/slack); err != nil {
		c.log.Error("the bound on what is held cannot be kept", "err", err)
	}
}

// Expendable counts the bytes that are held and may be evicted.
func (c *Catalog) Expendable() int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.expendable
}
