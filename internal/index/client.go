package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"curdling/internal/dist"
)

// Options of a Client. The zero value works: no cache, no credentials but
// those in URLs, the system's certificates, the environment's proxies.
type Options struct {
	UserAgent string // "" is "curdling"
	Cache     Cache  // nil keeps nothing
	// Credentials is asked, for each request, who we are at a URL about whose
	// origin no base URL said it; Netrc.Lookup is such a function. Where a base URL
	// names a user without a password, an answer for that user counts. nil knows nobody.
	Credentials func(*url.URL) (user, password string, ok bool)
	// Keyring is the keyring program, by its name or path, which is asked who we
	// are when a server answers 401 (see keyring.go); "" asks none.
	Keyring    string
	CABundle   string // path of the PEM file of all authorities to believe; "" is the system's, on Unix with $SSL_CERT_FILE
	ClientCert string // path of a PEM file with the certificate to show to who asks for one, and its key; "" shows none
	// Proxy is the URL of the proxy for all requests, http, https, socks5 or socks5h;
	// "" follows http_proxy, https_proxy, all_proxy and no_proxy.
	Proxy string
	// TrustedHosts, of the form HOST or HOST:PORT, need no valid certificate, nor
	// does an https proxy on the way to them. Nobody is warned of plain http
	// to them, and https may redirect there.
	TrustedHosts []string
	Retries      int           // further attempts after a passing fault; 0 is 3, below 0 is none
	Timeout      time.Duration // in which 1 KiB must come or go, of an attempt; 0 is 30 s
	// Connect is how long a connection may take to be made; 0 is 10 s, or Timeout where that is less.
	Connect time.Duration
	// Hasty makes no further attempt where no connection was made, the server was silent for Timeout, or it asks
	// for more patience than that. A server that answered before gets one: it may be this machine that is too busy to listen.
	Hasty bool
	// Dial makes connections; nil is the system's way.
	Dial       func(ctx context.Context, network, address string) (net.Conn, error)
	Concurrent int          // requests in flight, of all hosts together; 0 is 50
	Log        *slog.Logger // nil is silent
	Offline    bool         // answer from Cache and this machine's files alone, however old; else ErrOffline
	Refresh    bool         // ask the index whether pages that are still fresh have changed
	Builds     bool         // ask for TypeBuilds, which cache servers have
}

// Cache keeps what the client fetched, under keys that are safe as slash-separated
// paths. Values hold no credentials. A value that is not what was put is harmless.
type Cache interface {
	Get(key string) ([]byte, bool)
	Put(key string, value []byte)
}

var (
	// ErrOffline says that Options.Offline is set, and the cache does not have it.
	ErrOffline = errors.New("not in the cache, and working offline")
	// ErrNoRanges says that a wheel's metadata cannot be had without the whole wheel.
	ErrNoRanges = errors.New("no metadata without the whole file")
)

// Client speaks to indexes and cache servers. It is safe for concurrent use.
// Its errors are a *StatusError where a server said no, a *url.Error where no
// whole answer came, and others where we did not take what came.
type Client struct {
	http        *http.Client
	trusted     hosts
	cache       Cache
	credentials func(*url.URL) (user, password string, ok bool)
	userAgent   string
	retries     int
	timeout     time.Duration
	hasty       bool
	answered    atomic.Bool // a server, at least once
	log         *slog.Logger
	offline     bool
	refresh     bool
	builds      bool

	slots     chan struct{} // one for each request in flight
	flights   singleflight.Group
	rangeless sync.Map // origins that do not serve ranges
	leaseless sync.Map // roots of cache servers that share no builds
	planned   planned

	mu       sync.Mutex
	accounts []account
	keyring  string           // "" once it failed
	logins   map[string]login // what it said, under account.key

	now     func() time.Time
	backoff time.Duration // before the second attempt; then doubled

	keyringTime time.Duration
	patience    time.Duration // with a server that shares builds, answered before, and fails
}

