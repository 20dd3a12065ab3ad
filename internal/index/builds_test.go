package index

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var aBuild = Build{From: strings.Repeat("a", 64), Key: strings.Repeat("b", 64), Name: "slow 1.0", Wait: time.Minute}

// answerBuild writes an answer.
func answerBuild(w http.ResponseWriter, code int, a BuildAnswer) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(a)
}

// TestClaimNoDeadEnd: whatever a server does or does not, the claim ends, and says why.
func TestClaimNoDeadEnd(t *testing.T) {
	t.Parallel()
	hang := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) }
	}
	say := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { send(w, text) }
	}
	for _, test := range []struct {
		what     string
		handler  http.HandlerFunc
		wait     time.Duration
		requests int64 // of two claims
		want     string
	}{
		{"an old server", status(http.StatusNotFound), time.Minute, 1, "404"},
		{"one that has no POST", status(http.StatusMethodNotAllowed), time.Minute, 1, "405"},
		{"one that implements nothing", status(http.StatusNotImplemented), time.Minute, 1, "501"},
		{"a reader, and nobody builds", status(http.StatusForbidden), time.Minute, 2, "403"},
		{"a server that is silent", hang, time.Minute, 1, "silent"},
		{"one that breaks off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, time.Minute, 2, "EOF"},
		{"one that says nothing", say(""), time.Minute, 1, "unexpected end of JSON"},
		{"no files", say("{}"), time.Minute, 1, "says nothing"},
		{"a page", say("<html>"), time.Minute, 1, "invalid character"},
		{"far too much", say(strings.Repeat(" ", maxAnswer+1)), time.Minute, 1, "more than"},
		{"a lease that leads elsewhere", func(w http.ResponseWriter, r *http.Request) {
			answerBuild(w, http.StatusCreated, BuildAnswer{Lease: "../../x", TTL: 30})
		}, time.Minute, 1, "says nothing"},
		{"a builder that takes too long", func(w http.ResponseWriter, r *http.Request) {
			answerBuild(w, http.StatusAccepted, BuildAnswer{Holder: "bob\x1b[31m", After: "x"})
		}, 0, 2, "slow 1.0, by bob: it is still being built elsewhere"},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int64
			base := serve(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				test.handler(w, r)
			})
			timeout := time.Minute
			if test.want == "silent" {
				timeout = 300 * time.Millisecond
			}
			c := NewClient(Options{Timeout: timeout})
			defer c.Close()
			b := aBuild
			b.Wait = test.wait
			for i := range 2 {
				claim, err := c.Claim(t.Context(), base, b)
				if claim != nil || err == nil || i == 0 && !strings.Contains(err.Error(), test.want) {
					t.Errorf("%+v, %v; want an error with %q", claim, err, test.want)
				}
			}
			if got := requests.Load(); got != test.requests {
				t.Errorf("%d requests, want %d", got, test.requests)
			}
		})
	}
	c := NewClient(Options{Offline: true})
	if _, err := c.Claim(t.Context(), "http://127.0.0.1:1", aBuild); !errors.Is(err, ErrOffline) {
		t.Errorf("offline: %v", err)
	}
}

