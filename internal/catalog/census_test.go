package catalog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"curdling/internal/dist"
	"curdling/internal/record/recordtest"
	"curdling/internal/store/bucket"
	"curdling/internal/store/storetest"
)

// stock puts files into a bucket as servers do, and knows what it put.
type stock struct {
	t   testing.TB
	raw *storetest.Memory
	in  *bucket.Store
}

func newStock(t testing.TB, raw *storetest.Memory) *stock {
	return &stock{t, raw, bucket.New(raw, bucket.Options{Temp: t.TempDir()})}
}

// content gives bytes that are of that name alone.
func contentOf(filename string, size int) (content, sum string) {
	content = strings.Repeat(filename+" ", size/len(filename)+1)[:size]
	h := sha256.Sum256([]byte(content))
	return content, hex.EncodeToString(h[:])
}

// put keeps a file of an upstream, or one that was uploaded where that is "".
func (s *stock) put(ctx context.Context, filename string, size int, upstream string) error {
	content, sum := contentOf(filename, size)
	named, err := dist.ParseFilename(filename, "")
	if err != nil {
		return err
	}
	x := facts{File: filename, Size: int64(size), SHA256: sum, Project: named.Name, Upstream: upstream}
	if named.Kind == dist.Wheel {
		x.MetadataSHA256 = sum
	}
	if upstream != "" {
		if err := s.raw.Create(ctx, "upstream/"+string(named.Name), strings.NewReader(""), 0); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return s.keep(ctx, x, content)
}

func (s *stock) keep(ctx context.Context, x facts, content string) error {
	var note bytes.Buffer
	if err := x.write(&note); err != nil {
		return err
	}
	return s.in.CreateNoted(ctx, x.File, x.SHA256, note.Bytes(), strings.NewReader(content), x.Size)
}

// build keeps a build of a minute.
func (s *stock) build() (filename string, size int64) {
	s.t.Helper()
	name, wheel, text := recordtest.Build(s.t, "b", "3.11.4", "x", nil)
	err := s.raw.Create(s.t.Context(), "builds/"+recordtest.Source+"/"+recordtest.Source+"/"+name, strings.NewReader(""), 0)
	if err == nil {
		err = s.keep(s.t.Context(), facts{File: name, Size: int64(len(wheel)), SHA256: sum(wheel), Project: "b", MetadataSHA256: sum(wheel), Record: string(text)}, string(wheel))
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return name, int64(len(wheel))
}

func (s *stock) must(filename string, size int, from string) {
	s.t.Helper()
	if err := s.put(s.t.Context(), filename, size, from); err != nil {
		s.t.Fatal(err)
	}
}

// catalog opens one of the servers over the bucket, on a link to it.
func (s *stock) catalog(link *storetest.Memory, c Config) *Catalog {
	s.t.Helper()
	c.Store, c.Derived, c.Shared = bucket.New(link, bucket.Options{Temp: s.t.TempDir()}), link, link
	held, err := Open(s.t.Context(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	return held
}

// held gives the names of the files that are held.
func (s *stock) held(ctx context.Context) []string {
	s.t.Helper()
	var names []string
	for info, err := range bucket.New(s.raw, bucket.Options{}).List(ctx, "") {
		if err != nil {
			s.t.Fatal(err)
		}
		if !strings.HasSuffix(info.Key, ".tar.zst") {
			names = append(names, info.Key)
		}
	}
	slices.Sort(names)
	return names
}

func always() bool { return true }

// TestCensus: one of the servers counts what is held, in few requests, and the others know it within some minutes.
func TestCensus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStock(t, storetest.NewMemory(0, time.Second))
		for i := range 1000 {
			s.must(fmt.Sprintf("p%d-%d.tar.gz", i%100, i/100), 10, "")
		}
		s.must("w-1-py3-none-any.whl", 20, "")
		_, wheelSum := contentOf("w-1-py3-none-any.whl", 20)
		tarball := "w-1-py3-none-any.whl." + wheelSum[:tarballOf] + "-" + strings.Repeat("a", 64) + ".tar.zst"
		if err := s.in.Create(t.Context(), tarball, strings.NewReader("12345"), 5); err != nil {
			t.Fatal(err)
		}
		want := Stats{Projects: 101, Files: 1001, Bytes: 10_020, TarballBytes: 5}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		open := func(turn func() bool) *Catalog {
			c := s.catalog(s.raw, Config{Turn: turn, Sweep: 6 * time.Hour, Server: "one"})
			running.Go(func() {
				if err := c.Run(ctx); err != nil {
					t.Error(err)
				}
			})
			return c
		}
		one, two := open(always), open(func() bool { return false })
		if got := two.Stats(); !got.Counted.IsZero() {
			t.Errorf("before anybody counted: %+v", got)
		}
		before := s.raw.Requests()
		time.Sleep(3 * time.Minute)
		asked := s.raw.Requests()
		for _, c := range []*Catalog{one, two} {
			if diff := cmp.Diff(want, c.Stats(), cmpopts.IgnoreFields(Stats{}, "Counted")); diff != "" {
				t.Error(diff)
			}
			if age := time.Since(c.Stats().Counted); age < 0 || age > 3*time.Minute {
				t.Errorf("counted %v ago", age)
			}
		}
		// Three pages of keys for 1001 files, a request for each letter, and one or two for uses and the time.
		if lists := asked.List - before.List; lists > len(bucket.Initials)+6 {
			t.Errorf("%d listing requests for 1,001 files", lists)
		}
		if gets := asked.Get - before.Get; gets > 12 {
			t.Errorf("%d GETs", gets)
		}
		t.Logf("a census of 1,001 files: %d listing requests, %d GET, %d PUT", asked.List-before.List, asked.Get-before.Get, asked.Put-before.Put)

		// The next ones come after six hours, and find what a crash left a day ago.
		left := "wheels/w/" + strings.Repeat("c", 64) + "/PUT/w-2.tar.gz"
		if err := s.raw.Create(t.Context(), left, strings.NewReader("left"), 4); err != nil {
			t.Fatal(err)
		}
		gone := "w-3-py3-none-any.whl." + strings.Repeat("a", 64) + ".tar.zst"
		if err := s.in.Create(t.Context(), gone, strings.NewReader("gone"), 4); err != nil {
			t.Fatal(err)
		}
		time.Sleep(23 * time.Hour)
		if keys := s.raw.Keys(); !slices.Contains(keys, left) || !slices.Contains(keys, "wheels/w/"+gone) {
			t.Error("what may be an upload under way is gone")
		}
		time.Sleep(8 * time.Hour)
		if keys := s.raw.Keys(); slices.Contains(keys, left) || slices.Contains(keys, "wheels/w/"+gone) || !slices.Contains(keys, "wheels/w/"+tarball) {
			t.Error("what a crash left is still there, or what is of use is not")
		}
		if diff := cmp.Diff(want, two.Stats(), cmpopts.IgnoreFields(Stats{}, "Counted")); diff != "" {
			t.Error(diff)
		}
		if age := time.Since(two.Stats().Counted); age > 7*time.Hour {
			t.Errorf("counted %v ago", age)
		}
		stop()
		running.Wait()
	})
}

// TestShrink: what can be had again goes: tarballs, files of upstreams, builds, and of each what is worth least; what was uploaded stays.
func TestShrink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStock(t, storetest.NewMemory(0, time.Second))
		s.must("mine-1.tar.gz", 1000, "")
		s.must("up-0.tar.gz", 1000, "") // among an upstream's
		for i := range 4 {
			s.must(fmt.Sprintf("up-%d.tar.gz", i+1), 100_000*(i+1), "pypi")
		}
		build, size := s.build()
		tarball := build + "." + strings.Repeat("a", 64) + ".tar.zst"
		if err := s.in.Create(t.Context(), tarball, strings.NewReader("12345"), 5); err != nil {
			t.Fatal(err)
		}
		var told []string
		other := s.catalog(s.raw, Config{Server: "other"})
		c := s.catalog(s.raw, Config{MaxSize: 700_000, Turn: always, Sweep: time.Hour, Server: "one", Removed: func(r Removal) { told = append(told, r.Action+" "+r.Filename) }})

		// It is the largest that is worth least, unless somebody used it.
		for range 50 {
			other.far.uses.note("up-4.tar.gz", time.Now())
		}
		other.far.keepUses(t.Context())
		var would []string
		dry, err := c.Shrink(t.Context(), ShrinkOptions{MaxSize: 700_000, DryRun: true, Gone: func(x Candidate) { would = append(would, x.Filename) }})
		if err != nil || dry.Permanent != 2000 || dry.Expendable != 1_000_000+size || dry.Tarballs != 5 {
			t.Fatalf("%+v, %v", dry, err)
		}
		if len(s.held(t.Context())) != 7 {
			t.Error("a dry run removed something")
		}
		if err := c.far.takeCensus(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []string{"evict up-3.tar.gz", "evict up-2.tar.gz"}
		slices.Sort(want)
		slices.Sort(told)
		slices.Sort(would)
		if diff := cmp.Diff(want, told); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"up-2.tar.gz", "up-3.tar.gz"}, would); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{build, "mine-1.tar.gz", "up-0.tar.gz", "up-1.tar.gz", "up-4.tar.gz"}, s.held(t.Context())); diff != "" {
			t.Error(diff)
		}
		if slices.Contains(s.raw.Keys(), "wheels/b/"+tarball) {
			t.Error("the tarball is left")
		}
		got := c.Stats()
		if diff := cmp.Diff(Stats{Projects: 3, Files: 5, Bytes: 502_000 + size}, got, cmpopts.IgnoreFields(Stats{}, "Counted", "Projects")); diff != "" {
			t.Error(diff)
		}
		// What can never go, and came since, leaves no room for this.
		var full *QuotaError
		if _, err := c.reserve(t.Context(), "x-1.tar.gz", 699_000); !errors.As(err, &full) || full.Permanent != 2000 {
			t.Error(err)
		}
		if _, err := c.reserve(t.Context(), "x-1.tar.gz", 698_000); err != nil {
			t.Error(err)
		}
		// Builds go last, and nothing more can.
		all, err := c.Shrink(t.Context(), ShrinkOptions{MaxSize: 0})
		if err != nil || all.Left.Bytes != 2000 || all.Left.Files != 2 {
			t.Errorf("%+v, %v", all, err)
		}
		if diff := cmp.Diff([]string{"mine-1.tar.gz", "up-0.tar.gz"}, s.held(t.Context())); diff != "" {
			t.Error(diff)
		}
	})
}

