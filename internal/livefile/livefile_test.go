package livefile

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".tmp", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
		log, reads := new(strings.Builder), 0
		open := func() (*File[string], error) {
			return Open(slog.New(slog.NewTextHandler(log, nil)), "the pair", func() (*string, error) {
				reads++
				a, err := os.ReadFile(one)
				b, err2 := os.ReadFile(two)
				s := string(a) + string(b)
				return &s, errors.Join(err, err2)
			}, one, two)
		}
		if _, err := open(); err == nil {
			t.Fatal("opened what is missing")
		}
		write(t, one, "a")
		write(t, two, "b")
		f, err := open()
		if err != nil {
			t.Fatal(err)
		}
		step := func(want string) {
			t.Helper()
			time.Sleep(2 * statEvery)
			if got := *f.Get(); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		step("ab")
		write(t, two, "c")
		if got := *f.Get(); got != "ab" {
			t.Errorf("looked at within the second: %q", got)
		}
		step("ac")
		os.Remove(one)
		step("ac")
		write(t, one, "d")
		step("dc")
		write(t, one, "e")
		f.Refresh()
		if got := *f.Get(); got != "ec" {
			t.Errorf("refreshed: %q", got)
		}
		reads = 0
		step("ec")
		if reads != 0 {
			t.Error("read without need")
		}
		if strings.Count(log.String(), "level=ERROR") != 1 || !strings.Contains(log.String(), "the pair cannot be read again") {
			t.Errorf("log: %s", log)
		}
	})
}

func TestChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "count")
	add := func(old []byte) ([]byte, error) {
		n, _ := strconv.Atoi(string(old))
		return []byte(fmt.Sprint(n + 1)), nil
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := Change(t.Context(), path, add); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if b, err := os.ReadFile(path); string(b) != "50" || err != nil {
		t.Errorf("%s, %v; want 50", b, err)
	}
	if err := Change(t.Context(), path, func([]byte) ([]byte, error) { return nil, errors.New("no") }); err == nil {
		t.Error("an error of edit is lost")
	}
	if b, err := os.ReadFile(path); string(b) != "50" || err != nil {
		t.Errorf("changed after an error: %s, %v", b, err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err == nil {
		if err := Change(t.Context(), link, add); err != nil {
			t.Error(err)
		}
		if fi, err := os.Lstat(link); err != nil || fi.Mode()&os.ModeSymlink == 0 {
			t.Errorf("the link is gone: %v", err)
		}
	}
	if err := Change(t.Context(), filepath.Join(dir, "no", "x"), add); err == nil {
		t.Error("a folder that is missing")
	}
}
