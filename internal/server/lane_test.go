package server

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/index"
	"curdling/internal/lane"
	"curdling/internal/wheel/wheeltest"
)

// TestLane: what comes by the fast lane is answered, logged and counted as what comes by net/http.
func TestLane(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		users     bool
		prefix    string
		configure func(*Config)
	}{
		"open":   {},
		"closed": {users: true},
		"prefix": {prefix: "/pypi", configure: func(c *Config) { c.PathPrefix = "/pypi" }},
		"proxy":  {configure: func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }},
		"rate":   {configure: func(c *Config) { c.Limits.Rate, c.Limits.Burst = 0.0002, 10 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkLane(t, options{users: test.users, configure: test.configure}, test.prefix)
		})
	}
}

func checkLane(t *testing.T, o options, prefix string) {
	big := wheeltest.Wheel{Name: "big", Version: "1.0", Files: map[string]string{"big.py": noise(200_000)}}
	s := newSite(t, o, flask, oldFlask, zope, big)
	address := "http://" + s.start(t) + prefix
	// A connection that net/http has is its for good.
	byLane, byOther := &http.Client{Transport: &http.Transport{}}, &http.Client{Transport: &http.Transport{}}
	for _, client := range []*http.Client{byLane, byOther} {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		defer client.CloseIdleConnections()
	}
	ask := func(client *http.Client, method, path string, headers ...string) asked {
		before, counted := len(s.log.String()), s.counters.Run()
		r, err := http.NewRequestWithContext(t.Context(), method, address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("User-Agent", "test of the lane")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		if !s.atHand(r) {
			t.Fatalf("%s %s is not for the lane", method, path)
		}
		if client == byOther {
			r.Header.Set("Pragma", "odd")
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		a := asked{Status: resp.Status, Header: resp.Header, Length: resp.ContentLength, Close: resp.Close, Body: text(t, resp)}
		a.Header.Del("Date")
		if a.Header.Get("Retry-After") != "" { // how long one has to wait
			a.Header.Del("Retry-After")
			a.Body = ""
		}
		for a.Log == "" || !strings.HasSuffix(a.Log, "\n") { // the log is told when everything is sent
			time.Sleep(time.Millisecond)
			_, a.Log, _ = strings.Cut(s.log.String()[before:], "msg=request ")
		}
		a.Log = chance.ReplaceAllString(a.Log, "")
		a.Counted = s.counters.Run().minus(counted)
		return a
	}
	file := "/p/" + flaskFile
	for _, path := range []string{"/simple/flask/", file, "/p/" + big.Filename(), file + ".metadata", "/simple/zope-interface/", "/simple/FLASK/", "/simple/none/",
		"/p/none-1.0.tar.gz", "/p/none", "/p/" + strings.Replace(zope.Filename(), "+", "%2B", 1), "/simple/flask/?format=application/vnd.pypi.simple.v1%2Bjson"} {
		tag := s.do(http.MethodHead, path, nil, "Authorization", alice).Header.Get("Etag")
		for _, headers := range [][]string{
			{},
			{"Accept", index.TypeJSON},
			{"Accept", index.TypeHTML, "Accept-Encoding", "gzip, deflate"},
			{"Accept", index.TypeBuilds + ", */*;q=0.1", "Accept-Encoding", "zstd;q=0.5, gzip;q=0.4"},
			{"Accept", "image/png"},
			{"Accept", "text/html,application/xhtml+xml", "X-Forwarded-For", "192.0.2.1", "X-Forwarded-Proto", "https"},
			{"Authorization", alice},
			{"Authorization", "Basic YWxpY2U6d3Jvbmc="},
			{"Authorization", "Bearer none"},
			{"Authorization", alice, "If-None-Match", tag},
			{"Authorization", alice, "If-None-Match", `"a", W/` + tag + ", x"},
			{"Authorization", alice, "If-None-Match", "*"},
			{"Authorization", alice, "Range", "bytes=10-19", "If-Range", tag},
			{"Authorization", alice, "Range", "bytes=999999999-"},
			{"Authorization", alice, "If-Modified-Since", "Thu, 01 Jan 2099 00:00:00 GMT", "Connection", "close"},
		} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				if diff := cmp.Diff(ask(byOther, method, path, headers...), ask(byLane, method, path, headers...)); diff != "" {
					t.Errorf("%s %s %q: by net/http, by the lane:\n%s", method, path, headers, diff)
				}
			}
		}
	}
}

