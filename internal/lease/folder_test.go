package lease

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestFolder: of several who change a document at once nobody loses what another wrote.
func TestFolder(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state", "leases")
	a, b := NewFolder(dir), NewFolder(dir) // as two processes
	if _, _, err := a.Get(t.Context(), name, ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get: %v", err)
	}
	for range a.List(t.Context()) {
		t.Error("something is there")
	}
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			f := []*Folder{a, b}[i%2]
			for {
				value, version, err := f.Get(t.Context(), name, "")
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
				_, err = f.Swap(t.Context(), name, version, fmt.Append(nil, n+1))
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
	if _, err := b.Swap(t.Context(), name, "", []byte("new")); !errors.Is(err, ErrConflict) {
		t.Errorf("made over what is there: %v", err)
	}
	if err := b.Delete(t.Context(), name, "other"); !errors.Is(err, ErrConflict) {
		t.Errorf("deleted what it did not see: %v", err)
	}
	if _, err := a.Swap(t.Context(), "a/b/c", "", []byte("x")); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Not.ours.json"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	var names []string
	for name, err := range b.List(t.Context()) {
		if err != nil {
			t.Error(err)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"a/b/c", name}, names); diff != "" {
		t.Error(diff)
	}
	if err := a.Delete(t.Context(), name, version); err != nil {
		t.Error(err)
	}
	if err := a.Prune(t.Context(), time.Hour); err != nil {
		t.Error(err)
	}
	if _, _, err := a.Get(t.Context(), "a/b/c", ""); err != nil {
		t.Errorf("young, and gone: %v", err)
	}
	if err := a.Prune(t.Context(), -time.Hour); err != nil {
		t.Error(err)
	}
	if _, _, err := a.Get(t.Context(), "a/b/c", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("old, and there: %v", err)
	}
	if err := os.RemoveAll(dir); err != nil { // while it is used
		t.Fatal(err)
	}
	if _, err := b.Swap(t.Context(), name, "", []byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := b.Swap(t.Context(), "../x", "", nil); !errors.Is(err, fs.ErrInvalid) {
		t.Error(err)
	}
}
