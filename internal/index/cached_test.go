package index

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

func TestPagesAreCachedByTheRules(t *testing.T) {
	date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	type headers map[string]string
	tests := []struct {
		name   string
		header headers
		after  time.Duration
		want   string // requests that the second asking makes: "", "get", "condition"
	}{
		{"nothing said, soon", nil, 599 * time.Second, ""},
		{"nothing said, late", nil, 601 * time.Second, "get"},
		{"max-age, soon", headers{"Cache-Control": "public, max-age=60", "ETag": `"1"`}, 50 * time.Second, ""},
		{"max-age, late", headers{"Cache-Control": `max-age="60"`, "ETag": `"1"`}, 61 * time.Second, "condition"},
		{"max-age 0", headers{"Cache-Control": "max-age=0", "ETag": `"1"`}, 0, "condition"},
		{"max-age wrong", headers{"Cache-Control": "max-age=-1"}, 0, "get"},
		{"two of max-age", headers{"Cache-Control": "max-age=600, max-age=10"}, 20 * time.Second, "get"},
		{"huge max-age", headers{"Cache-Control": "max-age=99999999999999999999"}, time.Hour, ""},
		{"age", headers{"Cache-Control": "max-age=60", "Age": "30"}, 40 * time.Second, "get"},
		{"date", headers{"Cache-Control": "max-age=60", "Date": date(-30 * time.Second)}, 40 * time.Second, "get"},
		{"s-maxage is for others", headers{"Cache-Control": "s-maxage=600, max-age=0"}, 0, "get"},
		{"no-cache", headers{"Cache-Control": "no-cache, max-age=60", "ETag": `W/"1"`}, 0, "condition"},
		{"no-store", headers{"Cache-Control": "no-store, max-age=60", "ETag": `"1"`}, 0, "get"},
		{"private is for us", headers{"Cache-Control": "private, must-revalidate, max-age=60"}, time.Second, ""},
		{"etag alone", headers{"ETag": `"1"`}, 0, "condition"},
		{"last-modified alone", headers{"Last-Modified": date(-time.Hour)}, 0, "condition"},
		{"expires, soon", headers{"Expires": date(time.Minute)}, 30 * time.Second, ""},
		{"expires, late", headers{"Expires": date(time.Minute)}, 70 * time.Second, "get"},
		{"expires 0", headers{"Expires": "0"}, 0, "get"},
		{"max-age before expires", headers{"Expires": "0", "Cache-Control": "max-age=60"}, time.Second, ""},
		{"vary on what is alike", headers{"Cache-Control": "max-age=60", "Vary": "Accept, Accept-Encoding"}, time.Second, ""},
		{"vary on anything", headers{"Cache-Control": "max-age=60", "Vary": "*"}, time.Second, "get"},
		{"clock set back", headers{"Cache-Control": "max-age=60"}, -time.Hour, "get"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			asked := ""
			base := serve(t, func(w http.ResponseWriter, r *http.Request) {
				asked = "get"
				for k, v := range tt.header {
					w.Header().Set(k, v)
				}
				if etag := r.Header.Get("If-None-Match"); etag != "" && etag == tt.header["ETag"] ||
					etag == "" && r.Header.Get("If-Modified-Since") != "" {
					asked = "condition"
					w.WriteHeader(http.StatusNotModified)
					return
				}
				sendPage(w, r)
			})
			cache := &memory{}
			for i := range 2 {
				asked = ""
				c := testClient(t, Options{Cache: cache})
				if i == 1 {
					c.now = func() time.Time { return time.Now().Add(tt.after) }
				}
				p, err := c.Project(t.Context(), base, "x")
				if err != nil || len(p.Files) != 1 {
					t.Fatal(p, err)
				}
			}
			if asked != tt.want {
				t.Errorf("asked again: %q, want %q", asked, tt.want)
			}
		})
	}
}

func TestRevalidatedPageIsFreshAgain(t *testing.T) {
	requests := 0
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		w.Header().Set("ETag", `"1"`)
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified) // lifetime as before
			return
		}
		w.Header().Set("Cache-Control", "max-age=60")
		sendPage(w, r)
	})
	c := testClient(t, Options{Cache: &memory{}})
	for i, after := range []time.Duration{0, 2 * time.Minute, 2*time.Minute + 50*time.Second, 4 * time.Minute} {
		c.now = func() time.Time { return time.Now().Add(after) }
		if _, err := c.Project(t.Context(), base, "x"); err != nil {
			t.Fatal(err)
		}
		if want := []int{1, 2, 2, 3}[i]; requests != want {
			t.Errorf("after %v: %d requests, want %d", after, requests, want)
		}
	}
}

