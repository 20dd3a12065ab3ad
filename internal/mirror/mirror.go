// Package mirror has what other indexes have: a project's page is fetched when
// somebody asks for it, a file when it is missed, and both are kept.
//
// Of several upstreams the first that knows a name has it; one that fails stops
// the search, so that no other can take its names while it is down. A page is used
// as long as its upstream says, but for at least 15 s and at most an hour; then it
// is asked again whether it has changed. While no answer comes the old page goes
// on being used, and is said to be stale. That no upstream knows a name is
// remembered for half a minute. Any number of requests for one page or one file
// are one request upstream, which does not end when a client goes away.
//
// A file's bytes are passed on while they arrive, but for the last 64 KiB, which
// wait until the hash is checked: other bytes than the upstream's page promised
// are never passed on whole, and never kept. Where the page tells no hash or
// nobody tells the size, nothing is passed on before the file is whole and was
// opened. A download that breaks is resumed; where the upstream cannot resume, what
// comes again is compared with what came before.
//
// # Whose a name is
//
// A name is private where Config.Private says so, or where somebody put a file of
// the project here before one was fetched from an upstream: whoever registers the
// name upstream later, with whatever version, is not asked, and does not even learn
// of it. Else it is its upstream's: what somebody puts here is laid over the upstream's
// page (a build, say), and a file that the upstream publishes is taken from nobody
// with other bytes. Which projects files were fetched of is written down in a text file
// (Config.Claims) before the first one is kept. Config.Public names the upstream's
// whatever lies here.
//
// A cool-down (Config.Newest) leaves out what was published after a moment, and
// what does not say when it was.
package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/store"
)

const (
	shortestUse = 15 * time.Second // of a page, whatever its upstream says
	longestUse  = time.Hour
	absentUse   = 30 * time.Second // of the answer that nobody knows a name
	refusedUse  = 5 * time.Second  // of what an upstream said no to, or what it has and nobody can use
)

// waits are how long others are waited for.
type waits struct {
	patience  time.Duration // for a page, where there is an older one
	page      time.Duration // for a sign of life
	file      time.Duration // likewise
	firstByte time.Duration // of a file, all attempts together
	retries   int           // of a file; the waits between them grow to 10 s
}

var usual = waits{patience: 500 * time.Millisecond, page: 10 * time.Second, file: 15 * time.Second, firstByte: 30 * time.Second, retries: 8}

// Config says what to mirror, and where to.
type Config struct {
	Catalog   *catalog.Catalog
	Upstreams []Upstream // in order
	// Private and Public are globs of project names, in any spelling. Where both
	// fit a name is private.
	Private, Public []string
	// Newest gives the moment after which files must not have been published; nil is no such moment.
	Newest  func(now time.Time) time.Time
	Offline bool // ask no upstream: only what is held is shown
	// State is a folder for pages and metadata, which may be deleted while no server
	// runs; "" keeps them in memory alone.
	State string
	// Claims is the path of the text file of the names that are an upstream's; "" keeps them in memory alone.
	Claims string
	// Shared is where several servers write these names down, below "upstream/"; nil: Claims.
	Shared    store.Versioned
	UserAgent string // "" is "curdling"
	// Credentials is asked who we are where a URL does not say it; nil knows nobody.
	Credentials func(*url.URL) (user, password string, ok bool)
	Log         *slog.Logger // nil is silent

	waits waits            // zero is usual
	now   func() time.Time // nil is time.Now
}

// Upstream is another index.
type Upstream struct {
	Name string // "pypi"
	URL  string // root of its Simple API; may hold credentials
}

// Error says that an upstream could not be asked.
type Error struct {
	Upstream string
	Err      error
}

