package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"curdling/internal/index"
	"curdling/internal/wheel/wheeltest"
)

func TestChooseEncoding(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]int{
		"": identity, "identity": identity, "gzip": gzipped, "gzip, deflate": gzipped, "x-gzip": gzipped, "br": identity,
		"gzip, deflate, br, zstd": zstandard, "zstd;q=0.5, gzip": gzipped, "GZIP;Q=0.5": gzipped, "zstd;q=0, gzip;q=0": identity,
		"*": zstandard, "*;q=0": identity, "zstd;q=0, *": gzipped, "identity, gzip;q=0.5": identity, "identity;q=0.1, *;q=0.5": zstandard,
		"gzip;q=x": identity, ",;,": identity,
	} {
		if got := chooseEncoding(header); got != want {
			t.Errorf("%q: %q, want %q", header, encodingNames[got], encodingNames[want])
		}
	}
}

// unpack undoes a Content-Encoding.
func unpack(t *testing.T, r *http.Response) string {
	t.Helper()
	body := io.Reader(r.Body)
	var err error
	switch r.Header.Get("Content-Encoding") {
	case "gzip":
		body, err = gzip.NewReader(body)
	case "zstd":
		body, err = zstd.NewReader(body)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestEncodings: every form in every encoding has the same content, and a validator of its own.
func TestEncodings(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{}, flask, oldFlask, zope, wheeltest.Wheel{Name: "long", Version: "1", Requires: strings.Split(strings.Repeat("flask>=3 ", 100), " ")})
	for _, target := range []string{"/simple/", "/simple/flask/", "/simple/flask/?format=" + strings.ReplaceAll(index.TypeJSON, "+", "%2B"), "/p/long-1-py3-none-any.whl.metadata"} {
		plain := s.get(target)
		tags := map[string]string{plain.Header.Get("Etag"): "identity"}
		want := text(t, plain)
		for _, encoding := range []string{"gzip", "zstd"} {
			r := s.get(target, "Accept-Encoding", encoding+", deflate")
			etag := r.Header.Get("Etag")
			if r.StatusCode != http.StatusOK || target != "/simple/" && r.Header.Get("Content-Encoding") != encoding || !strings.Contains(r.Header.Get("Vary"), "Accept-Encoding") {
				t.Errorf("%s in %s: %d %v", target, encoding, r.StatusCode, r.Header)
			}
			if tags[etag] != "" && r.Header.Get("Content-Encoding") != "" {
				t.Errorf("%s in %s has the validator of %s", target, encoding, tags[etag])
			}
			tags[etag] = encoding
			if got := unpack(t, r); got != want {
				t.Errorf("%s in %s: %q, want %q", target, encoding, got, want)
			}
			again := s.get(target, "Accept-Encoding", encoding, "If-None-Match", etag)
			if again.StatusCode != http.StatusNotModified || again.Header.Get("Etag") != etag || again.Header.Get("Vary") == "" || again.Header.Get("Cache-Control") == "" {
				t.Errorf("%s in %s again: %d %v", target, encoding, again.StatusCode, again.Header)
			}
			if other := s.get(target, "If-None-Match", etag); r.Header.Get("Content-Encoding") != "" && other.StatusCode != http.StatusOK {
				t.Errorf("%s plain, for who has it in %s: %d", target, encoding, other.StatusCode)
			}
		}
	}
}

// TestRanges: of files that are sent from memory and of those that are not.
func TestRanges(t *testing.T) {
	t.Parallel()
	large := wheeltest.Wheel{Name: "large", Version: "1", Files: map[string]string{"large.py": noise(300_000)}}
	s := newSite(t, options{}, flask, large)
	for file, content := range map[string][]byte{flaskFile: flaskBytes, large.Filename(): wheeltest.Build(large)} {
		etag := s.get("/p/" + file).Header.Get("Etag")
		r := s.get("/p/"+file, "Range", "bytes=0-1,10-19", "If-Range", etag)
		kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if r.StatusCode != http.StatusPartialContent || err != nil || kind != "multipart/byteranges" {
			t.Fatalf("%s: %d %v", file, r.StatusCode, r.Header)
		}
		parts := multipart.NewReader(r.Body, parameters["boundary"])
		for _, want := range [][]byte{content[0:2], content[10:20]} {
			part, err := parts.NextPart()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(part); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: part %q, %v; want %q", file, got, err, want)
			}
		}
		for _, test := range []struct {
			header, value string
			status        int
		}{{"If-None-Match", etag, 304}, {"If-None-Match", "*", 304}, {"If-Match", `"x"`, 412}, {"If-Modified-Since", "Thu, 01 Jan 2099 00:00:00 GMT", 304}, {"Range", "bytes=99999999-", 416}, {"Range", "lines=1-2", 416}} {
			if r := s.get("/p/"+file, test.header, test.value); r.StatusCode != test.status {
				t.Errorf("%s with %s: %s: %d, want %d", file, test.header, test.value, r.StatusCode, test.status)
			}
		}
	}
}

