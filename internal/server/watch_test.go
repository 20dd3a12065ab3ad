package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// dial connects to a server that was started.
func (s *site) dial(t testing.TB, address string) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// waitUntil waits for what comes by itself.
func waitUntil(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in 20 s: %s", what)
		}
	}
}

// metric gives the value of one metric, "" where it is not there.
func metric(t testing.TB, s *site, name string) string {
	t.Helper()
	for line := range strings.Lines(text(t, s.get("/metrics"))) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{}, flask)
	s.get("/p/" + flaskFile)
	s.do(http.MethodHead, "/p/"+flaskFile, nil)
	s.get("/p/none-1.0-py3-none-any.whl")
	s.get("/simple/flask/")
	s.get("/simple/FLASK/")
	s.get("/nothing/like/that")
	s.do(http.MethodPut, "/p/"+flaskFile, strings.NewReader(string(flaskBytes)))
	s.do(http.MethodPut, "/p/"+oldFlask.Filename(), strings.NewReader("no wheel"))
	for name, want := range map[string]string{
		`curd_server_requests_total{route="/p/{file}",status="200"}`:         "3",
		`curd_server_requests_total{route="/p/{file}",status="404"}`:         "1",
		`curd_server_requests_total{route="/p/{file}",status="400"}`:         "1",
		`curd_server_requests_total{route="/simple/{project}",status="200"}`: "1",
		`curd_server_requests_total{route="/simple/{project}",status="301"}`: "1",
		`curd_server_requests_total{route="other",status="404"}`:             "1",
		`curd_server_request_seconds_count{route="/p/{file}"}`:               "5",
		`curd_server_files_served_total{result="hit"}`:                       "1",
		`curd_server_files_served_total{result="miss"}`:                      "1",
		`curd_server_uploads_total{result="held"}`:                           "1",
		`curd_server_uploads_total{result="refused"}`:                        "1",
		`curd_server_projects`:                                               "1",
		`curd_server_files`:                                                  "1",
		`curd_server_store_errors_total`:                                     "0",
	} {
		if got := metric(t, s, name); got != want {
			t.Errorf("%s is %q, want %s", name, got, want)
		}
	}
	if metric(t, s, "go_goroutines") == "" {
		t.Error("nothing of Go's own")
	}
}

// TestMetricsAreRead by those who may read files, or by everybody.
func TestMetricsAreRead(t *testing.T) {
	t.Parallel()
	closed, open := newSite(t, options{users: true}), newSite(t, options{users: true, configure: func(c *Config) { c.MetricsOpen = true }})
	for _, test := range []struct {
		s    *site
		path string
		want int
	}{
		{closed, "/metrics", 401}, {closed, "/readyz", 200}, {closed, "/healthz", 200},
		{open, "/metrics", 200}, {open, "/simple/", 401},
	} {
		if r := test.s.get(test.path); r.StatusCode != test.want {
			t.Errorf("%s, open %v: %d, want %d", test.path, test.s == open, r.StatusCode, test.want)
		}
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		check  Check
		status int
		want   string
	}{
		{"well", Check{"store", func(context.Context) (string, error) { return "readable", nil }}, 200, `{"status":"ready","checks":{"store":"readable"}}`},
		{"not", Check{"store", func(context.Context) (string, error) { return "gone", errors.New("/srv/secret: no such folder") }}, 503, `{"status":"failed","checks":{"store":"gone"}}`},
	} {
		s := newSite(t, options{configure: func(c *Config) { c.Checks = []Check{test.check} }})
		r := s.get("/readyz")
		if said := strings.TrimSpace(text(t, r)); r.StatusCode != test.status || said != test.want {
			t.Errorf("%s: %d %s", test.name, r.StatusCode, said)
		}
	}
}

// TestReadyWaitsNotForEver: a disk that does not answer is one round of checks,
// however many ask.
func TestReadyWaitsNotForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked, hang := 0, make(chan struct{})
		r := readiness{log: quiet, checks: []Check{{"store", func(context.Context) (string, error) {
			asked++
			<-hang
			return "readable", nil
		}}}}
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if answer := r.ask(t.Context()); answer != nil {
					t.Errorf("%v", answer)
				}
			})
		}
		all.Wait()
		close(hang)
		synctest.Wait()
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		if answer := r.ask(t.Context()); answer == nil || !answer.ready || asked != 2 {
			t.Errorf("afterwards: %v, asked %d times", answer, asked)
		}
		if r.ask(t.Context()); asked != 2 {
			t.Error("asked again within the second")
		}
	})
}

