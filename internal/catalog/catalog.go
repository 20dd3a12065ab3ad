// Package catalog knows what a server holds: the projects, and of each its
// files with the facts that an index tells (PEP 503, 658, 691, 700).
//
// The files lie in a store directly under its root, whoever put them there. A
// file is held once its content was opened and agrees with its name: a wheel by
// wheel.Open, a source distribution by sdist.Verify. What lies there and is no
// distribution file, or a broken one, is told to the log once and ignored. Keys
// below a folder are ignored too.
//
// What was learnt of a file (hash, requires-python, summary, METADATA) is kept
// in a folder of the server, the state, and found again by name, size and time
// of change, so that no file is hashed twice. The state may be deleted while no
// server runs, and is never needed: without it files are read anew.
//
//	facts.jsonl             a line of JSON for each file, the last one counts
//	metadata/XX/SHA256      METADATA of the wheel with that sha256, made when asked for
//	uses.tsv                how often each file was opened that may be evicted
//	tarballs/               wheels as tar.zst, made in the background (tarball.go)
//
// Small files beside them say what is yanked, where a file came from and what has
// become of a project: see [YankedSuffix].
//
// No work here grows with the number of projects, but for the listing of the
// store at the start, a search, and the list of names after one came or went.
//
// Over a [store.Noter] nothing is listed at the start: see [Catalog.Fresh], which is to be asked for a project
// before anything else is.
package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"curdling/internal/dist"
	"curdling/internal/store"
)

// Config says what a catalog is of.
type Config struct {
	Store store.Store
	State string // folder for what is derived; "" keeps nothing
	// Derived is where servers of one [store.Noter] share what is derived, under metadata/, builds/ and evidence/; nil: they do not.
	Derived store.Store
	// Shared is where they tell each other what they count, in census.json and under uses/; nil: they do not.
	Shared store.Versioned
	// Turn tells whether it is for this server to count what all of them hold, to sweep and to evict; nil: it never is.
	Turn func() bool
	// Server is this one's name among them, lower-case letters and digits; "" tells nobody what was used here.
	Server string
	Log    *slog.Logger // nil is silent
	// Patience is how long Open may read files that are new to it. Those that it
	// did not come to are read by Run. Zero is 3 s, below zero is not at all.
	Patience time.Duration
	// MaxSize is how many bytes may be held, tarballs among them and sidecars apart; zero is no bound. What
	// can be had again goes for what comes: tarballs first, then see [Catalog.Evictable].
	MaxSize int64
	// Tarballs has Run make the tarball of each wheel, which needs a State. Else there are none, and what was
	// made before is removed.
	Tarballs bool
	// Sweep is how often Run lists the store for what the watch missed; zero is never.
	Sweep time.Duration
	// VerifyEvery is how often Run reads everything anew and puts aside what is damaged; zero is never.
	VerifyEvery time.Duration
	// Removed is told of each file that was evicted or put aside; may be nil.
	Removed func(Removal)
	// Scope is the one that this is the catalog of, "" is scope.Main.
	Scope string
	// Guest is for a short visit while a server may be using the same store: the state is added to, and never
	// written anew.
	Guest bool

	most int // of what is remembered over a Noter; zero is mostFar
}

// File is a file that is held. It does not change.
type File struct {
	dist.File           // Size, SHA256 and UploadTime are known, URL is not; Provenance is the sidecar's key
	ModTime   time.Time // of the bytes as they lie in the store; with Size it tells one content from another
	Summary   string    // of the file's METADATA or PKG-INFO; at most 512 bytes
	From      From      // its UploadTime is the one above
	// Build is what the record beside a wheel says that was built of a source; nil where there is none.
	Build *Build

	// Second tells that a second level holds it, too; it is noted only where room is bounded, see WriteBack.
	Second bool
}

// From tells where a file came from. The zero value is of files that somebody
// put into the store by hand, and of all where the state was deleted.
type From struct {
	User     string // who uploaded it, "" where nobody had to say who he is
	Upstream string // name of the upstream whose file it is, "" for none
	// UploadTime is when the file was published; zero is when it came here.
	UploadTime time.Time
}

// Stats are sums over all that is held.
type Stats struct {
	Projects, Files int
	Bytes           int64 // of the files
	TarballBytes    int64 // of tarballs besides
	// Counted is when that was, by the store's clock, of what is too far away to be counted whenever somebody asks. Zero: it is so now.
	Counted time.Time
}

