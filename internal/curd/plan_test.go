package curd

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/install"
	"curdling/internal/python"
	"curdling/internal/requirement"
	"curdling/internal/resolve"
	"curdling/internal/server"
	"curdling/internal/store/disk"
	"curdling/internal/wheel/wheeltest"
)

// counted is a cache server that notes what it is asked.
type counted struct {
	*httptest.Server
	handler http.Handler
	plan    http.HandlerFunc // in the place of the server's; nil: the server's

	mu    sync.Mutex
	asked []string // method and path
}

func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.asked = append(c.asked, r.Method+" "+r.URL.Path)
	c.mu.Unlock()
	if r.URL.Path == "/plan" && c.plan != nil {
		c.plan(w, r)
		return
	}
	c.handler.ServeHTTP(w, r)
}

// count tells how many requests begin so.
func (c *counted) count(prefix string) int { return len(c.paths(prefix, "")) }

// paths gives what was asked for with that prefix and suffix, without these, sorted.
func (c *counted) paths(prefix, suffix string) (all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.asked {
		if middle, ok := strings.CutPrefix(a, prefix); ok && strings.HasSuffix(middle, suffix) {
			all = append(all, strings.TrimSuffix(middle, suffix))
		}
	}
	slices.Sort(all)
	return all
}

// testing is what testing.T and rapid.T have in common.
type tester interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// serveFolder serves files until stop is called.
func serveFolder(t tester, files map[string][]byte) (c *counted, stop func()) {
	dir, err := os.MkdirTemp("", "curd-plan-")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	folder, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	held, err := catalog.Open(context.Background(), catalog.Config{Store: folder, State: filepath.Join(dir, disk.StateDir)})
	if err != nil {
		t.Fatal(err)
	}
	c = &counted{handler: server.New(server.Config{Catalog: held})}
	c.Server = httptest.NewServer(c)
	return c, func() {
		c.Close()
		held.Close()
		folder.Close()
		os.RemoveAll(dir)
	}
}

// old is a server from before there were plans.
func old(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }

func built(all ...wheeltest.Wheel) map[string][]byte {
	files := map[string][]byte{}
	for _, w := range all {
		files[w.Filename()] = wheeltest.Build(w)
	}
	return files
}

// obtained is what a run came to.
type obtained struct {
	Files    []string // that were chosen
	Err      string
	Warnings []string
}

