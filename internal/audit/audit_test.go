package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func read(t *testing.T, path string) (entries []Entry) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var e Entry
		if json.Unmarshal(line, &e) == nil {
			entries = append(entries, e)
		}
	}
	return entries
}

func TestLog(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	a, b := New(path), New(path) // as two processes
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if err := []*Log{a, b}[i%2].Write(Entry{Action: "upload", Status: 201, File: fmt.Sprint(i), Detail: strings.Repeat("x", 2000)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := read(t, path); len(got) != 200 || got[0].Time.IsZero() || time.Since(got[0].Time) > time.Hour || len(got[0].Detail) != 1024 {
		t.Errorf("%d whole lines, want 200", len(got))
	}
	if err := os.Rename(path, path+".1"); err != nil { // logrotate
		t.Fatal(err)
	}
	if err := a.Write(Entry{Action: "upload"}); err != nil || len(read(t, path)) != 1 {
		t.Errorf("after it was renamed: %v", err)
	}
	if err := b.Reopen(); err != nil {
		t.Fatal(err)
	}
	if err := b.Write(Entry{Action: "upload"}); err != nil || len(read(t, path)) != 2 {
		t.Errorf("after reopening: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"action":"upl`); err != nil { // a crash
		t.Fatal(err)
	}
	f.Close()
	if err := b.Write(Entry{Action: "upload"}); err != nil || len(read(t, path)) != 3 {
		t.Errorf("after half a line: %v", err)
	}
	a.Close()
	b.Close()
}

func TestUnwritable(t *testing.T) {
	t.Parallel()
	l := New(t.TempDir())
	if l.Ready() == nil || l.Write(Entry{}) == nil {
		t.Error("a folder is written to")
	}
	l = nil
	if err := l.Write(Entry{}); err != nil || l.Ready() != nil || l.Reopen() != nil || l.Close() != nil {
		t.Error("no log at all")
	}
	if _, err := os.Stat("/dev/full"); err == nil {
		full := New("/dev/full")
		defer full.Close()
		if err := full.Ready(); err != nil {
			t.Error(err)
		}
		if full.Write(Entry{}) == nil {
			t.Error("a full disk takes a line")
		}
	}
}
