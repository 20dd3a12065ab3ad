package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/auth"
	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/marker"
	"curdling/internal/mirror"
	"curdling/internal/tag"
	"curdling/internal/version"
	"curdling/internal/wheel/wheeltest"
)

func planQuestion(t testing.TB, requirements ...string) string {
	t.Helper()
	b, err := json.Marshal(index.PlanQuestion{
		Requirements: requirements, Python: version.MustParse("3.11.7"), Markers: marker.Environment{"python_version": "3.11"},
		Target: tag.Target{Implementation: "cpython", Version: [2]int{3, 11}, OS: "linux", Arch: "x86_64", Glibc: &[2]int{2, 36}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// askPlan gives the plan, and what Authorization got instead.
func askPlan(t testing.TB, s *site, question string, headers ...string) (*index.Plan, int) {
	t.Helper()
	r := s.do(http.MethodPost, "/plan", strings.NewReader(question), headers...)
	body := text(t, r)
	if r.StatusCode != http.StatusOK {
		return nil, r.StatusCode
	}
	p, err := index.ParsePlan([]byte(body))
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control: %q", r.Header.Get("Cache-Control"))
	}
	return p, r.StatusCode
}

// names gives what a plan has pages of, and what it says is unknown.
func names(p *index.Plan) (known, unknown []dist.Name) {
	for _, project := range p.Projects {
		known = append(known, project.Name)
	}
	return known, p.Unknown
}

// plansMade reads the metric.
func plansMade(t testing.TB, s *site, result string) (n int) {
	t.Helper()
	for line := range strings.Lines(text(t, s.get("/metrics"))) {
		if rest, ok := strings.CutPrefix(line, `curd_server_plans_total{result="`+result+`"} `); ok {
			if _, err := fmt.Sscan(rest, &n); err != nil {
				t.Fatal(err)
			}
		}
	}
	return n
}

var planned1 = []wheeltest.Wheel{
	{Name: "app", Version: "1.0", Requires: []string{"lib", "absent"}},
	{Name: "lib", Version: "1.0"},
	{Name: "unrelated", Version: "1.0"},
}

func TestPlan(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{}, planned1...)
	p, _ := askPlan(t, s, planQuestion(t, "app"))
	known, unknown := names(p)
	if !slices.Equal(known, []dist.Name{"app", "lib"}) || !slices.Equal(unknown, []dist.Name{"absent"}) {
		t.Errorf("known %q, unknown %q", known, unknown)
	}
	if page := text(t, s.get("/simple/app/", "Accept", index.TypeBuilds)); strings.TrimSpace(page) != string(p.Projects[0].Page) {
		t.Errorf("the page is\n%s, and in the plan\n%s", page, p.Projects[0].Page)
	}
	for _, encoding := range []string{"zstd", "gzip"} {
		if r := s.do(http.MethodPost, "/plan", strings.NewReader(planQuestion(t, "app")), "Accept-Encoding", encoding); r.Header.Get("Content-Encoding") != encoding {
			t.Errorf("%s: %q", encoding, r.Header.Get("Content-Encoding"))
		}
	}
}

func TestPlanRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{users: true}, planned1...)
	alice := []string{"Authorization", "Basic YWxpY2U6c2VjcmV0"}
	for _, test := range []struct {
		name, body string
		headers    []string
		want       int
	}{
		{"nobody", planQuestion(t, "app"), nil, http.StatusUnauthorized},
		{"alice", planQuestion(t, "app"), alice, http.StatusOK},
		{"no JSON", "x", alice, http.StatusBadRequest},
		{"nothing", "{}", alice, http.StatusBadRequest},
		{"a URL", planQuestion(t, "app @ http://127.0.0.1/app.zip"), alice, http.StatusBadRequest},
		{"too long", strings.Repeat(" ", index.MaxPlanQuestion+1), alice, http.StatusRequestEntityTooLarge},
	} {
		if _, status := askPlan(t, s, test.body, test.headers...); status != test.want {
			t.Errorf("%s: %d, want %d", test.name, status, test.want)
		}
	}
	if r := s.get("/plan", alice...); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %s", r.Status)
	}
}

