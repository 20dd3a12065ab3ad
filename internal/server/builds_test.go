package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/audit"
	"curdling/internal/auth"
	"curdling/internal/catalog"
	"curdling/internal/index"
	"curdling/internal/lease"
	"curdling/internal/record"
	"curdling/internal/record/recordtest"
	"curdling/internal/store/disk"
)

var (
	aFrom = recordtest.Source
	aKey  = record.Key(record.Decides{From: recordtest.Source})
)

// builders is what shares builds over a folder.
func builders(dir string, o lease.Options) Builds {
	in := func(dir string) (leases, prepared lease.Documents) {
		return lease.NewFolder(filepath.Join(dir, disk.StateDir, "leases")), lease.NewFolder(filepath.Join(dir, disk.StateDir, "prepared"))
	}
	leases, prepared := in(dir)
	return Builds{
		Leases: lease.New(leases, o), Prepared: prepared,
		Below: func(scope string) (leases, prepared lease.Documents) {
			return in(filepath.Join(dir, disk.ScopesDir, scope))
		},
	}
}

// newFleet starts servers over one folder.
func newFleet(t *testing.T, n int, o lease.Options) (addresses []string, sites []*site) {
	t.Helper()
	dir := t.TempDir()
	for range n {
		s := newSite(t, options{dir: dir, configure: func(c *Config) { c.Builds = builders(dir, o) }})
		ctx, stop := context.WithCancel(context.Background())
		var watching sync.WaitGroup
		watching.Go(func() {
			if err := s.catalog.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(func() { stop(); watching.Wait() })
		addresses = append(addresses, "http://"+s.start(t))
		sites = append(sites, s)
	}
	return addresses, sites
}

func newClient(t *testing.T) *index.Client {
	c := index.NewClient(index.Options{})
	t.Cleanup(c.Close)
	return c
}

// built is a build of aFrom under aKey, as a file, and its record.
func built(t testing.TB) (path string, beside index.Beside) {
	t.Helper()
	name, wheel, text := recordtest.Build(t, "slow", "3.11.1", "", nil)
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, wheel, 0o666); err != nil {
		t.Fatal(err)
	}
	return path, index.Beside{Suffix: catalog.RecordSuffix, Content: text}
}

// upload uploads a build of aFrom under aKey, and tells what a server then says of it.
func upload(t testing.TB, c *index.Client, address string) index.BuiltFile {
	t.Helper()
	path, beside := built(t)
	if _, err := c.Upload(t.Context(), address, path, beside); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return index.BuiltFile{Filename: filepath.Base(path), SHA256: sum(content), Size: int64(len(content))}
}

// TestOneBuild: 16 clients at two servers over one folder need the same: it is built once, and twice where the
// first builder is killed at half. The others see the log.
func TestOneBuild(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what   string
		killed int64
		want   int64
		ttl    time.Duration // no builder that lives is silent for so long
	}{{"all is well", 0, 1, time.Minute}, {"the first builder is killed", 1, 2, 10 * time.Second}} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			addresses, _ := newFleet(t, 2, lease.Options{TTL: test.ttl, Poll: 100 * time.Millisecond})
			wheel, beside := built(t)
			var begun atomic.Int64
			var saw [16]atomic.Bool
			allSaw := func() bool { // but for the builder
				n := 0
				for i := range saw {
					if saw[i].Load() {
						n++
					}
				}
				return n >= len(saw)-1
			}
			build := func(ctx context.Context, c *index.Client, address string, l *index.Lease) error {
				n := begun.Add(1)
				log := filepath.Join(t.TempDir(), "log")
				l.Follow(log)
				if err := os.WriteFile(log, []byte("cc -c slow.c\n"), 0o666); err != nil {
					return err
				}
				for start := time.Now(); !allSaw() && time.Since(start) < time.Minute; {
					time.Sleep(10 * time.Millisecond)
				}
				if n <= test.killed {
					return nil
				}
				if _, err := c.Upload(ctx, address, wheel, beside); err != nil {
					return err
				}
				return l.Done(ctx)
			}
			var clients sync.WaitGroup
			for i := range 16 {
				clients.Go(func() {
					c, address := newClient(t), addresses[i%2]
					ctx, kill := context.WithCancel(t.Context())
					defer kill()
					claim, err := c.Claim(ctx, address, index.Build{From: aFrom, Key: aKey, Name: "slow 1.0", Wait: time.Minute, Progress: func(p index.BuildProgress) {
						if strings.Contains(p.Log, "cc -c slow.c") {
							saw[i].Store(true)
						}
					}})
					switch {
					case err != nil:
						t.Errorf("client %d: %v", i, err)
					case claim.Lease != nil:
						if err := build(ctx, c, address, claim.Lease); err != nil {
							t.Errorf("client %d: %v", i, err)
						}
					case len(claim.Files) != 1 || claim.Files[0].Filename != filepath.Base(wheel):
						t.Errorf("client %d: %+v", i, claim)
					}
				})
			}
			clients.Wait()
			if got := begun.Load(); got != test.want {
				t.Errorf("%d builds, want %d", got, test.want)
			}
			if !allSaw() {
				t.Error("not all saw the log")
			}
		})
	}
}

