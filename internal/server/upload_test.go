package server

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/blake2b"

	"curdling/internal/store"
	"curdling/internal/store/disk"
	"curdling/internal/wheel/wheeltest"
)

func listen(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// start serves on loopback until the test ends, and gives the address.
func (s *site) start(t testing.TB) string {
	t.Helper()
	listener := listen(t)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, Limit(listener, s.connections)) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// checkNothingLeft looks for temporary files.
func (s *site) checkNothingLeft(t *testing.T) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(s.dir, disk.StateDir, "tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files left: %v, %v", left, err)
	}
}

// form makes a multipart form; the file's field is name "content" or as given by ":field".
func form(t testing.TB, field, filename string, content []byte, fields ...string) (io.Reader, string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		if err := w.WriteField(fields[i], fields[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if field != "" {
		part, err := w.CreateFormFile(field, filename)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b, w.FormDataContentType()
}

func TestPut(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{maxUpload: 10_000})
	changed := flask
	changed.Summary = "Other"
	sdist := makeSdist(t, "bar", "1.0")
	large := wheeltest.Wheel{Name: "large", Version: "1.0", Files: map[string]string{"large.py": noise(20_000)}}
	for _, test := range []struct {
		what, name string
		content    []byte
		status     int
		says       string
	}{
		{"new", flaskFile, flaskBytes, 201, "ok"},
		{"the same", flaskFile, flaskBytes, 200, "ok"},
		{"other bytes", flaskFile, wheeltest.Build(changed), 409, sum(wheeltest.Build(changed))},
		{"sdist", "bar-1.0.tar.gz", sdist, 201, "ok"},
		{"sdist of another version", "bar-2.0.tar.gz", sdist, 400, "bar-2.0.tar.gz"},
		{"no wheel", "foo-1.0-py3-none-any.whl", []byte("rubbish"), 400, "foo-1.0-py3-none-any.whl"},
		{"empty", "foo-1.0-py3-none-any.whl", nil, 400, "foo-1.0-py3-none-any.whl"},
		{"wheel of another version", "flask-4.0-py3-none-any.whl", flaskBytes, 400, "flask-4.0"},
		{"no distribution", "README.txt", flaskBytes, 400, "README.txt"},
		{"path", "..%2fflask-3.0-py3-none-any.whl", flaskBytes, 400, ""},
		{"too large", large.Filename(), wheeltest.Build(large), 413, "10000 bytes"},
	} {
		r := s.do(http.MethodPut, "/p/"+test.name, bytes.NewReader(test.content))
		if body := text(t, r); r.StatusCode != test.status || !strings.Contains(body, test.says) {
			t.Errorf("%s: %d %q, want %d %q", test.what, r.StatusCode, body, test.status, test.says)
		}
		again := test.status
		if again == 201 {
			again = 200
		}
		// The length may also be unknown.
		r = s.do(http.MethodPut, "/p/"+test.name, struct{ io.Reader }{bytes.NewReader(test.content)})
		if body := text(t, r); r.StatusCode != again {
			t.Errorf("%s, chunked: %d %q, want %d", test.what, r.StatusCode, body, again)
		}
		s.checkNothingLeft(t)
	}
	if body := text(t, s.get("/api/")); body != `["bar","flask"]`+"\n" {
		t.Errorf("held: %s", body)
	}
	if log := s.log.String(); !strings.Contains(log, sum(flaskBytes)) || !strings.Contains(log, sum(wheeltest.Build(changed))) {
		t.Errorf("the log lacks a hash of the two that clashed:\n%s", log)
	}
}

// noise is text that cannot be compressed well.
func noise(n int) string {
	var b strings.Builder
	for i := uint64(1); b.Len() < n; i++ {
		fmt.Fprintf(&b, "%x", i*0x9e3779b97f4a7c15)
	}
	return b.String()[:n]
}

func TestPutForm(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	for _, test := range []struct {
		what, field string
		contentType string // "" is the form's
		status      int
	}{
		{"another field", "content", "", 400},
		{"no file", "", "", 400},
		{"no boundary", flaskFile, "multipart/form-data", 400},
		{"another boundary", flaskFile, "multipart/form-data; boundary=x", 400},
		{"right", flaskFile, "", 201},
	} {
		body, contentType := form(t, test.field, "whatever.whl", flaskBytes)
		if test.contentType != "" {
			contentType = test.contentType
		}
		if r := s.do(http.MethodPut, "/p/"+flaskFile, body, "Content-Type", contentType); r.StatusCode != test.status {
			t.Errorf("%s: %d %s, want %d", test.what, r.StatusCode, text(t, r), test.status)
		}
		s.checkNothingLeft(t)
	}
	body, contentType := form(t, flaskFile, flaskFile, flaskBytes)
	if r := s.do(http.MethodPut, "/p/"+flaskFile, io.LimitReader(body, 500), "Content-Type", contentType); r.StatusCode != http.StatusBadRequest {
		t.Errorf("cut off: %d %s, want 400", r.StatusCode, text(t, r))
	}
	s.checkNothingLeft(t)
}

func TestPost(t *testing.T) {
	t.Parallel()
	blake := blake2b.Sum256(flaskBytes)
	md := md5.Sum(flaskBytes)
	right := []string{":action", "file_upload", "protocol_version", "1", "sha256_digest", sum(flaskBytes), "blake2_256_digest", hex.EncodeToString(blake[:]), "md5_digest", hex.EncodeToString(md[:]), "description", noise(100_000)}
	with := func(field, value string) []string {
		fields := append([]string{}, right...)
		for i := 0; i < len(fields); i += 2 {
			if fields[i] == field {
				fields[i+1] = value
			}
		}
		return fields
	}
	s := newSite(t, options{})
	for _, test := range []struct {
		what, path, field, filename string
		fields                      []string
		status                      int
		says                        string
	}{
		{"no action", "/", "content", flaskFile, nil, 400, ":action"},
		{"another action", "/", "content", flaskFile, with(":action", "submit"), 400, "submit"},
		{"no content", "/", "", "", right, 400, "content"},
		{"wrong sha256", "/", "content", flaskFile, with("sha256_digest", sum(nil)), 400, "sha256_digest"},
		{"wrong blake2", "/", "content", flaskFile, with("blake2_256_digest", "00"), 400, "blake2_256_digest"},
		{"wrong md5", "/", "content", flaskFile, with("md5_digest", "00"), 400, "md5_digest"},
		{"wrong name", "/", "content", "x.whl", right, 400, "x.whl"},
		{"no name", "/", "content", "", right, 400, ""},
		{"right", "/legacy/", "content", flaskFile, right, 201, "ok"},
		{"again", "/", "content", flaskFile, right, 200, "ok"},
		{"without the slash", "/legacy", "content", flaskFile, right, 200, "ok"},
		{"a path as name", "/", "content", "../" + flaskFile, right, 200, "ok"}, // its last part is the name
	} {
		body, contentType := form(t, test.field, test.filename, flaskBytes, test.fields...)
		r := s.do(http.MethodPost, test.path, body, "Content-Type", contentType)
		if got := text(t, r); r.StatusCode != test.status || !strings.Contains(got, test.says) {
			t.Errorf("%s: %d %q, want %d %q", test.what, r.StatusCode, got, test.status, test.says)
		}
		s.checkNothingLeft(t)
	}
	if r := s.do(http.MethodPost, "/", strings.NewReader("x"), "Content-Type", "text/plain"); r.StatusCode != http.StatusBadRequest {
		t.Errorf("no form: %d", r.StatusCode)
	}
	// A page of another site cannot use the password that the browser knows.
	body, contentType := form(t, "content", flaskFile, flaskBytes, right...)
	if r := s.do(http.MethodPost, "/", body, "Content-Type", contentType, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"); r.StatusCode != http.StatusForbidden {
		t.Errorf("from another site: %d", r.StatusCode)
	}
}

// TestNotRead: a client that waits to be told to go on is not told to send what is refused.
func TestNotRead(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{users: true, maxUpload: 1000})
	address := s.start(t)
	const alice = "Authorization: Basic YWxpY2U6c2VjcmV0\r\n"
	for _, test := range []struct {
		headers string
		status  int
	}{
		{"Content-Length: 100\r\n", 401},
		{alice + "Content-Length: 100000\r\n", 413},
		{alice + "Content-Length: 100\r\n", 100},
	} {
		r := raw(t, address, "PUT /p/"+flaskFile+" HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"+test.headers+"\r\n")
		if r.StatusCode != test.status {
			t.Errorf("%q: %d, want %d", test.headers, r.StatusCode, test.status)
		}
	}
	// Without Expect the refusal comes too, though the body was not sent.
	r := raw(t, address, "PUT /p/"+flaskFile+" HTTP/1.1\r\nHost: x\r\n"+alice+"Content-Length: 100000000\r\n\r\nbeginning")
	if r.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("%d, want 413", r.StatusCode)
	}
}

