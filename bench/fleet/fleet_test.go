//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/record"
	"curdling/internal/store/s3/s3test"
)

// shelf is a server that shows files.
type shelf struct {
	files map[string]*file // by name
	says  map[string]string
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if name, ok := strings.CutPrefix(r.URL.Path, "/p/"); ok {
		if f := s.files[strings.TrimSuffix(name, ".build.json")]; f != nil {
			if name == f.name {
				_, _ = w.Write(f.content)
			} else {
				_, _ = w.Write(f.record)
			}
			return
		}
		http.NotFound(w, r)
		return
	}
	project := strings.Split(r.URL.Path, "/")[2]
	page := &index.Project{Name: dist.Name(project)}
	for _, f := range s.files {
		parsed, err := dist.ParseFilename(f.name, page.Name)
		if err != nil {
			continue
		}
		parsed.SHA256, parsed.URL = f.sha256(), "../../p/"+f.name
		if says := s.says[f.name]; says != "" {
			parsed.SHA256 = says
		}
		page.Files = append(page.Files, parsed)
	}
	body, err := index.RenderProject(page, index.TypeJSON)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", index.TypeJSON)
	_, _ = w.Write(body)
}

// TestCheck: the checker sees what is lost, changed and broken.
func TestCheck(t *testing.T) {
	w := newWorld(1, 3, 2)
	build, err := newSource("made").build(time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		spoil  func(s *shelf, l *ledger, first string)
		want   string // acknowledged; missing, changed, wrong
		others int
	}{
		{"all is well", func(*shelf, *ledger, string) {}, "4; 0, 0, 0", 0},
		{"one is lost", func(s *shelf, _ *ledger, first string) { delete(s.files, first) }, "4; 1, 0, 0", 0},
		{"one has other bytes", func(s *shelf, _ *ledger, first string) {
			other := w.wheel(0, "1.0", "other")
			s.files[first] = &other
		}, "4; 0, 1, 0", 0},
		{"one is served with other bytes than its page says", func(s *shelf, _ *ledger, first string) {
			s.says[first] = s.files[first].sha256()
			other := w.wheel(0, "1.0", "other")
			s.files[first] = &other
		}, "4; 0, 0, 1", 0},
		{"a record is another", func(s *shelf, _ *ledger, _ string) {
			other := *s.files[build.name]
			other.record = []byte("{}")
			s.files[build.name] = &other
		}, "4; 0, 1, 0", 0},
		{"two were told that theirs is kept", func(_ *shelf, l *ledger, _ string) {
			other := w.wheel(0, "1.0", "other")
			l.add("project-0000", &other)
		}, "4; 0, 1, 0", 0},
		{"one that nobody was told of", func(s *shelf, _ *ledger, _ string) {
			other := w.wheel(0, "3.0", "")
			s.files[other.name] = &other
		}, "4; 0, 0, 0", 1},
		{"one that nobody was told of, and is broken", func(s *shelf, _ *ledger, _ string) {
			other := w.wheel(0, "3.0", "")
			s.files[other.name] = &other
			s.says[other.name] = strings.Repeat("0", 64)
		}, "4; 0, 0, 1", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, l := &shelf{map[string]*file{}, map[string]string{}}, &ledger{}
			first := ""
			for i := range 3 {
				f := w.wheel(i, "1.0", "")
				if i == 0 {
					first = f.name
				}
				s.files[f.name] = &f
				l.add(w.projects[i].name, &f)
			}
			s.files[build.name] = &build
			l.add("made", &build)
			test.spoil(s, l, first)
			server := httptest.NewServer(s)
			defer server.Close()
			v, err := check(t.Context(), server.URL, l)
			if err != nil {
				t.Fatal(err)
			}
			if v.String() != test.want || v.others != test.others {
				t.Errorf("%s and %d others, want %s and %d: %q %q %q", v, v.others, test.want, test.others, v.missing, v.changed, v.wrong)
			}
			if v.holds() != strings.HasSuffix(test.want, "; 0, 0, 0") {
				t.Error("holds: ", v.holds())
			}
		})
	}
}