// ask puts a question, and gives the status and the answer.
func (s *site) ask(t testing.TB, path, question string, headers ...string) (int, index.BuildAnswer) {
	t.Helper()
	r := s.do(http.MethodPost, path, strings.NewReader(question), append(headers, "Content-Type", "application/json")...)
	var a index.BuildAnswer
	said := text(t, r)
	if err := json.Unmarshal([]byte(said), &a); err != nil && strings.Contains(r.Header.Get("Content-Type"), "json") {
		t.Fatalf("%d %q", r.StatusCode, said)
	}
	if a.Detail == "" {
		a.Detail = said
	}
	return r.StatusCode, a
}

func (s *site) status(method, path, body string, headers ...string) int {
	return s.do(method, path, strings.NewReader(body), headers...).StatusCode
}

func TestBuildLease(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newSite(t, options{dir: dir, configure: func(c *Config) { c.Builds = builders(dir, lease.Options{}) }})
	path := "/builds/" + aFrom + "/" + aKey
	for _, bad := range []string{"/builds/a/b", "/builds/" + aFrom + "/" + strings.Repeat("A", 64), "/builds/" + aFrom + "/" + aKey + "0"} {
		if code, _ := s.ask(t, bad, "{}"); code != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, code)
		}
	}
	for _, question := range []string{"", "[]", `{"wait": -1}`, `{"wait": "x"}`, `{"ours": "../x"}`, `{"unfit": [` + strings.Repeat(`"x",`, 256) + `"x"]}`} {
		if code, a := s.ask(t, path, question); code != http.StatusBadRequest || !strings.Contains(a.Detail, "question") {
			t.Errorf("%.40s: %d %s", question, code, a.Detail)
		}
	}
	if code, _ := s.ask(t, path, `"`+strings.Repeat("x", maxQuestion)+`"`); code != http.StatusRequestEntityTooLarge {
		t.Errorf("a long question: %d", code)
	}

	ours := lease.NewToken()
	for range 2 { // the answer may be lost
		if code, a := s.ask(t, path, `{"name": "slow 1.0", "ours": "`+ours+`"}`); code != http.StatusCreated || a.Lease != ours || a.TTL != 30 {
			t.Fatalf("%d %+v", code, a)
		}
	}
	if code := s.status("PUT", path+"/"+ours+"?at=0", "\x1b[31mred\x1b[0m\x07\n"); code != http.StatusNoContent {
		t.Errorf("heartbeat: %d", code)
	}
	if code := s.status("PUT", path+"/"+ours+"?at=-1", ""); code != http.StatusBadRequest {
		t.Errorf("position: %d", code)
	}
	if code := s.status("PUT", path+"/"+ours, strings.Repeat("x", lease.MaxLog+1)); code != http.StatusRequestEntityTooLarge {
		t.Errorf("long chunk: %d", code)
	}
	if code := s.status("PUT", path+"/"+lease.NewToken(), ""); code != http.StatusGone {
		t.Errorf("another's heartbeat: %d", code)
	}
	code, a := s.ask(t, path, `{"wait": 20}`)
	if code != http.StatusAccepted || a.Log != "red\n" || a.Holder != "192.0.2.1" || a.After == "" {
		t.Errorf("%d %+v", code, a)
	}
	// Who waits is woken.
	woken := make(chan index.BuildAnswer)
	go func() {
		_, more := s.ask(t, path, `{"wait": 20, "after": "`+a.After+`"}`)
		woken <- more
	}()
	waitUntil(t, "somebody waits", func() bool { return metric(t, s, "curd_server_build_waiters") == "1" })
	if code := s.status("PUT", path+"/"+ours+"?at=0", "\x1b[31mred\x1b[0m\x07\nmore"); code != http.StatusNoContent {
		t.Errorf("heartbeat: %d", code)
	}
	if more := <-woken; more.Log != "more" {
		t.Errorf("woken: %+v", more)
	}
	if code := s.status("DELETE", path+"/"+ours+"?failed=exit+status+1%0Aand+more", ""); code != http.StatusNoContent {
		t.Errorf("failed: %d", code)
	}
	code, a = s.ask(t, path, `{"name": "slow 1.0"}`)
	if code != http.StatusFailedDependency || a.Failed == nil || a.Failed.Message != "exit status 1 and more" || a.Failed.Log != "red\nmore" ||
		a.Failed.For < 200 || !strings.HasPrefix(a.Detail, "slow 1.0 was built ") {
		t.Errorf("%d %+v %+v", code, a, a.Failed)
	}
	for name, want := range map[string]string{
		"curd_server_build_leases": "0", `curd_server_build_leases_total{result="granted"}`: "1",
		`curd_server_build_leases_total{result="failed"}`: "1", `curd_server_build_leases_total{result="lost"}`: "1",
	} {
		if got := metric(t, s, name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}

	other := "/builds/" + aKey + "/" + aFrom
	if _, a = s.ask(t, other, "{}"); a.Lease == "" {
		t.Fatalf("%+v", a)
	}
	if code := s.status("DELETE", other+"/"+a.Lease+"?abandoned=1", ""); code != http.StatusNoContent {
		t.Errorf("abandoned: %d", code)
	}
	if _, a = s.ask(t, other, "{}"); a.Lease == "" {
		t.Errorf("after it was given up: %+v", a)
	}
	c := newClient(t)
	want := upload(t, c, "http://"+s.start(t))
	code, a = s.ask(t, path, `{"wait": 20}`)
	if diff := cmp.Diff([]index.BuiltFile{want}, a.Files); code != http.StatusOK || diff != "" {
		t.Errorf("a failure, and then a build: %d %s", code, diff)
	}
	if code, a = s.ask(t, path, `{"unfit": ["`+want.Filename+`"]}`); code != http.StatusFailedDependency {
		t.Errorf("what is there is of no use: %d %+v", code, a)
	}
	if code := newSite(t, options{}).status("POST", path, "{}"); code != http.StatusNotFound {
		t.Errorf("a server without leases: %d", code)
	}
}

