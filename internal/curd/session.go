package curd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"curdling/internal/build"
	"curdling/internal/curds"
	"curdling/internal/dist"
	"curdling/internal/fit"
	"curdling/internal/index"
	"curdling/internal/install"
	"curdling/internal/metadata"
	"curdling/internal/python"
	"curdling/internal/wheel"
)

// session is what the solves, fetches and builds of one run share.
type session struct {
	Options
	own     *curds.Curds
	done    func()        // with the own cache
	client  *index.Client // of indexes and URLs
	caches  []*place
	indexes []*place

	pages    memo[pageKey, *index.Project]
	metadata memo[string, *metadata.Metadata] // by sha256 or URL of the file
	files    memo[string, held]               // likewise
	tarballs memo[string, unpacked]           // by sha256 of the tarball
	trees    memo[string, wheel.Tree]         // by sha256 of the wheel
	builds   memo[string, curds.Build]        // by sha256 of the source and key
	urls     memo[string, direct]             // by URL of a requirement
	links    memo[string, *index.Links]       // by folder or page of --find-links
	compiler *python.Compiler                 // nil: nothing is compiled
	siblings sync.Map                         // by URL of an sdist: a wheel of the same version, for other machines
	unfit    sync.Map                         // by URL of a file: why it is not used here, a sentence
	left     leftOut                          // by the policies on cache servers
	host     *fit.Host
	fresh    sync.Map // ids of the builds that this run made
	taken    sync.Map // ids of those that it had of a cache server
	sent     sync.Map // sentKeys of what cache servers have: true it went there in this run, false they had it
	waits    waits    // which build waits for which

	planning atomic.Pointer[planning] // nil: no cache server is asked for a plan
	guess    speculation

	// What runs beside the run itself; it ends with it.
	background context.Context
	stop       context.CancelFunc
	running    sync.WaitGroup

	published  sync.Map // by URL at a cache server: what the index says of the file (dist.File)
	admissions memo[string, admitted]

	variables func() map[string]string // of the environment that count for builds

	builders  queue // as many as there are processors build,
	preparers queue // and as many prepare metadata: the solve waits for them, and they are soon done
	begun     begunBuilds
	eager     bool     // what the user requires will be built
	required  sync.Map // by folder: the trees that builds require
	// buildCompiler is for these; nil: nothing is compiled.
	buildCompiler *python.Compiler
	unpacks       chan struct{} // a token for each under way

	wheels        bool                // wheels themselves are asked for: their trees alone will not do
	tarballMemory *semaphore.Weighted // for bytes
	streams       *semaphore.Weighted // for tarballs
}

// place is one server that projects come from.
type place struct {
	client   *index.Client
	name     string // of an index, "" has none
	base     string // root of its Simple API, perhaps with credentials
	root     string // of a cache server: where uploads go
	shown    string // base without credentials
	origin   Origin
	public   bool // the default index
	explicit bool // see NamedIndex

	// Of a cache server: alive ends when it is lost, with the reason.
	alive context.Context
	lose  context.CancelCauseFunc
	lost  atomic.Bool

	planOnce sync.Once
	planned  context.Context // ends when there is a plan, or none is waited for
	follows  atomic.Bool     // there was a plan

	noTarballs atomic.Bool // it sent a tarball that was none
}

type pageKey struct {
	place *place
	name  dist.Name
}

// held is a file that lies in the own cache.
type held struct {
	path, sha256 string
	downloaded   bool // in this run
}

