package server

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"curdling/internal/auth"
	"curdling/internal/catalog"
	"curdling/internal/store"
	"curdling/internal/store/disk"
	"curdling/internal/wheel/wheeltest"
)

func TestMain(m *testing.M) {
	compress([]byte("x"), zstandard) // whose channel must not be made in the bubble of a synctest
	goleak.VerifyTestMain(m)
}

// site is a server over a folder.
type site struct {
	*Server
	dir string
	log *logged

	connections Connections
}

// logged is a log that can be read while it is written.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// options of a site.
type options struct {
	dir         string // "" is a new one
	users       bool   // alice with the password secret
	maxUpload   int64
	sidecars    map[string]string             // file: content, in the folder from the start
	store       func(*disk.Store) store.Store // puts faults between
	configure   func(*Config)
	connections Connections
	scopes      bool // below what the site holds
}

func newSite(t testing.TB, o options, wheels ...wheeltest.Wheel) *site {
	t.Helper()
	s := &site{dir: o.dir, log: new(logged)}
	if s.dir == "" {
		s.dir = t.TempDir()
	}
	for _, w := range wheels {
		s.drop(t, w.Filename(), wheeltest.Build(w))
	}
	for name, content := range o.sidecars {
		s.drop(t, name, []byte(content))
	}
	folder, err := disk.Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	config := catalog.Config{Store: folder, State: filepath.Join(s.dir, disk.StateDir), Log: log}
	if o.store != nil {
		config.Store = o.store(folder)
	}
	held, err := catalog.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { held.Close(); folder.Close() })
	var policy auth.Policy
	if o.users {
		path := filepath.Join(t.TempDir(), "users")
		if err := os.WriteFile(path, []byte("alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if policy.Users, err = auth.OpenUsers(path, log); err != nil {
			t.Fatal(err)
		}
	}
	server := Config{Catalog: held, Policy: policy, MaxUpload: o.maxUpload, Log: log}
	if o.scopes {
		server.Scopes = catalog.NewScopes(catalog.ScopesConfig{Main: catalog.NewView(held), Folder: folder, Log: log})
		t.Cleanup(server.Scopes.Close)
	}
	if o.configure != nil {
		o.configure(&server)
	}
	s.Server = New(server)
	s.connections = o.connections
	return s
}

func (s *site) drop(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), content, 0o666); err != nil {
		t.Fatal(err)
	}
}

// do sends a request with headers given as name, value, name, value.
func (s *site) do(method, target string, body io.Reader, headers ...string) *http.Response {
	r := httptest.NewRequest(method, target, body)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result()
}

func (s *site) get(target string, headers ...string) *http.Response {
	return s.do(http.MethodGet, target, nil, headers...)
}

