package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/store/storetest"
)

// TestDocuments: of several who change a document at once nobody loses what another wrote.
func TestDocuments(t *testing.T) {
	t.Parallel()
	type pruned interface {
		Documents
		Prune(context.Context, time.Duration) error
	}
	dir := filepath.Join(t.TempDir(), "state", "leases")
	stored := storetest.NewMemory(2, 0)
	for what, test := range map[string]struct {
		a, b   pruned // as two processes
		spoil  func() error
		forget func() error
	}{
		"Folder": {NewFolder(dir), NewFolder(dir),
			func() error { return os.WriteFile(filepath.Join(dir, "Not.ours.json"), nil, 0o666) },
			func() error { return os.RemoveAll(dir) }}, // while it is used
		"Stored": {NewStored(stored, "scopes/pr-1/leases/"), NewStored(stored, "scopes/pr-1/leases/"),
			func() error {
				return stored.Create(t.Context(), "scopes/pr-1/leases/Not.ours.json", strings.NewReader(""), 0)
			},
			func() error { return nil }},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			testDocuments(t, test.a, test.b)
			if err := test.spoil(); err != nil {
				t.Fatal(err)
			}
			var names []string
			for name, err := range test.b.List(t.Context()) {
				if err != nil {
					t.Error(err)
				}
				names = append(names, name)
			}
			slices.Sort(names)
			if diff := cmp.Diff([]string{"a/b/c", name}, names); diff != "" {
				t.Error(diff)
			}
			if err := test.a.Prune(t.Context(), time.Hour); err != nil {
				t.Error(err)
			}
			if _, _, err := test.a.Get(t.Context(), "a/b/c", ""); err != nil {
				t.Errorf("young, and gone: %v", err)
			}
			if err := test.a.Prune(t.Context(), -time.Hour); err != nil {
				t.Error(err)
			}
			if _, _, err := test.a.Get(t.Context(), "a/b/c", ""); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("old, and there: %v", err)
			}
			if err := test.forget(); err != nil {
				t.Fatal(err)
			}
			if _, err := test.b.Swap(t.Context(), name, "", []byte("x")); err != nil {
				t.Error(err)
			}
		})
	}
}

// testDocuments leaves a/b/c and name.
func testDocuments(t *testing.T, a, b Documents) {
	if _, _, err := a.Get(t.Context(), name, ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get: %v", err)
	}
	for range a.List(t.Context()) {
		t.Error("something is there")
	}
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			d := []Documents{a, b}[i%2]
			for {
				value, version, err := d.Get(t.Context(), name, "")
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
					return
				}
				n := 0
				if version != "" {
					if err := json.Unmarshal(value, &n); err != nil {
						t.Errorf("%q: %v", value, err)
						return
					}
				}
				_, err = d.Swap(t.Context(), name, version, fmt.Append(nil, n+1))
				if err == nil {
					return
				}
				if !errors.Is(err, ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	value, version, err := a.Get(t.Context(), name, "")
	if string(value) != "40" || err != nil {
		t.Errorf("%s, %v", value, err)
	}
	if value, again, err := b.Get(t.Context(), name, version); value != nil || again != version || err != nil {
		t.Errorf("what is known: %q, %q, %v", value, again, err)
	}
	if _, err := b.Swap(t.Context(), name, "", []byte("new")); !errors.Is(err, ErrConflict) {
		t.Errorf("made over what is there: %v", err)
	}
	if err := b.Delete(t.Context(), name, "other"); !errors.Is(err, ErrConflict) {
		t.Errorf("deleted what it did not see: %v", err)
	}
	if err := b.Delete(t.Context(), name, version); err != nil {
		t.Error(err)
	}
	if _, err := a.Swap(t.Context(), name, version, []byte("x")); !errors.Is(err, ErrConflict) {
		t.Errorf("swapped what is gone: %v", err)
	}
	for _, name := range []string{name, "a/b/c"} {
		if _, err := a.Swap(t.Context(), name, "", []byte("x")); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.Swap(t.Context(), "../x", "", nil); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
}
