package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"curdling/internal/dist"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv("TEST_KEYRING"); mode != "" {
		os.Exit(keyringProgram(mode, os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

// memory is a Cache.
type memory struct {
	mu sync.Mutex
	m  map[string][]byte
}

func (m *memory) Get(key string) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.m[key]
	return v, ok
}

func (m *memory) Put(key string, value []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.m == nil {
		m.m = map[string][]byte{}
	}
	m.m[key] = bytes.Clone(value)
}

func testClient(t testing.TB, o Options) *Client {
	c := NewClient(o)
	c.backoff = time.Millisecond
	t.Cleanup(c.Close)
	return c
}

// serve starts a server on loopback that goes away with the test.
func serve(t testing.TB, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// withUser puts credentials into a URL.
func withUser(address, user, password string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

// send writes to who may have gone away.
func send[T string | []byte](w io.Writer, text T) { _, _ = w.Write([]byte(text)) }

const jsonPage = `{"meta": {"api-version": "1.1"}, "name": "x", "files": [
	{"filename": "x-1.0.tar.gz", "url": "../../p/x-1.0.tar.gz", "hashes": {}}]}`

func sendPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", TypeJSON)
	send(w, jsonPage)
}

func TestProject(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") != acceptPage || r.Header.Get("User-Agent") != "tester/1" {
			t.Errorf("headers %v", r.Header)
		}
		switch r.URL.Path {
		case "/simple/x/":
			sendPage(w, r)
		case "/simple/moved/":
			http.Redirect(w, r, "/elsewhere/simple/x/", http.StatusMovedPermanently)
		case "/elsewhere/simple/x/":
			w.Header().Set("Content-Type", "text/html")
			send(w, `<a href="../../p/moved-2.0.zip">`)
		case "/simple/secret/":
			http.Error(w, "who are you?\nsecond line", http.StatusUnauthorized)
		case "/simple/wrong/":
			send(w, "plain text")
		default:
			http.NotFound(w, r)
		}
	})
	c := testClient(t, Options{UserAgent: "tester/1"})
	tests := []struct {
		name dist.Name
		want string // URL of the file, or a part of the error
		is   error
	}{
		{"x", base + "/p/x-1.0.tar.gz", nil},
		{"moved", base + "/elsewhere/p/moved-2.0.zip", nil},
		{"gone", "404 Not Found", fs.ErrNotExist},
		{"secret", "401 " + http.StatusText(http.StatusUnauthorized) + ": who are you?", fs.ErrPermission},
		{"wrong", "page of wrong: content type", nil},
	}
	for _, tt := range tests {
		p, err := c.Project(t.Context(), base+"/simple/", tt.name)
		switch {
		case err == nil && p.Files[0].URL != tt.want:
			t.Errorf("%s: file at %s, want %s", tt.name, p.Files[0].URL, tt.want)
		case err != nil && (!strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is)):
			t.Errorf("%s: error %v, want %s", tt.name, err, tt.want)
		case err != nil && !strings.Contains(err.Error(), "GET "+base+"/simple/"):
			t.Errorf("%s: error %v does not name the page", tt.name, err)
		}
	}
	for _, bad := range []string{"", "x", "ftp://h.test/", "https://", "http://u:secret@/x", "http://u:secret@h test/", "file:///x"} {
		_, err := c.Project(t.Context(), bad, "x")
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %v", bad, err)
		}
	}
}

func TestOneRequestForAllWhoAsk(t *testing.T) {
	var requests atomic.Int32
	arrived, release := make(chan bool, 30), make(chan bool)
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		arrived <- true
		select {
		case <-release:
		case <-r.Context().Done():
		}
		sendPage(w, r)
	})
	c := testClient(t, Options{})
	first, giveUp := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := c.Project(first, base, "x")
		failed <- err
	}()
	<-arrived
	var all, asking sync.WaitGroup
	asking.Add(20)
	for range 20 {
		all.Go(func() {
			asking.Done()
			if p, err := c.Project(t.Context(), base, "x"); err != nil || len(p.Files) != 1 {
				t.Error(p, err)
			}
		})
	}
	giveUp()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up got %v", err)
	}
	<-arrived // another took over
	asking.Wait()
	time.Sleep(200 * time.Millisecond)
	close(release)
	all.Wait()
	if n := requests.Load(); n > 3 {
		t.Errorf("%d requests", n)
	}
}

