package bucket

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/store/storetest"
)

// TestRemoveClaimed: of two who remove the same file the second one takes nothing of what came in between.
func TestRemoveClaimed(t *testing.T) {
	t.Parallel()
	ctx, raw := t.Context(), storetest.NewMemory(0, time.Second)
	one, two := New(raw, Options{Temp: t.TempDir()}), New(raw, Options{Temp: t.TempDir()})
	const key = "a-1.tar.gz"
	put := func(content string) {
		t.Helper()
		if err := one.Create(ctx, key, strings.NewReader(content), int64(len(content))); err != nil {
			t.Fatal(err)
		}
	}
	put("first")
	seen, err := two.Claim(ctx, key)
	if err != nil || seen.Size != 5 || seen.Note != nil {
		t.Fatalf("%+v, %v", seen, err)
	}
	if err := one.Remove(ctx, key); err != nil {
		t.Fatal(err)
	}
	if err := two.RemoveClaimed(ctx, seen); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is gone: %v", err)
	}
	put("first") // the very same, by another upload
	if err := two.RemoveClaimed(ctx, seen); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what came in its place: %v", err)
	}
	r, info, err := two.Open(ctx, key)
	if err != nil || info.Size != 5 {
		t.Fatalf("it is gone: %v", err)
	}
	r.Close()
	if _, err := two.Claim(ctx, "a-1.tar.gz.yanked"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a claim of what has none: %v", err)
	}
	if err := two.Remove(ctx, key); err != nil || len(raw.Keys()) != 0 {
		t.Errorf("%v, and left is %v", err, raw.Keys())
	}
}

// TestWalk: a walk finds by listing alone what List finds, and the tarballs, in pages of any size.
func TestWalk(t *testing.T) {
	t.Parallel()
	for page := range 5 {
		raw := storetest.NewMemory(page+1, time.Second)
		s, ctx := New(raw, Options{Temp: t.TempDir()}), t.Context()
		tarball := "a_b-1-py3-none-any.whl." + strings.Repeat("0", 64) + ".tar.zst"
		for _, key := range []string{"a-1.tar.gz", "a-2.tar.gz", "a_b-1-py3-none-any.whl", tarball, "ab-1.tar.gz", "b-1.tar.gz", "a-1.tar.gz.yanked", "b.status"} {
			if err := s.Create(ctx, key, strings.NewReader(key), int64(len(key))); err != nil {
				t.Fatal(err)
			}
		}
		for _, key := range []string{"wheels/a/nothing", "wheels/A/a-3.tar.gz", "wheels/a/b-3.tar.gz", "wheels/a/a-4.tar.gz", // that one has no bytes
			"wheels/c/" + strings.Repeat("1", 64) + "/PUT/c-1.tar.gz"} { // and that one no claim
			if err := raw.Create(ctx, key, strings.NewReader("x"), 1); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		before := raw.Requests()
		for p, err := range s.Walk(ctx, "") {
			if err != nil {
				t.Fatal(err)
			}
			all := p.Files
			for _, x := range p.Tarballs {
				all = append(all, x.Info)
			}
			for _, f := range all {
				if f.Size != int64(len(f.Key)) || f.ModTime.IsZero() {
					t.Errorf("%+v", f)
				}
				got = append(got, p.Name+" "+f.Key)
			}
		}
		want := []string{"a a-1.tar.gz", "a a-2.tar.gz", "a-b a_b-1-py3-none-any.whl", "a-b " + tarball, "ab ab-1.tar.gz", "b b-1.tar.gz"}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pages of %d:\n%s", page+1, diff)
		}
		after := raw.Requests()
		if keys := len(raw.Keys()); after.Get != before.Get || after.List-before.List > keys/(page+1)+1 {
			t.Errorf("pages of %d: %+v after %+v", page+1, after, before)
		}
	}
}
