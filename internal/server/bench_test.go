package server

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"curdling/internal/auth"
	"curdling/internal/index"
	"curdling/internal/wheel/wheeltest"
)

// discard is a client that takes everything and keeps nothing.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header                 { return d.header }
func (d *discard) Write(p []byte) (int, error)         { return len(p), nil }
func (d *discard) WriteHeader(status int)              { d.status = status }
func (d *discard) ReadFrom(r io.Reader) (int64, error) { return io.Copy(io.Discard, r) }

var quiet = slog.New(slog.DiscardHandler)

func benchmark(b *testing.B, o options, target string, want int, headers ...string) {
	small := wheeltest.Wheel{Name: "flask", Version: "3.0", Files: map[string]string{"flask.py": noise(40_000)}}
	s := newSite(b, o, small, oldFlask, zope)
	s.log = nil
	s.Server.log, s.access = quiet, false
	if target == "" {
		target = "/p/" + small.Filename()
	}
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if want == http.StatusNotModified {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		r.Header.Set("If-None-Match", w.Header().Get("Etag"))
	}
	b.ReportAllocs()
	for b.Loop() {
		w := &discard{header: make(http.Header)}
		s.ServeHTTP(w, r)
		if w.status != want {
			b.Fatalf("%d, want %d", w.status, want)
		}
	}
}

func BenchmarkProjectPage(b *testing.B) {
	benchmark(b, options{}, "/simple/flask/", 200, "Accept", index.TypeJSON)
}

// BenchmarkProjectPageBy is a project's page over loopback, in microseconds by who
// asks for it; the difference to nobody is what auth costs. They take turns, and of
// each the fastest 50 requests count, so that what else the machine does matters little.
func BenchmarkProjectPageBy(b *testing.B) {
	policy, secrets := withTokens(b, auth.Token{User: "ci", Scope: auth.ScopeRead})
	basic := func(user, password string) string {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.SetBasicAuth(user, password)
		return r.Header.Get("Authorization")
	}
	users := func(cost int) auth.Policy {
		hash, err := bcrypt.GenerateFromPassword([]byte("secret"), cost)
		if err != nil {
			b.Fatal(err)
		}
		path := filepath.Join(b.TempDir(), "users")
		if err := os.WriteFile(path, append([]byte("alice:"), hash...), 0o600); err != nil {
			b.Fatal(err)
		}
		u, err := auth.OpenUsers(path, quiet)
		if err != nil {
			b.Fatal(err)
		}
		return auth.Policy{Users: u}
	}
	tests := []struct {
		name, authorization string
		policy              auth.Policy
		request             *http.Request
		fastest             time.Duration
	}{
		{"nobody", "", auth.Policy{}, nil, time.Hour},
		{"bcrypt5", basic("alice", "secret"), users(5), nil, time.Hour},
		{"bcrypt10", basic("alice", "secret"), users(10), nil, time.Hour},
		{"token", basic("__token__", secrets[0]), policy, nil, time.Hour},
		{"bearer", "Bearer " + secrets[0], policy, nil, time.Hour},
	}
	for i, test := range tests {
		s := newSite(b, options{configure: func(c *Config) { c.Policy, c.Log = test.policy, quiet }}, oldFlask, zope)
		var err error
		if tests[i].request, err = http.NewRequest(http.MethodGet, "http://"+s.start(b)+"/simple/flask/", nil); err != nil {
			b.Fatal(err)
		}
		tests[i].request.Header.Set("Accept", index.TypeJSON)
		if test.authorization != "" {
			tests[i].request.Header.Set("Authorization", test.authorization)
		}
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for b.Loop() {
		for i := range tests {
			start := time.Now()
			for range 50 {
				r, err := client.Do(tests[i].request)
				if err != nil || r.StatusCode != http.StatusOK {
					b.Fatal(r, err)
				}
				_, _ = io.Copy(io.Discard, r.Body)
				r.Body.Close()
			}
			tests[i].fastest = min(tests[i].fastest, time.Since(start))
		}
	}
	for _, test := range tests {
		b.ReportMetric(float64(test.fastest.Nanoseconds())/50/1000, "us/"+test.name)
	}
}

func BenchmarkNotModified(b *testing.B) {
	benchmark(b, options{}, "/simple/flask/", 304, "Accept", index.TypeJSON)
}

func BenchmarkSmallWheel(b *testing.B) { benchmark(b, options{}, "", 200) }

func BenchmarkMetadata(b *testing.B) {
	benchmark(b, options{}, "/p/"+oldFlask.Filename()+".metadata", 200)
}

func BenchmarkHome(b *testing.B) { benchmark(b, options{}, "/", 200) }

// BenchmarkChoice is what a client's headers ask for, as it is remembered.
func BenchmarkChoice(b *testing.B) {
	var c choices
	b.ReportAllocs()
	for b.Loop() {
		if got, ok := c.of(wish{index.TypeJSON + ", text/html; q=0.01", "gzip, deflate, zstd"}); !ok || got != (choice{formJSON, zstandard}) {
			b.Fatal(got, ok)
		}
	}
}
