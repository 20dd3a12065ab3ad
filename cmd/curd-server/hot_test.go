package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/store/s3/s3test"
	"curdling/internal/wheel/wheeltest"
)

// overBucket starts a server over a bucket, with folders in home.
func overBucket(t *testing.T, home, endpoint string, args ...string) *process {
	t.Helper()
	p, err := startServer(home, append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME=", "AWS_ACCESS_KEY_ID=tester", "AWS_SECRET_ACCESS_KEY=secret-of-tests",
		"CURD_SERVER_S3_ENDPOINT="+endpoint), append([]string{"-H", "127.0.0.1", "-p", "0"}, append(args, "s3://curdling/team")...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.kill() })
	return p
}

// ask sends a request, follows nothing, and gives the answer with its body.
func ask(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// sizedWheel is a wheel of about so many bytes.
func sizedWheel(name string, size int) (filename string, content []byte) {
	w := wheeltest.Wheel{Name: name, Version: "1.0", Files: map[string]string{"x": random(size)}}
	return w.Filename(), wheeltest.Zip(stored(w.Members()))
}

// random is text that cannot be compressed much.
func random(size int) string {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(b)
	return string(b)
}

func upload(t *testing.T, p *process, filename string, content []byte) {
	t.Helper()
	if status, body := sendTo(t, http.MethodPut, p.url+"/p/"+filename, bytes.NewReader(content), ""); status != http.StatusCreated {
		t.Fatalf("%s: %d %s", filename, status, body)
	}
}

// TestBucketRedirect: who asks for a large file is sent to the bucket, and our own client follows.
func TestBucketRedirect(t *testing.T) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		bucket := s3test.NewHandler()
		var cut atomic.Int64 // answers to be broken off
		bucket.Before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Has("X-Amz-Signature") && r.Header.Get("Authorization") != "" {
				t.Error("credentials were sent to the bucket")
			}
			return false
		}
		bucket.Wrap = func(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
			if r.URL.Query().Has("X-Amz-Signature") && r.UserAgent() == "curdling" && cut.Add(-1) >= 0 {
				return &cutOff{w, 100_000}
			}
			return w
		}
		bucket.Start(t)
		testRedirect(t, bucket.URL)
		cut.Store(3)
		testRedirect(t, bucket.URL)
		if cut.Load() >= 0 {
			t.Error("nothing was broken off")
		}
	})
	s3test.Real(t, testRedirect)
}

// cutOff breaks a connection off after so many bytes.
type cutOff struct {
	http.ResponseWriter
	left int
}

func (c *cutOff) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left == 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func testRedirect(t *testing.T, endpoint string) {
	p := overBucket(t, t.TempDir(), endpoint, "--redirect")
	name := "large" + strconv.FormatInt(time.Now().UnixNano(), 36)
	large, content := sizedWheel(name, 3<<20)
	small, little := sizedWheel("small"+name, 100_000)
	upload(t, p, large, content)
	upload(t, p, small, little)

	resp, body := ask(t, http.MethodGet, p.url+"/p/"+large)
	place, err := resp.Location()
	if err != nil || resp.StatusCode != http.StatusTemporaryRedirect || body != "" {
		t.Fatalf("%s %q, %v", resp.Status, body, err)
	}
	if control := resp.Header.Get("Cache-Control"); control != "private, max-age=300" || !strings.HasPrefix(place.String(), endpoint+"/curdling/team/wheels/"+name+"/") ||
		place.Query().Get("X-Amz-Expires") != "600" {
		t.Errorf("%s; %s", control, place)
	}
	if resp, body := ask(t, http.MethodGet, place.String(), "Range", "bytes=-10"); resp.StatusCode != http.StatusPartialContent || body != string(content[len(content)-10:]) {
		t.Errorf("a range: %s %q", resp.Status, body)
	}
	resp, _ = ask(t, http.MethodHead, p.url+"/p/"+large)
	tag := resp.Header.Get("ETag")
	if resp.StatusCode != http.StatusOK || resp.ContentLength != int64(len(content)) || tag != `"`+hash(content)+`"` {
		t.Errorf("HEAD: %s, %d bytes, %s", resp.Status, resp.ContentLength, tag)
	}
	if resp, _ := ask(t, http.MethodGet, p.url+"/p/"+large, "If-None-Match", tag); resp.StatusCode != http.StatusNotModified {
		t.Errorf("not modified: %s", resp.Status)
	}
	for path, want := range map[string]string{"/p/" + small: string(little), "/p/" + large + ".metadata": "Metadata-Version"} {
		if resp, body := ask(t, http.MethodGet, p.url+path); resp.StatusCode != http.StatusOK || !strings.HasPrefix(body, want) {
			t.Errorf("%s: %s, %d bytes", path, resp.Status, len(body))
		}
	}

	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { // the tarball is made in the background
		resp, _ := ask(t, http.MethodGet, p.url+"/p/"+large+".tar.zst")
		if resp.StatusCode == http.StatusNotFound && time.Now().Before(deadline) {
			continue
		}
		place, err := resp.Location()
		if err != nil || resp.StatusCode != http.StatusTemporaryRedirect || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("tarball: %s, %v", resp.Status, err)
			break
		}
		if resp, body := ask(t, http.MethodGet, place.String()); resp.StatusCode != http.StatusOK || !strings.Contains(place.Path, hash([]byte(body))) {
			t.Errorf("tarball: %s, %d bytes of %s", resp.Status, len(body), place.Path)
		}
		break
	}

	server, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	client := index.NewClient(index.Options{Credentials: func(u *url.URL) (user, password string, ok bool) { return "user", "secret", u.Host == server.Host }})
	defer client.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), large))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	f := dist.File{Filename: large, URL: p.url + "/p/" + large, SHA256: hash(content), Size: int64(len(content))}
	if sum, err := client.Download(t.Context(), f, file, nil); err != nil || sum != f.SHA256 {
		t.Errorf("%s, %v", sum, err)
	}
	if f.SHA256 = hash(little); f.SHA256 != "" {
		if _, err := client.Download(t.Context(), f, file, nil); err == nil {
			t.Error("another hash was taken")
		}
	}
}

