package catalog

import (
	"cmp"
	"context"
	"io"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"curdling/internal/dist"
)

// View is what is held as those of one scope see it: what main holds, and below it what
// their own scope does. Of a name that both hold only main's file is there, whichever came first, and what
// has become of a project main says. Uploads go to the scope. Make one with [NewView].
type View struct {
	main *Catalog
	own  *Catalog // nil: nothing lies below main

	mu         sync.Mutex
	merged     map[dist.Name]merged // projects of which the scope holds something
	names      []dist.Name          // of the generations below
	above      uint64
	below      uint64
	generation uint64
}

// merged is a project that was put together, as long as its parts are the same.
type merged struct {
	main, own      *Project
	status, reason string // that main says
	all            *Project
}

// NewView lays a scope's catalog below main's; nil is for main itself.
func NewView(main, own *Catalog) *View {
	return &View{main: main, own: own, merged: make(map[dist.Name]merged)}
}

// Far is [Catalog.Far].
func (v *View) Far() bool { return v.main.far != nil || v.own != nil && v.own.far != nil }

// Fresh is [Catalog.Fresh] for both.
func (v *View) Fresh(ctx context.Context, name dist.Name) error {
	if !v.Far() {
		return nil
	}
	return v.both(func(c *Catalog) error { return c.Fresh(ctx, name) })
}

// FreshFile is [Catalog.FreshFile] for both.
func (v *View) FreshFile(ctx context.Context, filename string) error {
	if !v.Far() {
		return nil
	}
	return v.both(func(c *Catalog) error { return c.FreshFile(ctx, filename) })
}

// FreshNames is [Catalog.FreshNames] for both.
func (v *View) FreshNames(ctx context.Context) error {
	return v.both(func(c *Catalog) error { return c.FreshNames(ctx) })
}

// FreshBuilds is [Catalog.FreshBuilds] for both.
func (v *View) FreshBuilds(ctx context.Context, from, key string) error {
	return v.both(func(c *Catalog) error { return c.FreshBuilds(ctx, from, key) })
}

// both asks both at once.
func (v *View) both(ask func(*Catalog) error) error {
	if v.own == nil {
		return ask(v.main)
	}
	var g errgroup.Group
	g.Go(func() error { return ask(v.own) })
	return cmp.Or(ask(v.main), g.Wait())
}

// Project gives what is held of a project, or nil.
func (v *View) Project(name dist.Name) *Project {
	main := v.main.Project(name)
	if v.own == nil {
		return main
	}
	own := v.own.Project(name)
	if own == nil {
		return main
	}
	status, reason := v.main.Status(name)
	v.mu.Lock()
	defer v.mu.Unlock()
	m := merged{main, own, status, reason, nil}
	if known := v.merged[name]; known.main == main && known.own == own && known.status == status && known.reason == reason {
		return known.all
	}
	m.all = lay(main, own, status, reason)
	v.merged[name] = m
	return m.all
}

// lay puts a project together; main may be nil.
func lay(main, own *Project, status, reason string) *Project {
	all := &Project{Name: own.Name, Status: own.Status, StatusReason: own.StatusReason}
	if status != "" {
		all.Status, all.StatusReason = status, reason
	}
	if main != nil {
		all.Files = slices.Clone(main.Files)
	}
	above := len(all.Files)
	for _, f := range own.Files {
		if !slices.ContainsFunc(all.Files[:above], func(g *File) bool { return g.Filename == f.Filename }) {
			all.Files = append(all.Files, f)
		}
	}
	slices.SortFunc(all.Files, order)
	return all
}

// Has tells whether something is held of a project, of what is far away by the names that were last listed.
func (v *View) Has(name dist.Name) bool {
	if v.Project(name) != nil {
		return true
	}
	if !v.Far() {
		return false
	}
	names, _ := v.Names()
	_, listed := slices.BinarySearch(names, name)
	return listed
}

// Status gives what its sidecar says of a project, of which nothing need be held.
func (v *View) Status(name dist.Name) (status, reason string) {
	if status, reason = v.main.Status(name); status == "" && v.own != nil {
		return v.own.Status(name)
	}
	return status, reason
}

// Names gives the names of all projects, sorted, and a number that changes when they do. Read them only.
func (v *View) Names() (names []dist.Name, generation uint64) {
	main, above := v.main.Names()
	if v.own == nil {
		return main, above
	}
	own, below := v.own.Names()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.generation == 0 || v.above != above || v.below != below {
		v.names = slices.Concat(main, own)
		slices.Sort(v.names)
		v.names = slices.Compact(v.names)
		v.above, v.below = above, below
		v.generation++
		maps.DeleteFunc(v.merged, func(name dist.Name, _ merged) bool {
			_, held := slices.BinarySearch(own, name)
			return !held
		})
	}
	return v.names, v.generation
}

