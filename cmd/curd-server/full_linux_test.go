package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"curdling/internal/store/storetest"
	"curdling/internal/wheel/wheeltest"
)

// TestFullAndReadOnly: on a disk that is full, then read-only, a server starts and serves what it
// has. It mounts a small file system, which needs root: make stress-server.
func TestFullAndReadOnly(t *testing.T) {
	dir := t.TempDir()
	storetest.SmallDisk(t, dir)
	p := startOn(t, dir)
	small := wheeltest.Wheel{Name: "small", Version: "1.0"}
	if status, body := p.request(t, http.MethodPut, small.Filename(), wheeltest.Build(small)); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	large := wheeltest.Wheel{Name: "large", Version: "1.0", Files: map[string]string{"x": strings.Repeat("x", 2<<20)}}
	content := wheeltest.Zip(stored(large.Members()))
	if status, body := p.request(t, http.MethodPut, large.Filename(), content); status != http.StatusInsufficientStorage {
		t.Errorf("full: %d %s", status, body)
	}
	reads := func(what string) {
		if status, body := p.request(t, http.MethodGet, small.Filename(), nil); status != http.StatusOK || body != string(wheeltest.Build(small)) {
			t.Errorf("%s: %d, %d bytes", what, status, len(body))
		}
		if status, _ := p.request(t, http.MethodGet, large.Filename(), nil); status != http.StatusNotFound {
			t.Errorf("%s: a file that was refused: %d", what, status)
		}
	}
	reads("full")
	filler, err := os.Create(dir + "/.filler")
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	filler.Close()
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	p = startOn(t, dir)
	reads("started full")
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	if err := syscall.Mount("curdling", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	p = startOn(t, dir)
	reads("read-only")
	if status, body := p.request(t, http.MethodPut, "other-1.0-py3-none-any.whl", wheeltest.Build(small)); status < 500 {
		t.Errorf("upload to a read-only disk: %d %s", status, body)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
}

func startOn(t *testing.T, dir string) *process {
	t.Helper()
	p, err := startServer(".", os.Environ(), "-H", "127.0.0.1", "-p", "0", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

func (p *process) request(t *testing.T, method, filename string, content []byte) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, p.url+"/p/"+filename, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	status, body, err := do(r)
	if err != nil {
		t.Fatal(err)
	}
	return status, body
}
