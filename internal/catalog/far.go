package catalog

import (
	"bytes"
	"cmp"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"curdling/internal/dist"
	"curdling/internal/record"
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

// learnt is what reading told of one key.
type learnt struct {
	info              store.Info
	file              *File
	record, signature *sidecar // that are in its note
	sidecar           *sidecar
	err               error // what lies there cannot be used
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

// FreshFile is Fresh for the project of a file, or of what lies beside one. Of a file that is held what is known may be a minute old: names
// do not change their content. That a file is not held is known as of now: another server may have told of it just before.
func (c *Catalog) FreshFile(ctx context.Context, filename string) error {
	if c.far == nil {
		return nil
	}
	name, ok := projectOf(filename)
	if !ok {
		return nil
	}
	p := c.far.project(name)
	if p == nil {
		return nil
	}
	of, _, beside := splitSidecar(filename)
	switch {
	case !beside && c.File(filename) != nil:
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
	if r == nil || !record.IsHash(from) || !record.IsHash(key) {
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

// listing is what a project's listing told.
type listing struct {
	began    uint64
	infos    []store.Info
	tarballs map[string]dist.Tarball // by the name that they share with the wheel of those bytes
}

// lookAtProject lists a project, and reads what is new.
func (r *far) lookAtProject(ctx context.Context, p *place) error {
	l := listing{began: r.ticks.Add(1)}
	for info, err := range r.store.ListGroup(ctx, p.key) {
		switch {
		case err != nil:
			return err
		case strings.HasSuffix(info.Key, wheel.TarballSuffix):
			l.addTarball(info)
		default:
			l.infos = append(l.infos, info)
		}
	}
	news, changed := r.compare(p, l)
	all, err := r.learn(ctx, p, news)
	if err != nil {
		return err
	}
	if changed {
		r.take(p, l, all)
	}
	r.shrink()
	return nil
}

// A tarball lies beside its wheel as WHEEL.OF-OWN.tar.zst, where OF begins the wheel's sha256 and OWN is its own: a name that went and came
// again with other bytes has none of the old ones.
const tarballOf = 16

func tarballName(f *File) string { return f.Filename + "." + f.SHA256[:tarballOf] }

func tarballKey(f *File, own dist.Tarball) string {
	return tarballName(f) + "-" + own.SHA256 + wheel.TarballSuffix
}

// addTarball notes a tarball. Of several, which servers of different versions made, all servers take the same.
func (l *listing) addTarball(info store.Info) {
	stem := strings.TrimSuffix(info.Key, wheel.TarballSuffix)
	dash := strings.LastIndexByte(stem, '-')
	if dash < 0 || !isSHA256(stem[dash+1:]) || info.Size <= 0 {
		return
	}
	if l.tarballs == nil {
		l.tarballs = make(map[string]dist.Tarball)
	}
	if known := l.tarballs[stem[:dash]]; known.SHA256 == "" || stem[dash+1:] < known.SHA256 {
		l.tarballs[stem[:dash]] = dist.Tarball{SHA256: stem[dash+1:], Size: info.Size}
	}
}

// tarball gives the tarball that was listed of a file; the zero value is of what has none.
func (l *listing) tarball(f *File) dist.Tarball {
	if len(l.tarballs) == 0 || !f.hasTarball() {
		return dist.Tarball{}
	}
	return l.tarballs[tarballName(f)]
}

// compare finds what is new in a listing, and tells whether anything is, or is gone.
func (r *far) compare(p *place, l listing) (news []store.Info, changed bool) {
	c, now := r.c, time.Now()
	c.mu.RLock()
	defer c.mu.RUnlock()
	known := len(p.beside)
	if held := c.projects[dist.Name(p.key)]; held != nil {
		known += len(held.Files)
		changed = slices.ContainsFunc(held.Files, func(f *File) bool { return f.Tarball != l.tarball(f) })
	}
	for _, info := range l.infos {
		if !c.knows(info) || c.sidecars[info.Key].unsettled(now) {
			news = append(news, info)
		}
	}
	return news, changed || len(news) > 0 || len(l.infos) != known || p.tick == 0
}

// unsettled tells that a sidecar may have changed within the second that its time is of, and is to be read again.
func (s *sidecar) unsettled(now time.Time) bool {
	return s != nil && !s.settled && !s.within && now.Sub(s.seen) >= sidecarSettled
}

// learn reads what is new.
func (r *far) learn(ctx context.Context, p *place, news []store.Info) ([]learnt, error) {
	var (
		all    = make([]learnt, len(news))
		failed = make([]error, len(news))
		count  atomic.Int64
		in     = &sharedCommon{common: newCommon()}
		g      errgroup.Group
	)
	g.SetLimit(readAtOnce)
	for i, info := range news {
		if l, ok := p.unused[info.Key]; ok && stampOf(l.info) == stampOf(info) {
			all[i] = l
			continue
		}
		g.Go(func() error {
			select {
			case r.reading <- struct{}{}:
				defer func() { <-r.reading }()
			case <-ctx.Done():
			}
			if failed[i] = ctx.Err(); failed[i] == nil && count.Load() < mostFailed {
				all[i], failed[i] = r.read(ctx, dist.Name(p.key), info, in)
			}
			if failed[i] != nil {
				count.Add(1)
			}
			return failed[i]
		})
	}
	err := g.Wait()
	p.unused = nil
	if err != nil { // what was learnt need not be learnt again
		p.unused = make(map[string]learnt)
		for i, l := range all {
			if failed[i] == nil && l.info.Key != "" {
				p.unused[l.info.Key] = l
			}
		}
	}
	return all, err
}

// sharedCommon is a common for several goroutines.
type sharedCommon struct {
	mu sync.Mutex
	*common
}

// read reads one key; an error is the store's. What is gone by now is the zero value.
func (r *far) read(ctx context.Context, name dist.Name, info store.Info, in *sharedCommon) (learnt, error) {
	l := learnt{info: info}
	if of, ok := projectOf(info.Key); !ok || of != name {
		if _, l.err = dist.ParseFilename(info.Key, ""); l.err == nil || of != "" {
			l.err = fmt.Errorf("it lies among the files of %s", name)
		}
		r.c.log.Warn("ignored", "file", info.Key, "err", l.err)
		return l, nil
	}
	var err error
	if _, _, beside := splitSidecar(info.Key); beside {
		l.sidecar, l.info, err = r.readBeside(ctx, info.Key)
	} else {
		err = r.readNote(ctx, &l, in)
	}
	var invalid *InvalidError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return learnt{}, nil
	case errors.As(err, &invalid):
		r.c.log.Warn("ignored", "file", info.Key, "err", err)
		l.info, l.err = info, err
		return l, nil
	}
	return l, err
}

// readNote learns what is known of a file. Where its note does not tell all that is needed, the file itself is read.
func (r *far) readNote(ctx context.Context, l *learnt, in *sharedCommon) error {
	text, info, err := r.store.Note(ctx, l.info.Key)
	if err != nil {
		return err
	}
	n, err := in.noted(text, info)
	if l.file, l.info = n.file, info; l.file == nil {
		r.c.log.Debug("a file's note does not tell all, and the file is read", "file", info.Key)
		return r.readFile(ctx, l)
	}
	if err != nil { // as if it were no build it must not be shown
		return &InvalidError{fmt.Errorf("the record in its note: %w", err)}
	}
	if n.build != nil {
		l.record = &sidecar{within: true, build: n.build}
		if n.signed {
			l.signature = &sidecar{within: true}
		}
	}
	return nil
}

// noted is what a note tells of a file.
type noted struct {
	file   *File  // nil: it does not tell all
	whole  bool   // all of it could be read
	build  *Build // that made the file; nil: it tells of none
	signed bool   // there is a signature of the build's record
}

// noted reads the note of a file that lies in the store as info says. An error is of the record in it.
func (in *sharedCommon) noted(note []byte, info store.Info) (n noted, err error) {
	var x facts
	if len(note) <= maxNote {
		x, n.whole = parseFacts(string(note))
	}
	x.ModTime = info.ModTime.UnixNano()
	in.mu.Lock()
	n.file = x.file(info, in.common)
	in.mu.Unlock()
	if n.file == nil || x.Record == "" {
		return n, nil
	}
	n.signed = x.Signature != ""
	if n.build, err = readBuild([]byte(x.Record), info.Key); err == nil && n.build.SHA256 != n.file.SHA256 {
		err = errors.New("it is of another wheel")
	}
	return n, err
}

// readFile reads a file whole, as [Catalog.examine] does.
func (r *far) readFile(ctx context.Context, l *learnt) error {
	content, info, err := r.store.Open(ctx, l.info.Key)
	if err != nil {
		return err
	}
	defer content.Close()
	copied, err := r.c.Spool()
	if err != nil {
		return err
	}
	defer os.Remove(copied.Name())
	defer copied.Close()
	h := sha256.New()
	if n, err := io.Copy(io.MultiWriter(copied, h), io.LimitReader(content, info.Size)); err != nil || n != info.Size {
		return cmp.Or(err, io.ErrUnexpectedEOF)
	}
	if l.file, _, err = check(copied, info.Size, info.Key); err != nil {
		return err
	}
	l.info = info
	l.file.came(info, From{})
	l.file.SHA256 = hex.EncodeToString(h.Sum(nil))
	return nil
}

// readBeside reads a sidecar.
func (r *far) readBeside(ctx context.Context, key string) (*sidecar, store.Info, error) {
	content, info, err := r.store.Open(ctx, key)
	if err != nil {
		return nil, info, err
	}
	defer content.Close()
	text, err := io.ReadAll(io.LimitReader(content, MaxSidecar+1))
	if err != nil {
		return nil, info, err
	}
	s, err := readSidecar(bytes.NewReader(text), info)
	if err != nil {
		return nil, info, &InvalidError{err}
	}
	s.seen = time.Now()
	s.settled = s.seen.Sub(info.ModTime) > sidecarOld
	return s, info, nil
}

// take takes what a listing and what was read after it told of a project, in one step.
func (r *far) take(p *place, told listing, all []learnt) {
	c := r.c
	defer c.sweepTarballs()
	c.mu.Lock()
	defer c.mu.Unlock()
	// What was written while it was listed is known better.
	newer := func(key string) bool { return p.written[key] > told.began }
	var files []*File
	for _, l := range all {
		key := l.info.Key
		switch {
		case newer(key):
		case l.err != nil:
			c.forget(key)
			c.ignored[key] = stampOf(l.info)
		case l.sidecar != nil:
			c.noteAgain(key, l.sidecar)
		case l.file != nil:
			c.noteWithin(key, l.record, l.signature)
			c.knowTarball(l.file, told.tarball(l.file))
			files = append(files, l.file)
		}
	}
	c.take(files)
	there := make(map[string]bool, len(told.infos))
	for _, info := range told.infos {
		there[info.Key] = true
	}
	var gone []string
	if held := c.projects[dist.Name(p.key)]; held != nil {
		for _, f := range held.Files {
			if !there[f.Filename] && !newer(f.Filename) {
				gone = append(gone, f.Filename)
			} else if own := told.tarball(f); own != f.Tarball && !newer(tarballName(f)) {
				c.knowTarball(f, own)
				c.renew(f)
			}
		}
	}
	for key := range p.beside {
		if !there[key] && !newer(key) {
			gone = append(gone, key)
			delete(p.beside, key)
		}
	}
	for _, key := range gone {
		c.forget(key)
	}
	if p.beside == nil {
		p.beside = make(map[string]bool)
	}
	for key := range there {
		if c.files[key] == nil && !newer(key) {
			p.beside[key] = true
		} else if c.files[key] != nil {
			delete(p.beside, key)
		}
	}
	maps.DeleteFunc(p.written, func(_ string, tick uint64) bool { return tick <= told.began })
	p.tick = max(p.tick, told.began)
	// Others may have uploaded the first of its files, or removed the last.
	c.listed(dist.Name(p.key), c.projects[dist.Name(p.key)] != nil)
	r.weigh(p)
}

// noteAgain is note for what was read again, where mostly it says the same. The caller holds mu.
func (c *Catalog) noteAgain(key string, s *sidecar) {
	old := c.sidecars[key]
	switch {
	case old == nil:
	case old.within && old.build != nil:
		return // what came with the file counts more
	case !old.within && old.stamp == s.stamp && old.says(s):
		old.settled = s.settled || s.seen.Sub(old.seen) >= sidecarSettled
		return
	}
	c.note(key, s)
}

// says tells whether two sidecars of one key say the same.
func (s *sidecar) says(other *sidecar) bool {
	return s.status == other.status && s.reason == other.reason &&
		(s.build == other.build || s.build != nil && other.build != nil && *s.build == *other.build)
}

// noteWithin is note for what a file's note says of its record, and its signature. The caller holds mu.
func (c *Catalog) noteWithin(filename string, record, signature *sidecar) {
	for _, x := range []struct {
		suffix string
		s      *sidecar
	}{{RecordSuffix, record}, {SignatureSuffix, signature}} {
		key := filename + x.suffix
		old := c.sidecars[key]
		switch {
		case x.s == nil && old != nil && old.within, x.s != nil && (old == nil || old.within || x.s.build != nil):
			c.note(key, x.s)
		}
	}
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

// wrote learns of a sidecar that this server wrote, or removed.
func (r *far) wrote(ctx context.Context, key string) {
	c := r.c
	name, ok := projectOf(key)
	if !ok {
		return
	}
	s, _, err := r.readBeside(ctx, key)
	p := r.project(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.stale()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.beside == nil {
		p.beside = make(map[string]bool)
	}
	if p.beside[key] = true; s == nil {
		delete(p.beside, key)
	}
	r.mark(p, key)
	c.note(key, s)
	r.weigh(p)
}

// mark notes that this server wrote a key of a project. The caller holds Catalog.mu.
func (r *far) mark(p *place, key string) {
	if p.written == nil {
		p.written = make(map[string]uint64)
	}
	p.tick = r.ticks.Add(1)
	p.written[key] = p.tick
}

// again has the next who asks for a key's project look.
func (r *far) again(key string) {
	if name, ok := projectOf(key); ok {
		if p := r.project(name); p != nil {
			p.stale()
		}
	}
}

// heldNow gives a file that is held, by what the store says now: who is told that what he sent is held need not send it again.
func (r *far) heldNow(ctx context.Context, filename string) (*File, error) {
	name, ok := projectOf(filename)
	if !ok {
		return nil, nil
	}
	p := r.project(name)
	if err := p.sure(ctx, p.look); err != nil {
		return nil, err
	}
	f := r.c.File(filename)
	if f == nil {
		return nil, nil
	}
	now, err := r.stat(ctx, filename)
	switch {
	case err == nil && stampOf(now) == f.stamp():
		return f, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	err = p.anew(ctx, p.look)
	return r.c.File(filename), err
}

// stat asks the store for a file that is known.
func (r *far) stat(ctx context.Context, filename string) (store.Info, error) {
	if s, ok := r.store.(store.Stater); ok {
		return s.Stat(ctx, filename)
	}
	_, info, err := r.store.Note(ctx, filename)
	return info, err
}

// keep is the end of [Upload.Keep]: what others need that find the file, then the file and its note in one step.
func (r *far) keep(ctx context.Context, u *Upload, f *File, metadata []byte, from From) (created bool, err error) {
	c := r.c
	if name, ok := projectOf(u.Filename); !ok || name != f.Name {
		return false, &InvalidError{fmt.Errorf("%s: it is of the project %s, and its name is read as one of %s; build it anew with a tool that names it %s-%s.tar.gz",
			u.Filename, f.Name, name, strings.ReplaceAll(string(f.Name), "-", "_"), f.Version)}
	}
	var l learnt
	f.SHA256 = u.SHA256
	f.came(store.Info{ModTime: time.Unix(0, 0)}, from)
	x := factsOf(f)
	if u.Record != nil {
		if err := u.checkRecord(); err != nil {
			return false, err
		}
		x.Record, x.Signature = string(u.Record), string(u.Signature)
		b, err := readBuild(u.Record, u.Filename)
		if err != nil {
			return false, &InvalidError{err}
		}
		l.record = &sidecar{within: true, build: b}
		if u.Signature != nil {
			l.signature = &sidecar{within: true}
		}
		if err := r.deriveBuild(ctx, b); err != nil {
			return false, err
		}
	}
	if f.HasMetadata {
		if err := r.derive(ctx, metadataKey(u.SHA256), metadata); err != nil {
			return false, err
		}
	}
	var note bytes.Buffer
	if err := x.write(&note); err != nil {
		return false, err
	}
	err = r.store.CreateNoted(ctx, u.Filename, u.SHA256, note.Bytes(), u.spooled, u.Size)
	p := r.project(f.Name)
	if errors.Is(err, fs.ErrExist) {
		if err := p.anew(ctx, p.look); err != nil {
			return false, err
		}
		return false, u.compare(ctx, c.File(u.Filename), from.User)
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", u.Filename, err)
	}
	_, info, err := r.store.Note(ctx, u.Filename)
	if err != nil { // it is held, and seen with the next listing
		p.stale()
		return true, nil
	}
	f.came(info, from)
	c.mu.Lock()
	defer c.mu.Unlock()
	r.mark(p, u.Filename)
	c.noteWithin(u.Filename, l.record, l.signature)
	c.take([]*File{f})
	c.tarballs.want(c.files[u.Filename])
	r.weigh(p)
	if c.files[f.Filename].expendable() == "" {
		r.counted.since.Add(f.Size)
	}
	return true, nil
}

// shareTarball keeps a tarball that was made where all servers find it.
func (r *far) shareTarball(ctx context.Context, f *File, own dist.Tarball, content io.Reader) error {
	if err := r.store.Create(ctx, tarballKey(f, own), content, own.Size); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if p := r.project(f.Name); p != nil {
		r.c.mu.Lock()
		defer r.c.mu.Unlock()
		r.mark(p, tarballName(f))
	}
	return nil
}

// derive keeps what can be made again where servers share it. Of what is there already the content is the same.
func (r *far) derive(ctx context.Context, key string, content []byte) error {
	if r.derived == nil {
		return nil
	}
	if err := r.derived.Create(ctx, key, bytes.NewReader(content), int64(len(content))); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// deriveBuild has a build found by its source and key.
func (r *far) deriveBuild(ctx context.Context, b *Build) error {
	return r.derive(ctx, "builds/"+b.From+"/"+b.Key+"/"+b.Filename, nil)
}

// mostDerived is the largest file that is derived, in bytes.
const mostDerived = 16 << 20

// derivedFile reads what servers share; nil where it is not there, or cannot be had now.
func (r *far) derivedFile(ctx context.Context, key string) []byte {
	if r.derived == nil {
		return nil
	}
	content, info, err := r.derived.Open(ctx, key)
	if err != nil {
		return nil
	}
	defer content.Close()
	text, err := io.ReadAll(io.LimitReader(content, mostDerived))
	if err != nil || int64(len(text)) != info.Size {
		return nil
	}
	return text
}

// within gives a record or a signature that is in a file's note.
func (r *far) within(ctx context.Context, filename, suffix string) ([]byte, error) {
	text, _, err := r.store.Note(ctx, filename)
	if err != nil {
		return nil, err
	}
	x, ok := parseFacts(string(text))
	found := x.Record
	if suffix == SignatureSuffix {
		found = x.Signature
	}
	if !ok || found == "" {
		return nil, fmt.Errorf("%s%s: %w", filename, suffix, fs.ErrNotExist)
	}
	return []byte(found), nil
}

// keepEvidence is [Upload.keepEvidence] where servers share it.
func (r *far) keepEvidence(ctx context.Context, u *Upload, e Evidence, about []byte) (kept, again bool) {
	if r.derived == nil {
		return false, false
	}
	n, name := 0, "evidence/"+e.Sent[:evidenceHash]+"-"+u.Filename
	for info, err := range r.derived.List(ctx, "evidence/") {
		if err != nil {
			return false, false
		}
		if n++; info.Key == name {
			return true, true
		}
	}
	if n >= 2*mostEvidence {
		return false, false
	}
	err := r.derive(ctx, name+".json", about)
	if err == nil {
		err = r.derived.Create(ctx, name, io.NewSectionReader(u.spooled, 0, u.Size), u.Size)
	}
	return err == nil, errors.Is(err, fs.ErrExist)
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

// metadataKey is where servers share the METADATA of the wheel with that hash.
func metadataKey(sha256 string) string { return "metadata/" + sha256[:2] + "/" + sha256 }
