package storetest

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"curdling/internal/store"
)

// testSwap has many add to one file: none gets lost, and who looks sees it whole.
func testSwap(t *testing.T, s store.Store) {
	swapper, ok := s.(store.Swapper)
	if !ok {
		t.Skip("not a Swapper")
	}
	if err := swapper.Swap(t.Context(), "sig", nil, []byte("x")); !errors.Is(err, store.ErrChanged) {
		t.Errorf("of nothing: %v", err)
	}
	create(t, s, "sig", "0")
	if err := swapper.Swap(t.Context(), "sig", []byte("1"), []byte("2")); !errors.Is(err, store.ErrChanged) {
		t.Errorf("of something else: %v", err)
	}
	if err := swapper.Swap(t.Context(), "../sig", []byte("0"), []byte("1")); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a bad key: %v", err)
	}
	contend(t, func(i int) error {
		held := read(t, s, "sig")
		return swapper.Swap(t.Context(), "sig", []byte(held), fmt.Append([]byte(held), i))
	})
	checkContended(t, read(t, s, "sig"))
	if names := list(t, s, ""); len(names) != 1 {
		t.Errorf("left is %v", names)
	}
}

const writers, each = 4, 5

// contend has several writers add their numbers to one file at once, several times each; add is called again where
// another was faster.
func contend(t *testing.T, add func(writer int) error) {
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := 0; n < each; {
				switch err := add(i); {
				case err == nil:
					n++
				case !errors.Is(err, store.ErrChanged):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// checkContended finds every number of contend in content, behind its first byte.
func checkContended(t *testing.T, content string) {
	t.Helper()
	for i := range writers {
		if n := strings.Count(content[1:], fmt.Sprint(i)); n != each {
			t.Errorf("of %d there are %d in %s", i, n, content)
		}
	}
}

func testVersions(t *testing.T, s store.Store) {
	v, ok := s.(store.Versioned)
	if !ok {
		t.Skip("not a Versioned")
	}
	ctx := t.Context()
	if _, _, err := v.Get(ctx, "a/doc.json", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get of nothing: %v, want fs.ErrNotExist", err)
	}
	if _, err := v.Put(ctx, "a/doc.json", "other", []byte("x")); !errors.Is(err, store.ErrChanged) {
		t.Errorf("Put over nothing: %v, want ErrChanged", err)
	}
	if err := v.Delete(ctx, "a/doc.json", "other"); !errors.Is(err, store.ErrChanged) {
		t.Errorf("Delete of nothing: %v, want ErrChanged", err)
	}
	if _, err := v.Put(ctx, "../doc", "", nil); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a bad key: %v", err)
	}
	first, err := v.Put(ctx, "a/doc.json", "", []byte("0"))
	if err != nil || first == "" {
		t.Fatalf("Put: %q, %v", first, err)
	}
	if _, err := v.Put(ctx, "a/doc.json", "", []byte("x")); !errors.Is(err, store.ErrChanged) {
		t.Errorf("made again: %v, want ErrChanged", err)
	}
	if content, version, err := v.Get(ctx, "a/doc.json", ""); string(content) != "0" || version != first || err != nil {
		t.Errorf("Get: %q, %q, %v; Put said %q", content, version, err, first)
	}
	if content, version, err := v.Get(ctx, "a/doc.json", first); content != nil || version != first || err != nil {
		t.Errorf("Get of what is known: %q, %q, %v", content, version, err)
	}
	contend(t, func(i int) error {
		content, version, err := v.Get(ctx, "a/doc.json", "")
		if err == nil {
			_, err = v.Put(ctx, "a/doc.json", version, fmt.Append(content, i))
		}
		return err
	})
	content, last, err := v.Get(ctx, "a/doc.json", first)
	if err != nil {
		t.Fatal(err)
	}
	checkContended(t, string(content))
	if _, err := v.Put(ctx, "a/doc.json", first, []byte("x")); !errors.Is(err, store.ErrChanged) {
		t.Errorf("Put over what was before: %v, want ErrChanged", err)
	}
	if err := v.Delete(ctx, "a/doc.json", first); !errors.Is(err, store.ErrChanged) {
		t.Errorf("Delete of what was before: %v, want ErrChanged", err)
	}
	if err := v.Delete(ctx, "a/doc.json", last); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if names := list(t, s, ""); len(names) != 0 {
		t.Errorf("left is %v", names)
	}
	var wg sync.WaitGroup
	var made atomic.Int64
	for range writers {
		wg.Go(func() {
			if _, err := v.Put(ctx, "new", "", []byte("x")); err == nil {
				made.Add(1)
			} else if !errors.Is(err, store.ErrChanged) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
}