// TestProxyFails: of the requests that fail about half have had their effect, and all are counted.
func TestProxyFails(t *testing.T) {
	store := s3test.New(t)
	p, err := newProxy(strings.TrimPrefix(store.URL, "http://"), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // which would try again
	send := func(method, path, body string) (status int, text string, err error) {
		r, err := http.NewRequestWithContext(t.Context(), method, p.url()+path, strings.NewReader(body))
		if err != nil {
			return 0, "", err
		}
		resp, err := client.Do(r)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b), err
	}
	const puts = 60
	p.failing.Store(100)
	statuses := map[int]int{}
	for i := range puts {
		status, _, _ := send(http.MethodPut, fmt.Sprintf("/b/fleet/wheels/x/%d.whl", i), "content")
		statuses[status]++
	}
	p.failing.Store(0)
	there := 0
	for i := range puts {
		status, text, err := send(http.MethodGet, fmt.Sprintf("/b/fleet/wheels/x/%d.whl", i), "")
		if err != nil {
			t.Fatal(err)
		}
		if status == http.StatusOK && text == "content" {
			there++
		}
	}
	if statuses[0] == 0 || statuses[500] == 0 || statuses[503] == 0 || statuses[0]+statuses[500]+statuses[503] != puts {
		t.Errorf("0 is a reset: %v", statuses)
	}
	if there < puts/4 || there > puts*3/4 {
		t.Errorf("%d of %d took effect", there, puts)
	}
	if n := p.broken(); n != puts {
		t.Errorf("%d were told to fail", n)
	}
	seen := p.seen()
	want := map[call]int{{http.MethodPut, aboutClaim}: puts, {http.MethodGet, aboutClaim}: puts}
	if diff := cmp.Diff(want, seen.calls, cmp.AllowUnexported(call{})); diff != "" {
		t.Error(diff)
	}
	if n := seen.bytes[call{http.MethodPut, aboutClaim}]; n < int64(there*len("content")) {
		t.Errorf("%d bytes were sent", n)
	}
}

func TestAbout(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	for url, want := range map[string]string{
		"/b?list-type=2&prefix=fleet%2Fwheels%2Fflask%2F&delimiter=":    aboutPage,
		"/b/?list-type=2&prefix=fleet/wheels/&delimiter=/":              aboutNames,
		"/b?list-type=2&prefix=fleet/builds/x/y/":                       aboutBuilds,
		"/b?list-type=2&prefix=curdling":                                aboutOther,
		"/b/fleet/wheels/flask/flask-1.0-py3-none-any.whl":              aboutClaim,
		"/b/fleet/wheels/flask/flask-1.0.tar.gz":                        aboutClaim,
		"/b/fleet/wheels/flask/" + sum + "/PUT/flask-1.0.tar.gz":        aboutBytes,
		"/b/fleet/wheels/flask/" + sum + "/PUT/x.whl?X-Amz-Signature=1": aboutDirect,
		"/b/fleet/wheels/flask/x.whl." + sum + ".tar.zst":               aboutTarball,
		"/b/fleet/wheels/flask/flask.status":                            aboutSidecar,
		"/b/fleet/wheels/flask/x.whl.yanked":                            aboutSidecar,
		"/b/fleet/leases/aa/bb.json":                                    "leases",
		"/b/fleet/tokens.json":                                          "tokens.json",
	} {
		if got := about(httptest.NewRequest(http.MethodGet, url, nil)); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}

// TestBalancer: each server in turn; where one is gone, the next.
func TestBalancer(t *testing.T) {
	var addresses []string
	for i := range 3 {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) }))
		defer s.Close()
		addresses = append(addresses, s.Listener.Addr().String())
		if i == 1 {
			s.Close()
		}
	}
	b, err := newBalancer(addresses)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	seen := map[string]int{}
	for range 6 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url(), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := once.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		seen[string(text)]++
	}
	if diff := cmp.Diff(map[string]int{"0": 2, "2": 4}, seen); diff != "" {
		t.Error(diff)
	}
}

