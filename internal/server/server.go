// Package server speaks HTTP for what a catalog holds, to browsers, to pip and
// its like, to the original Curdling client and to our own.
//
//	GET /                      the page; ?q= searches
//	GET /search?q=             what the page's search finds while typing, as JSON
//	GET /project/NAME          a project's page; /project/NAME/VERSION a version's
//	GET /simple/               the Simple repository API, HTML (PEP 503) or JSON (PEP 691) by
//	GET /simple/NAME/          Accept or ?format=
//	GET /p/FILE                a file; /p/FILE.metadata its METADATA (PEP 658)
//	PUT /p/FILE                an upload: the raw body, or a form whose field is named like the file
//	POST / and /legacy/        an upload as twine sends it
//	GET /api/ and /api/NAME    the original's lists
//	GET /api/stats             what is held, was served, and what builds saved
//	GET /s/REQUIREMENT         the best file for a requirement
//	POST /plan                 what it takes to install some requirements, in one answer (plan.go)
//	POST /builds/FROM/KEY      a build that all need, the lease to make it, or news of who makes it (builds.go)
//	GET /healthz               that the server lives; needs no password
//	GET /readyz                that it is of use now, and what it stands on; needs no password
//	GET /metrics               numbers for Prometheus
//
// HEAD works wherever GET does. An upload is answered 201, or 200 where the same
// bytes were held; 400 is a file that is not what its name says, 409 other bytes
// under a name that is held, 413 one that is too large, 507 no room. Errors are
// problem details (RFC 9457) for programs that accept JSON, a page for browsers,
// a line of text for the rest.
//
// A client that does not read or send for a minute is cut off, and one that reads
// may take as long as it likes; see [Limits] for the rest. Pages of other sites
// cannot have a browser upload.
//
// Who may do what an [auth.Policy] says: 401 is for who is not known, 403 for who may not, 429 for who
// guesses. Each upload, and each that was refused to somebody, stands in the audit log.
package server

import (
	"cmp"
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"curdling/internal/audit"
	"curdling/internal/auth"
	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/lane"
	"curdling/internal/mirror"
)

// DefaultMaxUpload is the size in bytes over which files are refused, where nothing else is said.
const DefaultMaxUpload = 2 << 30

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	stallTimeout  = time.Minute      // with nothing read or written
	finishTimeout = 30 * time.Second // for what is in flight at the end
	drainTimeout  = 5 * time.Second  // for a body that nobody wants
)

// Config says what to serve.
type Config struct {
	Catalog   *catalog.Catalog
	View      *catalog.View   // what those of main see; nil is what Catalog holds
	Scopes    *catalog.Scopes // below what Catalog holds; nil: who is bound to one may do nothing
	Mirror    *mirror.Mirror  // nil mirrors nothing
	Policy    auth.Policy     // the zero value lets everybody do everything
	MaxUpload int64           // bytes of one file; 0 is DefaultMaxUpload
	Log       *slog.Logger    // nil is silent; at debug level it is told each request

	Audit       *audit.Log   // is told of each upload; nil: nothing is
	Certificate *Certificate // for TLS; nil: plain HTTP
	// TrustedProxies are the addresses of proxies that are believed in who the
	// client is, its scheme and its host; empty: none is.
	TrustedProxies []netip.Prefix
	// PathPrefix is what links begin with, as [CheckPathPrefix] allows; "" is nothing.
	// Requests are answered with it and without, as proxies may have taken it off.
	PathPrefix string

	Limits Limits
	Builds Builds // that clients make for each other

	Redirect    bool          // sends who asks for a large file to a URL of the store's, where it has one
	ReadOnly    bool          // takes no uploads: what is served is a machine's own cache
	AccessLog   bool          // tells the log each request at any level
	Counters    *Counters     // nil counts for this run alone
	Checks      []Check       // that /readyz asks
	MetricsOpen bool          // lets everybody read /metrics; else those who may read
	Drain       time.Duration // at the end: how long to go on serving while /readyz says that it is the end
	Version     string        // of the program, for /metrics
}

