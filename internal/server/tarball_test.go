package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"curdling/internal/catalog"
	"curdling/internal/index"
	"curdling/internal/store/disk"
	"curdling/internal/wheel"
	"curdling/internal/wheel/wheeltest"
)

// tarball is what a page says of one.
type tarball struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// newTarballSite is a site that keeps tarballs, over a folder with one wheel, and the tarball of that, which is there already.
func newTarballSite(t *testing.T, edit func(*Config)) (s *site, name string, content []byte) {
	t.Helper()
	w := wheeltest.Wheel{Name: "demo", Version: "1.0", Files: map[string]string{"demo.py": strings.Repeat("x = 1\n", 50_000)}}
	dir := t.TempDir()
	s = newSite(t, options{dir: dir, configure: func(config *Config) {
		folder, err := disk.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		held, err := catalog.Open(t.Context(), catalog.Config{Store: folder, State: filepath.Join(dir, disk.StateDir), Tarballs: true, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		config.Catalog = held
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = held.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-done; held.Close(); folder.Close() })
		if edit != nil {
			edit(config)
		}
	}})
	return s, w.Filename(), wheeltest.Build(w)
}

// listed reads what the page of demo says of a file's tarball.
func (s *site) listed(t *testing.T, accept, name string, headers ...string) (tarball, string) {
	t.Helper()
	r := s.get("/simple/demo/", append([]string{"Accept", accept}, headers...)...)
	var page struct {
		Files []struct {
			Filename string  `json:"filename"`
			Tarball  tarball `json:"_tar-zst"`
		} `json:"files"`
	}
	if body := text(t, r); r.StatusCode == http.StatusOK {
		if err := json.Unmarshal([]byte(body), &page); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range page.Files {
		if f.Filename == name {
			return f.Tarball, r.Header.Get("Etag")
		}
	}
	return tarball{}, r.Header.Get("Etag")
}

func TestTarball(t *testing.T) {
	t.Parallel()
	s, name, content := newTarballSite(t, nil)
	path := "/p/" + name + wheel.TarballSuffix
	if r := s.get(path); r.StatusCode != http.StatusNotFound {
		t.Errorf("before there is a wheel: %s", r.Status)
	}
	older := wheeltest.Wheel{Name: "demo", Version: "0.9"}
	s.drop(t, older.Filename(), wheeltest.Build(older))
	s.do(http.MethodPut, "/p/"+name, bytes.NewReader(content))
	var told tarball
	var before, etag string
	for begun := time.Now(); told.SHA256 == ""; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatal("no page lists a tarball")
		}
		before = etag
		told, etag = s.listed(t, index.TypeJSON, name)
	}
	if before == etag {
		t.Errorf("the page's ETag is %s with it and without", etag)
	}
	if again, _ := s.listed(t, index.TypeBuilds, name); again != told {
		t.Errorf("the other page says %v", again)
	}

	r := s.get(path)
	body := []byte(text(t, r))
	if r.StatusCode != http.StatusOK || sum(body) != told.SHA256 || int64(len(body)) != told.Size ||
		r.Header.Get("Etag") != `"`+told.SHA256+`"` || r.Header.Get("Content-Type") != "application/zstd" || strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("%s: %d bytes of %s, told were %v; %v", r.Status, len(body), sum(body), told, r.Header)
	}
	if _, err := wheel.UnpackTarball(t.Context(), bytes.NewReader(body), told.Size, name, filepath.Join(t.TempDir(), "tree")); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		method  string
		headers []string
		status  int
		body    []byte
	}{
		{http.MethodHead, nil, http.StatusOK, nil},
		{http.MethodGet, []string{"If-None-Match", `"` + told.SHA256 + `"`}, http.StatusNotModified, nil},
		{http.MethodGet, []string{"Range", "bytes=10-19"}, http.StatusPartialContent, body[10:20]},
		{http.MethodGet, []string{"Range", "bytes=10-", "If-Range", `"` + told.SHA256 + `"`}, http.StatusPartialContent, body[10:]},
		{http.MethodGet, []string{"Range", "bytes=10-", "If-Range", `"another"`}, http.StatusOK, body},
		{http.MethodPut, nil, http.StatusBadRequest, nil},
	} {
		r := s.do(tt.method, path, nil, tt.headers...)
		got, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != tt.status || tt.method == http.MethodGet && !bytes.Equal(got, tt.body) {
			t.Errorf("%s %v: %s, %d bytes, %v", tt.method, tt.headers, r.Status, len(got), err)
		}
	}

	if err := os.RemoveAll(filepath.Join(s.dir, disk.StateDir, "tarballs")); err != nil {
		t.Fatal(err)
	}
	if r := s.get(path); r.StatusCode != http.StatusNotFound {
		t.Errorf("deleted by hand: %s", r.Status)
	}
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); s.get(path).StatusCode != http.StatusNotFound || s.get("/p/"+name).StatusCode != http.StatusNotFound; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatal("it is there, and its wheel is not")
		}
	}
}

// TestTarballForReaders alone, as the wheel is.
func TestTarballForReaders(t *testing.T) {
	t.Parallel()
	s, name, content := newTarballSite(t, nil)
	locked := newSite(t, options{dir: s.dir, users: true, configure: func(config *Config) { config.Catalog = s.catalog }})
	s.drop(t, name, content)
	path := "/p/" + name + wheel.TarballSuffix
	for begun := time.Now(); s.get(path).StatusCode != http.StatusOK; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatal("there is no tarball")
		}
	}
	for _, p := range []string{path, "/p/" + name} {
		if r := locked.get(p); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without a password: %s", p, r.Status)
		}
		r := locked.get(p, "Authorization", "Basic YWxpY2U6c2VjcmV0") // alice:secret
		if r.StatusCode != http.StatusOK || !strings.HasPrefix(r.Header.Get("Cache-Control"), "private") {
			t.Errorf("%s with it: %s %v", p, r.Status, r.Header)
		}
	}
	s.drop(t, "demo.status", []byte("quarantined"))
	for begun := time.Now(); s.get(path).StatusCode != s.get("/p/"+name).StatusCode || s.get(path).StatusCode == http.StatusOK; time.Sleep(5 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatal("its project is in quarantine, and it can be had")
		}
	}
}