// TestDraining: when it is told to stop, the server says that it is not ready, goes on for a while, and
// finishes what is under way.
func TestDraining(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{configure: func(c *Config) { c.Drain = time.Second }}, flask)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, listener) }()
	closes := func(path string) bool { // of a client that would go on with its connection
		return raw(t, listener.Addr().String(), "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n").Close
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	get := func(path string) (int, string) {
		r, err := client.Get("http://" + listener.Addr().String() + path)
		if err != nil {
			return 0, err.Error()
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return r.StatusCode, strings.TrimSpace(string(b))
	}
	if status, said := get("/readyz"); status != http.StatusOK {
		t.Fatal(status, said)
	}
	for _, path := range []string{"/p/" + flaskFile, "/healthz"} { // in the lane, and not
		if closes(path) {
			t.Errorf("%s: it closes connections before it drains", path)
		}
	}
	stop()
	waitUntil(t, "draining", s.draining.Load)
	for _, path := range []string{"/p/" + flaskFile, "/healthz", "/readyz"} {
		if !closes(path) {
			t.Errorf("%s: it keeps a connection while it drains", path)
		}
	}
	if status, said := get("/readyz"); status != http.StatusServiceUnavailable || said != `{"status":"draining"}` {
		t.Errorf("%d %s", status, said)
	}
	if status, said := get("/p/" + flaskFile); status != http.StatusOK || said != strings.TrimSpace(string(flaskBytes)) {
		t.Errorf("while it drains: %d", status)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if status, _ := get("/healthz"); status != 0 {
		t.Errorf("afterwards: %d", status)
	}
}

func TestCounters(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), ".curdling", "counters.json")
	log := slog.New(slog.DiscardHandler)
	a := OpenCounters(path, log)
	a.hits.Add(3)
	a.misses.Add(1)
	a.Save()
	b := OpenCounters(path, log) // another server on the same folder
	b.hits.Add(10)
	b.bytes.Add(100)
	a.hits.Add(1)
	b.Save()
	a.Save()
	want := Counts{Hits: 14, Misses: 1, Bytes: 100}
	if diff := cmp.Diff(want, a.Snapshot()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, OpenCounters(path, log).Snapshot()); diff != "" {
		t.Error(diff)
	}
	if got := a.Run(); got != (Counts{Hits: 4, Misses: 1}) {
		t.Errorf("this run: %+v", got)
	}
	if rate := a.Snapshot().HitRate(); rate != 14./15 || (Counts{}).HitRate() != 0 {
		t.Errorf("hit rate %v", rate)
	}
	// Deleted at any time.
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	a.hits.Add(1)
	a.Save()
	if got := OpenCounters(path, log).Snapshot(); got != (Counts{Hits: 1}) {
		t.Errorf("after it was deleted: %+v", got)
	}
}

func TestCountersAreBroken(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "counters.json")
	for _, content := range []string{"", "{", `{"hits":-1}`, `{"bytes":9223372036854775807}`, `[]`, strings.Repeat(" ", 1<<13) + "{}"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		log := new(logged)
		c := OpenCounters(path, slog.New(slog.NewTextHandler(log, nil)))
		if c.Snapshot() != (Counts{}) || !strings.Contains(log.String(), "what was counted before is lost") {
			t.Errorf("%.20q: %+v, %s", content, c.Snapshot(), log)
		}
		c.hits.Add(1)
		c.Save()
		if got := OpenCounters(path, quiet).Snapshot(); got != (Counts{Hits: 1}) {
			t.Errorf("%.20q: %+v", content, got)
		}
	}
	c := OpenCounters(filepath.Join(path, "below", "a", "file"), quiet)
	c.hits.Add(1)
	c.Save()
	if c.Snapshot() != (Counts{Hits: 1}) {
		t.Error("what cannot be kept counts all the same")
	}
}

// TestCountersAreKept now and then.
func TestCountersAreKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "counters.json")
	synctest.Test(t, func(t *testing.T) {
		c := OpenCounters(path, quiet)
		ctx, stop := context.WithCancel(t.Context())
		go c.Keep(ctx)
		c.hits.Add(1)
		time.Sleep(countersEvery + time.Second)
		synctest.Wait()
		stop()
		b, err := os.ReadFile(path)
		var got Counts
		if err = errors.Join(err, json.Unmarshal(b, &got)); err != nil || got.Hits != 1 {
			t.Errorf("%s, %v", b, err)
		}
	})
}

// TestAccessLog has a line for each request, without --debug too.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	for _, access := range []bool{false, true} {
		log := new(logged)
		s := newSite(t, options{}, flask)
		served := New(Config{Catalog: s.catalog, Log: slog.New(slog.NewTextHandler(log, nil)), AccessLog: access})
		s.Server = served
		s.get("/simple/flask/")
		if got := strings.Contains(log.String(), "level=INFO msg=request method=GET path=/simple/flask/ status=200"); got != access {
			t.Errorf("access log %v: %s", access, log)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	route := newSite(b, options{}).metrics.route("/p/{file}")
	b.ReportAllocs()
	for b.Loop() {
		route.observe(http.StatusOK, 20_000, 80*time.Microsecond)
	}
}

func BenchmarkPace(b *testing.B) {
	p, client := newPace(Limits{Rate: 1e9}), network(remoteAddr(&http.Request{RemoteAddr: "192.0.2.1:1234"}))
	b.ReportAllocs()
	for b.Loop() {
		p.take(client, time.Now())
	}
}