// Server is an http.Handler. Make one with [New].
type Server struct {
	catalog   *catalog.Catalog
	shelves   shelves
	main      *shelf
	mirror    *mirror.Mirror // nil: none
	gate      *auth.Gate
	audit     *audit.Log
	cert      *Certificate
	proxies   *proxies // nil: none is trusted
	prefix    string
	maxUpload int64
	log       *slog.Logger
	access    bool // tells the log each request
	stall     time.Duration
	handler   http.Handler

	// Cache-Control of files and pages, where nobody has to say who he is.
	immutable   []string
	pageControl string

	simplePage, file direct // the two that are asked for most
	choices          choices
	abouts           *abouts

	builds  Builds
	waiting *waiting

	planning chan struct{} // a token for each plan that is being made

	redirect       bool
	readOnly       bool
	maxHeader      int
	pace           *pace         // nil has no limit
	uploads        chan struct{} // nil has no limit
	uploadTimeout  time.Duration
	counters       *Counters
	metrics        *metrics
	metricsOpen    bool
	metricsHandler func() http.Handler
	readiness      readiness
	drain          time.Duration
	draining       atomic.Bool
}

// New makes a server.
func New(config Config) *Server {
	s := &Server{
		catalog:   config.Catalog,
		mirror:    config.Mirror,
		gate:      auth.NewGate(config.Policy),
		audit:     config.Audit,
		cert:      config.Certificate,
		prefix:    config.PathPrefix,
		maxUpload: cmp.Or(config.MaxUpload, DefaultMaxUpload),
		log:       cmp.Or(config.Log, slog.New(slog.DiscardHandler)),
		stall:     stallTimeout,
		abouts:    newAbouts(),

		builds:  config.Builds,
		waiting: newWaiting(),

		planning: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),

		redirect:      config.Redirect,
		readOnly:      config.ReadOnly,
		maxHeader:     cmp.Or(config.Limits.Header, DefaultMaxHeader),
		pace:          newPace(config.Limits),
		uploadTimeout: config.Limits.UploadTimeout,
		counters:      cmp.Or(config.Counters, new(Counters)),
		metricsOpen:   config.MetricsOpen,
		drain:         config.Drain,
	}
	if len(config.TrustedProxies) > 0 {
		s.proxies = &proxies{trusted: config.TrustedProxies, log: s.log}
	}
	s.access = config.AccessLog || s.log.Enabled(context.Background(), slog.LevelDebug)
	if config.Limits.Uploads > 0 {
		s.uploads = make(chan struct{}, config.Limits.Uploads)
	}
	s.readiness.checks, s.readiness.log = config.Checks, s.log
	s.metrics = newMetrics(s, config.Version)
	s.metricsHandler = handlerOnce(s)
	s.immutable, s.pageControl = []string{forEver}, eachTime
	s.main = newShelf(s, cmp.Or(config.View, catalog.NewView(config.Catalog)), "", memoryLimit)
	s.shelves.scopes = config.Scopes
	s.simplePage = direct{s.allow(auth.Read, (*shelf).simpleProject), s.metrics.route("/simple/{project}")}
	s.file = direct{s.allow(auth.Read, (*shelf).getFile), s.metrics.route("/p/{file}")}
	mux := http.NewServeMux()
	for path, methods := range s.routes() {
		mux.Handle(path, s.dispatch(path, methods))
	}
	// A browser sends the password it knows along with any page's form.
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w.(*response), r, refuse(http.StatusForbidden, "a page of another site must not upload"))
	}))
	s.handler = guard.Handler(mux)
	return s
}

// handler answers a request, or gives the error that [Server.fail] answers it with.
type handler func(w *response, r *http.Request) error

// methods are the handlers of one path.
type methods map[string]handler

