//go:build unix

package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/zstd"

	"curdling/internal/wheel"
	"curdling/internal/wheel/wheeltest"
)

// packed is a tar.zst of files; edit changes each header.
func packed(t *testing.T, files map[string]string, edit func(*tar.Header)) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(files[name]))}
		if edit != nil {
			edit(&h)
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestHostileTarballs: whatever a cache server sends as the tarball of a wheel, the wheel is installed that it lists, and it
// is warned of once.
func TestHostileTarballs(t *testing.T) {
	t.Parallel()
	const name = "lib-1.0-py3-none-any.whl"
	noise := make([]byte, 6<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	libs := map[string]wheeltest.Wheel{
		"small": {Name: "lib", Version: "1.0", Files: map[string]string{"lib.py": "evil = False\n"}},
		"large": {Name: "lib", Version: "1.0", Files: map[string]string{"lib.py": "evil = False\n", "noise": string(noise)}},
	}
	servers := map[string]http.Handler{}
	for size, lib := range libs {
		dir := t.TempDir()
		put(t, filepath.Join(dir, name), wheeltest.Build(lib))
		handler, stop := newTarballServer(t, dir)
		t.Cleanup(stop)
		servers[size] = handler
	}
	upwards := packed(t, map[string]string{"../../../../../../../../evil.py": evilText}, nil)
	link := packed(t, map[string]string{"lib.py": ""}, func(h *tar.Header) { h.Typeflag, h.Linkname = tar.TypeSymlink, "/etc" })
	huge := packed(t, map[string]string{"a": strings.Repeat("\x00", 255<<20), "b": strings.Repeat("\x00", 2<<20)}, nil)
	evil := tarballOf(t, wheeltest.Wheel{Name: "lib", Version: "1.0", Files: map[string]string{"lib.py": evilText}, Requires: []string{"other"}})
	other := tarballOf(t, wheeltest.Wheel{Name: "other", Version: "1.0", Files: map[string]string{"lib.py": evilText}})
	for _, tt := range []struct {
		what  string
		body  func(body []byte) []byte // what is sent in the place of the tarball
		lie   bool                     // the page has its hash and size
		size  int64                    // that the page tells; 0: the truth
		code  int                      // 0 is 200
		want  string                   // of the warning, "": there is none
		taken bool                     // the tarball is
	}{
		{what: "it is right", taken: true},
		{what: "it is not there", code: http.StatusNotFound},
		{what: "it is for others", code: http.StatusForbidden},
		{what: "it cannot be read", code: http.StatusInternalServerError},
		{what: "other bytes", body: func(b []byte) []byte { return bytes.Repeat([]byte("x"), len(b)) }, want: "that cannot be used"},
		{what: "one byte is another", body: func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, want: "that cannot be used"},
		{what: "other bytes that unpack", body: func(b []byte) []byte { return evil }, size: int64(len(evil)), want: "sha256"},
		{what: "more bytes than are told", body: func(b []byte) []byte { return append(b, b...) }, want: "bytes"},
		{what: "it is no tarball", body: func([]byte) []byte { return []byte("PK\x03\x04") }, lie: true, want: "magic"},
		{what: "it requires something else", body: func([]byte) []byte { return evil }, lie: true, want: "its METADATA requires something else"},
		{what: "it is another project's", body: func([]byte) []byte { return other }, lie: true, want: "other-1.0.dist-info is not of lib 1.0"},
		{what: "it leads out of its folder", body: func([]byte) []byte { return upwards }, lie: true, want: "segment"},
		{what: "it is a link", body: func([]byte) []byte { return link }, lie: true, want: "special file"},
		{what: "it is huge", body: func([]byte) []byte { return huge }, lie: true, want: "more than 100 times as much"},
	} {
		for size, handler := range servers {
			t.Run(tt.what+", "+size, func(t *testing.T) {
				t.Parallel()
				var sent atomic.Int64
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					r.Header.Del("Accept-Encoding")
					answer := httptest.NewRecorder()
					handler.ServeHTTP(answer, r)
					body := answer.Body.Bytes()
					switch isTarball := strings.HasSuffix(r.URL.Path, wheel.TarballSuffix); {
					case isTarball && tt.code != 0:
						w.WriteHeader(tt.code)
						return
					case isTarball && tt.body != nil:
						sent.Add(1)
						_, _ = w.Write(tt.body(body))
						return
					case r.URL.Path == "/plan": // which would tell of the page as it is
						http.NotFound(w, r)
						return
					case strings.HasPrefix(r.URL.Path, "/simple/") && answer.Code == http.StatusOK && (tt.lie || tt.size > 0):
						var lie []byte
						if tt.lie {
							lie = tt.body(nil)
						}
						body = relist(t, body, lie, tt.size)
					}
					w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
					w.WriteHeader(answer.Code)
					_, _ = w.Write(body)
				}))
				t.Cleanup(srv.Close)
				home, venv := t.TempDir(), virtualenv(t)
				cmd := curdCommand(filepath.Join(home, "curds"), "install", "--no-index", "-c", srv.URL, "--python", venv, "lib")
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				found, err := filepath.Glob(filepath.Join(venv, "lib", "python*", "site-packages", "lib.py"))
				if err != nil || len(found) != 1 || string(read(t, found[0])) != "evil = False\n" {
					t.Errorf("installed is %q\n%s", found, out)
				}
				warnings := strings.Count(string(out), "warning: ")
				if tt.want == "" && warnings != 0 || tt.want != "" && (warnings != 1 || !strings.Contains(string(out), tt.want)) || sent.Load() > 2 { // once ahead of the solver, once for what was chosen
					t.Errorf("want one warning with %q; it was sent %d times:\n%s", tt.want, sent.Load(), out)
				}
				kept, _ := filepath.Glob(filepath.Join(home, "curds", "tarballs", "*", "*"))
				left, _ := filepath.Glob(filepath.Join(home, "curds", "tmp", "*"))
				if len(kept) == 1 != tt.taken || len(left) > 0 {
					t.Errorf("kept are %v, and left %v", kept, left)
				}
			})
		}
	}
}

// relist has a page tell of another tarball: of its bytes, where there are any, or of size.
func relist(t *testing.T, page, tarball []byte, size int64) []byte {
	t.Helper()
	var p map[string]any
	if err := json.Unmarshal(page, &p); err != nil {
		t.Error(err)
		return page
	}
	for _, f := range p["files"].([]any) {
		told := f.(map[string]any)["_tar-zst"].(map[string]any)
		if tarball != nil {
			told["sha256"], told["size"] = fmt.Sprintf("%x", sha256.Sum256(tarball)), len(tarball)
		}
		if size > 0 {
			told["size"] = size
		}
	}
	page, _ = json.Marshal(p)
	return page
}

// tarballOf makes a wheel's tarball.
func tarballOf(t *testing.T, w wheeltest.Wheel) []byte {
	t.Helper()
	b := wheeltest.Build(w)
	opened, err := wheel.Open(bytes.NewReader(b), int64(len(b)), w.Filename())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := opened.WriteTarball(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
