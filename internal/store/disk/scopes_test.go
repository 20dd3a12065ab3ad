package disk

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/store"
	"curdling/internal/store/storetest"
)

func TestScopeIsAStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		main, err := Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		s, err := main.OpenScope("pr-1")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close(); main.Close() })
		return s
	})
}

func TestScopes(t *testing.T) {
	t.Parallel()
	main, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer main.Close()
	if all, err := main.Scopes(); len(all) != 0 || err != nil {
		t.Errorf("%v %v", all, err)
	}
	for _, name := range []string{"pr-2", "pr-1"} {
		s, err := main.OpenScope(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Create(t.Context(), "x.whl", bytes.NewReader([]byte(name)), 4); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for info, err := range main.List(t.Context(), "") {
		t.Errorf("main shows %v %v", info, err)
	}
	if _, _, err := main.Open(t.Context(), ".curdling-scopes/pr-1/x.whl"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("main reaches into a scope: %v", err)
	}
	// What is no scope is none.
	for _, name := range []string{"PR-9", ".removed-7", "..x"} {
		if err := os.Mkdir(filepath.Join(main.Dir(), ScopesDir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(main.Dir(), ScopesDir, "a-file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	all, err := main.Scopes()
	if err != nil || len(all) != 2 {
		t.Fatalf("%v %v", all, err)
	}
	for i := range all {
		if time.Since(all[i].Changed) > time.Hour {
			t.Errorf("%v", all[i])
		}
		all[i].Changed = time.Time{}
	}
	if want := []Scope{{Name: "pr-1", Files: 1, Bytes: 4}, {Name: "pr-2", Files: 1, Bytes: 4}}; !cmp.Equal(all, want) {
		t.Error(cmp.Diff(want, all))
	}

	// What came meanwhile keeps a scope.
	if removed, err := main.RemoveScope("pr-1", time.Now().Add(-time.Hour)); removed || err != nil {
		t.Errorf("%v %v", removed, err)
	}
	if b, err := os.ReadFile(filepath.Join(main.Dir(), ScopesDir, "pr-1", "x.whl")); string(b) != "pr-1" {
		t.Errorf("%q %v", b, err)
	}
	if removed, err := main.RemoveScope("pr-1", time.Time{}); !removed || err != nil {
		t.Errorf("%v %v", removed, err)
	}
	if _, err := main.RemoveScope("pr-1", time.Time{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("twice: %v", err)
	}
	// What a crash left goes, when it is old.
	left := filepath.Join(main.Dir(), ScopesDir, ".removed-7")
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(left, old, old); err != nil {
		t.Fatal(err)
	}
	if removed, err := main.RemoveScope("pr-2", time.Time{}); !removed || err != nil {
		t.Errorf("%v %v", removed, err)
	}
	if entries, err := os.ReadDir(filepath.Join(main.Dir(), ScopesDir)); err != nil || len(entries) != 3 {
		t.Errorf("%v %v", entries, err)
	}
}

func TestBadScopes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	main, err := Open(filepath.Join(dir, "main"))
	if err != nil {
		t.Fatal(err)
	}
	defer main.Close()
	for _, name := range []string{"", ".", "..", "../x", "a/b", `a\b`, "/abs", "a\x00b", "%2e%2e", "PR-1", "ﬁ", strings.Repeat("a", 65)} {
		if s, err := main.OpenScope(name); err == nil {
			s.Close()
			t.Errorf("%q is opened", name)
		}
		if _, err := main.RemoveScope(name, time.Time{}); err == nil {
			t.Errorf("%q is removed", name)
		}
	}
	if err := os.MkdirAll(filepath.Join(main.Dir(), ScopesDir), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(main.Dir(), ScopesDir, "link")); err != nil {
		t.Skip(err)
	}
	if s, err := main.OpenScope("link"); err == nil {
		s.Close()
		t.Error("a link to elsewhere is opened")
	}
}