func text(t testing.TB, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

var (
	flask      = wheeltest.Wheel{Name: "Flask", Version: "3.0", Summary: "A <b>framework</b>", RequiresPython: ">=3.8"}
	flaskFile  = flask.Filename()
	flaskBytes = wheeltest.Build(flask)
	oldFlask   = wheeltest.Wheel{Name: "Flask", Version: "2.0"}
	zope       = wheeltest.Wheel{Name: "zope.interface", Version: "6.0+local.1", Tag: "cp311-cp311-manylinux_2_17_x86_64"}
)

// makeSdist makes a source distribution.
func makeSdist(t testing.TB, name, version string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	info := "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n"
	if err := w.WriteHeader(&tar.Header{Name: name + "-" + version + "/PKG-INFO", Mode: 0o644, Size: int64(len(info))}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, info); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestStatus(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{}, flask, oldFlask, zope)
	for _, test := range []struct {
		method, target string
		status         int
		location       string
	}{
		{"GET", "/", 200, ""},
		{"HEAD", "/", 200, ""},
		{"GET", "/?q=flask", 200, ""},
		{"GET", "/style.css", 200, ""},
		{"GET", "/project/flask", 200, ""},
		{"GET", "/project/flask/", 301, "/project/flask"},
		{"GET", "/project/FLASK", 301, "/project/flask"},
		{"GET", "/project/none", 404, ""},
		{"GET", "/project/flask/3.0", 200, ""},
		{"HEAD", "/project/flask/3.0", 200, ""},
		{"GET", "/project/FLASK/v3.0.0", 301, "/project/flask/3.0"},
		{"GET", "/project/flask/4", 404, ""},
		{"GET", "/project/flask/x", 404, ""},
		{"GET", "/project/flask/3.0/", 404, ""},
		{"GET", "/project/zope-interface/6.0+local.1", 200, ""},
		{"GET", "/project/zope-interface/6.0%2Blocal.1", 200, ""},
		{"GET", "/project/%3Cscript%3E", 404, ""},
		{"GET", "/?page=2", 200, ""},
		{"GET", "/?page=99999999999", 400, ""},
		{"GET", "/?page=0", 400, ""},
		{"GET", "/?page=x", 400, ""},
		{"GET", "/search", 200, ""},
		{"GET", "/search?q=flask", 200, ""},
		{"GET", "/page.js", 200, ""},
		{"GET", "/icon.svg", 200, ""},
		{"GET", "/simple", 301, "/simple/"},
		{"GET", "/simple/", 200, ""},
		{"HEAD", "/simple/", 200, ""},
		{"GET", "/simple/flask", 301, "/simple/flask/"},
		{"GET", "/simple/flask?format=x", 301, "/simple/flask/?format=x"},
		{"GET", "/simple/Flask/", 301, "/simple/flask/"},
		{"GET", "/simple/zope_interface/", 301, "/simple/zope-interface/"},
		{"GET", "/simple/zope.interface", 301, "/simple/zope-interface/"},
		{"GET", "/simple/flask/", 200, ""},
		{"HEAD", "/simple/flask/", 200, ""},
		{"GET", "/simple/none/", 404, ""},
		{"GET", "/simple/-/", 404, ""},
		{"GET", "/simple/%2e%2e/", 404, ""},
		{"GET", "/simple/flask/x", 404, ""},
		{"GET", "/p/" + flaskFile, 200, ""},
		{"HEAD", "/p/" + flaskFile, 200, ""},
		{"GET", "/p/" + flaskFile + ".metadata", 200, ""},
		{"HEAD", "/p/" + flaskFile + ".metadata", 200, ""},
		{"GET", "/p/none-1.0-py3-none-any.whl", 404, ""},
		{"GET", "/p/none-1.0-py3-none-any.whl.metadata", 404, ""},
		{"GET", "/p/.metadata", 404, ""},
		{"GET", "/p/", 404, ""},
		{"GET", "/p/..%2f..%2fetc%2fpasswd", 404, ""},
		{"GET", "/p/.curdling%2ffacts.jsonl", 404, ""},
		{"GET", "/api", 200, ""},
		{"GET", "/api/", 200, ""},
		{"GET", "/api/flask", 200, ""},
		{"GET", "/api/Flask", 200, ""},
		{"GET", "/api/none", 404, ""},
		{"GET", "/s/flask", 200, ""},
		{"HEAD", "/s/flask", 200, ""},
		{"GET", "/s/flask==3.0", 200, ""},
		{"GET", "/s/flask%3D%3D3.0", 200, ""},
		{"GET", "/s/flask%3E%3D2,%3C3", 200, ""},
		{"GET", "/s/flask%20(%3E%3D%202.0)", 200, ""},
		{"GET", "/s/flask;whl", 200, ""},
		{"GET", "/s/flask;~whl", 404, ""},
		{"GET", "/s/flask[async]", 200, ""},
		{"GET", "/s/flask==4", 404, ""},
		{"GET", "/s/none", 404, ""},
		{"GET", "/s/-", 400, ""},
		{"GET", "/s/flask==", 400, ""},
		{"GET", "/s/flask;python_version%3C'3'", 400, ""},
		{"GET", "/s/flask%20@%20http:%2f%2fexample.org%2fflask.whl", 400, ""},
		{"GET", "/healthz", 200, ""},
		{"HEAD", "/healthz", 200, ""},
		{"GET", "/none", 404, ""},
		{"POST", "/none", 404, ""},
		{"GET", "/legacy/", 405, ""},
		{"DELETE", "/p/" + flaskFile, 405, ""},
		{"PUT", "/simple/flask/", 405, ""},
		{"POST", "/healthz", 405, ""},
		{"OPTIONS", "/", 405, ""},
	} {
		r := s.do(test.method, test.target, nil)
		if r.StatusCode != test.status || r.Header.Get("Location") != test.location {
			t.Errorf("%s %s: %d %q, want %d %q", test.method, test.target, r.StatusCode, r.Header.Get("Location"), test.status, test.location)
		}
		if r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: no nosniff", test.method, test.target)
		}
		if strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") && !strings.HasPrefix(r.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s %s: a page without a policy", test.method, test.target)
		}
		if test.status == 405 && r.Header.Get("Allow") == "" {
			t.Errorf("%s %s: 405 without Allow", test.method, test.target)
		}
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{}, flask)
	target := "/p/" + flaskFile
	r := s.get(target)
	etag := `"` + sum(flaskBytes) + `"`
	if text(t, r) != string(flaskBytes) || r.Header.Get("Etag") != etag || r.Header.Get("Content-Type") != "application/octet-stream" ||
		r.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || r.Header.Get("Last-Modified") == "" {
		t.Errorf("headers %v", r.Header)
	}
	for _, test := range []struct {
		headers []string
		status  int
		body    string
	}{
		{[]string{"Range", "bytes=0-3"}, 206, string(flaskBytes[:4])},
		{[]string{"Range", "bytes=-4"}, 206, string(flaskBytes[len(flaskBytes)-4:])},
		{[]string{"Range", "bytes=5-"}, 206, string(flaskBytes[5:])},
		{[]string{"Range", "bytes=999999-"}, 416, ""},
		{[]string{"Range", "bytes=0-3", "If-Range", etag}, 206, string(flaskBytes[:4])},
		{[]string{"Range", "bytes=0-3", "If-Range", `"x"`}, 200, string(flaskBytes)},
		{[]string{"If-None-Match", etag}, 304, ""},
		{[]string{"If-Match", `"x"`}, 412, ""},
	} {
		r := s.get(target, test.headers...)
		if got := text(t, r); r.StatusCode != test.status || test.body != "" && got != test.body {
			t.Errorf("%v: %d with %d bytes, want %d with %d", test.headers, r.StatusCode, len(got), test.status, len(test.body))
		}
	}
	if r := s.do(http.MethodHead, target, nil); r.ContentLength != int64(len(flaskBytes)) || text(t, r) != "" {
		t.Errorf("HEAD: length %d", r.ContentLength)
	}
	if err := os.Remove(filepath.Join(s.dir, flaskFile)); err != nil {
		t.Fatal(err)
	}
	gone := s.get(target) // what was read may be sent for a moment
	for deadline := time.Now().Add(10 * time.Second); gone.StatusCode == http.StatusOK && time.Now().Before(deadline); gone = s.get(target) {
		time.Sleep(20 * time.Millisecond)
	}
	if gone.StatusCode != http.StatusNotFound || gone.Header.Get("Cache-Control") != "" {
		t.Errorf("removed by hand: %d, %v", gone.StatusCode, gone.Header)
	}
	if r := s.get("/simple/flask/"); r.StatusCode != http.StatusNotFound {
		t.Errorf("page of what was removed by hand: %d", r.StatusCode)
	}
}