// Catalog is what a server holds. Make one with [Open]; it is safe for concurrent use.
type Catalog struct {
	store   store.Store
	far     *far   // nil over what is at hand
	state   string // folder for what is derived, "" for none
	log     *slog.Logger
	journal *journal
	recheck chan string // keys that were found changed while they were served
	doubts  chan string // files that broke off while they were served

	sweep, verifyEvery time.Duration
	removed            func(Removal)
	scope              string

	tarballs    tarballs
	maxSize     int64
	evicting    sync.Mutex   // one at a time
	reserved    atomic.Int64 // bytes of files that are about to be held
	usesChanged atomic.Bool

	recording  sync.Mutex // a record and its wheel come together
	collecting sync.Mutex // evidence

	mu         sync.RWMutex
	changed    func(dist.Name) // is told, with mu held, of projects to which something came; may be nil
	files      map[string]*File
	sidecars   map[string]*sidecar // by key
	builds     map[buildKey][]*Build
	evidence   map[string]int // by file, how often another build of it was sent
	conflicts  int            // all of these
	projects   map[dist.Name]*Project
	names      []dist.Name        // sorted, as they were before those in renamed came or went
	renamed    map[dist.Name]bool // those, and whether they are there now
	generation uint64             // of names
	bytes      int64
	expendable int64            // bytes of them that may be evicted
	uses       map[string]*uses // of files that may be
	newest     []*File          // that came last, the last first
	ignored    map[string]stamp // what the log was told of
}

// stamp tells one content of a file from another without reading it.
type stamp struct {
	size    int64
	modTime int64 // Unix nanoseconds
}

func stampOf(info store.Info) stamp { return stamp{info.Size, info.ModTime.UnixNano()} }

// Open lists the store and takes the files that are known from the state, and
// as many new ones as Patience allows.
func Open(ctx context.Context, config Config) (*Catalog, error) {
	c := &Catalog{
		store:   config.Store,
		state:   config.State,
		log:     cmp.Or(config.Log, slog.New(slog.DiscardHandler)),
		recheck: make(chan string, 64),
		doubts:  make(chan string, 8),
		uses:    make(map[string]*uses),
		names:   []dist.Name{},
		renamed: make(map[dist.Name]bool),

		maxSize: config.MaxSize, sweep: config.Sweep, verifyEvery: config.VerifyEvery, removed: config.Removed, scope: config.Scope,
		files:    make(map[string]*File),
		sidecars: make(map[string]*sidecar),
		builds:   make(map[buildKey][]*Build),
		evidence: make(map[string]int),
		projects: make(map[dist.Name]*Project),
		ignored:  make(map[string]stamp),
	}
	if notes, ok := config.Store.(store.Noter); ok {
		c.journal = &journal{log: c.log}
		c.far = newFar(c, notes, config)
		c.tarballs = farTarballs(config)
		return c, nil
	}
	var (
		known map[string]string
		infos []store.Info
		both  errgroup.Group
	)
	both.Go(func() error {
		c.journal, known = openJournal(config.State, c.log)
		c.journal.guest = config.Guest
		return nil
	})
	both.Go(func() (err error) {
		infos, err = c.reconcile(ctx)
		return err
	})
	var kept tarballs
	both.Go(func() (err error) {
		if kept, err = openTarballs(config); err != nil {
			c.log.Warn("tarballs of wheels that were made before cannot be used", "err", err)
		}
		return nil
	})
	if err := both.Wait(); err != nil {
		return nil, err
	}
	c.tarballs = kept
	found, fresh := remember(infos, known)
	var beside []store.Info
	fresh = slices.DeleteFunc(fresh, func(info store.Info) bool {
		_, _, ok := splitSidecar(info.Key)
		if ok {
			beside = append(beside, info)
		}
		return ok
	})
	if err := c.readNew(ctx, beside, 24*time.Hour); err != nil {
		return nil, err
	}
	c.files = make(map[string]*File, len(found))
	c.put(found...)
	if err := c.readNew(ctx, fresh, cmp.Or(config.Patience, 3*time.Second)); err != nil {
		return nil, err
	}
	c.loadUses()
	c.countEvidence()
	c.journal.compact(c.files)
	return c, nil
}

// readNew reads files until they are all read or patience is at its end.
func (c *Catalog) readNew(ctx context.Context, infos []store.Info, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, info := range infos {
		if time.Now().After(deadline) {
			c.log.Info("more files are being read in the background", "files", len(infos)-i)
			break
		}
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			c.examine(ctx, info.Key, 0)
			return nil
		})
	}
	return errors.Join(g.Wait(), ctx.Err())
}

// Close ends the writing of facts.
func (c *Catalog) Close() error {
	if c.far != nil {
		c.far.looks.close()
	}
	c.keepUses()
	return c.journal.close()
}

// Project gives what is held of a project, or nil.
func (c *Catalog) Project(name dist.Name) *Project {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.projects[name]
}

