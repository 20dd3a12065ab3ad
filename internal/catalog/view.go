package catalog

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"curdling/internal/dist"
	"curdling/internal/store"
	"curdling/internal/wheel"
)

// View is what is held as those see it who are bound to one catalog: what lies above it, and below that what it holds itself. Of a name that both
// hold only the file above is there, whichever came first, and what has become of a project is said above.
// Uploads go into the catalog. So a scope lies below main, and a folder below the bucket that is its second level. Make one with
// [NewView], [View.Lay] or [WriteBack.View].
type View struct {
	above *View // nil: nothing lies above
	own   *Catalog
	back  *WriteBack // to what lies above, which may be silent: then the catalog's own word will do; nil is of a scope

	mu         sync.Mutex
	merged     map[dist.Name]merged // projects of which the catalog holds something
	names      []dist.Name          // of the generations below
	higher     uint64
	lower      uint64
	generation uint64
}

// merged is a project that was put together, as long as its parts are the same.
type merged struct {
	above, own     *Project
	status, reason string // that are said above
	all            *Project
}

// NewView is what a catalog holds.
func NewView(c *Catalog) *View { return &View{own: c} }

// Lay lays a catalog below a view.
func (v *View) Lay(c *Catalog) *View {
	return &View{above: v, own: c, merged: make(map[dist.Name]merged)}
}

// Far is [Catalog.Far].
func (v *View) Far() bool { return v.own.Far() || v.above != nil && v.above.Far() }

// Fresh is [Catalog.Fresh] for all.
func (v *View) Fresh(ctx context.Context, name dist.Name) error {
	if !v.Far() { // most, and for nothing
		return nil
	}
	return v.ask(ctx, func(ctx context.Context, c *Catalog) error { return c.Fresh(ctx, name) },
		func(c *Catalog) bool { return c.Project(name) != nil })
}

// FreshFile is [Catalog.FreshFile] for all.
func (v *View) FreshFile(ctx context.Context, filename string) error {
	if !v.Far() {
		return nil
	}
	of := strings.TrimSuffix(filename, wheel.TarballSuffix)
	return v.ask(ctx, func(ctx context.Context, c *Catalog) error { return c.FreshFile(ctx, filename) },
		func(c *Catalog) bool { return c.File(of) != nil })
}

// FreshNames is [Catalog.FreshNames] for all.
func (v *View) FreshNames(ctx context.Context) error {
	return v.ask(ctx, func(ctx context.Context, c *Catalog) error { return c.FreshNames(ctx) }, func(*Catalog) bool { return true })
}

// FreshBuilds is [Catalog.FreshBuilds] for all.
func (v *View) FreshBuilds(ctx context.Context, from, key string) error {
	return v.ask(ctx, func(ctx context.Context, c *Catalog) error { return c.FreshBuilds(ctx, from, key) },
		func(c *Catalog) bool { return len(c.Builds(from, key)) > 0 })
}

// ask asks all that is far away, at once. enough tells whether what a catalog holds will do where its second level is silent.
func (v *View) ask(ctx context.Context, ask func(context.Context, *Catalog) error, enough func(*Catalog) bool) error {
	if !v.Far() {
		return nil
	}
	if v.above == nil {
		return ask(ctx, v.own)
	}
	own := func() error { return nil }
	if v.own.Far() {
		var g errgroup.Group
		g.Go(func() error { return ask(ctx, v.own) })
		own = g.Wait
	}
	err := v.spare(ctx, enough(v.own), func(ctx context.Context) error { return v.above.ask(ctx, ask, enough) })
	return cmp.Or(err, own())
}

// spare has somebody ask what lies above. Where that is a second level and does not answer, or not soon, or not well, there is no error if the
// catalog's own word is enough.
func (v *View) spare(ctx context.Context, enough bool, ask func(context.Context) error) error {
	if v.back == nil || !enough {
		return ask(ctx)
	}
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := ask(soon); err != nil && ctx.Err() != nil {
		return err
	}
	return nil
}

// Project gives what is held of a project, or nil.
func (v *View) Project(name dist.Name) *Project {
	own := v.own.Project(name)
	if v.above == nil {
		return own
	}
	above := v.above.Project(name)
	if own == nil {
		return above
	}
	status, reason := v.above.Status(name)
	v.mu.Lock()
	defer v.mu.Unlock()
	m := merged{above, own, status, reason, nil}
	if known := v.merged[name]; known.above == above && known.own == own && known.status == status && known.reason == reason {
		return known.all
	}
	m.all = lay(above, own, status, reason)
	v.merged[name] = m
	return m.all
}