// TestShrinkAmongOthers: servers that evict at the same time, while files come and the store fails, and that die in
// the middle of it, take nothing that was uploaded, and leave nothing that is claimed without its bytes.
func TestShrinkAmongOthers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		share := rapid.SampledFrom([]float64{0, 0.02, 0.1})
		faults := storetest.Faults{Seed: seed, Delay: 50 * time.Millisecond, Fail: share.Draw(rt, "fail"), Lose: share.Draw(rt, "lose"),
			Late: share.Draw(rt, "late"), Twice: share.Draw(rt, "twice")}
		cut := rapid.SliceOfN(rapid.IntRange(1, 15_000), 2, 2).Draw(rt, "milliseconds until a server dies")
		page := rapid.IntRange(1, 5).Draw(rt, "page")
		names := rapid.SliceOfN(rapid.IntRange(1, 6), 1, 6).Draw(rt, "uploads")
		wrong := ""
		synctest.Test(t, func(t *testing.T) { wrong = shrinkAmongOthers(t, faults, cut, page, names) })
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

func shrinkAmongOthers(t *testing.T, faults storetest.Faults, cut []int, page int, names []int) (wrong string) {
	s := newStock(t, storetest.NewMemory(page, time.Second))
	for i := range 6 {
		s.must(fmt.Sprintf("up-%d.tar.gz", i+1), 1000, "pypi")
	}
	s.must("mine-1.tar.gz", 500, "")
	var work sync.WaitGroup
	for i, ms := range cut {
		work.Go(func() {
			ctx, die := context.WithTimeout(t.Context(), time.Duration(ms)*time.Millisecond)
			defer die()
			faults := faults
			faults.Seed += uint64(i)
			c := s.catalog(s.raw.Link(faults), Config{MaxSize: 2000, Turn: always, Sweep: time.Hour})
			_ = c.far.takeCensus(ctx) // it dies, or the store fails, or all is well
		})
	}
	acknowledged := map[string]bool{"mine-1.tar.gz": true}
	link := faults
	link.Seed, link.Delay = link.Seed+100, time.Millisecond
	up := newStock(t, s.raw.Link(link))
	for range 15 { // what was an upstream's is uploaded by somebody, as soon as its name is free
		time.Sleep(time.Second)
		for _, n := range names {
			name := fmt.Sprintf("up-%d.tar.gz", n)
			if !acknowledged[name] && up.put(t.Context(), name, 700, "") == nil {
				acknowledged[name] = true
			}
		}
	}
	work.Wait()
	time.Sleep(48 * time.Hour) // what was late has come
	ctx := t.Context()
	c := s.catalog(s.raw, Config{MaxSize: 2000, Turn: always, Sweep: time.Hour})
	for range 2 {
		if err := c.far.takeCensus(ctx); err != nil {
			return err.Error()
		}
	}
	held := s.held(ctx)
	var claims, puts int
	for _, key := range s.raw.Keys() {
		if strings.HasPrefix(key, "wheels/") {
			switch strings.Count(key, "/") {
			case 2:
				claims++
			case 4:
				puts++
			}
		}
	}
	for name := range acknowledged {
		if !slices.Contains(held, name) {
			return fmt.Sprintf("%s was acknowledged and is gone: %v", name, held)
		}
	}
	if claims != len(held) || puts != len(held) {
		return fmt.Sprintf("%d claims and %d bytes of %d files:\n%s", claims, puts, len(held), strings.Join(s.raw.Keys(), "\n"))
	}
	if got := c.Stats(); got.Files != len(held) {
		return fmt.Sprintf("%d files are counted of %d", got.Files, len(held))
	}
	return ""
}

