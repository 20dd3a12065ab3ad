package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"curdling/internal/store"
	"curdling/internal/store/bucket"
	"curdling/internal/store/disk"
	"curdling/internal/store/storetest"
)

// openBucketScopes gives the scopes of one of the servers over a bucket.
func openBucketScopes(t *testing.T, link *storetest.Memory, c ScopesConfig) *Scopes {
	t.Helper()
	o := bucket.Options{Temp: t.TempDir()}
	main, err := Open(t.Context(), Config{Store: bucket.New(link, o), Derived: link})
	if err != nil {
		t.Fatal(err)
	}
	c.Main, c.Place = NewView(main), NewBucketScopes(link, o)
	s := NewScopes(c)
	t.Cleanup(func() {
		s.Close()
		main.Close()
	})
	return s
}

// readFar is read, once what is known is fresh.
func readFar(t *testing.T, s *Scopes, scope, filename string) []byte {
	t.Helper()
	view, release, err := s.View(scope, false)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := view.FreshFile(t.Context(), filename); err != nil {
		t.Fatal(err)
	}
	return read(t, s, scope, filename)
}

// TestBucketScopes: what comes into a scope through one server those of the scope get from the others, and nobody else, and a
// look whether it is there costs a listing a second.
func TestBucketScopes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		raw := storetest.NewMemory(0, time.Second)
		one, two := openBucketScopes(t, raw, ScopesConfig{}), openBucketScopes(t, raw, ScopesConfig{})
		name, theirs := variantOf("acme", "1.0", "theirs")
		for range 10 {
			if got := readFar(t, two, "pr-1", name); got != nil {
				t.Error("it is there before it came")
			}
		}
		if created, err := uploadInto(t.Context(), one, "pr-1", name, theirs); !created || err != nil {
			t.Fatal(created, err)
		}
		if got := readFar(t, one, "pr-1", name); !bytes.Equal(got, theirs) {
			t.Error("it is not there at once, through the same server")
		}
		time.Sleep(1100 * time.Millisecond)
		if got := readFar(t, two, "pr-1", name); !bytes.Equal(got, theirs) {
			t.Error("the other server does not have it")
		}
		for _, scope := range []string{"main", "pr-2"} {
			if readFar(t, two, scope, name) != nil {
				t.Errorf("%s has it", scope)
			}
		}
		before := raw.Requests()
		for range 100 {
			for _, scope := range []string{"pr-1", "pr-3"} {
				_, release, err := two.View(scope, false)
				if err != nil {
					t.Fatal(err)
				}
				release()
			}
		}
		if after := raw.Requests(); after.List-before.List > 1 || after.Get != before.Get {
			t.Errorf("looks cost %+v after %+v", after, before)
		}
		if _, _, err := two.View("../x", false); !errors.Is(err, fs.ErrInvalid) {
			t.Error(err)
		}
		for _, key := range raw.Keys() {
			if !strings.HasPrefix(key, "scopes/pr-1/wheels/acme/") && !strings.HasPrefix(key, "scopes/pr-1/metadata/") {
				t.Error(key)
			}
		}
		all, err := two.Place.Scopes(t.Context())
		if want := (disk.Scope{Name: "pr-1", Files: 1, Bytes: int64(len(theirs)), Changed: all[0].Changed}); err != nil || len(all) != 1 || all[0] != want {
			t.Errorf("%+v, %v", all, err)
		}
		if _, err := two.Place.RemoveScope(t.Context(), "pr-3", time.Time{}); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		if removed, err := two.Place.RemoveScope(t.Context(), "pr-1", time.Now().Add(-time.Hour)); removed || err != nil {
			t.Error("what came lately is removed", err)
		}
		if removed, err := two.Place.RemoveScope(t.Context(), "pr-1", time.Time{}); !removed || err != nil || len(raw.Keys()) != 0 {
			t.Error(removed, err, raw.Keys())
		}
		time.Sleep(2 * time.Minute)
		if readFar(t, one, "pr-1", name) != nil {
			t.Error("it is still there, on the other server")
		}
	})
}