// TestPrivate: where passwords are needed no shared cache may keep anything.
func TestPrivate(t *testing.T) {
	t.Parallel()
	for _, users := range []bool{false, true} {
		s := newSite(t, options{users: users}, flask)
		for _, target := range []string{"/simple/", "/simple/flask/", "/p/" + flaskFile, "/p/" + flaskFile + ".metadata"} {
			r := httptest.NewRequest(http.MethodGet, target, nil)
			r.SetBasicAuth("alice", "secret")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			want := "public, "
			if users {
				want = "private, "
			}
			if got := w.Header().Get("Cache-Control"); w.Code != http.StatusOK || !strings.HasPrefix(got, want) {
				t.Errorf("%s: %d %q", target, w.Code, got)
			}
		}
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	m := newMemory(20_000)
	content := new(int)
	for i := range 1000 {
		path := fmt.Sprint("/", i)
		m.get("/hot", content)
		p := m.get(path, content)
		m.grow(path, p, 1000)
		if i%7 == 0 {
			m.drop(path)
			m.grow(path, p, 1000) // who made it did not know
		}
		var sum int64
		for _, p := range m.kept {
			sum += p.bytes
		}
		if m.size != sum || m.size > m.limit {
			t.Fatalf("after %d: %d bytes, counted %d, limit %d", i, sum, m.size, m.limit)
		}
		if i > 0 && m.kept["/hot"] == nil {
			t.Fatalf("what is asked for each time went")
		}
	}
	if first := m.get("/x", content); m.get("/x", new(string)) == first {
		t.Error("what is prepared of another content was used")
	}
}

// TestHTTP2 speaks it without TLS.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{}, flask)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for want, set := range map[int]func(*http.Protocols){1: func(p *http.Protocols) { p.SetHTTP1(true) }, 2: func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }} {
		transport := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{}}
		set(transport.Protocols)
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
		for _, path := range []string{"/simple/flask/", "/p/" + flaskFile, "/healthz"} {
			r, err := client.Get("http://" + l.Addr().String() + path)
			if err != nil {
				t.Fatal(err)
			}
			if body := text(t, r); r.StatusCode != http.StatusOK || r.ProtoMajor != want || path == "/p/"+flaskFile && body != string(flaskBytes) {
				t.Errorf("%s: %d over %s", path, r.StatusCode, r.Proto)
			}
			r.Body.Close()
		}
	}
}

// TestSidecarsOnPages: what lies beside a wheel is on its project's page and can be had.
func TestSidecarsOnPages(t *testing.T) {
	t.Parallel()
	dropped := map[string]string{
		flaskFile + ".yanked": "a \"bad\" <one>", flaskFile + ".provenance": `{"version":1,"attestation_bundles":[]}`, "flask.status": "deprecated: use <quart>",
	}
	s := newSite(t, options{sidecars: dropped}, flask, oldFlask)
	page := text(t, s.get("/simple/flask/", "Accept", index.TypeJSON))
	for _, want := range []string{`"yanked":"a \"bad\" <one>"`, `"provenance":"../../p/` + flaskFile + `.provenance"`, `"project-status":{"status":"deprecated","reason":"use <quart>"}`, `"api-version":"1.4"`, `"versions":["2.0","3.0"]`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in %s", want, page)
		}
	}
	page = text(t, s.get("/simple/flask/"))
	for _, want := range []string{`data-yanked="a &#34;bad&#34; &lt;one&gt;"`, `data-provenance="../../p/` + flaskFile + `.provenance"`, `<meta name="pypi:project-status" content="deprecated">`, `<meta name="pypi:project-status-reason" content="use &lt;quart&gt;">`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in %s", want, page)
		}
	}
	r := s.get("/p/" + flaskFile + ".provenance")
	if got := text(t, r); got != dropped[flaskFile+".provenance"] || r.Header.Get("Content-Type") != "application/vnd.pypi.integrity.v1+json" || r.Header.Get("Etag") == "" {
		t.Errorf("%s %v", got, r.Header)
	}
	if again := s.get("/p/"+flaskFile+".provenance", "If-None-Match", r.Header.Get("Etag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("again: %d", again.StatusCode)
	}
	for _, none := range []string{flaskFile + ".attestations", flaskFile + ".yanked", "flask.status", oldFlask.Filename() + ".provenance"} {
		if r := s.get("/p/" + none); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", none, r.StatusCode)
		}
	}
	if got := text(t, s.get("/api/flask")); strings.Contains(got, flaskFile) || !strings.Contains(got, oldFlask.Filename()) {
		t.Errorf("the original's list: %s", got)
	}
}

// TestAttestations: they are kept beside the file that they came with, if they are of it.
func TestAttestations(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	statement := func(sha256 string) string {
		return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"subject":[{"name":%q,"digest":{"sha256":%q}}]}`, flaskFile, sha256))
	}
	post := func(attestations string) *http.Response {
		var b bytes.Buffer
		form := multipart.NewWriter(&b)
		for _, field := range [][2]string{{":action", "file_upload"}, {"attestations", attestations}} {
			if err := form.WriteField(field[0], field[1]); err != nil {
				t.Fatal(err)
			}
		}
		content, err := form.CreateFormFile("content", flaskFile)
		if err == nil {
			_, err = content.Write(flaskBytes)
		}
		if err != nil || form.Close() != nil {
			t.Fatal(err)
		}
		return s.do(http.MethodPost, "/legacy/", &b, "Content-Type", form.FormDataContentType())
	}
	other := `[{"version":1,"envelope":{"statement":"` + statement(sum(nil)) + `"}}]`
	for _, bad := range []string{other, "", "[]", "x"} {
		if r := post(bad); r.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %d %s", bad, r.StatusCode, text(t, r))
		}
	}
	if _, err := os.Stat(filepath.Join(s.dir, flaskFile)); err == nil {
		t.Error("a file whose attestations are not of it was kept")
	}
	good := `[{"version":1,"envelope":{"statement":"` + statement(sum(flaskBytes)) + `"}}]`
	for _, status := range []int{201, 200} {
		if r := post(good); r.StatusCode != status {
			t.Errorf("%d %s", r.StatusCode, text(t, r))
		}
	}
	if got := text(t, s.get("/p/"+flaskFile+".attestations")); got != good {
		t.Errorf("attestations %q", got)
	}
}