func (s *Server) routes() map[string]methods {
	get := func(h shelved) methods { return methods{http.MethodGet: s.allow(auth.Read, h)} }
	form, put := s.upload(s.bounded((*shelf).postForm)), s.upload(s.bounded((*shelf).putFile))
	if s.readOnly {
		form, put = takesNone, takesNone
	}
	metrics := s.allow(auth.Read, (*shelf).getMetrics)
	if s.metricsOpen {
		metrics = s.getMetrics
	}
	routes := map[string]methods{
		"/{$}":                   {http.MethodGet: s.allow(auth.Read, (*shelf).home), http.MethodPost: form},
		"/legacy":                {http.MethodPost: form},
		"/legacy/{$}":            {http.MethodPost: form},
		"/search":                get((*shelf).find),
		"/style.css":             {http.MethodGet: s.asset},
		"/page.js":               {http.MethodGet: s.asset},
		"/icon.svg":              {http.MethodGet: s.asset},
		"/project/{project}":     get((*shelf).projectPage),
		"/project/{project}/{$}": get((*shelf).projectPage),

		"/project/{project}/{version}": get((*shelf).projectPage),

		"/simple":               get((*shelf).simpleList),
		"/simple/{$}":           get((*shelf).simpleList),
		"/simple/{project}":     {http.MethodGet: s.simplePage.handler},
		"/simple/{project}/{$}": {http.MethodGet: s.simplePage.handler},
		"/p/{file}":             {http.MethodGet: s.file.handler, http.MethodPut: put},
		"/api":                  get((*shelf).apiList),
		"/api/{$}":              get((*shelf).apiList),
		"/api/stats":            get((*shelf).stats),
		"/api/{project}":        get((*shelf).apiProject),
		"/s/{requirement}":      get((*shelf).search),
		"/healthz":              {http.MethodGet: healthy},
		"/plan":                 {http.MethodPost: s.allow(auth.Read, (*shelf).plan)},
		"/readyz":               {http.MethodGet: s.ready},
		"/metrics":              {http.MethodGet: metrics},
		"/":                     {},
	}
	s.buildRoutes(routes)
	return routes
}

// dispatch chooses by method. No methods at all is no such page.
func (s *Server) dispatch(path string, m methods) http.Handler {
	route := s.metrics.route(path)
	if get, ok := m[http.MethodGet]; ok {
		m[http.MethodHead] = get
	}
	allowed := make([]string, 0, len(m))
	for method := range m {
		allowed = append(allowed, method)
	}
	slices.Sort(allowed)
	allow := strings.Join(allowed, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := w.(*response)
		answer.route = route
		h, ok := m[r.Method]
		switch {
		case ok:
			if err := h(answer, r); err != nil {
				s.fail(answer, r, err)
			}
		case allow == "":
			s.fail(answer, r, refuse(http.StatusNotFound, "there is no such page"))
		default:
			w.Header().Set("Allow", allow)
			s.fail(answer, r, refuse(http.StatusMethodNotAllowed, "only "+allow+" can be done here"))
		}
	})
}

// ServeHTTP answers a request and tells the log.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := responses.Get().(*response)
	*answer = response{ResponseWriter: w, control: *http.NewResponseController(w), stall: s.stall, begun: time.Now(), prefix: s.prefix, peer: r.RemoteAddr, route: s.metrics.other}
	answer.Header()["X-Content-Type-Options"] = nosniff
	if s.draining.Load() {
		answer.Header()["Connection"] = closes
	}
	r = s.local(r)
	s.answer(answer, r)
	took := time.Since(answer.begun)
	answer.route.observe(cmp.Or(answer.status, http.StatusOK), answer.bytes, took)
	if s.access {
		s.logRequest(answer, r, took)
	}
	*answer = response{} // nobody writes to it after this, and who panics keeps it
	responses.Put(answer)
}

var responses = sync.Pool{New: func() any { return new(response) }}

func (s *Server) answer(w *response, r *http.Request) {
	if s.pace != nil {
		if err := s.admit(w, r); err != nil {
			s.fail(w, r, err)
			return
		}
	}
	if s.prefix != "" && r.URL.Path == s.prefix { // links are relative to the folder
		_ = movedTo(w, r, "/")
		return
	}
	d := s.direct(r.Method, r.URL.Path)
	if d == nil {
		s.handler.ServeHTTP(w, r)
		return
	}
	w.route = d.route
	if err := d.handler(w, r); err != nil {
		s.fail(w, r, err)
	}
}

