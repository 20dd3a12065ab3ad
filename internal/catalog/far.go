package catalog

import (
	"cmp"
	"container/list"
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"curdling/internal/dist"
	"curdling/internal/store"
	"curdling/internal/store/bucket"
	"curdling/internal/wheel"
)

const (
	mostFar    = 200_000          // files, what lies beside them, and names that are remembered
	inUse      = 10 * time.Second // after somebody asked for it, a project is not forgotten
	readAtOnce = 16               // notes and sidecars of one project
	readAll    = 64               // of all
	mostFailed = 4                // of them that may fail before the others are not tried
	maxNote    = 4 << 20          // bytes of a note that is read
	mostBuilt  = 100              // wheels under one build key that are looked at
	// sidecarSettled is how long after it was first seen a sidecar has the content that its time and size stand for: stores tell
	// times in seconds. sidecarOld is of what was changed long ago, whatever the clocks say.
	sidecarSettled = 2 * time.Second
	sidecarOld     = time.Hour
)

// far is what a catalog over a [store.Noter] has besides. Such a catalog is lazy: of a project it knows what the store
// told when somebody last asked for it, by [Catalog.Fresh], which is a second old at most; then all that is asked of it is
// answered from memory, as over a folder. Projects that nobody asked for lately are forgotten.
//
// What this server itself wrote is known at once. A listing that began before that does not undo it: ticks tell.
type far struct {
	c       *Catalog
	store   store.Noter
	derived store.Store     // nil: nothing derived is shared
	shared  store.Versioned // nil: nothing is counted together
	walked  *bucket.Store   // the same as store, where all of it can be walked over; else nil
	turn    func() bool     // nil: never
	server  string
	counted counted
	uses    farUses
	// hopeless is until when nothing is evicted, as that did not help; for who does.
	hopeless time.Time

	most    int
	looks   *looks
	reading chan struct{} // a token for each file that is read
	ticks   atomic.Uint64 // counts listings that began and files that were written
	names   sight
	told    atomic.Int64 // Unix seconds when the log was last told that the store does not answer

	mu     sync.Mutex // is taken after Catalog.mu where both are
	places map[string]*place
	recent *list.List // of *place; the one that was asked for last comes first
	held   int        // sum of their weights
}

// place is a project, or the builds of one source under one key, that somebody asked for.
type place struct {
	sight
	key  string // the project's name, or FROM/KEY
	look func(context.Context) error

	// Guarded by far.mu.
	used   time.Time
	at     *list.Element
	weight int
	files  []string // of builds

	// Guarded by Catalog.mu, of projects.
	tick    uint64            // of the last listing that was taken, or of what was written later
	beside  map[string]bool   // keys in the store that are no files that are held
	written map[string]uint64 // keys that this server wrote since then, and when

	unused map[string]learnt // what a look learnt that failed; for who looks
}

func newFar(c *Catalog, notes store.Noter, config Config) *far {
	r := &far{
		c: c, store: notes, derived: config.Derived, most: cmp.Or(config.most, mostFar), looks: newLooks(), reading: make(chan struct{}, readAll),
		places: make(map[string]*place), recent: list.New(),
	}
	r.names.looks, r.names.lazy = r.looks, 20
	r.walked, _ = notes.(*bucket.Store)
	r.shared, r.turn, r.server = config.Shared, config.Turn, config.Server
	return r
}

// Far tells that what is held lies in a [store.Noter]: what is known of a project may have to be asked for.
func (c *Catalog) Far() bool { return c.far != nil }

// Fresh has what is known of a project be a second old at most, be it held or not; over a folder it always is. Where the store does not
// answer, what was known goes on being served; where nothing was, the error is a *[store.UnavailableError].
func (c *Catalog) Fresh(ctx context.Context, name dist.Name) error {
	if c.far == nil {
		return nil
	}
	if p := c.far.project(name); p != nil {
		return p.fresh(ctx, p.look)
	}
	return nil
}

// FreshNow is Fresh by a look that begins after it was called, for what is decided by it: where that
// cannot be had, what was known before will not do, and the error is a *[store.UnavailableError].
func (c *Catalog) FreshNow(ctx context.Context, name dist.Name) error {
	if c.far == nil {
		return nil
	}
	if p := c.far.project(name); p != nil {
		return p.anew(ctx, p.look)
	}
	return nil
}