// TestClientTriesAgain: what may pass is asked again, and each attempt counts.
func TestClientTriesAgain(t *testing.T) {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch asked++; asked {
		case 1: // a cut of a connection that was used before is mended by net/http
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.(*net.TCPConn).SetLinger(0)
				_ = conn.Close()
			}
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			fmt.Fprint(w, "yes")
		}
	}))
	defer s.Close()
	var counted stats
	c := newClient(s.URL, &counted)
	defer c.close()
	a, err := c.ask(t.Context(), getFile("x"))
	if err != nil || a.sha256 != sha256Of([]byte("yes")) {
		t.Fatalf("%+v, %v", a, err)
	}
	got := counted.of(kindFile)
	if diff := cmp.Diff(map[string]int{"503": 1, "cut": 1}, got.failed); diff != "" || len(got.took) != 1 || got.bytes != 3 {
		t.Errorf("%+v %s", got, diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.ask(ctx, getFile("x")); err == nil || counted.of(kindFile).failures() != 2 {
		t.Errorf("our own end is no failure of the server: %v %v", err, counted.of(kindFile).failed)
	}
}

// TestJobs: the same seed gives the same morning, whoever is named in it.
func TestJobs(t *testing.T) {
	lay := func(mark string) (all []job) {
		m := &morning{world: newWorld(1, 50, 2), seed: 7, mark: mark, sessions: 200, length: 30 * time.Second}
		return m.jobs()
	}
	a, b := lay("a"), lay("b")
	if len(a) != 200 || len(b) != 200 {
		t.Fatalf("%d and %d jobs", len(a), len(b))
	}
	needs := map[string]int{}
	for i := range a {
		if a[i].at != b[i].at || !cmp.Equal(a[i].roots, b[i].roots) || a[i].plan != b[i].plan {
			t.Fatalf("job %d: %+v and %+v", i, a[i], b[i])
		}
		if a[i].needs != nil {
			needs[a[i].needs.name]++
		}
	}
	if len(needs) < 2 {
		t.Errorf("%d builds are needed", len(needs))
	}
}

// TestAhead: the clock of this very Go can be set ahead.
func TestAhead(t *testing.T) {
	_, text, err := clock()
	if err != nil {
		t.Skip(err)
	}
	changed, err := ahead(text, 5*time.Minute)
	if err != nil || len(changed) != len(text)+len("\tsec += 300\n") {
		t.Errorf("%v, %d bytes more", err, len(changed)-len(text))
	}
}

// TestLaterFormats: the source can be changed into that of a later program.
func TestLaterFormats(t *testing.T) {
	t.Chdir("../..")
	texts, err := laterFormats()
	if err != nil || len(texts) != 3 {
		t.Errorf("%d files, %v", len(texts), err)
	}
	source := newSource("made")
	source.later = true
	f, err := source.build(time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := record.Parse(f.record); err != nil || r.Schema != record.Schema+1 {
		t.Errorf("%v: %s", err, f.record)
	}
}

// TestReportOfNothing: a run that failed at once leaves the day's report as it is.
func TestReportOfNothing(t *testing.T) {
	t.Parallel()
	o := &options{results: filepath.Join(t.TempDir(), "day.md")}
	write := func(all []*outcome) string {
		t.Helper()
		r := newReport(o, "a test")
		r.trials("what went wrong", all)
		if err := r.write(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(o.results)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return string(text)
	}
	if text := write(nil); text != "" {
		t.Errorf("nothing was measured: %s", text)
	}
	whole := write([]*outcome{{name: "kill", stats: &stats{}, verdict: &verdict{}}})
	if !strings.Contains(whole, "| kill |") || write(nil) != whole {
		t.Errorf("%s", whole)
	}
}