func newSession(ctx context.Context, o Options) (*session, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Notify == nil {
		o.Notify = func(Event) {}
	}
	own, err := curds.Open(o.Home)
	if err != nil {
		return nil, err
	}
	done, err := own.Use(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{
		Options:   o,
		own:       own,
		host:      fit.ThisHost(),
		done:      done,
		variables: sync.OnceValue(func() map[string]string { return build.Counted(nil) }),
		builders:  queue{free: runtime.GOMAXPROCS(0)},
		preparers: queue{free: runtime.GOMAXPROCS(0)},
		unpacks:   make(chan struct{}, runtime.GOMAXPROCS(0)),

		tarballMemory: semaphore.NewWeighted(tarballMemory), streams: semaphore.NewWeighted(streams),
	}
	s.background, s.stop = context.WithCancel(ctx)
	if err := s.connect(); err != nil {
		s.stop()
		done()
		return nil, err
	}
	indexes := o.Indexes
	switch {
	case o.NoIndex:
		indexes = nil
	case len(indexes) == 0 && o.DefaultIndex != "":
		indexes = []NamedIndex{{URL: o.DefaultIndex}}
	}
	for _, i := range indexes {
		s.indexes = append(s.indexes, &place{
			client: s.client, name: i.Name, base: i.URL, shown: index.Redact(i.URL), origin: Index,
			public: sameRoot(i.URL, o.DefaultIndex), explicit: i.Explicit,
		})
	}
	if err := s.checkPolicy(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// newSessionFor also finds the environment; nothing of it is to change.
func newSessionFor(ctx context.Context, o Options) (*session, install.Env, error) {
	s, err := newSession(ctx, o)
	if err != nil {
		return nil, install.Env{}, err
	}
	env, err := findPython(ctx, s.Python, s.own.Memory("python"))
	if err != nil {
		s.close()
		return nil, env, err
	}
	return s, env, nil
}

// connect makes the client of the indexes, and one for each cache server, so that one which is silent
// does not take the place of another's requests.
func (s *session) connect() error {
	settings, err := s.Options.client(s.own.Memory("http"))
	if err != nil {
		return err
	}
	settings.Log = s.log("index")
	if s.client, err = index.New(settings); err != nil {
		return err
	}
	// A cache server saves time or is passed by: it is not waited for.
	settings.Retries, settings.Timeout, settings.Connect, settings.Hasty = 1, cachePatience, connectPatience, true
	settings.Builds = true
	for _, c := range s.Caches {
		if u, err := url.Parse(c); err == nil && u.Scheme == "http" {
			settings.TrustedHosts = append(settings.TrustedHosts, u.Host) // no warning: it is in our own network
		}
	}
	for _, c := range s.Caches {
		root := strings.TrimSuffix(c, "/")
		p := &place{base: root + "/simple/", root: root, shown: index.Redact(root), origin: CacheServer}
		p.alive, p.lose = context.WithCancelCause(context.Background())
		if p.client, err = index.New(settings); err != nil {
			return err
		}
		s.caches = append(s.caches, p)
	}
	if len(s.caches) > 1 && !s.Offline {
		s.passBySilent(time.Now())
	}
	if s.own.Fresh() {
		for _, p := range s.caches {
			if p.failed() == nil {
				p.client.Connect(s.background, p.root, firstConnections)
			}
		}
	}
	return nil
}

// client says how servers are spoken to; cache may be nil.
func (o *Options) client(cache index.Cache) (index.Options, error) {
	settings := index.Options{
		UserAgent: o.UserAgent, Dial: o.dial, Cache: cache, Log: o.Log, Offline: o.Offline, Refresh: o.Force || o.Upgrade || len(o.UpgradeOf) > 0,
		CABundle: cmp.Or(o.Network.CABundle, os.Getenv("SSL_CERT_FILE")), ClientCert: o.Network.ClientCert,
		Proxy: o.Network.Proxy, TrustedHosts: slices.Clone(o.Network.TrustedHosts), Timeout: o.Network.Timeout, Retries: o.Network.Retries,
	}
	if o.Network.Keyring {
		settings.Keyring = "keyring"
	}
	if path := index.FindNetrc(os.Getenv); path != "" {
		netrc, err := index.ReadNetrc(path)
		if err != nil {
			return settings, err
		}
		settings.Credentials = netrc.Lookup
	}
	return settings, nil
}

// log gives the logger of a part of the program, which --log-name chooses by its name.
func (s *session) log(part string) *slog.Logger { return s.Log.With("logger", part) }

const (
	cachePatience   = 5 * time.Second // how long a cache server may be silent
	connectPatience = 2 * time.Second // how long it may take to connect to it
	silentFor       = time.Minute     // how long one of several that was silent is not asked again

	// firstConnections are made to a cache server while the interpreter is asked, where the own cache has nothing: then much will be asked for.
	firstConnections = 8
)

func sameRoot(a, b string) bool { return strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/") }

// close ends the session's connections, and its use of the own cache.
func (s *session) close() {
	defer s.done()
	s.stop()
	s.running.Wait()
	s.begun.close()
	if s.buildCompiler != nil {
		s.buildCompiler.Close()
	}
	s.client.Close()
	for _, c := range s.caches {
		c.client.Close()
	}
}

// clientFor gives the client that speaks to the server of a file.
func (s *session) clientFor(f dist.File) *index.Client {
	if c := s.cacheOf(f); c != nil {
		return c.client
	}
	return s.client
}

// private tells whether the default index must not hear of a name.
func (s *session) private(name dist.Name) bool {
	for _, glob := range s.Private {
		if ok, _ := path.Match(glob, string(name)); ok {
			return true
		}
	}
	return false
}

// page gives a project's page at a place; nil where the place does not know the project. A cache
// server that fails is warned of once and not asked again; one that refuses us is an error.
func (s *session) page(ctx context.Context, p *place, name dist.Name) (*index.Project, error) {
	page, err := s.pages.get(ctx, pageKey{p, name}, func() (*index.Project, error) {
		s.awaitPlan(ctx, p)
		return askPlace(ctx, p, func(ctx context.Context) (*index.Project, error) {
			s.Notify(Event{Phase: Resolving, Kind: Progress, Name: string(name)})
			s.Notify(Event{Phase: Asking, Kind: Begin, Name: string(name)})
			defer s.Notify(Event{Phase: Asking, Kind: End, Name: string(name)})
			return p.client.Project(ctx, p.base, name)
		})
	})
	if p.failed() != nil {
		return nil, nil
	}
	switch {
	case err == nil:
		return page, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, index.ErrOffline) && p.origin == CacheServer:
		return nil, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, fs.ErrPermission) && p.origin == CacheServer:
		return nil, fmt.Errorf("cache server %s refuses us (%w); give the user and password in the URL, in netrc or in CURD_CACHES", p.shown, err)
	case p.origin == CacheServer:
		s.giveUp(p, err)
		return nil, nil
	default:
		return nil, fmt.Errorf("index %s: %w", p.shown, err)
	}
}

// askPlace asks a place, which may be nil, until it is lost; then the error is why it was.
func askPlace[T any](ctx context.Context, p *place, ask func(context.Context) (T, error)) (answer T, err error) {
	if p == nil || p.alive == nil {
		return ask(ctx)
	}
	if err := p.failed(); err != nil {
		return answer, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.alive, cancel)()
	if answer, err = ask(ctx); err != nil {
		err = cmp.Or(p.failed(), err)
	}
	return answer, err
}

// failed tells why a place is not asked any more, nil where it is.
func (p *place) failed() error {
	if p.alive == nil {
		return nil
	}
	return context.Cause(p.alive)
}

// giveUp goes on without a cache server: what it is asked just now ends, too.
func (s *session) giveUp(p *place, err error) {
	if p.lost.CompareAndSwap(false, true) {
		p.lose(err)
		if index.IsSilence(err) {
			s.own.Memory("silent").Put(p.shown, []byte(time.Now().UTC().Format(time.RFC3339)))
		}
		how := "does not answer"
		if wrongBytes(err) {
			how = "sends something else than it lists"
		}
		s.warn("cache server %s %s, going on without it: %v", p.shown, how, err)
	}
}

// passBySilent leaves out the cache servers that were silent a short while before now: a run that is one of many
// does not wait for them again.
func (s *session) passBySilent(now time.Time) {
	for _, p := range s.caches {
		noted, _ := s.own.Memory("silent").Get(p.shown)
		since, err := time.Parse(time.RFC3339, string(noted))
		if age := now.Sub(since); err == nil && age >= 0 && age < silentFor {
			p.lost.Store(true)
			p.lose(fmt.Errorf("it was silent %d s ago", int(age.Seconds())))
			s.warn("cache server %s was silent %d s ago, going on without it; it is asked again a minute after", p.shown, int(age.Seconds()))
		}
	}
}

func (s *session) warn(format string, args ...any) {
	s.Notify(Event{Kind: Warning, Name: fmt.Sprintf(format, args...)})
}