// obtainFrom resolves and, unless dry, fetches what lines require.
func obtainFrom(t tester, py *python.Interpreter, o Options, lines ...string) (got obtained) {
	for _, line := range lines {
		r, err := requirement.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		o.Requirements = append(o.Requirements, resolve.Wanted{Requirement: r})
	}
	var mu sync.Mutex
	o.Notify = func(e Event) {
		if e.Kind == Warning {
			mu.Lock()
			defer mu.Unlock()
			got.Warnings = append(got.Warnings, e.Name)
		}
	}
	s, err := newSession(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	all, _, err := s.obtain(context.Background(), install.Env{Python: py}, nil)
	if err != nil {
		got.Err = err.Error()
	}
	for _, p := range all {
		got.Files = append(got.Files, p.choice.File.Filename)
	}
	slices.Sort(got.Files)
	return got
}

func TestPlan(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	cache, stop := serveFolder(t, built(
		wheeltest.Wheel{Name: "app", Version: "1.0", Requires: []string{"lib>1", "other; python_version < '3'"}},
		wheeltest.Wheel{Name: "lib", Version: "2.0", Requires: []string{"deep[more]"}, Summary: strings.Repeat("long ", 1000)},
		wheeltest.Wheel{Name: "lib", Version: "1.0"},
		wheeltest.Wheel{Name: "deep", Version: "1.0", ProvidesExtra: []string{"more"}, Requires: []string{"end; extra == 'more'"}},
		wheeltest.Wheel{Name: "end", Version: "1.0"},
		wheeltest.Wheel{Name: "end", Version: "1.0", Tag: "cp311-cp311-win_amd64"},
	))
	defer stop()
	py, home := testEnvironment(t).Python, t.TempDir()
	o := Options{Home: home, Caches: []string{cache.URL}, NoIndex: true}
	want := obtained{Files: []string{"app-1.0-py3-none-any.whl", "deep-1.0-py3-none-any.whl", "end-1.0-py3-none-any.whl", "lib-2.0-py3-none-any.whl"}}
	if diff := cmp.Diff(want, obtainFrom(t, py, o, "app")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if cache.count("POST /plan") != 1 || cache.count("GET /p/") != 4 || len(cache.asked) != 5 {
		t.Errorf("asked was %q", cache.asked)
	}

	alone := o
	alone.Home, alone.NoDeps = t.TempDir(), true
	if diff := cmp.Diff(obtained{Files: want.Files[:1]}, obtainFrom(t, py, alone, "app")); diff != "" {
		t.Errorf("without what it needs (-want +got):\n%s", diff)
	}
	if cache.count("POST /plan") != 2 || cache.count("GET /p/") != 5 || len(cache.asked) != 7 {
		t.Errorf("asked was %q", cache.asked)
	}

	// What a plan had does without a server, for all that it looked at.
	o.Offline = true
	want.Files = want.Files[1:3]
	if diff := cmp.Diff(want, obtainFrom(t, py, o, "deep[more]")); diff != "" || len(cache.asked) != 7 {
		t.Errorf("offline (-want +got):\n%s", diff)
	}
	other := *py
	other.Target.Version = [2]int{3, 12}
	if got := obtainFrom(t, &other, o, "deep[more]"); got.Err == "" {
		t.Errorf("offline, another Python was given %v", got)
	}
}

// TestPlanUnknown: what the cache server does not know is asked of the index at once.
func TestPlanUnknown(t *testing.T) {
	cache, stop := serveFolder(t, built(wheeltest.Wheel{Name: "app", Version: "1.0", Requires: []string{"lib"}}))
	defer stop()
	public, stop := serveFolder(t, built(wheeltest.Wheel{Name: "lib", Version: "1.0"}))
	defer stop()
	o := Options{Home: t.TempDir(), Caches: []string{cache.URL}, Indexes: []NamedIndex{{URL: public.URL + "/simple/"}}}
	want := obtained{Files: []string{"app-1.0-py3-none-any.whl", "lib-1.0-py3-none-any.whl"}}
	if diff := cmp.Diff(want, obtainFrom(t, testEnvironment(t).Python, o, "app")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if cache.count("GET /simple/") > 0 || public.count("POST /plan") > 0 {
		t.Errorf("asked was %q and of the index %q", cache.asked, public.asked)
	}
}

// TestNoPlan: where a plan cannot help, or may be wrong, nobody asks for one.
func TestNoPlan(t *testing.T) {
	cache, stop := serveFolder(t, built(wheeltest.Wheel{Name: "app", Version: "1.0"}))
	defer stop()
	py := testEnvironment(t).Python
	all := map[string]func(o *Options){
		"lowest":      func(o *Options) { o.Resolution = Lowest },
		"hashes":      func(o *Options) { o.Hashes = map[dist.Name][]string{"x": {"sha256:1"}} },
		"a date":      func(o *Options) { o.ExcludeNewer = time.Now().Add(time.Hour) },
		"from source": func(o *Options) { o.NoBinary.Of = map[dist.Name]bool{"x": true} },
		"verified": func(o *Options) {
			o.Verify, o.NoIndex, o.Indexes = true, false, []NamedIndex{{URL: cache.URL + "/simple/"}}
		},
		"described": func(o *Options) { o.Describe = true },
	}
	for name, set := range all {
		t.Run(name, func(t *testing.T) {
			o := Options{Home: t.TempDir(), Caches: []string{cache.URL}, NoIndex: true}
			set(&o)
			obtainFrom(t, py, o, "app")
			if cache.count("POST /plan") > 0 {
				t.Error("it was asked for a plan")
			}
		})
	}
}

// TestPlanRefused: an old server, and one that fails, cost a request; one that is silent no more than planPatience.
func TestPlanRefused(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"old":           old,
		"other methods": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) },
		"fails":         func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"busy":          func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"forbids":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"breaks off":    func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"silent":        func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body); <-r.Context().Done() },
		"rubbish":       func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"too long": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"unknown":["`)
			_, _ = io.CopyN(w, repeated('a'), index.MaxPlan)
		},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cache, stop := serveFolder(t, built(wheeltest.Wheel{Name: "app", Version: "1.0"}))
			defer stop()
			cache.plan = answer
			o := Options{Home: t.TempDir(), Caches: []string{cache.URL}, NoIndex: true}
			want := obtained{Files: []string{"app-1.0-py3-none-any.whl"}}
			if diff := cmp.Diff(want, obtainFrom(t, testEnvironment(t).Python, o, "app")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if n := cache.count("POST /plan"); n != 1 {
				t.Errorf("it was asked %d times", n)
			}
		})
	}
}