// Search is [Catalog.Search] over both.
func (v *View) Search(query string, limit int) (found []dist.Name, total int) {
	names, _ := v.Names()
	return search(names, v.Project, query, limit)
}

// Newest is [Catalog.Newest] over both.
func (v *View) Newest(limit int) []*Project {
	found := v.main.Newest(limit)
	if v.own == nil {
		return found
	}
	found = append(v.own.Newest(limit), found...)
	var all []*Project
	for _, p := range found {
		if p = v.Project(p.Name); p != nil && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b *Project) int { return b.Updated().Compare(a.Updated()) })
	return all[:min(limit, len(all))]
}

// Stats counts what is held; files that main's hide count, too.
func (v *View) Stats() Stats {
	stats := v.main.Stats()
	if v.own == nil {
		return stats
	}
	own := v.own.Stats()
	names, _ := v.Names()
	return Stats{Projects: len(names), Files: stats.Files + own.Files, Bytes: stats.Bytes + own.Bytes, TarballBytes: stats.TarballBytes}
}

// holder is the catalog whose word on a file counts.
func (v *View) holder(filename string) *Catalog {
	if v.own == nil || v.main.File(filename) != nil {
		return v.main
	}
	f := v.own.File(filename)
	if f == nil {
		return v.main // which says why there is none
	}
	if status, _ := v.main.Status(f.Name); status == Quarantined {
		return nil
	}
	return v.own
}

// Offered is [Catalog.Offered].
func (v *View) Offered(filename string) (*File, error) {
	if c := v.holder(filename); c != nil {
		return c.Offered(filename)
	}
	return nil, v.quarantined(filename)
}

// quarantined is the error for a file of the scope that main forbids.
func (v *View) quarantined(filename string) error {
	if f := v.own.File(filename); f != nil {
		status, reason := v.main.Status(f.Name)
		return &StatusError{f.Name, status, reason}
	}
	return v.own.missing(filename)
}

// Builds is [Catalog.Builds]: main's before the scope's.
func (v *View) Builds(from, key string) []*File {
	found := v.main.Builds(from, key)
	if v.own == nil {
		return found
	}
	for _, f := range v.own.Builds(from, key) {
		if v.holder(f.Filename) == v.own {
			found = append(found, f)
		}
	}
	return found
}

// File is [Catalog.File].
func (v *View) File(filename string) *File {
	if f := v.main.File(filename); f != nil || v.own == nil {
		return f
	}
	return v.own.File(filename)
}

// Open is [Catalog.Open].
func (v *View) Open(ctx context.Context, filename string) (io.ReadSeekCloser, *File, error) {
	if c := v.holder(filename); c != nil {
		return c.Open(ctx, filename)
	}
	return nil, nil, v.quarantined(filename)
}

// Tarball is [Catalog.Tarball].
func (v *View) Tarball(ctx context.Context, filename string) (io.ReadSeekCloser, *File, error) {
	if c := v.holder(filename); c != nil {
		return c.Tarball(ctx, filename)
	}
	return nil, nil, v.quarantined(filename)
}

// Metadata is [Catalog.Metadata].
func (v *View) Metadata(ctx context.Context, filename string) ([]byte, *File, error) {
	if c := v.holder(filename); c != nil {
		return c.Metadata(ctx, filename)
	}
	return nil, nil, v.quarantined(filename)
}

// Sidecar is [Catalog.Sidecar]: what lies beside a file is of the scope that the file is of.
func (v *View) Sidecar(ctx context.Context, key string) ([]byte, error) {
	of, _, ok := splitSidecar(key)
	if !ok {
		of = key
	}
	if c := v.holder(of); c != nil {
		return c.Sidecar(ctx, key)
	}
	return nil, v.quarantined(of)
}

// Doubt is [Catalog.Doubt].
func (v *View) Doubt(filename string) {
	if c := v.holder(filename); c != nil {
		c.Doubt(filename)
	}
}

// Receive is [Catalog.Receive]: into the scope. What main holds under the name, and says of the
// project, counts as if it were held and said there.
func (v *View) Receive(filename string, r io.Reader) (*Upload, error) {
	if v.own == nil {
		return v.main.Receive(filename, r)
	}
	u, err := v.own.Receive(filename, r)
	if u != nil {
		u.above = v.main
	}
	return u, err
}

// Below tells that a project is held in the scope alone: main holds nothing of it.
func (v *View) Below(name dist.Name) bool {
	return v.own != nil && v.main.Project(name) == nil && v.own.Project(name) != nil
}