// FreshFile is Fresh for the project of a file, of its tarball (FILE.tar.zst), or of what lies beside it. Of a file that is held what is known
// may be a minute old: names do not change their content. That a file is not held, or has no tarball, is known as of now: another server may
// have told of it just before.
func (c *Catalog) FreshFile(ctx context.Context, filename string) error {
	if c.far == nil {
		return nil
	}
	filename, tarball := strings.CutSuffix(filename, wheel.TarballSuffix)
	name, ok := projectOf(filename)
	if !ok {
		return nil
	}
	p := c.far.project(name)
	if p == nil {
		return nil
	}
	of, _, beside := splitSidecar(filename)
	held := c.File(filename)
	switch {
	case tarball && held != nil && held.hasTarball() && held.Tarball.SHA256 == "":
		return p.anew(ctx, p.look)
	case !beside && held != nil:
		return p.soon(ctx, p.look)
	case beside && c.File(of) != nil:
		return p.fresh(ctx, p.look)
	}
	return p.anew(ctx, p.look)
}

// FreshNames is Fresh for the names of all projects, which may be older where it takes long to list them.
func (c *Catalog) FreshNames(ctx context.Context) error {
	if c.far == nil {
		return nil
	}
	return c.far.names.fresh(ctx, c.far.lookAtNames)
}

// FreshBuilds is Fresh for all that [Catalog.Builds] gives. That there is nothing is known as of now.
func (c *Catalog) FreshBuilds(ctx context.Context, from, key string) error {
	r := c.far
	if r == nil || !store.IsSHA256(from) || !store.IsSHA256(key) {
		return nil
	}
	p := r.place(from+"/"+key, r.lookAtBuilds)
	look := p.fresh
	if len(c.Builds(from, key)) == 0 {
		look = p.anew
	}
	if err := look(ctx, p.look); err != nil {
		return err
	}
	r.mu.Lock()
	files := p.files
	r.mu.Unlock()
	lacking := make(map[dist.Name]bool) // whether a file of the project is not known
	for _, filename := range files {
		if name, ok := projectOf(filename); ok {
			lacking[name] = lacking[name] || c.File(filename) == nil
		}
	}
	for name, lacks := range lacking {
		p := r.project(name)
		look := p.fresh
		if lacks {
			look = p.anew
		}
		if err := look(ctx, p.look); err != nil {
			return err
		}
	}
	return nil
}

// projectOf tells whose a key is, a file's or a sidecar's.
func projectOf(key string) (dist.Name, bool) {
	of, suffix, beside := splitSidecar(key)
	if !beside {
		of = key
	}
	if suffix == StatusSuffix {
		name, err := dist.ParseName(of)
		return name, err == nil && string(name) == of
	}
	f, err := dist.ParseFilename(of, "")
	return f.Name, err == nil
}

// project gives the place of a project; nil where nothing can be held under that name.
func (r *far) project(name dist.Name) *place {
	r.mu.Lock()
	known := r.places[string(name)]
	r.mu.Unlock()
	if known == nil {
		if normal, err := dist.ParseName(string(name)); err != nil || normal != name {
			return nil
		}
	}
	return r.place(string(name), r.lookAtProject)
}

// place gives the place with that key, and notes that it is asked for.
func (r *far) place(key string, look func(context.Context, *place) error) *place {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.places[key]
	if p == nil {
		p = &place{key: key, weight: 1}
		p.looks = r.looks
		p.look = func(ctx context.Context) error {
			err := look(ctx, p)
			if err != nil && r.looks.end.Err() == nil {
				r.complain(key, err)
			}
			return err
		}
		p.at = r.recent.PushFront(p)
		r.places[key] = p
		r.held += p.weight
	}
	p.used = time.Now()
	r.recent.MoveToFront(p.at)
	return p
}

// complain tells the log, not too often, that the store does not answer.
func (r *far) complain(of string, err error) {
	now := time.Now().Unix()
	if last := r.told.Load(); now-last < 5 || !r.told.CompareAndSwap(last, now) {
		r.c.log.Debug("the store does not tell what it holds", "of", of, "err", err)
		return
	}
	r.c.log.Warn("the store does not tell what it holds; what is known of it is served", "of", of, "err", err)
}