// New makes a client with a connection pool of its own. An error names the
// option that cannot be followed, and its file.
func New(o Options) (*Client, error) {
	c := &Client{
		cache:       o.Cache,
		credentials: o.Credentials,
		userAgent:   cmp.Or(o.UserAgent, "curdling"),
		retries:     max(cmp.Or(o.Retries, 3), 0),
		timeout:     cmp.Or(o.Timeout, 30*time.Second),
		hasty:       o.Hasty,
		log:         o.Log,
		offline:     o.Offline,
		refresh:     o.Refresh,
		builds:      o.Builds,
		slots:       make(chan struct{}, max(cmp.Or(o.Concurrent, 50), 1)),
		keyring:     o.Keyring,
		logins:      map[string]login{},
		now:         time.Now,
		backoff:     300 * time.Millisecond,
		keyringTime: keyringTime,
		patience:    buildPatience,
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	t, err := newTransport(&o, c.timeout, cap(c.slots), c.log)
	if err != nil {
		return nil, err
	}
	c.trusted = t.hosts
	c.http = &http.Client{CheckRedirect: c.checkRedirect, Transport: t}
	return c, nil
}

// NewClient is New for options that cannot be wrong: it panics where they are.
func NewClient(o Options) *Client {
	c, err := New(o)
	if err != nil {
		panic(err)
	}
	return c
}

// Close drops the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Project fetches a project's page from the index whose root is base, which may
// hold credentials, or be the file: URL of a folder with NAME/index.html for each
// project. No such project is fs.ErrNotExist. The page is shared with
// whoever asks for it at the same time: read it only.
func (c *Client) Project(ctx context.Context, base string, name dist.Name) (*Project, error) {
	if isFileURL(base) {
		return localProject(base, name)
	}
	root, err := c.root(base)
	if err != nil {
		return nil, err
	}
	u := root.JoinPath(string(name), "/")
	return share(ctx, c, "project "+u.String(), func() (*Project, error) {
		e, final, err := c.page(ctx, u)
		if err != nil {
			return nil, err
		}
		p, err := ParseProject(e.body, e.ContentType, final, name)
		if err != nil && c.planned.drop(u) { // it is for the server's own page to be wrong
			if e, final, err = c.page(ctx, u); err != nil {
				return nil, err
			}
			p, err = ParseProject(e.body, e.ContentType, final, name)
		}
		if err != nil {
			c.forget(u)
			return nil, fmt.Errorf("GET %s: %w", redact(u), err)
		}
		p.Expires = e.Stored.Add(e.Lifetime)
		return p, nil
	})
}

// page gets a page, and the URL that it has after redirects.
func (c *Client) page(ctx context.Context, u *url.URL) (*entry, *url.URL, error) {
	if e, ok := c.planned.page(u); ok {
		if e == nil {
			return nil, nil, &StatusError{Method: http.MethodGet, URL: redact(u), Code: http.StatusNotFound}
		}
		return e, u, nil
	}
	accept := acceptPage
	if c.builds {
		accept = TypeBuilds + ", " + TypeJSON + ";q=0.9, " + TypeHTML + ";q=0.2, text/html;q=0.01"
	}
	e, err := c.cached(ctx, u, accept, MaxPage)
	if c.offline {
		if p := c.recallPlanned(u, e); p != nil {
			return p, u, nil
		}
	}
	if err != nil {
		return nil, nil, err
	}
	final, err := url.Parse(e.URL)
	return e, final, err
}

const acceptPage = TypeJSON + ", " + TypeHTML + ";q=0.2, text/html;q=0.01"

// share lets all who ask for the same key at the same time wait for one answer.
// If the asker who fetches it gives up, another takes over.
func share[T any](ctx context.Context, c *Client, key string, fetch func() (T, error)) (T, error) {
	var none T
	for {
		answer := c.flights.DoChan(key, func() (any, error) {
			v, err := fetch()
			if ctx.Err() != nil && err != nil {
				err = abandoned{err}
			}
			return v, err
		})
		select {
		case <-ctx.Done():
			return none, context.Cause(ctx)
		case r := <-answer:
			var gone abandoned
			if errors.As(r.Err, &gone) && ctx.Err() == nil {
				continue
			}
			if r.Err != nil {
				return none, r.Err
			}
			return r.Val.(T), nil
		}
	}
}

// abandoned marks the error of a fetch whose asker went away.
type abandoned struct{ error }

// Redact makes a URL fit to be shown: scheme, host and path, without
// credentials and query.
func Redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		return "(an unreadable URL)"
	}
	return redact(u)
}

func redact(u *url.URL) string {
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	return shown.String()
}

// root reads a base URL, remembers the credentials in it, and gives the rest.
func (c *Client) root(base string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(base, "/") + "/")
	if err != nil || !isWeb(u) {
		return nil, fmt.Errorf("%q is not a URL of the form https://host/path", Redact(base))
	}
	u.RawQuery = ""
	c.identify(u)
	return u, nil
}

func isWeb(u *url.URL) bool { return (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" }

// identify remembers a base URL and the credentials in it, and takes them and the fragment off.
func (c *Client) identify(u *url.URL) {
	user := u.User
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	a := account{base: &url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}, named: user != nil}
	a.login.user = user.Username()
	a.login.password, a.hasPassword = user.Password()
	c.remember(a)
}