// TestRemoveBucketScopes: two servers remove an old scope at the same time, while files come into it, the store fails and one of them dies: what was
// acknowledged as new is there, and of the old scope nothing is left in the end.
func TestRemoveBucketScopes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		share := rapid.SampledFrom([]float64{0, 0.02, 0.1})
		faults := storetest.Faults{Seed: rapid.Uint64().Draw(rt, "seed"), Delay: 50 * time.Millisecond, Fail: share.Draw(rt, "fail"),
			Lose: share.Draw(rt, "lose"), Late: share.Draw(rt, "late"), Twice: share.Draw(rt, "twice")}
		cut := rapid.SliceOfN(rapid.IntRange(1, 5000), 2, 2).Draw(rt, "milliseconds until a server dies")
		uploads := rapid.SliceOfN(rapid.IntRange(0, 5), 0, 8).Draw(rt, "uploads")
		page, wrong := rapid.IntRange(1, 5).Draw(rt, "page"), ""
		synctest.Test(t, func(t *testing.T) { wrong = removeBucketScopes(t, faults, cut, uploads, page) })
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

func removeBucketScopes(t *testing.T, faults storetest.Faults, cut, uploads []int, page int) (wrong string) {
	raw := storetest.NewMemory(page, time.Second)
	stock := func(link *storetest.Memory) *stock {
		return &stock{t, link, bucket.New(bucket.Below(link, "scopes/pr-1/"), bucket.Options{Temp: t.TempDir()})}
	}
	old, name := stock(raw), func(n int) string { return fmt.Sprintf("f-%d.tar.gz", n) }
	for n := range 4 {
		old.must(name(n), 100, "")
	}
	for _, key := range []string{"metadata/aa/aa", "builds/a/b/f-1.tar.gz", "wheels/f/f-1.tar.gz.yanked", "leases/x.json"} {
		if err := raw.Create(t.Context(), "scopes/pr-1/"+key, strings.NewReader("x"), 1); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(48 * time.Hour)
	var work sync.WaitGroup
	for i, ms := range cut {
		work.Go(func() {
			ctx, die := context.WithTimeout(t.Context(), time.Duration(ms)*time.Millisecond)
			defer die()
			faults := faults
			faults.Seed += uint64(i)
			s := openBucketScopes(t, raw.Link(faults), ScopesConfig{Keep: 24 * time.Hour})
			s.RemoveOld(ctx)
		})
	}
	acknowledged := make(map[string]bool)
	link := faults
	link.Seed += 100
	up := stock(raw.Link(link))
	for _, n := range uploads {
		time.Sleep(300 * time.Millisecond)
		if up.put(t.Context(), name(n), 100, "") == nil {
			acknowledged[name(n)] = true
		}
	}
	work.Wait()
	time.Sleep(time.Hour) // what was late has come
	var held []string
	for info, err := range stock(raw).in.List(t.Context(), "") {
		if err != nil {
			return err.Error()
		}
		held = append(held, info.Key)
	}
	for name := range acknowledged {
		if !slices.Contains(held, name) {
			return fmt.Sprintf("%s was acknowledged and is gone: %v", name, raw.Keys())
		}
	}
	time.Sleep(48 * time.Hour)
	s := openBucketScopes(t, raw, ScopesConfig{Keep: 24 * time.Hour})
	s.RemoveOld(t.Context())
	if keys := raw.Keys(); len(keys) > 0 {
		return fmt.Sprintf("left of what is old: %v", keys)
	}
	return ""
}

// TestRemoveSeen: who removes a scope that another has removed meanwhile takes nothing of what came since.
func TestRemoveSeen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		raw := storetest.NewMemory(0, time.Second)
		scopes := NewBucketScopes(raw, bucket.Options{Temp: t.TempDir()})
		s := &stock{t, raw, bucket.New(bucket.Below(raw, "scopes/pr-1/"), bucket.Options{Temp: t.TempDir()})}
		s.must("f-1.tar.gz", 100, "")
		var seen []store.Info
		for info, err := range raw.List(t.Context(), "scopes/pr-1/") {
			if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, info)
		}
		if removed, err := scopes.RemoveScope(t.Context(), "pr-1", time.Time{}); !removed || err != nil {
			t.Fatal(removed, err)
		}
		time.Sleep(2 * time.Second)
		s.must("f-1.tar.gz", 100, "")
		for _, info := range seen {
			err := scopes.removeSeen(t.Context(), partOf(strings.TrimPrefix(info.Key, "scopes/pr-1/")), info)
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, store.ErrChanged) {
				t.Errorf("%s: %v", info.Key, err)
			}
		}
		if r, _, err := s.in.Open(t.Context(), "f-1.tar.gz"); err != nil {
			t.Errorf("what came since is gone: %v", err)
		} else {
			r.Close()
		}
	})
}
