package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/lease"
	"curdling/internal/oidc"
	"curdling/internal/record/recordtest"
	"curdling/internal/store"
	"curdling/internal/store/bucket"
	"curdling/internal/store/storetest"
	"curdling/internal/wheel"
	"curdling/internal/wheel/wheeltest"
)

// gate is an object store that can be cut off, and list slowly.
type gate struct {
	*storetest.Memory
	down  atomic.Bool
	lists time.Duration // what listing takes
	later bool          // claims and notes are written as a later program may
}

func (g *gate) away() error {
	if g.down.Load() {
		return &store.UnavailableError{Err: errors.New("connection refused")}
	}
	return nil
}

func (g *gate) Open(ctx context.Context, key string) (io.ReadSeekCloser, store.Info, error) {
	if err := g.away(); err != nil {
		return nil, store.Info{}, err
	}
	return g.Memory.Open(ctx, key)
}

func (g *gate) Create(ctx context.Context, key string, r io.Reader, size int64) error {
	if err := g.away(); err != nil {
		return err
	}
	if g.later {
		text, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		text = ofLaterFormat(text)
		r, size = bytes.NewReader(text), int64(len(text))
	}
	return g.Memory.Create(ctx, key, r, size)
}

func (g *gate) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	if err := g.away(); err != nil {
		return func(yield func(store.Info, error) bool) { yield(store.Info{}, err) }
	}
	time.Sleep(g.lists)
	return g.Memory.List(ctx, prefix)
}

// newFarSite is a server over a bucket, of any number.
func newFarSite(t *testing.T, raw *gate, configure ...func(*catalog.Config)) *site {
	t.Helper()
	s := &site{log: new(logged)}
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	config := catalog.Config{Store: bucket.New(raw, bucket.Options{Temp: t.TempDir()}), Derived: raw, Log: log,
		Shared: raw, Turn: func() bool { return true }, Sweep: time.Hour}
	for _, edit := range configure {
		edit(&config)
	}
	held, err := catalog.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { held.Close() })
	s.Server = New(Config{Catalog: held, Log: log, Builds: Builds{
		Leases: lease.New(lease.NewStored(raw, "leases/"), lease.Options{}), Prepared: lease.Remember(lease.NewStored(raw, "prepared/")),
	}})
	return s
}

// newFarSites is a fleet over one bucket.
func newFarSites(t *testing.T) (raw *gate, a, b *site) {
	t.Helper()
	raw = &gate{Memory: storetest.NewMemory(0, time.Second)}
	return raw, newFarSite(t, raw), newFarSite(t, raw)
}

// send uploads a wheel as curl does, or as twine does.
func (s *site) send(t *testing.T, w wheeltest.Wheel, twine bool) int {
	t.Helper()
	content := wheeltest.Build(w)
	if !twine {
		return s.do(http.MethodPut, "/p/"+w.Filename(), bytes.NewReader(content)).StatusCode
	}
	body, contentType := form(t, "content", w.Filename(), content, ":action", "file_upload")
	return s.do(http.MethodPost, "/legacy/", body, "Content-Type", contentType).StatusCode
}