func TestUses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStock(t, storetest.NewMemory(0, time.Second))
		now := time.Now()
		one, two := s.catalog(s.raw, Config{Server: "one"}), s.catalog(s.raw, Config{Server: "two"})
		one.far.uses.note("a-1.tar.gz", now)
		one.far.uses.note("a-1.tar.gz", now.Add(time.Second))
		one.far.keepUses(t.Context())
		two.far.uses.note("a-1.tar.gz", now.Add(time.Minute))
		for i := range 3 * mostUses {
			two.far.uses.note(fmt.Sprintf("b-%d.tar.gz", i), now.Add(time.Minute+time.Duration(i)*time.Second))
		}
		two.far.keepUses(t.Context())
		if err := s.raw.Create(t.Context(), "uses/broken.json", strings.NewReader("{"), 1); err != nil {
			t.Fatal(err)
		}
		got, err := one.far.loadUses(t.Context())
		if err == nil || !strings.Contains(err.Error(), "uses/broken.json") {
			t.Errorf("of what is broken: %v", err)
		}
		last := fmt.Sprintf("b-%d.tar.gz", 3*mostUses-1)
		if len(got) != mostUses+1 || got["a-1.tar.gz"] != (use{2, now.Unix() + 1}) || got[last].Count != 1 {
			t.Errorf("%d files, %+v, %+v", len(got), got["a-1.tar.gz"], got[last])
		}
		time.Sleep(usesRemembered + time.Hour)
		one.far.uses.note("c-1.tar.gz", time.Now())
		one.far.keepUses(t.Context())
		one.far.forgetUses(t.Context(), time.Now())
		if got, err := one.far.loadUses(t.Context()); err != nil || len(got) != 2 {
			t.Errorf("a month later: %v, %v", slices.Sorted(maps.Keys(got)), err)
		}
	})
}