// TestClaimWaits: what fails for a moment is asked again, news are told, and what comes is taken.
func TestClaimWaits(t *testing.T) {
	t.Parallel()
	file := BuiltFile{"slow-1.0-py3-none-any.whl", strings.Repeat("c", 64), 3}
	var mu sync.Mutex
	var questions []BuildQuestion
	steps := []func(http.ResponseWriter){
		func(w http.ResponseWriter) { panic(http.ErrAbortHandler) }, // the first question of all
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		func(w http.ResponseWriter) {
			answerBuild(w, http.StatusAccepted, BuildAnswer{Holder: "bob", Since: 3, Log: "one\n", After: "1"})
		},
		func(w http.ResponseWriter) { panic(http.ErrAbortHandler) },
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
		func(w http.ResponseWriter) {
			answerBuild(w, http.StatusAccepted, BuildAnswer{Holder: "bob", Since: 4, Log: "two\x07\n", After: "2"})
		},
		func(w http.ResponseWriter) { answerBuild(w, http.StatusOK, BuildAnswer{Files: []BuiltFile{file}}) },
	}
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		q, err2 := ParseBuildQuestion(b)
		if err := errors.Join(err, err2); err != nil {
			t.Error(err)
		}
		mu.Lock()
		questions = append(questions, q)
		step := steps[len(questions)-1]
		mu.Unlock()
		step(w)
	})
	c := NewClient(Options{})
	defer c.Close()
	var told []BuildProgress
	b := aBuild
	b.Progress = func(p BuildProgress) { told = append(told, p) }
	claim, err := c.Claim(t.Context(), base, b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&Claim{Files: []BuiltFile{file}}, claim); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]BuildProgress{{"bob", 3 * time.Second, "one\n"}, {"bob", 4 * time.Second, "two\n"}}, told); diff != "" {
		t.Error(diff)
	}
	for i, q := range questions {
		if after := []string{"", "", "", "1", "1", "1", "2"}[i]; q.After != after || q.Ours != questions[0].Ours || q.Name != "slow 1.0" || (q.Wait > 0) != (i > 2) || q.Wait > 15 {
			t.Errorf("question %d: %+v", i, q)
		}
	}
	// Who goes away does so at once.
	ctx, cancel := context.WithCancel(t.Context())
	mu.Lock()
	questions, steps = nil, []func(http.ResponseWriter){func(w http.ResponseWriter) {
		cancel()
		answerBuild(w, http.StatusAccepted, BuildAnswer{After: "1"})
	}}
	mu.Unlock()
	if claim, err := c.Claim(ctx, base, aBuild); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", claim, err)
	}
	mu.Lock()
	questions, steps = nil, []func(http.ResponseWriter){func(w http.ResponseWriter) {
		answerBuild(w, http.StatusFailedDependency, BuildAnswer{Failed: &BuildFailure{Message: "no\ngcc", Log: "\x1b[1mx"}})
	}}
	mu.Unlock()
	claim, err = c.Claim(t.Context(), base, aBuild)
	if err != nil || claim.Failed == nil || claim.Failed.Message != "no gcc" || claim.Failed.Log != "x" {
		t.Errorf("%+v, %v", claim, err)
	}
}

// TestServerDies: who waits at a server that dies builds for himself after a while, and one
// that is only started again makes no difference.
func TestServerDies(t *testing.T) {
	t.Parallel()
	for _, forGood := range []bool{true, false} {
		t.Run(fmt.Sprint("for good ", forGood), func(t *testing.T) {
			t.Parallel()
			var dead atomic.Bool
			var waiting, failures atomic.Int64
			base := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if dead.Load() {
					if failures.Add(1) >= 8 && !forGood {
						dead.Store(false)
					}
					panic(http.ErrAbortHandler)
				}
				if failures.Load() > 0 {
					answerBuild(w, http.StatusOK, BuildAnswer{Files: []BuiltFile{{Filename: "x"}}})
					return
				}
				if waiting.Add(1) == 8 {
					dead.Store(true)
				}
				answerBuild(w, http.StatusAccepted, BuildAnswer{After: "1"})
			})
			var clients sync.WaitGroup
			var local, shared atomic.Int64
			for range 4 {
				clients.Go(func() {
					c := NewClient(Options{})
					defer c.Close()
					c.patience = 3 * time.Second
					if !forGood {
						c.patience = time.Minute
					}
					if claim, err := c.Claim(t.Context(), base, aBuild); err != nil {
						local.Add(1)
					} else if claim.Files != nil {
						shared.Add(1)
					}
				})
			}
			clients.Wait()
			want := map[bool]int64{true: 4, false: 0}[forGood]
			if local.Load() != want || shared.Load() != 4-want {
				t.Errorf("%d build for themselves, %d share", local.Load(), shared.Load())
			}
		})
	}
}