// TestFarPages: what one server takes the other one has within a second, and both say the same.
func TestFarPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, a, b := newFarSites(t)
		for i, s := range []*site{a, b, a, b} {
			if status := s.send(t, wheeltest.Wheel{Name: "flask", Version: fmt.Sprint(i + 1), Summary: "A framework"}, i > 1); status != http.StatusCreated {
				t.Errorf("upload %d: %d", i, status)
			}
		}
		other := wheeltest.Wheel{Name: "flask", Version: "1", Summary: "Another"}
		if status := b.send(t, other, true); status != http.StatusConflict {
			t.Errorf("other bytes: %d", status)
		}
		if status := b.send(t, wheeltest.Wheel{Name: "flask", Version: "1", Summary: "A framework"}, true); status != http.StatusOK {
			t.Errorf("the same bytes: %d", status)
		}
		time.Sleep(1001 * time.Millisecond)
		var tag string
		for _, target := range []string{"/simple/", "/simple/flask/", "/api/", "/api/flask", "/p/flask-4-py3-none-any.whl", "/p/flask-3-py3-none-any.whl.metadata", "/s/flask<3", "/project/flask", "/search?q=fla", "/"} {
			for _, accept := range []string{index.TypeJSON, "text/html"} {
				x, y := a.do(http.MethodGet, target, nil, "Accept", accept), b.do(http.MethodGet, target, nil, "Accept", accept)
				tag = x.Header.Get("Etag")
				if x.StatusCode != http.StatusOK || y.StatusCode != http.StatusOK || tag != y.Header.Get("Etag") {
					t.Errorf("%s: %d, %d, tags %q, %q", target, x.StatusCode, y.StatusCode, tag, y.Header.Get("Etag"))
				}
				if diff := cmp.Diff(text(t, x), text(t, y)); diff != "" {
					t.Errorf("%s (-a +b):\n%s", target, diff)
				}
			}
		}
		page := text(t, a.get("/"))
		if !strings.Contains(page, `href="./project/flask"`) || !strings.Contains(page, "A framework") || strings.Contains(page, "On disk") {
			t.Errorf("the page:\n%s", page)
		}
		for _, target := range []string{"/simple/quart/", "/p/quart-1-py3-none-any.whl", "/p/quart-1-py3-none-any.whl.metadata", "/p/quart-1-py3-none-any.whl.provenance", "/project/quart", "/s/quart", "/simple/..x/"} {
			if r := b.get(target); r.StatusCode != http.StatusNotFound {
				t.Errorf("%s: %d", target, r.StatusCode)
			}
		}
	})
}

// TestFarCosts: a page of a project that is known costs one listing a second at the most, and is the same answer; one that is not known costs
// a listing and a claim for each file, however many projects the bucket has; who has a file already costs nothing.
func TestFarCosts(t *testing.T) {
	t.Parallel()
	costs := func(t *testing.T, projects int) (first, later storetest.Requests) {
		synctest.Test(t, func(t *testing.T) {
			raw, a, _ := newFarSites(t)
			for i := range 5 {
				a.send(t, wheeltest.Wheel{Name: "flask", Version: fmt.Sprint(i)}, false)
			}
			for i := range projects {
				name := fmt.Sprintf("p%d", i)
				if err := raw.Create(t.Context(), "wheels/"+name+"/"+name+"-1.tar.gz", strings.NewReader("{}"), 2); err != nil {
					t.Fatal(err)
				}
			}
			b := newFarSite(t, raw)
			before := raw.Requests()
			tag := b.get("/simple/flask/").Header.Get("Etag")
			first = minus(raw.Requests(), before)
			time.Sleep(1001 * time.Millisecond)
			before = raw.Requests()
			for range 100 {
				time.Sleep(50 * time.Millisecond)
				if r := b.do(http.MethodGet, "/simple/flask/", nil, "If-None-Match", tag); r.StatusCode != http.StatusNotModified {
					t.Errorf("%d, tag %q is not %q", r.StatusCode, r.Header.Get("Etag"), tag)
				}
			}
			later = minus(raw.Requests(), before)

			file := b.get("/p/flask-1-py3-none-any.whl")
			before = raw.Requests()
			if r := b.do(http.MethodHead, "/p/flask-1-py3-none-any.whl", nil); r.StatusCode != http.StatusOK || r.ContentLength != file.ContentLength || r.Header.Get("Etag") != file.Header.Get("Etag") {
				t.Errorf("HEAD: %d, %d bytes", r.StatusCode, r.ContentLength)
			}
			if r := b.do(http.MethodGet, "/p/flask-1-py3-none-any.whl", nil, "If-None-Match", file.Header.Get("Etag")); r.StatusCode != http.StatusNotModified {
				t.Errorf("who has it: %d", r.StatusCode)
			}
			if got := minus(raw.Requests(), before); got != (storetest.Requests{}) {
				t.Errorf("who has a file: %+v", got)
			}
		})
		return first, later
	}
	first, later := costs(t, 1000)
	if first != (storetest.Requests{List: 1, Get: 5}) || later.List > 5 || later.Get+later.Head+later.Put+later.Delete > 0 {
		t.Errorf("a page costs at first %+v, then in 5 s %+v", first, later)
	}
	if few, _ := costs(t, 0); few != first {
		t.Errorf("in a bucket of one project %+v, of thousands %+v", few, first)
	}
}

