//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// proxy stands before the object store: it counts what is asked for, and lets some of it fail when it is told to.
type proxy struct {
	listener net.Listener
	server   *http.Server
	forward  *httputil.ReverseProxy
	// failing is how many of a hundred requests fail: half of them have had their effect by then.
	failing atomic.Int64

	mu     sync.Mutex
	random *rand.Rand
	counts counts
	failed int
}

// call is a kind of requests to the store: the method, and what the object is for the servers (see about).
type call struct{ method, about string }

// counts are how many there were of each kind, and the bytes that went either way.
type counts struct {
	calls map[call]int
	bytes map[call]int64
}

func newProxy(store string, seed uint64) (*proxy, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, random: rand.New(rand.NewPCG(seed, 0)), counts: counts{map[call]int{}, map[call]int64{}}}
	to := &url.URL{Scheme: "http", Host: store}
	quiet := log.New(io.Discard, "", 0)
	p.forward = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // it is signed
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true, IdleConnTimeout: time.Minute},
		ErrorLog:  quiet,
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute, ErrorLog: quiet}
	go func() { _ = p.server.Serve(l) }()
	return p, nil
}

func (p *proxy) url() string { return "http://" + p.listener.Addr().String() }

func (p *proxy) close() { _ = p.server.Close() }

// seen gives what was counted so far.
func (p *proxy) seen() counts {
	if p == nil { // servers over a folder
		return counts{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return counts{maps.Clone(p.counts.calls), maps.Clone(p.counts.bytes)}
}

// broken is how many requests failed because they were told to.
func (p *proxy) broken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

// since gives what of c is not in before.
func (c counts) since(before counts) counts {
	c = counts{maps.Clone(c.calls), maps.Clone(c.bytes)}
	for k, n := range before.calls {
		c.calls[k] -= n
	}
	for k, n := range before.bytes {
		c.bytes[k] -= n
	}
	return c
}

// of adds up the calls that are about one of these; all of them where none is named.
func (c counts) of(about ...string) (n int) {
	for k, count := range c.calls {
		for _, a := range about {
			if k.about == a {
				n += count
			}
		}
		if len(about) == 0 {
			n += count
		}
	}
	return n
}

func (c counts) sent() (n int64) {
	for _, b := range c.bytes {
		n += b
	}
	return n
}

// What requests are about.
const (
	aboutPage    = "the list of a project"
	aboutNames   = "the list of all projects"
	aboutClaim   = "claims of files"
	aboutBytes   = "bytes of files"
	aboutDirect  = "bytes of files, by clients"
	aboutSidecar = "what lies beside files"
	aboutTarball = "tarballs"
	aboutBuilds  = "the list of builds of a source"
	aboutOther   = "other lists"
)

// about tells what an object is for the servers, by the layout of the bucket (docs/layout.md).
func about(r *http.Request) string {
	_, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/") // the bucket
	if q := r.URL.Query(); rest == "" && r.Method == http.MethodGet {
		_, prefix, _ := strings.Cut(q.Get("prefix"), "/")
		switch parts := strings.Split(prefix, "/"); {
		case q.Get("delimiter") != "":
			return aboutNames
		case parts[0] == "wheels" && len(parts) > 2:
			return aboutPage
		case parts[0] == "builds":
			return aboutBuilds
		}
		return aboutOther
	}
	_, key, _ := strings.Cut(rest, "/") // the prefix
	parts := strings.Split(key, "/")
	last := parts[len(parts)-1]
	switch {
	case parts[0] != "wheels":
		return parts[0]
	case len(parts) > 3 && r.URL.Query().Has("X-Amz-Signature"):
		return aboutDirect
	case len(parts) > 3:
		return aboutBytes
	case strings.HasSuffix(last, ".tar.zst"):
		return aboutTarball
	case strings.HasSuffix(last, ".whl"), strings.HasSuffix(last, ".tar.gz"):
		return aboutClaim
	}
	return aboutSidecar
}

// How a request fails.
const (
	fails500 = iota
	fails503
	failsReset
	failures
)

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k := call{r.Method, about(r)}
	p.mu.Lock()
	p.counts.calls[k]++
	fails := p.random.Int64N(100) < p.failing.Load()
	how, after := p.random.IntN(failures), p.random.IntN(2) == 0
	if fails {
		p.failed++
	}
	p.mu.Unlock()
	counted := &countedWriter{ResponseWriter: w, discard: fails && after}
	var sent *countedReader
	if r.Body != nil {
		sent = &countedReader{ReadCloser: r.Body}
		r.Body = sent
	}
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.counts.bytes[k] += counted.n
		if sent != nil {
			p.counts.bytes[k] += sent.n.Load()
		}
	}()
	if !fails || after {
		p.forward.ServeHTTP(counted, r)
	}
	if fails {
		fail(w, how)
	}
}

// fail answers as a store does that has trouble.
func fail(w http.ResponseWriter, how int) {
	status, code := http.StatusInternalServerError, "InternalError"
	switch how {
	case fails503:
		status, code = http.StatusServiceUnavailable, "SlowDown"
	case failsReset:
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>told to</Message></Error>", code)
}

// countedWriter counts what is sent, or swallows it.
type countedWriter struct {
	http.ResponseWriter
	discard bool
	swallow http.Header
	n       int64
}

func (w *countedWriter) Header() http.Header {
	if !w.discard {
		return w.ResponseWriter.Header()
	}
	if w.swallow == nil {
		w.swallow = http.Header{}
	}
	return w.swallow
}

func (w *countedWriter) WriteHeader(status int) {
	if !w.discard {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *countedWriter) Write(b []byte) (n int, err error) {
	if w.discard {
		return len(b), nil
	}
	n, err = w.ResponseWriter.Write(b)
	w.n += int64(n)
	return n, err
}

type countedReader struct {
	io.ReadCloser
	n atomic.Int64
}

func (r *countedReader) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b)
	r.n.Add(int64(n))
	return n, err
}