// TestPlanRemembered: a fleet's question is solved once, until something changes that the answer rests on.
func TestPlanRemembered(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{}, planned1...)
	question := planQuestion(t, "app")
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() { askPlan(t, s, question) })
	}
	wg.Wait()
	if made, remembered := plansMade(t, s, "made"), plansMade(t, s, "remembered"); made != 1 || remembered != 31 {
		t.Errorf("%d were made, %d remembered", made, remembered)
	}
	put := func(w wheeltest.Wheel) {
		t.Helper()
		if r := s.do(http.MethodPut, "/p/"+w.Filename(), strings.NewReader(string(wheeltest.Build(w)))); r.StatusCode != http.StatusCreated {
			t.Fatalf("%s: %s", w.Filename(), r.Status)
		}
	}
	put(wheeltest.Wheel{Name: "unrelated", Version: "2.0"})
	askPlan(t, s, question)
	if made := plansMade(t, s, "made"); made != 1 {
		t.Errorf("another project changed, and %d were made", made)
	}
	put(wheeltest.Wheel{Name: "absent", Version: "1.0"})
	p, _ := askPlan(t, s, question)
	if _, unknown := names(p); len(unknown) > 0 || len(p.Chosen) != 3 {
		t.Errorf("unknown is %q, chosen %q", unknown, p.Chosen)
	}
	put(wheeltest.Wheel{Name: "lib", Version: "2.0"})
	if p, _ = askPlan(t, s, question); !slices.Contains(p.Chosen, "lib-2.0-py3-none-any.whl") {
		t.Errorf("chosen %q", p.Chosen)
	}
	if made := plansMade(t, s, "made"); made != 3 {
		t.Errorf("%d were made", made)
	}
}

// TestPlansAreBounded: what is remembered takes no more than it may.
func TestPlansAreBounded(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{}, planned1...)
	s.main.plans.limit = 5000
	for i := range 50 {
		s.do(http.MethodPost, "/plan", strings.NewReader(planQuestion(t, fmt.Sprintf("app!=%d", i))), "Accept-Encoding", "gzip")
	}
	m := s.main.plans
	m.mu.Lock()
	defer m.mu.Unlock()
	var sum int64
	for _, p := range m.kept {
		sum += p.bytes
	}
	if m.size != sum || m.size > m.limit || len(m.kept) == 0 {
		t.Errorf("%d bytes are counted, there are %d in %d plans", m.size, sum, len(m.kept))
	}
}

// TestPlanScopes: nobody learns from a plan what his pages would not show.
func TestPlanScopes(t *testing.T) {
	t.Parallel()
	x := newScoped(t, auth.Policy{}, wheeltest.Wheel{Name: "app", Version: "1.0", Requires: []string{"acme"}})
	if status, body := x.put(t, x.pull("1"), acmeFile, evilBytes); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	question := planQuestion(t, "app")
	for range 2 { // the second is remembered
		for name, test := range map[string]struct {
			who    string
			chosen []string
		}{
			"the request": {x.pull("1"), []string{acmeFile, "app-1.0-py3-none-any.whl"}},
			"another":     {x.pull("2"), []string{"app-1.0-py3-none-any.whl"}},
			"main":        {x.main(), []string{"app-1.0-py3-none-any.whl"}},
		} {
			p, _ := askPlan(t, x.site, question, "Authorization", test.who)
			if diff := cmp.Diff(test.chosen, p.Chosen); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
			if _, unknown := names(p); len(p.Projects)+len(unknown) != 2 || len(p.Projects) != len(test.chosen) {
				t.Errorf("%s: unknown is %q", name, unknown)
			}
		}
	}
	if _, status := askPlan(t, x.site, question); status != http.StatusUnauthorized {
		t.Errorf("nobody: %d", status)
	}
}