func minus(a, b storetest.Requests) storetest.Requests {
	return storetest.Requests{Get: a.Get - b.Get, Head: a.Head - b.Head, Put: a.Put - b.Put, Delete: a.Delete - b.Delete, List: a.List - b.List}
}

// TestFarAway: while the bucket does not answer what is known is served, and the rest is 503 with the time to ask again.
func TestFarAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		raw, a, b := newFarSites(t)
		large := wheeltest.Wheel{Name: "flask", Version: "2", Files: map[string]string{"flask/data": strings.Repeat("x", smallFile)}}
		for _, w := range []wheeltest.Wheel{{Name: "flask", Version: "1"}, large, {Name: "quart", Version: "1"}} {
			if status := a.send(t, w, false); status != http.StatusCreated {
				t.Fatalf("%d", status)
			}
		}
		time.Sleep(time.Minute)
		known := []string{"/simple/flask/", "/p/flask-1-py3-none-any.whl", "/p/flask-1-py3-none-any.whl.metadata", "/simple/", "/search?q=f", "/project/flask"}
		for _, target := range known {
			if r := b.get(target); r.StatusCode != http.StatusOK {
				t.Errorf("%s: %d", target, r.StatusCode)
			}
		}
		raw.down.Store(true)
		for range 3 {
			time.Sleep(2 * time.Minute)
			for _, target := range append(known, "/") {
				if r := b.get(target); r.StatusCode != http.StatusOK {
					t.Errorf("%s: %d", target, r.StatusCode)
				}
			}
			for _, target := range []string{"/simple/quart/", "/p/quart-1-py3-none-any.whl", "/api/quart", "/s/quart", "/project/quart", "/p/quart-1-py3-none-any.whl.metadata"} {
				r := b.get(target)
				if retry := r.Header.Get("Retry-After"); r.StatusCode != http.StatusServiceUnavailable || retry == "" || retry == "0" {
					t.Errorf("%s: %d, Retry-After %q", target, r.StatusCode, retry)
				}
			}
			if status := b.send(t, wheeltest.Wheel{Name: "flask", Version: "3"}, false); status != http.StatusServiceUnavailable {
				t.Errorf("an upload: %d", status)
			}
		}
		raw.down.Store(false)
		time.Sleep(11 * time.Second)
		if status := b.send(t, wheeltest.Wheel{Name: "flask", Version: "3"}, false); status != http.StatusCreated {
			t.Errorf("an upload later: %d", status)
		}
		if r := b.get("/simple/quart/"); r.StatusCode != http.StatusOK {
			t.Errorf("quart later: %d", r.StatusCode)
		}
	})
}

// noSpool is a bucket on whose server's own disk is no room.
type noSpool struct{ *bucket.Store }

func (noSpool) Spool() (*os.File, error) {
	return nil, &os.PathError{Op: "open", Path: "/cache/spool/curdling-upload-1", Err: syscall.ENOSPC}
}

// TestFarFull: a server whose own disk is full says so, and sends who uploads to another one.
func TestFarFull(t *testing.T) {
	t.Parallel()
	raw, other, _ := newFarSites(t)
	full := newFarSite(t, raw, func(config *catalog.Config) { config.Store = noSpool{config.Store.(*bucket.Store)} })
	content := wheeltest.Build(flask)
	r := full.do(http.MethodPut, "/p/"+flaskFile, bytes.NewReader(content))
	said := text(t, r)
	if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") != "5" || r.Header.Get("Connection") != "close" || !strings.Contains(said, "this server's own disk is full") {
		t.Errorf("%s %v %s", r.Status, r.Header, said)
	}
	if log := full.log.String(); !strings.Contains(log, "folder=/cache/spool") || !strings.Contains(log, "--cache-dir") {
		t.Error(log)
	}
	if status := other.send(t, flask, false); status != http.StatusCreated {
		t.Error(status)
	}
	if r := full.get("/p/" + flaskFile); r.StatusCode != http.StatusOK {
		t.Errorf("what the other one took: %s", r.Status)
	}
}