// File gives what is known of a file that is held, or nil.
func (c *Catalog) File(filename string) *File {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.files[filename]
}

// Stats counts what is held. Of what is far away that is what was counted last, or what this server remembers where nothing was; but
// projects are as many as there are names.
func (c *Catalog) Stats() Stats {
	c.mu.RLock()
	defer c.mu.RUnlock()
	stats := Stats{Projects: len(c.projects), Files: len(c.files), Bytes: c.bytes, TarballBytes: c.tarballs.bytes}
	if c.far == nil {
		return stats
	}
	if x := c.far.counted.last.Load(); x != nil {
		stats = Stats{x.Projects, x.Files, x.Bytes, x.TarballBytes, x.Time}
	}
	if c.far.names.known() {
		stats.Projects = len(c.names)
	}
	return stats
}

// Open opens a file that is held and may be had. Else the error is that of
// Offered; where the file was removed or changed by hand just now it wraps fs.ErrNotExist.
func (c *Catalog) Open(ctx context.Context, filename string) (io.ReadSeekCloser, *File, error) {
	f, err := c.Offered(filename)
	if err != nil {
		return nil, nil, err
	}
	r, info, err := c.store.Open(ctx, filename)
	if errors.Is(err, fs.ErrNotExist) {
		c.drop(filename)
	}
	if err != nil {
		return nil, nil, err
	}
	if f.expendable() != "" {
		c.used(filename)
	}
	if c.far != nil {
		c.demand(f)
	}
	if f.stamp() != stampOf(info) {
		r.Close()
		c.again(filename)
		return nil, nil, fmt.Errorf("%s: changed on disk, and not read again yet: %w", filename, fs.ErrNotExist)
	}
	return r, f, nil
}

// again has what is known of a key brought up to date.
func (c *Catalog) again(key string) {
	if c.far != nil {
		c.far.again(key)
		return
	}
	select {
	case c.recheck <- key:
	default: // so many are waiting that the next sweep will do
	}
}

func (f *File) stamp() stamp { return stamp{f.Size, f.ModTime.UnixNano()} }

// put takes files, or takes them anew.
func (c *Catalog) put(files ...*File) {
	defer c.sweepTarballs()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.take(files)
}

// take is put for who holds mu, and sweeps tarballs then.
func (c *Catalog) take(files []*File) {
	byProject := make(map[dist.Name][]*File)
	for _, f := range files {
		if old := c.files[f.Filename]; old != nil {
			if old.SHA256 != f.SHA256 {
				c.tarballs.forget(old.SHA256)
			}
			c.remove(old)
		}
		f = c.dressed(f)
		c.files[f.Filename] = f
		c.count(f, 1)
		c.want(f)
		c.noteNewest(f)
		delete(c.ignored, f.Filename)
		byProject[f.Name] = append(byProject[f.Name], f)
	}
	for name, added := range byProject {
		c.listed(name, true)
		c.projects[name] = c.marked(c.projects[name].with(name, added))
		if c.changed != nil {
			c.changed(name)
		}
	}
}

// drop forgets a file.
func (c *Catalog) drop(filename string) {
	defer c.sweepTarballs()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(filename)
}

// forget is drop for who holds mu, and sweeps tarballs then.
func (c *Catalog) forget(filename string) {
	delete(c.ignored, filename)
	if f := c.files[filename]; f != nil {
		c.tarballs.forget(f.SHA256)
		c.noteWithin(filename, nil, nil)
		c.remove(c.files[filename])
		c.log.Debug("a file is gone", "file", filename)
	}
	if c.sidecars[filename] != nil {
		c.note(filename, nil)
	}
}

// remove takes a file out. The caller holds mu.
func (c *Catalog) remove(f *File) {
	delete(c.files, f.Filename)
	c.count(f, -1)
	c.tarballs.stir()
	c.newest = slices.DeleteFunc(c.newest, func(g *File) bool { return g.Filename == f.Filename })
	if p := c.marked(c.projects[f.Name].without(f)); p != nil {
		c.projects[f.Name] = p
		return
	}
	delete(c.projects, f.Name)
	c.listed(f.Name, false)
}

// count counts a file that comes (1) or goes (-1). The caller holds mu.
func (c *Catalog) count(f *File, sign int64) {
	c.bytes += sign * f.Size
	c.tarballs.bytes += sign * f.Tarball.Size
	switch {
	case f.expendable() == "":
	case sign > 0:
		c.expendable += f.Size
		c.uses[f.Filename] = new(uses)
	default:
		c.expendable -= f.Size
		delete(c.uses, f.Filename)
	}
}
