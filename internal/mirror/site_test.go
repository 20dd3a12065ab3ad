package mirror_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"curdling/internal/catalog"
	"curdling/internal/index"
	"curdling/internal/mirror"
	"curdling/internal/server"
	"curdling/internal/store/disk"
	"curdling/internal/wheel/wheeltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// published is a file that an upstream has.
type published struct {
	name, content string
	sha256        string    // "" is the truth, "-" is none
	size          int       // 0 is the truth, -1 is not told
	uploaded      time.Time // zero is not told
	yanked        string
	url           string // "" is ../../files/NAME
}

// other is an upstream, as well or as ill as a test has it.
type other struct {
	*httptest.Server
	mu    sync.Mutex
	pages map[string][]published
	asked map[string]int // path: requests
	// file answers a request for a file, nil as it should be; page likewise.
	file, page func(w http.ResponseWriter, r *http.Request)
}

func newOther(t testing.TB, pages map[string][]published) *other {
	o := &other{pages: pages, asked: make(map[string]int)}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

func (o *other) set(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f()
}

// count gives how often paths that hold part were asked for.
func (o *other) count(part string) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for path, asked := range o.asked {
		if strings.Contains(path, part) {
			n += asked
		}
	}
	return n
}

func (o *other) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.asked[r.URL.Path]++
	file, page := o.file, o.page
	o.mu.Unlock()
	switch {
	case strings.HasPrefix(r.URL.Path, "/files/") && file != nil:
		file(w, r)
	case strings.HasPrefix(r.URL.Path, "/files/"):
		o.sendFile(w, r)
	case page != nil:
		page(w, r)
	default:
		o.sendPage(w, r)
	}
}

func (o *other) content(path string) (string, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, files := range o.pages {
		for _, f := range files {
			if f.name == strings.TrimPrefix(path, "/files/") {
				return f.content, true
			}
		}
	}
	return "", false
}

func (o *other) sendFile(w http.ResponseWriter, r *http.Request) {
	content, ok := o.content(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Etag", `"`+sum(content)+`"`)
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
}

func (o *other) sendPage(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	name := strings.Trim(strings.TrimPrefix(r.URL.Path, "/simple/"), "/")
	listed, ok := o.pages[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	files := []map[string]any{}
	for _, f := range listed {
		file := map[string]any{"filename": f.name, "url": "../../files/" + f.name, "hashes": map[string]string{"sha256": sum(f.content)}, "size": len(f.content),
			"_tar-zst": map[string]any{"sha256": sum("the upstream's own"), "size": 18}}
		if f.url != "" {
			file["url"] = f.url
		}
		if f.sha256 != "" {
			file["hashes"] = map[string]string{"sha256": f.sha256}
		}
		if f.size != 0 {
			file["size"] = max(f.size, 0)
		}
		if !f.uploaded.IsZero() {
			file["upload-time"] = f.uploaded.UTC().Format(time.RFC3339)
		}
		if f.yanked != "" {
			file["yanked"] = f.yanked
		}
		files = append(files, file)
	}
	body, _ := json.Marshal(map[string]any{"meta": map[string]string{"api-version": "1.4"}, "name": name, "files": files})
	w.Header().Set("Content-Type", index.TypeJSON)
	w.Header().Set("Cache-Control", "max-age=600")
	w.Header().Set("Etag", `"`+sum(string(body))+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// noise is text that does not compress.
func noise(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = "0123456789abcdef"[r.IntN(16)]
	}
	return string(b)
}

// makeWheel makes a wheel of about that many bytes.
func makeWheel(name, version string, size int) published {
	w := wheeltest.Wheel{Name: name, Version: version, Files: map[string]string{"code.py": noise(size)}}
	members := w.Members()
	for i := range members {
		members[i].Stored = true
	}
	return published{name: w.Filename(), content: string(wheeltest.Zip(members))}
}

// site is a server that mirrors, over a folder.
type site struct {
	*mirror.Mirror
	catalog *catalog.Catalog
	dir     string
	url     string
	stop    func()
	ahead   atomic.Int64 // of the mirror's clock, in nanoseconds
}

// forward sets the mirror's clock ahead of the time.
func (s *site) forward(d time.Duration) { s.ahead.Store(int64(d)) }

// newSite makes one over dir, "" for a new folder, which may be stopped before the test ends.
func newSite(t testing.TB, dir string, c mirror.Config, upstreams ...*other) *site {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	for i, o := range upstreams {
		c.Upstreams = append(c.Upstreams, mirror.Upstream{Name: fmt.Sprintf("up%d", i), URL: o.URL + "/simple/"})
	}
	folder, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.State, c.Claims = filepath.Join(dir, disk.StateDir, "upstream"), filepath.Join(dir, ".curdling-upstream")
	s := serve(t, catalog.Config{Store: folder, State: filepath.Join(dir, disk.StateDir)}, c, folder.Close)
	s.dir = dir
	return s
}

// serve has what is held and what upstreams have be served.
func serve(t testing.TB, holding catalog.Config, c mirror.Config, closeStore func() error) *site {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	holding.Log = log
	held, err := catalog.Open(t.Context(), holding)
	if err != nil {
		t.Fatal(err)
	}
	c.Catalog, c.Log = held, log
	s := &site{catalog: held}
	now := func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
	m, err := mirror.New(mirror.Calm(mirror.WithClock(c, now)))
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(server.New(server.Config{Catalog: held, Mirror: m, Log: log}))
	s.Mirror, s.url = m, h.URL
	s.stop = sync.OnceFunc(func() {
		h.Close()
		if err := errors.Join(m.Close(), held.Close(), closeStore()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// answer is what a client got; err says that the body was not whole.
type answer struct {
	status int
	header http.Header
	body   string
	err    error
}

// do sends a request with headers given as name, value, name, value.
func (s *site) do(method, path, body string, headers ...string) answer {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	resp, err := client.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b), err}
}

func (s *site) get(path string, headers ...string) answer {
	return s.do(http.MethodGet, path, "", headers...)
}

// files gives the names on a project's page.
func (s *site) files(t testing.TB, project string) (names []string, a answer) {
	t.Helper()
	a = s.get("/simple/"+project+"/", "Accept", index.TypeJSON)
	var page struct {
		Files []struct{ Filename string }
	}
	if a.status == http.StatusOK {
		if err := json.Unmarshal([]byte(a.body), &page); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range page.Files {
		names = append(names, f.Filename)
	}
	return names, a
}

// kept gives the files in the folder.
func (s *site) kept(t testing.TB) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// noneSpooled waits until no temporary file is left.
func (s *site) noneSpooled(t testing.TB) {
	t.Helper()
	until(t, "temporary files are left", func() bool {
		left, err := os.ReadDir(filepath.Join(s.dir, disk.StateDir, "tmp"))
		return err == nil && len(left) == 0
	})
}