// faulty is a folder that has no room, in one of two ways.
type faulty struct {
	store.Store
	spool error // "" is none
}

func (f faulty) Create(context.Context, string, io.Reader, int64) error {
	return &os.PathError{Op: "fsync", Path: "x", Err: syscall.ENOSPC}
}

func (f faulty) Spool() (*os.File, error) {
	if f.spool != nil {
		return nil, f.spool
	}
	return f.Store.(store.Spooler).Spool()
}

func TestFull(t *testing.T) {
	t.Parallel()
	for name, spool := range map[string]error{"at the end": nil, "at once": fmt.Errorf("bucket: %w", store.ErrFull)} {
		s := newSite(t, options{store: func(folder *disk.Store) store.Store { return faulty{folder, spool} }}, oldFlask)
		r := s.do(http.MethodPut, "/p/"+flaskFile, bytes.NewReader(flaskBytes))
		if body := text(t, r); r.StatusCode != http.StatusInsufficientStorage || !strings.Contains(body, "no room") {
			t.Errorf("%s: %d %s", name, r.StatusCode, body)
		}
		s.checkNothingLeft(t)
		if r := s.get("/p/" + flaskFile); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: the file is there: %d", name, r.StatusCode)
		}
		if r := s.get("/p/" + oldFlask.Filename()); r.StatusCode != http.StatusOK {
			t.Errorf("%s: what is held cannot be read: %d", name, r.StatusCode)
		}
	}
}