// holder is a server's side of one lease.
type holder struct {
	mu    sync.Mutex
	log   []byte
	beats int
	end   []string // queries of DELETE
	gone  bool
}

func (h *holder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch r.Method {
	case http.MethodPost:
		answerBuild(w, http.StatusCreated, BuildAnswer{Lease: "TOKEN", TTL: 0.3})
	case http.MethodPut:
		if h.gone {
			w.WriteHeader(http.StatusGone)
			return
		}
		if h.beats++; h.beats%3 == 0 {
			panic(http.ErrAbortHandler) // the answer is lost
		}
		var at int
		if _, err := fmt.Sscanf(r.URL.RawQuery, "at=%d", &at); err == nil && at <= len(h.log) && strings.HasSuffix(r.URL.Path, "/TOKEN") {
			h.log = append(h.log[:at], b...)
		}
		w.WriteHeader(http.StatusNoContent)
	case http.MethodDelete:
		if h.end = append(h.end, r.URL.RawQuery); len(h.end) == 1 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

func (h *holder) seen() (log string, beats int, end []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.log), h.beats, h.end
}

func TestLease(t *testing.T) {
	t.Parallel()
	h := new(holder)
	base := serve(t, h.ServeHTTP)
	c := NewClient(Options{})
	defer c.Close()
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not in 20 s: %s", what)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	claim, err := c.Claim(ctx, base, aBuild)
	if err != nil || claim.Lease == nil {
		t.Fatalf("%+v, %v", claim, err)
	}
	path := filepath.Join(t.TempDir(), "log")
	claim.Lease.Follow(path) // which is not there yet
	until("heartbeats without a log", func() bool { _, beats, _ := h.seen(); return beats > 3 })
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := ""
	for i := range 5 {
		line := fmt.Sprintf("line %d\n", i)
		want += line
		if _, err := f.WriteString(line); err != nil {
			t.Fatal(err)
		}
		until("the log is there", func() bool { log, _, _ := h.seen(); return log == want })
	}
	cancel() // as by an interrupt
	if _, err := f.WriteString("the end"); err != nil {
		t.Fatal(err)
	}
	if err := claim.Lease.Fail(ctx, "exit status 1"); err != nil {
		t.Error(err)
	}
	if err := claim.Lease.GiveUp(ctx); err != nil { // it is over
		t.Error(err)
	}
	log, _, end := h.seen()
	if diff := cmp.Diff([]string{"failed=exit+status+1", "failed=exit+status+1"}, end); diff != "" || !strings.HasPrefix(log, want) {
		t.Errorf("%s; log %q", diff, log)
	}

	claim, err = c.Claim(t.Context(), base, aBuild)
	if err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	h.gone, h.end = true, nil
	h.mu.Unlock()
	<-claim.Lease.beats // it learns that it is lost
	if err := claim.Lease.Done(t.Context()); err != nil {
		t.Error(err)
	}
	if _, _, end := h.seen(); len(end) > 0 {
		t.Errorf("a lease that was lost is ended: %q", end)
	}
}

func FuzzParseBuildQuestion(f *testing.F) {
	f.Add([]byte(`{"name": "foo 1.0", "wait": 20, "after": "1f2e3d4c.100.held", "ours": "ABC", "unfit": ["a.whl"]}`))
	f.Add([]byte(`{"wait": 1e400}`))
	f.Add([]byte(`{"wait": -0.5, "unfit": null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := ParseBuildQuestion(b)
		if err == nil && (q.Wait < 0 || q.Wait > 24*60*60 || len(q.Unfit) > maxUnfit || len(q.Name) > maxText) {
			t.Errorf("%q: %+v", b, q)
		}
	})
}