// TestTrouble: where this very server is the trouble the client is to come by another connection; where all servers are none better it keeps it.
func TestTrouble(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	for _, tt := range []struct {
		err           error
		status        int
		retry, closes string
	}{
		{&catalog.DiskFullError{Err: syscall.ENOSPC}, 503, "5", "close"},
		{&store.UnavailableError{Err: &catalog.DiskFullError{Err: syscall.ENOSPC}, RetryAfter: time.Second}, 503, "5", "close"},
		{&store.UnavailableError{Err: errors.New("connection refused"), RetryAfter: 2 * time.Second}, 503, "2", ""},
		{&oidc.UnreachableError{Err: errors.New("connection refused")}, 503, "", ""},
		{catalog.ErrBusy, 503, "", "close"},
		{refuse(http.StatusServiceUnavailable, "too many"), 503, "", "close"},
		{fs.ErrNotExist, 404, "", ""},
		{store.ErrFull, 507, "", ""},
	} {
		recorder := httptest.NewRecorder()
		s.fail(&response{ResponseWriter: recorder, route: s.metrics.other}, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), tt.err)
		h := recorder.Header()
		if recorder.Code != tt.status || h.Get("Retry-After") != tt.retry || h.Get("Connection") != tt.closes {
			t.Errorf("%v: %d %v", tt.err, recorder.Code, h)
		}
	}
}

// TestFarPlan: a plan is made of what others uploaded, and is another one when they upload more.
func TestFarPlan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, a, b := newFarSites(t)
		for _, w := range planned1 {
			if status := a.send(t, w, false); status != http.StatusCreated {
				t.Fatalf("%d", status)
			}
		}
		question := planQuestion(t, "app")
		for range 2 {
			plan, _ := askPlan(t, b, question)
			if known, unknown := names(plan); len(known) != 2 || len(unknown) != 1 {
				t.Errorf("known %v, unknown %v", known, unknown)
			}
		}
		if n := plansMade(t, b, "remembered"); n != 1 {
			t.Errorf("%d were remembered", n)
		}
		if status := a.send(t, wheeltest.Wheel{Name: "absent", Version: "1"}, false); status != http.StatusCreated {
			t.Fatalf("%d", status)
		}
		time.Sleep(1001 * time.Millisecond)
		plan, _ := askPlan(t, b, question)
		if known, _ := names(plan); len(known) != 3 {
			t.Errorf("known %v", known)
		}
	})
}

// TestFarBuild: a build that one server was sent another one tells of, to who asks for it.
func TestFarBuild(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, a, b := newFarSites(t)
		ask := func(s *site) (status int, answer index.BuildAnswer) {
			t.Helper()
			r := s.do(http.MethodPost, "/builds/"+aFrom+"/"+aKey, strings.NewReader(`{"name":"foo 1.0"}`))
			if err := json.Unmarshal([]byte(text(t, r)), &answer); err != nil {
				t.Fatal(err)
			}
			return r.StatusCode, answer
		}
		status, granted := ask(b)
		if status != http.StatusCreated || granted.Lease == "" {
			t.Fatalf("%d, %+v", status, granted)
		}
		if status, answer := ask(a); status != http.StatusAccepted {
			t.Errorf("the second who asks: %d, %+v", status, answer)
		}
		name, wheel, record := recordtest.Build(t, "foo", "3.11.1", "one", nil)
		body, contentType := form(t, name, name, wheel, name+catalog.RecordSuffix, string(record))
		if r := b.do(http.MethodPut, "/p/"+name, body, "Content-Type", contentType); r.StatusCode != http.StatusCreated {
			t.Fatalf("%d %s", r.StatusCode, text(t, r))
		}
		for _, s := range []*site{a, b} {
			if status, answer := ask(s); status != http.StatusOK || len(answer.Files) != 1 || answer.Files[0].Filename != name {
				t.Errorf("%d, %+v", status, answer)
			}
			if got := text(t, s.get("/p/"+name+catalog.RecordSuffix)); got != string(record) {
				t.Errorf("the record: %s", got)
			}
		}
		if p := a.main.catalog.Project(dist.Name("foo")); p == nil || p.Files[0].Build == nil {
			t.Errorf("%+v", p)
		}
	})
}