// TestPlanQuarantine: of a quarantined project there is a page, and no file.
func TestPlanQuarantine(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{sidecars: map[string]string{"lib" + catalog.StatusSuffix: "quarantined"}}, planned1...)
	p, _ := askPlan(t, s, planQuestion(t, "lib"))
	if known, _ := names(p); len(known) != 1 || len(p.Chosen) > 0 || strings.Contains(string(p.Projects[0].Page), ".whl") {
		t.Errorf("%+v", p)
	}
}

// TestPlanPrivate: an upstream hears of no name that is private, and is asked for what is not held.
func TestPlanPrivate(t *testing.T) {
	t.Parallel()
	secret := wheeltest.Wheel{Name: "secret", Version: "1.0", Requires: []string{"public", "secret-two", "held"}}
	public := wheeltest.Wheel{Name: "public", Version: "1.0"}
	var mu sync.Mutex
	var asked []string
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.Path)
		mu.Unlock()
		switch name := strings.Trim(strings.TrimPrefix(r.URL.Path, "/simple/"), "/"); {
		case name == "public" || strings.HasPrefix(name, "secret") || name == "held":
			file := wheeltest.Wheel{Name: name, Version: "9.0"}
			if name == "public" {
				file = public
			}
			w.Header().Set("Content-Type", index.TypeJSON)
			fmt.Fprintf(w, `{"meta":{"api-version":"1.0"},"name":%q,"files":[{"filename":%q,"url":"/files/%s","hashes":{},"core-metadata":true}]}`, name, file.Filename(), file.Filename())
		case r.URL.Path == "/files/"+public.Filename()+".metadata":
			_, _ = io.WriteString(w, "Metadata-Version: 2.1\nName: public\nVersion: 1.0\n")
		default:
			http.NotFound(w, r)
		}
	}))
	defer upstream.Close()
	s := newSite(t, options{configure: func(c *Config) {
		m, err := mirror.New(mirror.Config{Catalog: c.Catalog, Upstreams: []mirror.Upstream{{Name: "up", URL: upstream.URL + "/simple/"}}, Private: []string{"secret*"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close() })
		c.Mirror = m
	}}, secret, wheeltest.Wheel{Name: "held", Version: "1.0"})
	p, _ := askPlan(t, s, planQuestion(t, "secret", "nowhere", "secret-three"))
	if known, unknown := names(p); slices.Contains(known, "secret-two") || slices.Contains(known, "secret-three") || slices.Contains(unknown, "secret") || len(unknown) != 3 {
		t.Errorf("known %q, unknown %q", known, unknown)
	}
	p, _ = askPlan(t, s, planQuestion(t, "public", "held"))
	if diff := cmp.Diff([]string{"held-1.0-py3-none-any.whl", public.Filename()}, p.Chosen); diff != "" {
		t.Errorf("chosen (-want +got):\n%s", diff)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, path := range asked {
		if strings.Contains(path, "secret") || strings.Contains(path, "held") {
			t.Errorf("upstream was asked for %s", path)
		}
	}
	if !slices.Contains(asked, "/simple/public/") {
		t.Errorf("upstream was asked for %q", asked)
	}
}

// BenchmarkPlan answers from memory, and anew.
func BenchmarkPlan(b *testing.B) {
	var all []wheeltest.Wheel
	for i := range 130 {
		w := wheeltest.Wheel{Name: fmt.Sprintf("p%d", i), Version: "1.0"}
		for _, j := range []int{2*i + 1, 2*i + 2} {
			if j < 130 {
				w.Requires = append(w.Requires, fmt.Sprintf("p%d>=1", j))
			}
		}
		all = append(all, w)
	}
	s := newSite(b, options{}, all...)
	question := planQuestion(b, "p0")
	for name, forget := range map[string]bool{"remembered": false, "made": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if forget {
					s.main.plans = newPlans(1 << 20)
				}
				r := s.do(http.MethodPost, "/plan", strings.NewReader(question), "Accept-Encoding", "zstd")
				if r.StatusCode != http.StatusOK {
					b.Fatal(r.Status)
				}
			}
		})
	}
}