func TestRefreshAndOffline(t *testing.T) {
	requests := 0
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		w.Header().Set("Cache-Control", "max-age=60")
		sendPage(w, r)
	})
	cache := &memory{}
	if _, err := testClient(t, Options{Cache: cache, Offline: true}).Project(t.Context(), base, "x"); !errors.Is(err, ErrOffline) || requests != 0 {
		t.Fatalf("%v after %d requests", err, requests)
	}
	for i, o := range []Options{{}, {}, {Refresh: true}, {Offline: true}, {Offline: true, Refresh: true}} {
		o.Cache = cache
		c := testClient(t, o)
		if o.Offline {
			c.now = func() time.Time { return time.Now().Add(time.Hour) }
		}
		if _, err := c.Project(t.Context(), base, "x"); err != nil {
			t.Fatal(err)
		}
		if want := []int{1, 1, 2, 2, 2}[i]; requests != want {
			t.Errorf("%+v: %d requests, want %d", o, requests, want)
		}
	}
}

func TestStaleAndUnreadablePagesAreNotUsed(t *testing.T) {
	down, text := false, "{"
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if down {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", TypeJSON)
		send(w, text)
	})
	c := testClient(t, Options{Cache: &memory{}})
	if _, err := c.Project(t.Context(), base, "x"); err == nil {
		t.Fatal("half a page was read")
	}
	text = jsonPage
	if _, err := c.Project(t.Context(), base, "x"); err != nil {
		t.Fatalf("half a page was kept: %v", err)
	}
	down = true
	if _, err := c.Project(t.Context(), base, "x"); err != nil {
		t.Fatalf("a fresh page was asked for: %v", err)
	}
	c.now = func() time.Time { return time.Now().Add(time.Hour) }
	var status *StatusError
	if _, err := c.Project(t.Context(), base, "x"); !errors.As(err, &status) || status.Code != http.StatusBadGateway {
		t.Errorf("a stale page: %v", err)
	}
}

func TestCompressedPages(t *testing.T) {
	encode := map[string]func(io.Writer) io.WriteCloser{
		"gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"zstd": func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1)); return z },
	}
	for coding, encoder := range encode {
		base := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.Header.Get("Accept-Encoding"), coding) {
				t.Errorf("Accept-Encoding %s", r.Header.Get("Accept-Encoding"))
			}
			w.Header().Set("Content-Type", TypeJSON)
			w.Header().Set("Content-Encoding", coding)
			z := encoder(w)
			send(z, jsonPage)
			z.Close()
		})
		if p, err := testClient(t, Options{}).Project(t.Context(), base, "x"); err != nil || len(p.Files) != 1 {
			t.Errorf("%s: %v", coding, err)
		}
		var bomb bytes.Buffer
		z := encoder(&bomb)
		send(z, make([]byte, 1<<20))
		z.Close()
		resp := &http.Response{Header: http.Header{"Content-Encoding": {coding}}, Body: io.NopCloser(&bomb)}
		if _, err := readBody(resp, 1<<16); err == nil || !strings.Contains(err.Error(), "more than 65536 bytes") {
			t.Errorf("%s bomb: %v", coding, err)
		}
	}
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "br")
		sendPage(w, r)
	})
	if _, err := testClient(t, Options{}).Project(t.Context(), base, "x"); err == nil || !strings.Contains(err.Error(), `encoding "br"`) {
		t.Errorf("brotli: %v", err)
	}
}

func FuzzEntry(f *testing.F) {
	e := &entry{URL: "https://h.test/", ETag: `"1"`, Lifetime: time.Minute, body: []byte("text")}
	f.Add(e.encode())
	f.Add([]byte(entryMagic + "\x00\x00\x00\x02{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e := decodeEntry(b)
		if e == nil {
			return
		}
		again := decodeEntry(e.encode())
		if again == nil || !bytes.Equal(again.body, e.body) || again.ETag != e.ETag && !strings.ContainsRune(e.ETag, '\ufffd') {
			t.Fatalf("%+v became %+v", e, again)
		}
	})
}