func TestRetries(t *testing.T) {
	tests := []struct {
		code     int
		requests int32 // until the error is given up on
	}{
		{400, 1}, {401, 1}, {404, 1}, {409, 1}, {416, 1}, {429, 3}, {500, 3}, {501, 1}, {502, 3}, {503, 3}, {504, 3}, {303, 1},
	}
	for _, tt := range tests {
		var requests atomic.Int32
		base := serve(t, func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			w.WriteHeader(tt.code)
		})
		c := testClient(t, Options{Retries: 2})
		if _, err := c.Project(t.Context(), base, "x"); err == nil || requests.Load() != tt.requests {
			t.Errorf("%d: error %v after %d requests, want %d", tt.code, err, requests.Load(), tt.requests)
		}
	}
}

func TestPassingFaultsAreOvercome(t *testing.T) {
	faults := []http.HandlerFunc{
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
		func(w http.ResponseWriter, r *http.Request) { // cut in the middle
			w.Header().Set("Content-Length", "1000")
			sendPage(w, r)
		},
		func(w http.ResponseWriter, r *http.Request) { // silent in the middle
			sendPage(w, r)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
	}
	for i, fault := range faults {
		var requests atomic.Int32
		base := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if requests.Add(1) == 1 {
				fault(w, r)
			}
			sendPage(w, r)
		})
		c := testClient(t, Options{Timeout: 2 * time.Second})
		if _, err := c.Project(t.Context(), base, "x"); err != nil || requests.Load() < 2 {
			t.Errorf("fault %d: %v after %d requests", i, err, requests.Load())
		}
	}
}

func TestSilentServer(t *testing.T) {
	var requests atomic.Int32
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		<-r.Context().Done()
	})
	c := testClient(t, Options{Timeout: time.Second, Retries: 1})
	if _, err := c.Project(t.Context(), base, "x"); !errors.Is(err, errStalled) || requests.Load() != 2 {
		t.Errorf("%v after %d requests", err, requests.Load())
	}
	c = testClient(t, Options{Retries: 5})
	c.backoff = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := c.Project(ctx, base, "x"); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Minute {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// TestTimeoutIsOfSilence: what moves may take as long as it needs.
func TestTimeoutIsOfSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatch(t.Context(), time.Second)
		w.end = func() {}
		defer w.stop()
		up := &sending{io.NopCloser(strings.NewReader(strings.Repeat("x", 10*leastProgress))), w}
		down := &body{ReadCloser: io.NopCloser(strings.NewReader(strings.Repeat("x", 10*leastProgress))), watch: w}
		for _, r := range []io.Reader{up, down} {
			for range 10 {
				time.Sleep(900 * time.Millisecond)
				if _, err := r.Read(make([]byte, leastProgress)); err != nil || w.ctx.Err() != nil {
					t.Fatal(err, context.Cause(w.ctx))
				}
			}
		}
		time.Sleep(1100 * time.Millisecond)
		if err := w.cause(io.ErrUnexpectedEOF); !errors.Is(err, errStalled) {
			t.Error(err)
		}
	})
}

func TestNobodyListens(t *testing.T) {
	s := httptest.NewServer(nil)
	s.Close()
	c := testClient(t, Options{Retries: -1})
	_, err := c.Project(t.Context(), withUser(s.URL, "u", "secret"), "x")
	if err == nil || strings.Contains(err.Error(), "secret") || strings.Count(err.Error(), "/x/") != 1 {
		t.Errorf("%v", err)
	}
}