// weigh counts what is remembered of a project. The caller holds Catalog.mu.
func (r *far) weigh(p *place) {
	weight := 1 + len(p.beside)
	if held := r.c.projects[dist.Name(p.key)]; held != nil {
		weight += len(held.Files)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held += weight - p.weight
	p.weight = weight
}

// shrink forgets what nobody asked for lately where too much is remembered.
func (r *far) shrink() {
	r.mu.Lock()
	enough := r.held <= r.most
	r.mu.Unlock()
	if enough {
		return
	}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	unused := time.Now().Add(-inUse)
	for at := r.recent.Back(); at != nil && r.held > r.most-r.most/slack; {
		p := at.Value.(*place)
		at = at.Prev()
		if p.used.After(unused) {
			return
		}
		if !p.busy() {
			r.forget(p)
		}
	}
}

// forget forgets all that is known of a place, which says nothing of what is held. The caller holds both mu.
func (r *far) forget(p *place) {
	c, name := r.c, dist.Name(p.key)
	r.recent.Remove(p.at)
	delete(r.places, p.key)
	r.held -= p.weight
	for key := range p.beside {
		c.index(c.sidecars[key], nil)
		delete(c.sidecars, key)
		delete(c.ignored, key)
	}
	held := c.projects[name]
	if held == nil {
		return
	}
	for _, f := range held.Files {
		for _, suffix := range []string{RecordSuffix, SignatureSuffix} {
			c.index(c.sidecars[f.Filename+suffix], nil)
			delete(c.sidecars, f.Filename+suffix)
		}
		delete(c.files, f.Filename)
		c.count(f, -1)
		delete(c.tarballs.known, f.SHA256)
	}
	delete(c.projects, name)
	c.newest = slices.DeleteFunc(c.newest, func(f *File) bool { return f.Name == name })
}

// lookAtNames lists the names of all projects.
func (r *far) lookAtNames(ctx context.Context) error {
	c, began := r.c, r.ticks.Add(1)
	var names []dist.Name
	for group, err := range r.store.Groups(ctx) {
		if err != nil {
			if r.looks.end.Err() == nil {
				r.complain("the names of all projects", err)
			}
			return err
		}
		if name, err := dist.ParseName(group); err == nil && string(name) == group {
			names = append(names, name)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r.mu.Lock()
	since := make(map[dist.Name]bool) // of which something was learnt later
	for key, p := range r.places {
		if p.tick > began {
			since[dist.Name(key)] = c.projects[dist.Name(key)] != nil
		}
	}
	r.mu.Unlock()
	if names = merge(names, since); !slices.Equal(names, c.namesNow()) {
		c.names = names
		c.generation++
	}
	return nil
}

// lookAtBuilds lists what was built of one source under one key.
func (r *far) lookAtBuilds(ctx context.Context, p *place) error {
	var files []string
	if r.derived != nil {
		for info, err := range r.derived.List(ctx, "builds/"+p.key+"/") {
			if err != nil {
				return err
			}
			if files = append(files, info.Key[strings.LastIndexByte(info.Key, '/')+1:]); len(files) == mostBuilt {
				break
			}
		}
	}
	r.mu.Lock()
	p.files = files
	r.mu.Unlock()
	r.shrink()
	return nil
}

// runFar looks after what a catalog has of a store far away, until ctx is done.
func (c *Catalog) runFar(ctx context.Context) error {
	var working sync.WaitGroup
	defer working.Wait()
	working.Go(func() { c.makeTarballs(ctx) })
	if r := c.far; r.shared != nil {
		working.Go(func() { r.followCensus(ctx) })
		if r.turn != nil && r.walked != nil && c.sweep > 0 {
			working.Go(func() { r.takeTurns(ctx) })
		}
	}
	prune := time.NewTicker(24 * time.Hour)
	defer prune.Stop()
	for {
		c.boundMetadata(ctx, mostMetadata)
		select {
		case <-ctx.Done():
			return nil
		case <-prune.C:
		}
	}
}