// lay puts a project together; above may be nil.
func lay(above, own *Project, status, reason string) *Project {
	all := &Project{Name: own.Name, Status: own.Status, StatusReason: own.StatusReason}
	if status != "" {
		all.Status, all.StatusReason = status, reason
	}
	if above != nil {
		all.Files = slices.Clone(above.Files)
	}
	higher := len(all.Files)
	for _, f := range own.Files {
		if !slices.ContainsFunc(all.Files[:higher], func(g *File) bool { return g.Filename == f.Filename }) {
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
	if v == nil {
		return "", ""
	}
	if status, reason = v.above.Status(name); status != "" {
		return status, reason
	}
	return v.own.Status(name)
}

// Names gives the names of all projects, sorted, and a number that changes when they do. Read them only.
func (v *View) Names() (names []dist.Name, generation uint64) {
	own, lower := v.own.Names()
	if v.above == nil {
		return own, lower
	}
	above, higher := v.above.Names()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.generation == 0 || v.higher != higher || v.lower != lower {
		v.names = slices.Concat(above, own)
		slices.Sort(v.names)
		v.names = slices.Compact(v.names)
		v.higher, v.lower = higher, lower
		v.generation++
		maps.DeleteFunc(v.merged, func(name dist.Name, _ merged) bool {
			_, held := slices.BinarySearch(own, name)
			return !held
		})
	}
	return v.names, v.generation
}

// Search is [Catalog.Search] over all.
func (v *View) Search(query string, limit int) (found []dist.Name, total int) {
	names, _ := v.Names()
	return search(names, v.Project, query, limit)
}

// Newest is [Catalog.Newest] over all.
func (v *View) Newest(limit int) []*Project {
	found := v.own.Newest(limit)
	if v.above == nil {
		return found
	}
	found = append(found, v.above.Newest(limit)...)
	var all []*Project
	for _, p := range found {
		if p = v.Project(p.Name); p != nil && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b *Project) int { return b.Updated().Compare(a.Updated()) })
	return all[:min(limit, len(all))]
}

// Stats counts what is held; files that are hidden by those above count, too. Of a folder and its second level it is the folder that counts, but
// for projects.
func (v *View) Stats() Stats {
	stats := v.own.Stats()
	if v.above == nil {
		return stats
	}
	names, _ := v.Names()
	stats.Projects = len(names)
	if v.back == nil {
		above := v.above.Stats()
		stats.Files, stats.Bytes = above.Files+stats.Files, above.Bytes+stats.Bytes
		stats.TarballBytes, stats.Counted = above.TarballBytes, above.Counted
	}
	return stats
}

// holder is the catalog whose word on a file counts; nil where what is said above forbids one that is held below.
func (v *View) holder(filename string) *Catalog {
	if v.above == nil {
		return v.own
	}
	f := v.own.File(filename)
	if f == nil || v.above.File(filename) != nil {
		return v.above.holder(filename) // which says why there is none
	}
	if status, _ := v.above.Status(f.Name); status == Quarantined {
		return nil
	}
	return v.own
}

// nearest is the catalog to have a file's bytes from: of those that hold the holder's, the one that is nearest.
func (v *View) nearest(holder *Catalog, filename string) *Catalog {
	f := holder.File(filename)
	for level := v; f != nil && level != nil; level = level.above {
		if near := level.own.File(filename); near != nil && near.SHA256 == f.SHA256 {
			return level.own
		}
	}
	return holder
}

// near opens something of a file: at the nearest catalog, and where that fails at the holder.
func near[T any](v *View, filename string, open func(*Catalog) (T, *File, error)) (T, *File, error) {
	holder := v.holder(filename)
	if holder == nil {
		var none T
		return none, nil, v.refused(filename)
	}
	if nearest := v.nearest(holder, filename); nearest != holder {
		if _, err := holder.Offered(filename); err == nil {
			if content, f, err := open(nearest); err == nil {
				return content, f, nil
			}
		}
	}
	return open(holder)
}

// Offered is [Catalog.Offered].
func (v *View) Offered(filename string) (*File, error) {
	if c := v.holder(filename); c != nil {
		return c.Offered(filename)
	}
	return nil, v.refused(filename)
}

// refused is the error for a file that is held below and forbidden above.
func (v *View) refused(filename string) error {
	for level := v; level.above != nil; level = level.above {
		if f := level.own.File(filename); f != nil {
			if status, reason := level.above.Status(f.Name); status == Quarantined {
				return &StatusError{f.Name, status, reason}
			}
		}
	}
	return v.own.missing(filename)
}

// Builds is [Catalog.Builds]: those above before others.
func (v *View) Builds(from, key string) []*File {
	if v.above == nil {
		return v.own.Builds(from, key)
	}
	found := v.above.Builds(from, key)
	for _, f := range v.own.Builds(from, key) {
		if v.holder(f.Filename) == v.own {
			found = append(found, f)
		}
	}
	return found
}

// File is [Catalog.File].
func (v *View) File(filename string) *File {
	if v.above != nil {
		if f := v.above.File(filename); f != nil {
			return f
		}
	}
	return v.own.File(filename)
}

// Open is [Catalog.Open].
func (v *View) Open(ctx context.Context, filename string) (io.ReadSeekCloser, *File, error) {
	return near(v, filename, func(c *Catalog) (io.ReadSeekCloser, *File, error) { return c.Open(ctx, filename) })
}

// Tarball is [Catalog.Tarball].
func (v *View) Tarball(ctx context.Context, filename string) (io.ReadSeekCloser, *File, error) {
	if c := v.holder(filename); c != nil {
		return c.Tarball(ctx, filename)
	}
	return nil, nil, v.refused(filename)
}

// Metadata is [Catalog.Metadata].
func (v *View) Metadata(ctx context.Context, filename string) ([]byte, *File, error) {
	return near(v, filename, func(c *Catalog) ([]byte, *File, error) { return c.Metadata(ctx, filename) })
}

// Sidecar is [Catalog.Sidecar]: what lies beside a file is where the file is whose word counts. Of a second level that is silent the same lies
// in the folder.
func (v *View) Sidecar(ctx context.Context, key string) ([]byte, error) {
	of, _, ok := splitSidecar(key)
	if !ok {
		of = key
	}
	c := v.holder(of)
	if c == nil {
		return nil, v.refused(of)
	}
	content, err := c.Sidecar(ctx, key)
	var away *store.UnavailableError
	if nearest := v.nearest(c, of); errors.As(err, &away) && nearest != c {
		if content, err := nearest.Sidecar(ctx, key); err == nil {
			return content, nil
		}
	}
	return content, err
}

// Doubt is [Catalog.Doubt].
func (v *View) Doubt(filename string) {
	if c := v.holder(filename); c != nil {
		v.nearest(c, filename).Doubt(filename)
	}
}

// Receive is [Catalog.Receive]: into the catalog that lies below all. What is held above under the name, and said of the
// project, counts as if it were held and said there.
func (v *View) Receive(filename string, r io.Reader) (*Upload, error) {
	u, err := v.own.Receive(filename, r)
	if u != nil {
		u.view = v
	}
	return u, err
}

// heldAbove is [Catalog.stillHeld] for what lies above. A nil view has nothing there.
func (v *View) heldAbove(ctx context.Context, filename string) (held *File, err error) {
	if v == nil || v.above == nil {
		return nil, nil
	}
	err = v.spare(ctx, true, func(ctx context.Context) error {
		if held, err = v.above.heldAbove(ctx, filename); held == nil && err == nil {
			held, err = v.above.own.stillHeld(ctx, filename)
		}
		return err
	})
	return held, err
}

// fileAbove is File for what lies above. A nil view has nothing there.
func (v *View) fileAbove(filename string) *File {
	if v == nil || v.above == nil {
		return nil
	}
	return v.above.File(filename)
}

// takesAbove is [Catalog.takes] for what lies above. A nil view has nothing against it.
func (v *View) takesAbove(name dist.Name) error {
	if v == nil || v.above == nil {
		return nil
	}
	return errors.Join(v.above.takesAbove(name), v.above.own.takes(name))
}

// Passing tells that a file may still be displaced by another one of its name, of those that are held above: the second level was not
// seen to hold it.
func (v *View) Passing(filename string) bool {
	return v.back != nil && v.above.File(filename) == nil
}

// Below tells that a project is held in the catalog that lies below all alone: nothing of it is held above.
func (v *View) Below(name dist.Name) bool {
	return v.above != nil && v.above.Project(name) == nil && v.own.Project(name) != nil
}
