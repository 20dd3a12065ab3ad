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
	const writers, each = 4, 5
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := 0; n < each; {
				held := read(t, s, "sig")
				err := swapper.Swap(t.Context(), "sig", []byte(held), fmt.Append([]byte(held), i))
				switch {
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
	got := read(t, s, "sig")
	for i := range writers {
		if n := strings.Count(got[1:], fmt.Sprint(i)); n != each {
			t.Errorf("of %d there are %d in %s", i, n, got)
		}
	}
	if names := list(t, s, ""); len(names) != 1 {
		t.Errorf("left is %v", names)
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
	const writers, each = 4, 5
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := 0; n < each; {
				content, version, err := v.Get(ctx, "a/doc.json", "")
				if err == nil {
					_, err = v.Put(ctx, "a/doc.json", version, fmt.Append(content, i))
				}
				switch {
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
	content, last, err := v.Get(ctx, "a/doc.json", first)
	if err != nil {
		t.Fatal(err)
	}
	for i := range writers {
		if n := strings.Count(string(content[1:]), fmt.Sprint(i)); n != each {
			t.Errorf("of %d there are %d in %s", i, n, content)
		}
	}
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