// TestBuildRights: who may only read may wait for another's build, and gets no lease.
func TestBuildRights(t *testing.T) {
	t.Parallel()
	policy, secrets := withTokens(t, auth.Token{User: "ci", Scope: auth.ScopeRead}, auth.Token{User: "main", Scope: auth.ScopeUpload},
		auth.Token{User: "acme", Scope: auth.ScopeUpload, Projects: []string{"acme-*"}})
	dir := t.TempDir()
	journal := filepath.Join(t.TempDir(), "audit.jsonl")
	open := func(anonymous bool) *site {
		return newSite(t, options{dir: dir, configure: func(c *Config) {
			c.Policy, c.Builds, c.Audit = policy, builders(dir, lease.Options{Poll: 10 * time.Millisecond}), audit.New(journal)
			c.Policy.AnonymousRead = anonymous
		}})
	}
	s, public := open(false), open(true)
	bearer := func(i int) []string { return []string{"Authorization", "Bearer " + secrets[i]} }
	path := "/builds/" + aFrom + "/" + aKey
	for _, step := range []struct {
		what     string
		s        *site
		question string
		headers  []string
		code     int
	}{
		{"nobody", s, "{}", nil, 401},
		{"a wrong token", public, "{}", []string{"Authorization", "Bearer x"}, 401},
		{"a reader, and nobody builds", s, `{"wait": 20}`, bearer(0), 403},
		{"everybody, and nobody builds", public, `{"wait": 20}`, nil, 403},
		{"a token for other projects", s, `{"name": "slow 1.0"}`, bearer(2), 403},
		{"a token for some projects, and nothing is named", s, `{}`, bearer(2), 403},
		{"an uploader", s, `{"name": "slow 1.0"}`, bearer(1), 201},
		{"a reader, and somebody builds", s, `{}`, bearer(0), 202},
		{"everybody, and somebody builds", public, `{}`, nil, 202},
		{"the right project", s, `{"name": "acme-x 1.0"}`, bearer(2), 202},
	} {
		if code, a := step.s.ask(t, path, step.question, step.headers...); code != step.code || code == 202 && !strings.HasPrefix(a.Holder, "main at ") {
			t.Errorf("%s: %d %+v, want %d", step.what, code, a, step.code)
		}
	}
	metadata := "Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n"
	if code := s.status("PUT", path+"/metadata", metadata, bearer(0)...); code != 403 {
		t.Errorf("a reader's metadata: %d", code)
	}
	if code := s.status("PUT", path+"/metadata", metadata, bearer(2)...); code != 403 {
		t.Errorf("metadata of another project: %d", code)
	}
	if code := s.status("PUT", path+"/"+lease.NewToken(), "", bearer(0)...); code != 403 {
		t.Errorf("a reader's heartbeat: %d", code)
	}
	if code := s.status("PUT", path+"/metadata", metadata, bearer(1)...); code != 201 {
		t.Errorf("metadata: %d", code)
	}
	var noted []string
	for _, e := range entries(t, journal) {
		noted = append(noted, fmt.Sprintf("%s %d %.10s", e.User, e.Status, e.File))
	}
	if diff := cmp.Diff([]string{"ci 403 ", "acme 403 builds/012", "main 201 builds/012"}, noted); diff != "" {
		t.Error(diff)
	}
}