// alice is who she says she is.
const alice = "Basic YWxpY2U6c2VjcmV0"

// asked is an answer, and what the server noted of it.
type asked struct {
	Status  string
	Header  http.Header
	Length  int64
	Close   bool
	Body    string
	Log     string
	Counted Counts
}

// chance is what is never the same of two requests.
var chance = regexp.MustCompile(`( ms=[0-9.]+|127\.0\.0\.1:[0-9]+|time=[^ ]+)`)

// loop is the only connection of a listener, by which one request comes again and again.
type loop struct {
	net.Conn
	request []byte
	left    int
	closed  chan struct{}
}

type loopListener struct{ conns chan net.Conn }

func (l loopListener) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (l loopListener) Close() error   { close(l.conns); return nil }
func (l loopListener) Addr() net.Addr { return new(net.TCPAddr) }

func (l *loop) Read(p []byte) (int, error) {
	if l.left--; l.left < 0 {
		return 0, io.EOF
	}
	return copy(p, l.request), nil
}

func (l *loop) Write(p []byte) (int, error)         { return len(p), nil }
func (l *loop) ReadFrom(r io.Reader) (int64, error) { return io.Copy(io.Discard, r) }
func (l *loop) Close() error                        { close(l.closed); return nil }
func (l *loop) CloseWrite() error                   { return nil }
func (l *loop) RemoteAddr() net.Addr                { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (l *loop) SetReadDeadline(t time.Time) error   { return nil }
func (l *loop) SetWriteDeadline(t time.Time) error  { return nil }

// hotRequests are what is asked for most, where everybody may and where one has to say who he is.
func hotRequests(tb testing.TB, closed bool) (s *site, requests map[string]string) {
	small := wheeltest.Wheel{Name: "flask", Version: "3.0", Files: map[string]string{"flask.py": noise(20_000)}}
	s = newSite(tb, options{users: closed}, small, oldFlask, zope)
	s.Server.log, s.access = quiet, false
	fields := "Host: x\r\n"
	if closed {
		fields += "Authorization: " + alice + "\r\n"
	}
	page := "GET /simple/flask/ HTTP/1.1\r\nAccept: " + index.TypeJSON + "\r\n" + fields
	tag := s.get("/simple/flask/", "Accept", index.TypeJSON, "Authorization", alice).Header.Get("Etag")
	return s, map[string]string{
		"page":      page + "\r\n",
		"unchanged": page + "If-None-Match: " + tag + "\r\n\r\n",
		"wheel":     "GET /p/" + small.Filename() + " HTTP/1.1\r\n" + fields + "\r\n",
	}
}

// repeat has a server answer one request n times, on one connection.
func (s *site) repeat(request string, n int) {
	conn := &loop{request: []byte(request), left: n, closed: make(chan struct{})}
	listener := loopListener{make(chan net.Conn)}
	l := lane.New(listener, s.laneConfig())
	go func() { _, _ = l.Accept() }()
	listener.conns <- conn
	<-conn.closed
	l.Close()
}

// TestLaneAllocates: nothing is allocated for what is asked for most.
func TestLaneAllocates(t *testing.T) {
	for _, closed := range []bool{false, true} {
		s, requests := hotRequests(t, closed)
		for name, request := range requests {
			const n = 3000
			// The race detector has pools forget a quarter.
			if each := testing.AllocsPerRun(1, func() { s.repeat(request, n) }) / n; each >= 1 {
				t.Errorf("%s, with passwords %v: %.2f allocations for each request", name, closed, each)
			}
		}
	}
}

// BenchmarkLane is what a request costs from the read of its bytes to the write of the answer's, without either.
func BenchmarkLane(b *testing.B) {
	for kind, closed := range map[string]bool{"open": false, "closed": true} {
		s, requests := hotRequests(b, closed)
		for name, request := range requests {
			b.Run(kind+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				s.repeat(request, b.N)
			})
		}
	}
}