// repeated is an endless run of a byte.
type repeated byte

func (r repeated) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}

// TestLyingPlan: whatever a server plans, what is installed is what the server's pages would have led to, or what
// they could have: the plan is believed as pages are.
func TestLyingPlan(t *testing.T) {
	good := wheeltest.Wheel{Name: "app", Version: "1.0", Requires: []string{"lib"}}
	lib := wheeltest.Wheel{Name: "lib", Version: "1.0"}
	waste := wheeltest.Wheel{Name: "waste", Version: "1.0"}
	plan := func(edit func(*index.Plan)) func(*counted) http.HandlerFunc {
		return func(c *counted) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				answer := httptest.NewRecorder()
				r.Header.Del("Accept-Encoding")
				c.handler.ServeHTTP(answer, r)
				p, err := index.ParsePlan(answer.Body.Bytes())
				if err != nil {
					w.WriteHeader(http.StatusTeapot)
					return
				}
				edit(p)
				_ = json.NewEncoder(w).Encode(p)
			}
		}
	}
	// page gives a page with one file.
	page := func(name, file, sha256 string) index.PlannedProject {
		return index.PlannedProject{Name: dist.Name(name), Page: json.RawMessage(fmt.Sprintf(
			`{"meta":{"api-version":"1.0"},"name":%q,"files":[{"filename":%q,"url":"../../p/%s","size":900,"hashes":{"sha256":%q},"core-metadata":true}]}`, name, file, file, sha256))}
	}
	hash := strings.Repeat("0", 64)
	for name, test := range map[string]struct {
		plan func(*counted) http.HandlerFunc
		err  string // in it
	}{
		"chooses what nobody needs": {plan: plan(func(p *index.Plan) {
			p.Projects = append(p.Projects, page("waste", waste.Filename(), hash))
			p.Chosen = append(p.Chosen, waste.Filename(), "absent-1.0-py3-none-any.whl", "../../etc/passwd", "x.whl")
		})},
		"knows nothing":    {plan: plan(func(p *index.Plan) { p.Projects, p.Unknown = nil, []dist.Name{"app", "lib"} })},
		"lacks one":        {plan: plan(func(p *index.Plan) { p.Projects = p.Projects[:1] })},
		"an empty page":    {plan: plan(func(p *index.Plan) { p.Projects[1].Page = json.RawMessage(`{"files":[]}`) })},
		"no page":          {plan: plan(func(p *index.Plan) { p.Projects[1].Page = json.RawMessage(`17`) })},
		"another's page":   {plan: plan(func(p *index.Plan) { p.Projects[1].Page = p.Projects[0].Page })},
		"wrong metadata":   {plan: plan(func(p *index.Plan) { p.Projects[0].Metadata[good.Filename()] = "Name: other\nVersion: 1\n" })},
		"no metadata":      {plan: plan(func(p *index.Plan) { p.Projects[0].Metadata[good.Filename()] = "" })},
		"other dependency": {plan: plan(func(p *index.Plan) { p.Projects[0].Metadata[good.Filename()] = "Name: app\nVersion: 1.0\n" })},
		"the same twice":   {plan: plan(func(p *index.Plan) { p.Projects = append(p.Projects, p.Projects...) })},
		"foreign metadata": {plan: plan(func(p *index.Plan) { p.Projects[0].Metadata[lib.Filename()] = "Name: lib\nVersion: 1.0\n" })},
		// As with such pages.
		"other size":   {plan: plan(func(p *index.Plan) { p.Projects[1] = page("lib", lib.Filename(), hash) }), err: "the index says 900"},
		"no such file": {plan: plan(func(p *index.Plan) { p.Projects[1] = page("lib", "lib-9-py3-none-any.whl", hash) }), err: "no project app"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cache, stop := serveFolder(t, built(good, lib, waste))
			defer stop()
			cache.plan = test.plan(cache)
			o := Options{Home: t.TempDir(), Caches: []string{cache.URL}, NoIndex: true}
			got := obtainFrom(t, testEnvironment(t).Python, o, "app")
			want := obtained{Files: []string{good.Filename(), lib.Filename()}}
			if test.err != "" {
				if got.Files != nil || !strings.Contains(got.Err, test.err) {
					t.Errorf("%+v, want an error of %q", got, test.err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if n := cache.count("GET /p/waste"); n > 1 {
				t.Errorf("what nobody needs was asked for %d times", n)
			}
		})
	}
}

// TestSpeculationEnds: a download of what is not chosen ends with the solve, and brings nothing into the environment.
func TestSpeculationEnds(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	app, waste := wheeltest.Wheel{Name: "app", Version: "1.0"}, wheeltest.Wheel{Name: "waste", Version: "1.0"}
	cache, stop := serveFolder(t, built(app))
	defer stop()
	begun, ended := make(chan struct{}), make(chan struct{})
	inner := cache.handler
	cache.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/p/waste"): // never comes to an end
			w.Header().Set("Content-Length", "1000000")
			_, _ = w.Write(make([]byte, 1000))
			_ = http.NewResponseController(w).Flush()
			close(begun)
			<-r.Context().Done()
			close(ended)
		case strings.HasPrefix(r.URL.Path, "/simple/"): // the solver's question, which the plan does not answer
			<-begun
			inner.ServeHTTP(w, r)
		default:
			inner.ServeHTTP(w, r)
		}
	})
	cache.plan = func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"projects":[{"name":"waste","page":{"meta":{"api-version":"1.0"},"name":"waste","files":[{"filename":%q,"url":"../../p/%s","size":1000000,"hashes":{"sha256":%q}}]}}],"chosen":[%q]}`,
			waste.Filename(), waste.Filename(), strings.Repeat("1", 64), waste.Filename())
	}
	o := Options{Home: t.TempDir(), Caches: []string{cache.URL}, NoIndex: true}
	want := obtained{Files: []string{app.Filename()}}
	if diff := cmp.Diff(want, obtainFrom(t, testEnvironment(t).Python, o, "app")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	<-ended
}

// universe is what two servers have.
type universe struct{ cache, index map[string][]byte }

// packSource makes a source distribution that promises what it requires (PEP 643).
func packSource(name, version string, requires []string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	info := "Metadata-Version: 2.2\nName: " + name + "\nVersion: " + version + "\n"
	for _, r := range requires {
		info += "Requires-Dist: " + r + "\n"
	}
	root := name + "-" + version
	for path, text := range map[string]string{root + "/PKG-INFO": info, root + "/setup.py": "raise SystemExit(1)\n"} {
		_ = w.WriteHeader(&tar.Header{Name: path, Mode: 0o644, Size: int64(len(text))})
		_, _ = io.WriteString(w, text)
	}
	_ = errors.Join(w.Close(), z.Close())
	return b.Bytes()
}

// drawUniverse makes some projects that need each other, in versions that not all fit.
func drawUniverse(t *rapid.T) universe {
	u := universe{map[string][]byte{}, map[string][]byte{}}
	names := []string{"a", "b", "c", "d", "e", "f"}
	drawRequires := func(label string) (lines []string) {
		for range rapid.IntRange(0, 2).Draw(t, label) {
			name := rapid.SampledFrom(append(names, "absent")).Draw(t, "on")
			if name == "absent" && rapid.IntRange(0, 3).Draw(t, "rarely") > 0 {
				continue
			}
			line := name + rapid.SampledFrom([]string{"", "[x]"}).Draw(t, "extra") +
				rapid.SampledFrom([]string{"", ">=1", ">=2", "<3", "==2", "!=3", ">=1,<2", "==1.*", "~=2.0", ">=3b1"}).Draw(t, "versions") +
				rapid.SampledFrom([]string{"", "", "; python_version > '3'", "; python_version < '3'", "; extra == 'x'"}).Draw(t, "when")
			lines = append(lines, line)
		}
		return lines
	}
	for _, name := range names {
		place := u.cache
		if rapid.IntRange(0, 5).Draw(t, "where") == 0 {
			place = u.index
		}
		for _, v := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"1", "1.5", "2", "3", "4b1"}), 1, 4, rapid.ID).Draw(t, "versions of "+name) {
			requires := drawRequires("requirements")
			python := rapid.SampledFrom([]string{"", "", ">=3.8", "<3.8"}).Draw(t, "python")
			for _, tag := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{
				"py3-none-any", "cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-linux_x86_64", "cp311-cp311-win_amd64", "cp27-cp27m-macosx_10_9_x86_64", "sdist",
			}), 1, 3, rapid.ID).Draw(t, "files") {
				if tag == "sdist" {
					place[name+"-"+v+".tar.gz"] = packSource(name, v, requires)
					continue
				}
				w := wheeltest.Wheel{Name: name, Version: v, Tag: tag, Requires: requires, RequiresPython: python, ProvidesExtra: []string{"x"}}
				place[w.Filename()] = wheeltest.Build(w)
			}
		}
	}
	return u
}

// TestPlanChangesNothing: with the plan and without, the same is chosen, or the same error is told.
func TestPlanChangesNothing(t *testing.T) {
	t.Parallel()
	py := testEnvironment(t).Python
	rapid.Check(t, func(t *rapid.T) {
		u := drawUniverse(t)
		cache, stop := serveFolder(t, u.cache)
		defer stop()
		public, stop := serveFolder(t, u.index)
		defer stop()
		before := &counted{handler: cache.handler, plan: old}
		before.Server = httptest.NewServer(before)
		defer before.Close()
		lines := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b>=2", "c[x]", "d<3", "e==2", "f"}), 1, 3, rapid.ID).Draw(t, "asked")
		noDeps := rapid.IntRange(0, 3).Draw(t, "alone") == 0
		run := func(c *counted) obtained {
			home, err := os.MkdirTemp("", "curd-plan-home-")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(home)
			o := Options{Home: home, Caches: []string{c.URL}, Indexes: []NamedIndex{{URL: public.URL + "/simple/"}}, DryRun: true, NoDeps: noDeps}
			got := obtainFrom(t, py, o, lines...)
			got.Err = strings.ReplaceAll(got.Err, c.URL, "CACHE")
			return got
		}
		with, without := run(cache), run(before)
		if diff := cmp.Diff(without, with); diff != "" {
			t.Fatalf("(-without +with):\n%s", diff)
		}
		if cache.count("POST /plan") != 1 {
			t.Fatalf("no plan was asked for: %q", cache.asked)
		}
	})
}
