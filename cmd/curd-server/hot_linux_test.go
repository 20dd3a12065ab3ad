package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"curdling/internal/store/s3/s3test"
	"curdling/internal/store/storetest"
)

// TestFullDiskOverBucket: a server whose own disk is full, while the bucket has room, serves all, and sends uploads that it
// has no room for to the other servers. It mounts a small file system, which needs root: make stress-server.
func TestFullDiskOverBucket(t *testing.T) {
	home := t.TempDir()
	small := filepath.Join(home, "small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	storetest.SmallDisk(t, small)
	bucket := s3test.New(t)
	full, other := overBucket(t, home, bucket.URL, "--cache-dir", "small"), overBucket(t, home, bucket.URL, "--cache-dir", "large")
	for i, size := range []int{400_000, 300_000, 200_000, 2_000_000} {
		name, content := sizedWheel("w"+string(rune('a'+i)), size)
		status, body := sendTo(t, http.MethodPut, full.url+"/p/"+name, bytes.NewReader(content), "")
		if size > 1_000_000 && (status != http.StatusServiceUnavailable || !strings.Contains(body, "own disk is full")) || size == 400_000 && status != http.StatusCreated {
			t.Errorf("%d bytes to the one that is full: %d %s", size, status, body)
		}
		if status != http.StatusCreated {
			upload(t, other, name, content)
		}
		for _, p := range []*process{full, other} {
			if resp, body := ask(t, http.MethodGet, p.url+"/p/"+name); resp.StatusCode != http.StatusOK || body != string(content) {
				t.Errorf("%d bytes: %s, %d", size, resp.Status, len(body))
			}
		}
	}
	for _, p := range []*process{full, other} {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	}
}