func (s *Server) logRequest(w *response, r *http.Request, took time.Duration) {
	level := slog.LevelInfo
	if s.log.Enabled(r.Context(), slog.LevelDebug) {
		level = slog.LevelDebug
	}
	agent, _, _ := strings.Cut(r.UserAgent(), " ")
	s.log.Log(r.Context(), level, "request", "method", r.Method, "path", r.URL.Path, "status", w.status, "bytes", w.bytes,
		"ms", float64(took.Microseconds())/1000, "user", w.user(), "remote", r.RemoteAddr, "agent", agent)
}

var nosniff, closes = []string{"nosniff"}, []string{"close"}

// direct is a handler that is found without the mux.
type direct struct {
	handler handler
	route   *route
}

// direct gives the handler of a project's page or a file, which are most of what is asked for; nil for all else.
func (s *Server) direct(method, path string) *direct {
	if method != http.MethodGet && method != http.MethodHead {
		return nil
	}
	if name, ok := strings.CutPrefix(path, "/p/"); ok && name != "" && strings.IndexByte(name, '/') < 0 {
		return &s.file
	}
	if name, ok := strings.CutPrefix(path, "/simple/"); ok && strings.IndexByte(name, '/') == len(name)-1 && len(name) > 1 {
		return &s.simplePage
	}
	return nil
}

// atHand tells whether a request is for what is found without the mux, and without waiting for an upstream.
func (s *Server) atHand(r *http.Request) bool {
	path := s.within(r.URL.Path)
	d := s.direct(r.Method, path)
	switch {
	case d == nil || s.mirror == nil:
		return d != nil
	case d == &s.file:
		return s.catalog.File(strings.TrimPrefix(path, "/p/")) != nil
	}
	return s.mirror.Knows(dist.Name(strings.TrimSuffix(strings.TrimPrefix(path, "/simple/"), "/")))
}

// Serve accepts connections until ctx is done, then finishes what is in flight,
// for half a minute at most. Before that it may go on for a while with /readyz
// answering 503, so that whoever sends requests here sends them elsewhere.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	h := &http.Server{
		Handler:           s,
		Protocols:         protocols(),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		WriteTimeout:      s.stall, // put off as long as something moves
		MaxHeaderBytes:    s.maxHeader,
		ErrorLog:          s.errorLog(),
	}
	fast := lane.New(listener, s.laneConfig())
	failed := make(chan error, 1)
	go func() {
		if s.cert == nil {
			failed <- h.Serve(fast)
			return
		}
		h.TLSConfig = s.cert.config()
		failed <- h.ServeTLS(listener, "", "")
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.draining.Store(true)
	s.waiting.stop()
	if s.drain > 0 {
		select {
		case err := <-failed:
			return err
		case <-time.After(s.drain):
		}
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	err := h.Shutdown(bounded)
	_ = fast.Close() // is closed already, but under TLS
	if err = errors.Join(err, fast.Wait(bounded)); err != nil {
		return errors.Join(err, h.Close())
	}
	return nil
}

func (s *Server) laneConfig() lane.Config {
	return lane.Config{
		Handler: s, Takes: s.atHand, ErrorLog: s.errorLog(),
		HeadTimeout: headerTimeout, IdleTimeout: idleTimeout, WriteTimeout: s.stall,
	}
}

func (s *Server) errorLog() *log.Logger { return slog.NewLogLogger(s.log.Handler(), slog.LevelDebug) }

// protocols are HTTP/1.1 and HTTP/2, the second also without TLS for clients that know it is spoken (h2c).
func protocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

func healthy(w *response, r *http.Request) error {
	w.text(http.StatusOK, "ok\n")
	return nil
}

// project gives the project that a path names, in any spelling.
func (s *shelf) project(r *http.Request) (*catalog.Project, error) {
	name, err := dist.ParseName(r.PathValue("project"))
	if err == nil {
		if err := s.catalog.Fresh(r.Context(), name); err != nil {
			return nil, err
		}
		if p := s.catalog.Project(name); p != nil {
			return p, nil
		}
	}
	return nil, refuse(http.StatusNotFound, "no file of "+clip(r.PathValue("project"))+" is held here")
}