func (e *Error) Error() string { return "upstream " + e.Upstream + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Mirror is safe for concurrent use. Make one with [New].
type Mirror struct {
	catalog         *catalog.Catalog
	upstreams       []*upstream
	private, public []string
	claims          names
	newest          func(time.Time) time.Time
	offline         bool
	log             *slog.Logger

	pages projects
	count counters

	mu        sync.Mutex // of what follows
	transfers map[string]*transfer
	failures  map[string]failure

	ctx  context.Context // ends what is under way
	stop context.CancelFunc
	work sync.WaitGroup

	now   func() time.Time
	waits waits
}

// New makes a mirror. An error names the option that cannot be followed.
func New(config Config) (*Mirror, error) {
	m := &Mirror{
		catalog:   config.Catalog,
		newest:    config.Newest,
		offline:   config.Offline,
		log:       cmp.Or(config.Log, slog.New(slog.DiscardHandler)),
		transfers: make(map[string]*transfer),
		failures:  make(map[string]failure),
		now:       config.now,
		waits:     cmp.Or(config.waits, usual),
	}
	if m.now == nil {
		m.now = time.Now
	}
	m.pages.init()
	var err error
	if m.private, err = globs(config.Private); err == nil {
		m.public, err = globs(config.Public)
	}
	if err != nil {
		return nil, err
	}
	if config.Shared != nil {
		m.claims = newSharedClaims(config.Shared)
	} else if m.claims, err = openClaims(config.Claims); err != nil {
		return nil, fmt.Errorf("the names that are an upstream's: %w", err)
	}
	for _, u := range config.Upstreams {
		one, err := newUpstream(u, config, m.waits, m.log)
		if err != nil {
			m.closeUpstreams()
			return nil, errors.Join(err, m.claims.close())
		}
		m.upstreams = append(m.upstreams, one)
	}
	m.ctx, m.stop = context.WithCancel(context.Background())
	if config.State != "" {
		m.work.Go(func() { cache(config.State).prune(m.ctx, m.now()) })
	}
	return m, nil
}

// Close ends what is under way.
func (m *Mirror) Close() error {
	m.stop()
	m.work.Wait()
	m.closeUpstreams()
	return m.claims.close()
}

func (m *Mirror) closeUpstreams() {
	for _, u := range m.upstreams {
		u.recalled.Close()
		u.pages.Close()
		u.files.Close()
	}
}

// upstream is another index, with what is known of its health.
type upstream struct {
	Upstream
	// Of what it said before, of its pages, of its files: what waits for one does not hold up another.
	recalled, pages, files *index.Client
	health
}

func newUpstream(u Upstream, config Config, waits waits, log *slog.Logger) (*upstream, error) {
	at, err := url.Parse(u.URL)
	if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
		return nil, fmt.Errorf("upstream %s: %q is not a URL of the form https://HOST/simple/", u.Name, index.Redact(u.URL))
	}
	o := index.Options{
		UserAgent: config.UserAgent, Credentials: config.Credentials, Log: log.With("upstream", u.Name),
		Refresh: true, Retries: 2, Timeout: waits.page,
	}
	if config.State != "" {
		o.Cache = cache(config.State) // its keys tell upstreams apart
	} else {
		o.Cache = new(memory)
	}
	one := &upstream{Upstream: u}
	if one.pages, err = index.New(o); err != nil {
		return nil, fmt.Errorf("upstream %s: %w", u.Name, err)
	}
	o.Retries, o.Timeout = waits.retries, waits.file
	if one.files, err = index.New(o); err != nil {
		return nil, fmt.Errorf("upstream %s: %w", u.Name, err)
	}
	o.Offline = true
	if one.recalled, err = index.New(o); err != nil {
		return nil, fmt.Errorf("upstream %s: %w", u.Name, err)
	}
	return one, nil
}

// globs reads patterns of names, which are compared with normalised ones.
func globs(patterns []string) ([]string, error) {
	var all []string
	for _, p := range patterns {
		normal := strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(p))
		if _, err := path.Match(normal, ""); err != nil || p == "" {
			return nil, fmt.Errorf("%q is no pattern of names: write one like acme-*", p)
		}
		all = append(all, normal)
	}
	return all, nil
}

func matches(patterns []string, name dist.Name) bool {
	for _, p := range patterns {
		if ok, _ := path.Match(p, string(name)); ok {
			return true
		}
	}
	return false
}

// isPrivate tells whether no upstream is asked for a name.
func (m *Mirror) isPrivate(ctx context.Context, name dist.Name, held bool) (bool, error) {
	if private, sure := m.settled(name); sure {
		return private, nil
	}
	o, err := m.claims.owner(ctx, name)
	if err != nil {
		return false, fmt.Errorf("whose name %s is: %w", name, err)
	}
	return o.private(held), nil
}

// settled tells whether a name is private where that does not depend on whose it was first.
func (m *Mirror) settled(name dist.Name) (private, sure bool) {
	private = matches(m.private, name)
	return private, private || matches(m.public, name)
}

// private tells that no upstream is asked for a name of that owner.
func (o owner) private(held bool) bool { return o == house || o == nobodys && held }

// Private tells that a name of which something is held is asked of no upstream.
func (m *Mirror) Private(ctx context.Context, name dist.Name) (bool, error) {
	return m.isPrivate(ctx, name, true)
}

// claim writes down that a name is an upstream's, unless it is private.
func (m *Mirror) claim(ctx context.Context, name dist.Name) error {
	if err := m.catalog.FreshNow(ctx, name); err != nil {
		return err
	}
	private, err := m.isPrivate(ctx, name, m.catalog.Project(name) != nil)
	if err == nil && !private {
		var o owner
		o, err = m.claims.take(ctx, name, upstreams)
		private = o != upstreams && !matches(m.public, name)
	}
	if err != nil {
		return err
	}
	if private {
		return fmt.Errorf("%s is private here: somebody put a file of it into the store", name)
	}
	return nil
}

// Uploaded is to be told, before the uploader is, of a file that somebody put here and that is no upstream's ([Mirror.Admit]): its name is the house's
// from then on, unless it is an upstream's already.
func (m *Mirror) Uploaded(ctx context.Context, filename string) error {
	var name dist.Name
	if f := m.catalog.File(filename); f != nil {
		name = f.Name
	} else if all := candidates(filename); len(all) > 0 {
		name = all[0]
	}
	if _, sure := m.settled(name); sure || name == "" {
		return nil
	}
	_, err := m.claims.take(ctx, name, house)
	return err
}

// PrivateHeld gives the names of which something is held here and that no upstream is asked for, sorted. Of what lies far away
// nobody knows that without asking for each.
func (m *Mirror) PrivateHeld() (names []dist.Name) {
	if m.catalog.Far() {
		return nil
	}
	all, _ := m.catalog.Names()
	for _, name := range all {
		if private, _ := m.isPrivate(m.ctx, name, true); private {
			names = append(names, name)
		}
	}
	return names
}