func TestBuildMetadata(t *testing.T) {
	t.Parallel()
	addresses, sites := newFleet(t, 2, lease.Options{})
	c := newClient(t)
	b := index.Build{From: aFrom, Key: aKey, Name: "slow 1.0", Metadata: true}
	if _, err := c.BuildMetadata(t.Context(), addresses[0], b); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is none: %v", err)
	}
	claim, err := c.Claim(t.Context(), addresses[0], b)
	if err != nil || claim.Lease == nil {
		t.Fatalf("%+v, %v", claim, err)
	}
	if _, err := c.Claim(t.Context(), addresses[1], b); !errors.Is(err, index.ErrBuildWait) {
		t.Errorf("while it is prepared: %v", err)
	}
	for _, bad := range []string{"", "Name: slow\n", strings.Repeat("x", index.MaxBuildMetadata+1), "Name: slow\nVersion: 1\nRequires-Dist: !\n"} {
		var status *index.StatusError
		if err := c.PutBuildMetadata(t.Context(), addresses[0], b, []byte(bad)); !errors.As(err, &status) || status.Code != 400 && status.Code != 413 {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	text := []byte("Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n\nGr\xfc\xdfe")
	for i := range 2 { // the same again, at the other server
		if err := c.PutBuildMetadata(t.Context(), addresses[i], b, text); err != nil {
			t.Error(err)
		}
	}
	var status *index.StatusError
	if err := c.PutBuildMetadata(t.Context(), addresses[1], b, append(text, '!')); !errors.As(err, &status) || status.Code != 409 {
		t.Errorf("other metadata: %v", err)
	}
	if err := claim.Lease.Done(t.Context()); err != nil {
		t.Error(err)
	}
	for _, address := range addresses {
		if claim, err := c.Claim(t.Context(), address, b); err != nil || !bytes.Equal(claim.Metadata, text) {
			t.Errorf("%+v, %v", claim, err)
		}
	}
	// The metadata of a build will do, too.
	upload(t, c, addresses[0])
	if err := os.RemoveAll(filepath.Join(sites[0].dir, disk.StateDir, "prepared")); err != nil {
		t.Fatal(err)
	}
	claim, err = c.Claim(t.Context(), addresses[0], b)
	if err != nil || !strings.Contains(string(claim.Metadata), "Name: slow") {
		t.Errorf("%+v, %v", claim, err)
	}
}

// TestWaitersAtTheEnd: a server that is told to end answers who waits at once.
func TestWaitersAtTheEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := newSite(t, options{dir: dir, configure: func(c *Config) { c.Builds = builders(dir, lease.Options{}) }})
	listener := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, listener) }()
	path := "/builds/" + aFrom + "/" + aKey
	if code, a := s.ask(t, path, "{}"); code != http.StatusCreated {
		t.Fatalf("%+v", a)
	}
	_, a := s.ask(t, path, "{}")
	answers := make(chan int, 3)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for range cap(answers) {
		go func() {
			r, err := client.Post("http://"+listener.Addr().String()+path, "application/json", strings.NewReader(`{"wait": 3600, "after": "`+a.After+`"}`))
			if err != nil {
				t.Error(err)
				answers <- 0
				return
			}
			r.Body.Close()
			answers <- r.StatusCode
		}()
	}
	waitUntil(t, "they wait", func() bool { return metric(t, s, "curd_server_build_waiters") == "3" })
	start := time.Now()
	stop()
	for range cap(answers) {
		if code := <-answers; code != http.StatusAccepted {
			t.Error(code)
		}
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > maxBuildWait/2 {
		t.Errorf("they were answered after %v", took)
	}
}

