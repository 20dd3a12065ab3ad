package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"curdling/internal/wheel/wheeltest"
)

// checkFolder looks at everything that lies in the folder.
func (s *wheels) checkFolder(t *testing.T, dir string) (held int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil || s.content[entry.Name()] != hash(b) {
			t.Errorf("%s in the folder is not what was sent: %d bytes, %v", entry.Name(), len(b), err)
		}
		held++
	}
	return held
}

// wheels are what clients sent.
type wheels struct {
	mu           sync.Mutex
	content      map[string]string // filename: sha256
	acknowledged map[string]bool
	checked      map[string]bool
}

func newWheels() *wheels {
	return &wheels{content: make(map[string]string), acknowledged: make(map[string]bool), checked: make(map[string]bool)}
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// upload sends one wheel of at most so many times its name, and tells whether the server still lives.
func (s *wheels) upload(t *testing.T, url, name string, most int) bool {
	w := wheeltest.Wheel{Name: name, Version: "1.0", Files: map[string]string{"code.py": strings.Repeat(name, rand.IntN(most))}}
	content := wheeltest.Zip(stored(w.Members()))
	s.mu.Lock()
	s.content[w.Filename()] = hash(content)
	s.mu.Unlock()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPut, url+"/p/"+w.Filename(), bytes.NewReader(content))
	if err != nil {
		t.Error(err)
		return false
	}
	status, body, err := do(r)
	switch {
	case status == http.StatusCreated: // though the rest may not have come
		s.mu.Lock()
		s.acknowledged[w.Filename()] = true
		s.mu.Unlock()
	case err == nil:
		t.Errorf("%s: %d %s", name, status, body)
	}
	return err == nil
}

// stored has members take their full room.
func stored(members []wheeltest.Member) []wheeltest.Member {
	for i := range members {
		members[i].Stored = true
	}
	return members
}

// check looks at everything that a server shows, at each file once.
func (s *wheels) check(t *testing.T, url string) {
	t.Helper()
	get := func(path string) string {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		status, body, err := do(r)
		if err != nil || status != http.StatusOK {
			t.Errorf("%s: %d, %v", path, status, err)
		}
		return body
	}
	var names []string
	if err := json.Unmarshal([]byte(get("/api/")), &names); err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]bool)
	for _, name := range names {
		filename := strings.ReplaceAll(name, "-", "_") + "-1.0-py3-none-any.whl"
		shown[filename] = true
		if s.checked[filename] {
			continue
		}
		s.checked[filename] = true
		if got := hash([]byte(get("/p/" + filename))); got != s.content[filename] {
			t.Errorf("%s is served with sha256 %s, %s was sent", filename, got, s.content[filename])
		}
	}
	for filename := range s.acknowledged {
		if !shown[filename] {
			t.Errorf("%s was acknowledged and is gone", filename)
		}
	}
}