func TestConcurrentPut(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	contents := [3][]byte{flaskBytes}
	for i := 1; i < len(contents); i++ {
		other := flask
		other.Summary = fmt.Sprint(i)
		contents[i] = wheeltest.Build(other)
	}
	var (
		wg       sync.WaitGroup
		mu       sync.Mutex
		statuses = map[int]int{}
	)
	for i := range 30 {
		wg.Go(func() {
			r := s.do(http.MethodPut, "/p/"+flaskFile, bytes.NewReader(contents[i%len(contents)]))
			mu.Lock()
			statuses[r.StatusCode]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if statuses[201] != 1 || statuses[200] != 9 || statuses[409] != 20 {
		t.Errorf("answers: %v, want one 201, 9 of 200, 20 of 409", statuses)
	}
	s.checkNothingLeft(t)
}

func FuzzForm(f *testing.F) {
	body, contentType := form(f, "content", flaskFile, flaskBytes, ":action", "file_upload", "sha256_digest", sum(flaskBytes))
	b, err := io.ReadAll(body)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(http.MethodPost, "", contentType, b)
	body, contentType = form(f, flaskFile, flaskFile, flaskBytes)
	if b, err = io.ReadAll(body); err != nil {
		f.Fatal(err)
	}
	f.Add(http.MethodPut, flaskFile, contentType, b)
	f.Add(http.MethodPut, flaskFile, "application/octet-stream", flaskBytes)
	s := newSite(f, options{maxUpload: 1 << 20})
	f.Fuzz(func(t *testing.T, method, name, contentType string, body []byte) {
		target := "/"
		if method != http.MethodPost {
			method = http.MethodPut
			target = "/p/" + hexPath(name)
		}
		r := s.do(method, target, bytes.NewReader(body), "Content-Type", contentType)
		if !slices.Contains([]int{200, 201, 301, 307, 400, 404, 405, 409, 413}, r.StatusCode) {
			t.Errorf("%s %s: %d %s", method, target, r.StatusCode, text(t, r))
		}
		s.checkNothingLeft(t)
	})
}

func FuzzSearch(f *testing.F) {
	for _, query := range []string{"flask", "flask==3.0", "flask>=2,<3;whl", "Flask[x] ; python_version > '3'", "flask;~whl", "a @ http://x/y", "flask===3.0"} {
		f.Add(query)
	}
	s := newSite(f, options{}, flask, oldFlask, zope)
	f.Fuzz(func(t *testing.T, query string) {
		for _, prefix := range []string{"/s/", "/p/", "/api/", "/project/", "/simple/", "/?q="} {
			r := s.get(prefix + hexPath(query))
			if !slices.Contains([]int{200, 301, 307, 400, 404}, r.StatusCode) {
				t.Errorf("%s%q: %d %s", prefix, query, r.StatusCode, text(t, r))
			}
		}
	})
}

// hexPath escapes every byte.
func hexPath(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}