// TestWaiting: there is room for so many who wait, and who comes then is answered at once.
func TestWaiting(t *testing.T) {
	t.Parallel()
	w := newWaiting()
	w.places = make(chan struct{}, 1)
	first, leave := w.begin(t.Context(), time.Hour)
	second, leaveToo := w.begin(t.Context(), time.Hour)
	if first.Err() != nil || second.Err() == nil {
		t.Errorf("%v, %v", first.Err(), second.Err())
	}
	leaveToo()
	leave()
	for range 2 {
		_, leave := w.begin(t.Context(), 0)
		leave()
	}
	third, leave := w.begin(t.Context(), time.Hour)
	w.stop()
	<-third.Done()
	leave()
	if len(w.places) != 0 {
		t.Error("a place is taken")
	}
}

// TestLeasesThatFail: where leases cannot be kept the answer is an error, and not to wait.
func TestLeasesThatFail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, options{configure: func(c *Config) {
		c.Builds.Leases = lease.New(lease.NewFolder(filepath.Join(dir, "file", "leases")), lease.Options{})
	}})
	if code, a := s.ask(t, "/builds/"+aFrom+"/"+aKey, `{"wait": 20}`); code != http.StatusInternalServerError {
		t.Errorf("%d %+v", code, a)
	}
}
