package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"curdling/internal/store/s3"
	"curdling/internal/store/s3/s3test"
	"curdling/internal/wheel/wheeltest"
)

// fleetOf starts servers over one bucket, and gives a way to run commands on it.
type fleetOf struct {
	dir      string
	env      []string
	endpoint string
}

func newFleetOf(t *testing.T) *fleetOf {
	s3test.SetCredentials()
	f := &fleetOf{dir: t.TempDir(), endpoint: s3test.New(t).URL}
	f.env = append(os.Environ(), "HOME="+f.dir, "XDG_CACHE_HOME=", "CURD_SERVER_S3_ENDPOINT="+f.endpoint)
	return f
}

// objects gives the content of all objects whose keys begin so.
func (f *fleetOf) objects(t *testing.T, prefix string) (all string) {
	t.Helper()
	in, err := s3.Open(t.Context(), "s3://curdling/team", s3.Options{Endpoint: f.endpoint})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for info, err := range in.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		content, _, err := in.Get(t.Context(), info.Key, "")
		if err != nil {
			t.Fatal(err)
		}
		all += string(content)
	}
	return all
}

func (f *fleetOf) start(t *testing.T, args ...string) *process {
	t.Helper()
	p, err := startServer(f.dir, f.env, append([]string{"-H", "127.0.0.1", "-p", "0"}, append(args, "s3://curdling/team")...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.kill() })
	return p
}

// run runs a command and gives what it printed, and how it failed.
func (f *fleetOf) run(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	c := exec.Command(os.Args[0], args...)
	c.Dir, c.Env = f.dir, append(slices.Clip(f.env), asServer+"=1")
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		fmt.Fprintf(&errs, "%v", err)
	}
	return out.String(), errs.String()
}

// until waits until a request is answered so.
func until(t *testing.T, want int, ask func() int) {
	t.Helper()
	for range 600 {
		if ask() == want {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("never answered %d; last %d", want, ask())
}

// TestFleetHasInCommon: tokens, the audit log and what is counted are the same on all servers over a bucket.
func TestFleetHasInCommon(t *testing.T) {
	t.Parallel()
	f := newFleetOf(t)
	a, b := f.start(t, "--cache-dir", "a"), f.start(t, "--cache-dir", "b", "--audit-log", "beside.jsonl")
	get := func(p *process, path, token string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		status, body, err := do(r)
		if err != nil {
			t.Fatal(err)
		}
		return status, body
	}
	w, other := wheeltest.Wheel{Name: "flask", Version: "1.0"}, wheeltest.Wheel{Name: "flask", Version: "2.0"}
	for p, w := range map[*process]wheeltest.Wheel{a: w, b: other} {
		if status, body := put(t, p, w, wheeltest.Build(w)); status != http.StatusCreated {
			t.Fatalf("%d %s", status, body)
		}
	}

	token, said := f.run(t, "token", "create", "--user", "ci", "s3://curdling/team")
	token = strings.TrimSpace(token)
	if !strings.HasPrefix(token, "curd_") || !strings.Contains(said, "first token in s3://curdling/team/tokens.json. From now on each server over this bucket is closed") {
		t.Fatalf("%s\n%s", token, said)
	}
	for _, p := range []*process{a, b} {
		until(t, http.StatusUnauthorized, func() int { status, _ := get(p, "/simple/", ""); return status })
		if status, _ := get(p, "/p/"+w.Filename(), token); status != http.StatusOK {
			t.Errorf("with the token: %d", status)
		}
	}
	if status, body := put(t, b, w, wheeltest.Build(w)); status != http.StatusUnauthorized {
		t.Errorf("%d %s", status, body)
	}
	id := token[len("curd_"):][:8]
	if list, _ := f.run(t, "token", "list", "s3://curdling/team"); !strings.Contains(list, id) {
		t.Errorf("the list is %s", list)
	}
	if out, said := f.run(t, "token", "revoke", "s3://curdling/team", id); !strings.Contains(out, "revoked "+id) || !strings.Contains(said, "each server over this bucket stays closed") {
		t.Errorf("%s\n%s", out, said)
	}
	for _, p := range []*process{a, b} {
		until(t, http.StatusUnauthorized, func() int { status, _ := get(p, "/simple/", token); return status })
	}
	if _, said := f.run(t, "token", "revoke", "s3://curdling/team", id); !strings.Contains(said, "there is no such token") {
		t.Errorf("revoked again: %s", said)
	}

	for _, p := range []*process{a, b} {
		if err := p.stop(); err != nil {
			t.Errorf("stopped: %v\n%s", err, p.stderr)
		}
	}
	audit := f.objects(t, "audit/")
	for _, want := range []string{w.Filename(), other.Filename(), `"action":"token-create"`, `"action":"token-revoke"`} {
		if strings.Count(audit, want) != 1 {
			t.Errorf("%s is not once in\n%s", want, audit)
		}
	}
	if beside, err := os.ReadFile(filepath.Join(f.dir, "beside.jsonl")); err != nil || strings.Count(string(beside), "\n") != 1 {
		t.Errorf("beside: %s, %v", beside, err)
	}
	if counted := f.objects(t, "statistics/"); strings.Count(counted, `"hits":1`) != 2 || strings.Count(counted, `"uploads":1`) != 2 {
		t.Errorf("counted is\n%s", counted)
	}
}

// TestFleetMirrors: servers over a bucket fetch what is missed once, and agree whose a name is.
func TestFleetMirrors(t *testing.T) {
	t.Parallel()
	f := newFleetOf(t)
	theirs := wheeltest.Wheel{Name: "click", Version: "8.0"}
	content := wheeltest.Build(theirs)
	var fetched atomic.Int64
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/simple/click/":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, `<a href="/files/%s#sha256=%s">%[1]s</a>`, theirs.Filename(), hash(content))
		case "/files/" + theirs.Filename():
			fetched.Add(1)
			_, _ = w.Write(content)
		default:
			http.NotFound(w, r)
		}
	}))
	defer upstream.Close()
	var servers []*process
	for _, dir := range []string{"a", "b"} {
		servers = append(servers, f.start(t, "--cache-dir", dir, "--upstream", "up="+upstream.URL+"/simple/"))
	}
	get := func(p *process, path string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		status, _, err := do(r)
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	if status := get(servers[0], "/p/"+theirs.Filename()); status != http.StatusOK {
		t.Fatal(status)
	}
	for !strings.Contains(f.objects(t, "wheels/click/"+theirs.Filename()), hash(content)) { // it is kept a moment after it was sent
		time.Sleep(20 * time.Millisecond)
	}
	if said := f.objects(t, "upstream/click"); !strings.HasPrefix(said, "upstream\n") {
		t.Errorf("of click it says %q", said)
	}
	until(t, http.StatusOK, func() int { return get(servers[1], "/p/"+theirs.Filename()) })
	if n := fetched.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
	ours := wheeltest.Wheel{Name: "acme", Version: "1.0"}
	if status, body := put(t, servers[1], ours, wheeltest.Build(ours)); status != http.StatusCreated {
		t.Errorf("%d %s", status, body)
	}
	if said := f.objects(t, "upstream/acme"); !strings.HasPrefix(said, "house\n") {
		t.Errorf("of acme it says %q", said)
	}
}