func TestWaitBetweenAttempts(t *testing.T) {
	tests := []struct {
		err         error
		least, most time.Duration
	}{
		{&StatusError{Code: 503}, time.Second / 2, time.Second},
		{&StatusError{Code: 503, RetryAfter: 30 * time.Second}, 30 * time.Second, 30 * time.Second},
		{&StatusError{Code: 429, RetryAfter: time.Hour}, time.Minute, time.Minute},
		{failed("GET", "", io.ErrUnexpectedEOF), time.Second / 2, time.Second},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			c := testClient(t, Options{})
			c.backoff = time.Second
			began := time.Now()
			if !c.again(t.Context(), 0, tt.err) {
				t.Fatalf("%v: not again", tt.err)
			}
			if waited := time.Since(began); waited < tt.least || waited > tt.most {
				t.Errorf("%v: waited %v", tt.err, waited)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "-5": 0, "x": 0,
		now.Add(time.Minute).Format(http.TimeFormat):  time.Minute,
		now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", header)
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		c := testClient(t, Options{Retries: -1})
		c.now = func() time.Time { return now }
		var status *StatusError
		if _, err := c.Project(t.Context(), base, "x"); !errors.As(err, &status) || status.RetryAfter != want {
			t.Errorf("Retry-After %q: %v, want %v", header, status.RetryAfter, want)
		}
	}
}

func TestEndlessPage(t *testing.T) {
	var sent atomic.Int64
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", TypeHTML)
		for r.Context().Err() == nil {
			n, _ := w.Write(make([]byte, 1<<20))
			sent.Add(int64(n))
		}
	})
	if _, err := testClient(t, Options{}).Project(t.Context(), base, "x"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Error(err)
	}
	if sent.Load() > 2*MaxPage {
		t.Errorf("%d bytes were taken", sent.Load())
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	var now, most atomic.Int32
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(2 * time.Millisecond)
		now.Add(-1)
		sendPage(w, r)
	})
	c := testClient(t, Options{Concurrent: 3})
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			if _, err := c.Project(t.Context(), base, dist.Name(fmt.Sprint("x", i))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most.Load() > 3 || len(c.slots) != 0 {
		t.Errorf("%d at once, %d slots not given back", most.Load(), len(c.slots))
	}
}

func TestStatusError(t *testing.T) {
	tests := []struct {
		contentType, text, want string
	}{
		{"application/problem+json", `{"title": "Conflict", "detail": "other bytes are held"}`, ": other bytes are held"},
		{"application/problem+json; charset=utf-8", `{"title": "Conflict"}`, ": Conflict"},
		{"application/json", `{"title": 5}`, ""},
		{"text/plain", "\n first\x1b[31m \n second", ": first [31m"},
		{"text/plain", strings.Repeat("x", 1<<20), ": " + strings.Repeat("x", maxText)},
		{"text/html", "<h1>no</h1>", ""},
		{"", "", ""},
	}
	for _, tt := range tests {
		base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", tt.contentType)
			w.WriteHeader(http.StatusConflict)
			send(w, tt.text)
		})
		_, err := testClient(t, Options{}).Project(t.Context(), base, "x")
		if diff := cmp.Diff("GET "+base+"/x/: 409 Conflict"+tt.want, err.Error()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestHTTP2(t *testing.T) {
	content := noise(1 << 20)
	var addresses sync.Map
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("%s: %s", r.URL, r.Proto)
		}
		addresses.Store(r.RemoteAddr, true)
		if strings.HasSuffix(r.URL.Path, ".whl") {
			w = &cutWriter{ResponseWriter: w, left: 600_000}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
			return
		}
		sendPage(w, r)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	if _, err := testClient(t, Options{TrustedHosts: []string{"127.0.0.1"}}).Project(t.Context(), s.URL, "x"); err != nil {
		t.Error(err)
	}
	addresses.Clear()
	c := testClient(t, Options{CABundle: pemFile(t, s.Certificate())})
	if _, err := c.Project(t.Context(), s.URL, "x"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			if _, err := c.Project(t.Context(), s.URL, dist.Name(fmt.Sprint("x", i))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	f := dist.File{URL: s.URL + "/x.whl", SHA256: sum256(string(content))}
	if _, err := c.Download(t.Context(), f, tempFile(t), nil); err != nil {
		t.Error(err)
	}
	n := 0
	addresses.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestUntrustedCertificate(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	if _, err := testClient(t, Options{}).Project(t.Context(), s.URL, "x"); err == nil || passing(err) {
		t.Errorf("%v: would be tried again", err)
	}
}