// TestBucketAway: while the bucket fails, what lies in the cache is served, what does not is refused in time, /readyz and
// /metrics tell, and all is well soon after.
func TestBucketAway(t *testing.T) {
	t.Parallel()
	bucket := s3test.NewHandler()
	var away atomic.Bool
	bucket.Before = func(http.ResponseWriter, *http.Request) bool {
		if away.Load() {
			panic(http.ErrAbortHandler)
		}
		return false
	}
	bucket.Start(t)
	home := t.TempDir()
	p := overBucket(t, home, bucket.URL, "--no-tarballs") // which would have all files in the cache
	hot, content := sizedWheel("hot", 9<<20)
	cold, other := sizedWheel("cold", 300_000)
	upload(t, p, hot, content)
	upload(t, p, cold, other)
	before := bucket.Requests()
	var clients sync.WaitGroup
	for range 10 {
		clients.Go(func() {
			if resp, body := ask(t, http.MethodGet, p.url+"/p/"+hot); resp.StatusCode != http.StatusOK || body != string(content) {
				t.Errorf("%s, %d bytes", resp.Status, len(body))
			}
		})
	}
	clients.Wait()
	if n := bucket.Requests() - before; n > 10 { // one for the bytes, some for the page
		t.Errorf("%d requests for one file", n)
	}
	if cached, err := filepath.Glob(filepath.Join(home, ".cache", "curd-server", "*", "files", "??", hash(content))); err != nil || len(cached) != 1 {
		t.Errorf("%v, %v", cached, err)
	}

	away.Store(true)
	state := func() (int, map[string]string) {
		resp, body := ask(t, http.MethodGet, p.url+"/readyz")
		var said struct{ Checks map[string]string }
		if err := json.Unmarshal([]byte(body), &said); err != nil {
			t.Error(body, err)
		}
		return resp.StatusCode, said.Checks
	}
	deadline := time.Now().Add(time.Minute)
	refused := 0
	for closed := false; !closed && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		resp, body := ask(t, http.MethodGet, p.url+"/p/"+cold)
		after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
		if resp.StatusCode != http.StatusServiceUnavailable || err != nil || after < 1 || after > 10 {
			t.Fatalf("cold: %s, Retry-After %q: %s", resp.Status, resp.Header.Get("Retry-After"), body)
		}
		refused++
		_, metrics := ask(t, http.MethodGet, p.url+"/metrics")
		closed = strings.Contains(metrics, "\ncurd_server_store_up 0\n") && strings.Contains(metrics, `curd_server_store_requests_total{kind="get",outcome="failed"}`)
		if resp, body := ask(t, http.MethodGet, p.url+"/p/"+hot); resp.StatusCode != http.StatusOK || body != string(content) {
			t.Errorf("hot: %s, %d bytes", resp.Status, len(body))
		}
	}
	if status, checks := state(); status != http.StatusOK || checks["store"] != "does not answer" || checks["cache"] != "works" {
		t.Errorf("%d %v", status, checks)
	}
	if refused == 0 || time.Now().After(deadline) {
		t.Errorf("refused %d times; the bucket is still asked each time", refused)
	}

	away.Store(false)
	for {
		resp, body := ask(t, http.MethodGet, p.url+"/p/"+cold)
		if resp.StatusCode == http.StatusOK && body == string(other) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s %s", resp.Status, body)
		}
		time.Sleep(100 * time.Millisecond)
	}
	for { // what it says may be a second old
		status, checks := state()
		if status == http.StatusOK && checks["store"] == "answers" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d %v", status, checks)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func TestBucketOptions(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--redirect"}, {"--cache-size", "-1", "x"}, {"--s3-region", "x"}} {
		var stderr bytes.Buffer
		if code := Main(append(args, t.TempDir()), io.Discard, &stderr); code != exitUsage {
			t.Errorf("%v: exit code %d, %s", args, code, &stderr)
		}
	}
	var s sizeOrNone
	for text, want := range map[string]string{"0": "0", "10GiB": "10GiB"} {
		if err := s.Set(text); err != nil || fmt.Sprint(&s) != want {
			t.Errorf("%s: %v, %v", text, &s, err)
		}
	}
}