func FuzzParseCensus(f *testing.F) {
	f.Add([]byte(`{"format":1,"time":"2026-01-02T03:04:05Z","seconds":1.5,"projects":1,"files":2,"bytes":3,"tarball_bytes":4,"permanent_bytes":5}`))
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		x, err := parseCensus(text)
		if err != nil {
			return
		}
		r := &far{c: &Catalog{sweep: time.Minute}}
		r.counted.know(x)
		r.due(time.Now())
		if x.Files < 0 || x.Bytes < 0 {
			t.Errorf("%+v", x)
		}
	})
}

// TestVerifyBucket: what is damaged in a bucket is found, and its name is free once it was put aside.
func TestVerifyBucket(t *testing.T) {
	t.Parallel()
	s := newStock(t, storetest.NewMemory(0, time.Second))
	for _, name := range []string{"good-1.tar.gz", "bad-1.tar.gz", "lost-1.tar.gz"} {
		s.must(name, 1000, "")
	}
	for _, key := range s.raw.Keys() {
		var err error
		switch {
		case strings.HasSuffix(key, "/bad-1.tar.gz") && strings.Count(key, "/") == 4:
			content, _ := contentOf("bad-1.tar.gz", 1000)
			err = s.raw.Swap(t.Context(), key, []byte(content), []byte("X"+content[1:]))
		case strings.HasSuffix(key, "/lost-1.tar.gz") && strings.Count(key, "/") == 4:
			err = s.raw.Remove(t.Context(), key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c := s.catalog(s.raw, Config{})
	found := make(map[string]string)
	v, err := c.Verify(t.Context(), VerifyOptions{Damaged: func(key string, err error) {
		found[key] = err.Error()
		if err := c.Quarantine(t.Context(), key, err); err != nil {
			t.Error(err)
		}
	}})
	if err != nil || v.Files != 3 || v.Damaged != 2 || !strings.Contains(found["bad-1.tar.gz"], "sha256") || found["lost-1.tar.gz"] != "its bytes are lost" {
		t.Errorf("%+v, %v: %v", v, err, found)
	}
	if held := s.held(t.Context()); !slices.Equal(held, []string{"good-1.tar.gz"}) {
		t.Errorf("held is %v", held)
	}
	if v, err := c.Verify(t.Context(), VerifyOptions{}); err != nil || v.Files != 1 || v.Damaged != 0 {
		t.Errorf("%+v, %v", v, err)
	}
	s.must("bad-1.tar.gz", 10, "")
}
