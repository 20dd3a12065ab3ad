package curd

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"curdling/internal/requirement"
	"curdling/internal/resolve"
	"curdling/internal/wheel/wheeltest"
)

// TestPrefetch: all that a requirement leads to is asked for before the solver comes to it, with extras, and nothing else.
func TestPrefetch(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	at, stop := serveFolder(t, built(
		wheeltest.Wheel{Name: "app", Version: "1", Requires: []string{"lib[fast]", "never; sys_platform == 'no such'"}},
		wheeltest.Wheel{Name: "lib", Version: "1", Requires: []string{"deep; extra == 'fast'", "never; extra == 'slow'"}},
		wheeltest.Wheel{Name: "deep", Version: "2", Requires: []string{"never"}}, // which the user does not want
		wheeltest.Wheel{Name: "deep", Version: "1", Requires: []string{"app", "end"}},
		wheeltest.Wheel{Name: "end", Version: "1"},
		wheeltest.Wheel{Name: "never", Version: "1"},
	))
	defer stop()
	s, err := newSession(t.Context(), Options{Home: t.TempDir(), Indexes: []NamedIndex{{URL: at.URL + "/simple/"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	src := s.newSource(testEnvironment(t).Python, nil)
	var reqs []requirement.Requirement
	var p resolve.Problem
	for _, line := range []string{"app", "deep<2"} {
		r, err := requirement.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		reqs = append(reqs, r)
		p.Requirements = append(p.Requirements, resolve.Wanted{Requirement: r})
	}
	src.limit(p)
	src.prefetch(t.Context(), reqs, nil)
	src.ahead.Wait()
	want := []string{"app", "deep", "end", "lib"}
	if diff := cmp.Diff(want, at.paths("GET /simple/", "/")); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	want = []string{"app-1-py3-none-any", "deep-1-py3-none-any", "end-1-py3-none-any", "lib-1-py3-none-any"}
	if diff := cmp.Diff(want, at.paths("GET /p/", ".whl.metadata")); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	if got := at.paths("GET /p/", ".whl"); got != nil {
		t.Errorf("%s was downloaded, and nobody said that anything may be", got)
	}
}

// TestFetchedAhead: wheels come while the solver waits for something else; one that it does not choose does no harm.
func TestFetchedAhead(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	at, stop := serveFolder(t, built(
		wheeltest.Wheel{Name: "app", Version: "2"},
		wheeltest.Wheel{Name: "app", Version: "1"},
		wheeltest.Wheel{Name: "late", Version: "1", Requires: []string{"app<2"}},
	))
	defer stop()
	var once sync.Once
	came, inner := make(chan struct{}), at.handler
	at.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/app-2-py3-none-any.whl") {
			once.Do(func() { close(came) })
		}
		if r.URL.Path == "/simple/late/" {
			select {
			case <-came:
			case <-time.After(time.Minute):
				t.Error("nothing was downloaded while the solver waited")
			}
		}
		inner.ServeHTTP(w, r)
	})
	o := Options{Home: t.TempDir(), Indexes: []NamedIndex{{URL: at.URL + "/simple/"}}}
	want := obtained{Files: []string{"app-1-py3-none-any.whl", "late-1-py3-none-any.whl"}}
	if diff := cmp.Diff(want, obtainFrom(t, testEnvironment(t).Python, o, "app", "late")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	at.mu.Lock()
	at.asked = nil
	at.mu.Unlock()
	o.Home, o.DryRun = t.TempDir(), true
	if diff := cmp.Diff(want, obtainFrom(t, testEnvironment(t).Python, o, "app", "late")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := at.paths("GET /p/", ".whl"); got != nil {
		t.Errorf("%s was downloaded to know what would be installed", got)
	}
}
