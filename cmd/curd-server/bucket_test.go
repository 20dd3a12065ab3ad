package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"curdling/internal/index"
	"curdling/internal/store/s3/s3test"
	"curdling/internal/wheel/wheeltest"
)

// TestBucket: any number of servers over one bucket are as one, and nothing is lost when one of them dies.
func TestBucket(t *testing.T) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		testBucket(t, s3test.New(t).URL)
	})
	s3test.Real(t, testBucket)
}

func testBucket(t *testing.T, endpoint string) {
	home := t.TempDir()
	start := func(args ...string) *process {
		t.Helper()
		p, err := startServer(home, append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME=", "AWS_ACCESS_KEY_ID=tester", "AWS_SECRET_ACCESS_KEY=secret-of-tests",
			"CURD_SERVER_S3_ENDPOINT="+endpoint), append([]string{"-H", "127.0.0.1", "-p", "0"}, append(args, "s3://curdling/team")...)...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.kill() })
		return p
	}
	a, b := start("--cache-dir", "a"), start("--cache-dir", "b")
	if !strings.HasPrefix(a.line, "serving s3://curdling/team on http://127.0.0.1:") {
		t.Errorf("it said %q", a.line)
	}
	get := func(p *process, path, accept string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", accept)
		status, body, err := do(r)
		if err != nil {
			t.Fatal(err)
		}
		return status, body
	}

	// As curl sends it, and as twine does: at once on both, and the same bytes.
	one, two := wheeltest.Wheel{Name: "flask", Version: "1.0"}, wheeltest.Wheel{Name: "flask", Version: "2.0", Requires: []string{"click"}}
	if status, body := put(t, a, one, wheeltest.Build(one)); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	if status, body := twine(t, b, two); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	for _, p := range []*process{a, b} {
		if status, _ := get(p, "/p/"+one.Filename(), ""); status != http.StatusOK {
			t.Errorf("the first: %d", status)
		}
		if status, _ := get(p, "/p/"+two.Filename(), ""); status != http.StatusOK && p == b {
			t.Errorf("the second: %d", status)
		}
		if status, body := get(p, "/readyz", ""); status != http.StatusOK || !strings.Contains(body, `"store":"answers"`) {
			t.Errorf("/readyz: %d %s", status, body)
		}
	}
	other := wheeltest.Wheel{Name: "flask", Version: "1.0", Summary: "Another"}
	if status, body := put(t, b, other, wheeltest.Build(other)); status != http.StatusConflict {
		t.Errorf("other bytes: %d %s", status, body)
	}
	time.Sleep(1100 * time.Millisecond) // pages are a second old at most
	for _, path := range []string{"/simple/", "/simple/flask/", "/p/flask-1.0-py3-none-any.whl.metadata", "/api/flask"} {
		for _, accept := range []string{index.TypeJSON, index.TypeHTML, "*/*"} {
			x, page := get(a, path, accept)
			y, same := get(b, path, accept)
			page, same = strings.ReplaceAll(page, a.url, "URL"), strings.ReplaceAll(same, b.url, "URL")
			if x != http.StatusOK || y != http.StatusOK || page != same || !strings.Contains(strings.ToLower(page), "flask") {
				t.Errorf("%s as %s: %d, %d\n%s\n%s", path, accept, x, y, page, same)
			}
		}
	}

	// The tarball that one made both serve.
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		x, tarball := get(a, "/p/"+one.Filename()+".tar.zst", "")
		y, same := get(b, "/p/"+one.Filename()+".tar.zst", "")
		if x == http.StatusOK && y == http.StatusOK && tarball == same {
			break
		}
		if time.Since(begun) > time.Minute {
			t.Fatalf("the tarball: %d, %d", x, y)
		}
	}

	// One is killed while both are sent files; who comes later finds all that was acknowledged.
	load := newWheels()
	var clients sync.WaitGroup
	for i, p := range []*process{a, b} {
		for j := range 2 {
			clients.Go(func() {
				for n := range 15 {
					if !load.upload(t, p.url, fmt.Sprintf("w%d-%d-%d", i, j, n), 1000) {
						return
					}
				}
			})
		}
	}
	time.Sleep(100 * time.Millisecond)
	if err := a.kill(); err != nil {
		t.Error(err)
	}
	clients.Wait()
	c := start() // with a folder of its own below the user's caches
	for name := range load.acknowledged {
		if status, body := get(c, "/p/"+name, ""); status != http.StatusOK || hash([]byte(body)) != load.content[name] {
			t.Errorf("%s was acknowledged: %d, and not what was sent", name, status)
		}
	}
	if len(load.acknowledged) < 30 {
		t.Errorf("%d uploads were acknowledged", len(load.acknowledged))
	}
	if own, err := filepath.Glob(filepath.Join(home, ".cache", "curd-server", "*", "spool")); err != nil || len(own) != 1 {
		t.Errorf("its own folder: %v, %v", own, err)
	}
	for _, p := range []*process{b, c} {
		if err := p.stop(); err != nil {
			t.Errorf("stopped: %v\n%s", err, p.stderr)
		}
		if left, err := filepath.Glob(filepath.Join(home, "*", "spool", "*")); err != nil || len(left) > 2 && p == c {
			t.Errorf("left of uploads: %v, %v", left, err) // some by the one that was killed
		}
	}
}

func put(t *testing.T, p *process, w wheeltest.Wheel, content []byte) (int, string) {
	t.Helper()
	return sendTo(t, http.MethodPut, p.url+"/p/"+w.Filename(), bytes.NewReader(content), "")
}

func twine(t *testing.T, p *process, w wheeltest.Wheel) (int, string) {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	err := form.WriteField(":action", "file_upload")
	if err == nil {
		var part io.Writer
		if part, err = form.CreateFormFile("content", w.Filename()); err == nil {
			_, err = part.Write(wheeltest.Build(w))
		}
	}
	if err != nil || form.Close() != nil {
		t.Fatal(err)
	}
	return sendTo(t, http.MethodPost, p.url+"/legacy/", &b, form.FormDataContentType())
}

func sendTo(t *testing.T, method, url string, body io.Reader, contentType string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	status, text, err := do(r)
	if err != nil {
		t.Fatal(err)
	}
	return status, text
}
