package server

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

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
	s.Server.log = quiet
	if target == "" {
		target = "/p/" + small.Filename()
	}
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if o.users {
		r.SetBasicAuth("alice", "secret")
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

func BenchmarkProjectPageWithPassword(b *testing.B) {
	benchmark(b, options{users: true}, "/simple/flask/", 200, "Accept", index.TypeJSON)
}

func BenchmarkNotModified(b *testing.B) {
	benchmark(b, options{}, "/simple/flask/", 304, "Accept", index.TypeJSON)
}

func BenchmarkSmallWheel(b *testing.B) { benchmark(b, options{}, "", 200) }

func BenchmarkMetadata(b *testing.B) {
	benchmark(b, options{}, "/p/"+oldFlask.Filename()+".metadata", 200)
}

func BenchmarkHome(b *testing.B) { benchmark(b, options{}, "/", 200) }