// TestFarTarball: a tarball that one server made another one has at once, though it knew the wheel without. That there is none is said after one
// listing, however many ask.
func TestFarTarball(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		raw, _, b := newFarSites(t)
		a := newFarSite(t, raw, func(config *catalog.Config) { config.Tarballs, config.State = true, t.TempDir() })
		demo := wheeltest.Wheel{Name: "demo", Version: "1.0"}
		path := "/p/" + demo.Filename()
		if status := a.send(t, demo, false); status != http.StatusCreated {
			t.Fatal(status)
		}
		if r := b.get(path); r.StatusCode != http.StatusOK {
			t.Fatal(r.Status)
		}
		raw.lists = 50 * time.Millisecond
		before := raw.Requests()
		var asking sync.WaitGroup
		for range 20 {
			asking.Go(func() {
				if r := b.get(path + wheel.TarballSuffix); r.StatusCode != http.StatusNotFound {
					t.Errorf("before it is made: %s", r.Status)
				}
			})
		}
		asking.Wait()
		if got := minus(raw.Requests(), before); got.List > 2 || got.Get+got.Put > 0 { // who asked while it was listed has the next one
			t.Errorf("20 who ask for what is not there: %+v", got)
		}

		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		defer running.Wait()
		defer stop()
		running.Go(func() {
			if err := a.catalog.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		var made tarball
		for made.SHA256 == "" {
			time.Sleep(100 * time.Millisecond)
			made, _ = a.listed(t, index.TypeJSON, demo.Filename())
		}
		if r := b.get(path + wheel.TarballSuffix); r.StatusCode != http.StatusOK || sum([]byte(text(t, r))) != made.SHA256 {
			t.Errorf("what the other server made: %s", r.Status)
		}
	})
}

// TestFarStats: what is held is told as it was counted, and when that was.
func TestFarStats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, a, b := newFarSites(t)
		if status := b.send(t, wheeltest.Wheel{Name: "flask", Version: "1.0"}, false); status != http.StatusCreated {
			t.Fatal(status)
		}
		if page := text(t, a.get("/")); strings.Contains(page, "In the bucket") {
			t.Error("the page tells what nobody counted")
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		defer running.Wait()
		defer stop()
		for _, s := range []*site{a, b} {
			running.Go(func() {
				if err := s.catalog.Run(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(3 * time.Minute)
		for _, s := range []*site{a, b} {
			if page := text(t, s.get("/")); !strings.Contains(page, "In the bucket") || !strings.Contains(page, "<dt>Files</dt><dd>1</dd>") {
				t.Errorf("the page: %s", page)
			}
			var stats struct {
				Held struct {
					Files   int
					Counted time.Time
				}
			}
			if err := json.Unmarshal([]byte(text(t, s.get("/api/stats"))), &stats); err != nil || stats.Held.Files != 1 || time.Since(stats.Held.Counted) > 3*time.Minute {
				t.Errorf("%+v, %v", stats, err)
			}
			if metrics := text(t, s.get("/metrics")); !strings.Contains(metrics, "curd_server_files 1\n") ||
				!strings.Contains(metrics, fmt.Sprintf("curd_server_counted_timestamp_seconds %v\n", float64(stats.Held.Counted.Unix()))) {
				t.Errorf("the metrics: %s", metrics)
			}
		}
	})
}