func TestAuth(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{users: true}, flask)
	for i, target := range []string{"GET /", "GET /simple/", "GET /simple/flask/", "GET /api/", "GET /api/flask", "GET /s/flask", "GET /p/" + flaskFile, "GET /p/" + flaskFile + ".metadata", "PUT /p/" + zope.Filename(), "POST /", "POST /legacy/", "GET /project/flask", "GET /project/flask/3.0", "GET /search?q=flask", "GET /simple/none/"} {
		method, target, _ := strings.Cut(target, " ")
		for _, credentials := range []string{"", "alice:wrong", "bob:secret", ":"} {
			r := httptest.NewRequest(method, target, strings.NewReader("body"))
			r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1234", i) // who guesses is slowed down
			if user, password, ok := strings.Cut(credentials, ":"); ok {
				r.SetBasicAuth(user, password)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") != `Basic realm="curdling"` {
				t.Errorf("%s %s as %q: %d, %q", method, target, credentials, w.Code, w.Header().Get("WWW-Authenticate"))
			}
		}
	}
	if r := s.get("/healthz"); r.StatusCode != http.StatusOK {
		t.Errorf("/healthz: %d", r.StatusCode)
	}
	for _, target := range []string{"/", "/simple/flask/", "/p/" + flaskFile} {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		r.SetBasicAuth("alice", "secret")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != 200 {
			t.Errorf("%s as alice: %d", target, w.Code)
		}
		if target == "/p/"+flaskFile && !strings.HasPrefix(w.Header().Get("Cache-Control"), "private") {
			t.Errorf("%s may be kept by caches for everybody: %q", target, w.Header().Get("Cache-Control"))
		}
		if target == "/" && !strings.Contains(w.Body.String(), "http://USER:PASSWORD@example.com/simple/") {
			t.Errorf("the page does not say that a password is needed:\n%s", w.Body)
		}
	}
	for _, secret := range []string{"secret", "wrong", "Basic", "YWxpY2U6"} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log holds %q:\n%s", secret, s.log)
		}
	}
	if !strings.Contains(s.log.String(), "msg=request method=GET path=/p/"+flaskFile+" status=200") || !strings.Contains(s.log.String(), "user=alice") {
		t.Errorf("log:\n%s", s.log)
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{}, flask)
	listener := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, listener) }()
	base := "http://" + listener.Addr().String()

	// A request that is in flight when the server is told to stop is finished.
	reader, writer := io.Pipe()
	answered := make(chan string, 1)
	go func() {
		r, err := http.NewRequest(http.MethodPut, base+"/p/"+oldFlask.Filename(), reader)
		if err != nil {
			answered <- err.Error()
			return
		}
		r.Header.Set("Expect", "100-continue") // the body goes when somebody reads it
		transport := &http.Transport{ExpectContinueTimeout: time.Minute}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Do(r)
		if err != nil {
			answered <- err.Error()
			return
		}
		resp.Body.Close()
		answered <- resp.Status
	}()
	content := wheeltest.Build(oldFlask)
	if _, err := writer.Write(content[:100]); err != nil {
		t.Fatal(err)
	}
	stop()
	address := listener.Addr().String()
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		conn.Close()
		if time.Since(start) > time.Minute {
			t.Fatal("a new connection was accepted after the server was told to stop")
		}
	}
	if _, err := writer.Write(content[100:]); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	if got := <-answered; got != "201 Created" {
		t.Errorf("the upload in flight: %s", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
