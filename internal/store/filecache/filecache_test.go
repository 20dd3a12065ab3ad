package filecache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/store"
)

// object is a file of a store.
type object struct {
	content []byte
	sum     string
	fetched atomic.Int64
	trouble func(*source) // a fetch's source, before it is used; may be nil
}

func newObject(size int) *object {
	o := &object{content: make([]byte, size)}
	r := rand.NewChaCha8([32]byte{byte(size), byte(size >> 8), byte(size >> 16)})
	_, _ = r.Read(o.content)
	sum := sha256.Sum256(o.content)
	o.sum = hex.EncodeToString(sum[:])
	return o
}

// source gives the bytes that it has; what is between have and the end comes after rest is closed.
type source struct {
	*bytes.Reader
	ctx  context.Context
	have int64
	rest chan struct{} // nil is closed
}

func (s *source) Read(p []byte) (int, error) {
	at := s.Size() - int64(s.Len())
	if s.rest != nil && at >= s.have {
		select {
		case <-s.rest:
			s.rest = nil
		case <-s.ctx.Done():
			return 0, context.Cause(s.ctx)
		}
	}
	if s.rest != nil {
		p = p[:min(int64(len(p)), s.have-at)]
	}
	return s.Reader.Read(p)
}

func (s *source) Close() error { return nil }

func (o *object) fetch(ctx context.Context) (io.ReadSeekCloser, error) {
	o.fetched.Add(1)
	s := &source{Reader: bytes.NewReader(o.content), ctx: ctx}
	if o.trouble != nil {
		o.trouble(s)
	}
	return s, nil
}

func open(t *testing.T, c *Cache, o *object) io.ReadSeekCloser {
	t.Helper()
	r, err := c.Open(t.Context(), o.sum, int64(len(o.content)), o.fetch)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// check reads a file whole, and gives whether it is one of the disk.
func check(t *testing.T, c *Cache, o *object) (onDisk bool) {
	t.Helper()
	r := open(t, c, o)
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, o.content) {
		t.Errorf("%d of %d bytes, %v", len(got), len(o.content), err)
	}
	_, onDisk = r.(*os.File)
	return onDisk
}

func newCache(t *testing.T, dir string, most int64) *Cache {
	t.Helper()
	c := New(Options{Dir: dir, MaxBytes: most, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	t.Cleanup(c.Close)
	return c
}

func TestOpen(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, tail - 1, tail, tail + 1, 300_000, large, large + 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			o := newObject(size)
			c := newCache(t, t.TempDir(), 1<<30)
			check(t, c, o)
			c.wait()
			if !check(t, c, o) || o.fetched.Load() != 1 {
				t.Errorf("fetched %d times", o.fetched.Load())
			}
			want := Stats{Files: 1, Bytes: int64(size), Hits: 1, Fetched: 1}
			if diff := cmp.Diff(want, c.Stats()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// wait waits until nothing is being fetched.
func (c *Cache) wait() {
	for {
		c.mu.Lock()
		n := len(c.fills)
		c.mu.Unlock()
		if n == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestBypass(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		most int64
	}{
		{"no cache", 0},
		{"too large for it", 3_000_000},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := newObject(1_000_000)
			c := newCache(t, filepath.Join(t.TempDir(), "cache"), test.most)
			for range 2 {
				if check(t, c, o) {
					t.Error("it is kept")
				}
			}
			if diff := cmp.Diff(Stats{Bypassed: 2}, c.Stats()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestBypassSeeks: parts can be read, and the whole after them is verified.
func TestBypassSeeks(t *testing.T) {
	t.Parallel()
	o := newObject(300_000)
	r := open(t, newCache(t, "", 0), o)
	defer r.Close()
	for _, at := range []int64{299_999, 0, 150_000, 300_000, 400_000, 240_000, 0} {
		if got, err := r.Seek(at, io.SeekStart); err != nil || got != at {
			t.Fatalf("at %d, %v", got, err)
		}
		part, err := io.ReadAll(r)
		if want := o.content[min(int(at), len(o.content)):]; err != nil || !bytes.Equal(part, want) {
			t.Errorf("from %d: %d bytes, %v", at, len(part), err)
		}
	}
	if _, err := r.Seek(-1, io.SeekStart); err == nil {
		t.Error("there is no byte -1")
	}
}

func TestWrongContent(t *testing.T) {
	t.Parallel()
	good := newObject(10 << 20)
	for name, content := range map[string][]byte{
		"changed": append(bytes.Clone(good.content[:len(good.content)-1]), good.content[len(good.content)-1]^1),
		"short":   good.content[:len(good.content)-1],
		"long":    append(bytes.Clone(good.content), 0),
	} {
		for _, most := range []int64{0, 1 << 30} {
			t.Run(fmt.Sprint(name, most), func(t *testing.T) {
				t.Parallel()
				c := newCache(t, t.TempDir(), most)
				bad := &object{content: content, sum: good.sum}
				r, err := c.Open(t.Context(), good.sum, int64(len(good.content)), bad.fetch)
				if err == nil {
					var got []byte
					got, err = io.ReadAll(r)
					r.Close()
					if len(got) > len(good.content)-tail || !bytes.Equal(got, good.content[:len(got)]) {
						t.Errorf("%d bytes came of what is wrong", len(got))
					}
				}
				if err == nil {
					t.Error("no error")
				}
				c.wait()
				if s := c.Stats(); s.Files != 0 || len(files(t, c.dir)) != 0 {
					t.Errorf("something is kept: %+v, %v", s, files(t, c.dir))
				}
				check(t, c, good)
			})
		}
	}
	c := newCache(t, t.TempDir(), 1<<30)
	for _, sum := range []string{"", "../../etc/passwd", strings.Repeat("A", 64), strings.Repeat("a", 63) + "/"} {
		if _, err := c.Open(t.Context(), sum, 1, good.fetch); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", sum, err)
		}
	}
}

// files are the names of what lies in the folder, but for folders.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestOnce: a file is fetched once, however many wait, and some of them may leave.
func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newObject(100_000)
		rest := make(chan struct{})
		o.trouble = func(s *source) { s.rest = rest }
		c := newCache(t, t.TempDir(), 1<<30)
		impatient, leave := context.WithCancel(t.Context())
		var came, left atomic.Int64
		for i := range 50 {
			ctx := t.Context()
			if i%2 == 0 {
				ctx = impatient
			}
			go func() {
				r, err := c.Open(ctx, o.sum, int64(len(o.content)), o.fetch)
				if err != nil {
					left.Add(1)
					return
				}
				defer r.Close()
				if got, err := io.ReadAll(r); err == nil && bytes.Equal(got, o.content) {
					came.Add(1)
				}
			}()
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		if came.Load() != 0 || left.Load() != 25 {
			t.Errorf("%d came, %d left", came.Load(), left.Load())
		}
		close(rest)
		synctest.Wait()
		if came.Load() != 25 || o.fetched.Load() != 1 {
			t.Errorf("%d came, fetched %d times", came.Load(), o.fetched.Load())
		}
	})
}

// TestNobodyWaits: then a fetch is broken off, unless half of the file is there.
func TestNobodyWaits(t *testing.T) {
	for _, test := range []struct {
		have int64
		ends bool
	}{{0, true}, {50_000, true}, {50_001, false}} {
		synctest.Test(t, func(t *testing.T) {
			o := newObject(100_000)
			rest := make(chan struct{})
			var fetching context.Context
			o.trouble = func(s *source) { s.rest, s.have, fetching = rest, test.have, s.ctx }
			c := newCache(t, t.TempDir(), 1<<30)
			ctx, leave := context.WithCancelCause(t.Context())
			gone := errors.New("the client is gone")
			time.AfterFunc(time.Second, func() { leave(gone) })
			if _, err := c.Open(ctx, o.sum, 100_000, o.fetch); !errors.Is(err, gone) {
				t.Errorf("%v, want %v", err, gone)
			}
			synctest.Wait()
			if ended := fetching.Err() != nil; ended != test.ends {
				t.Errorf("%d bytes came: broken off %v, want %v", test.have, ended, test.ends)
			}
			close(rest)
			synctest.Wait()
			want := int64(1)
			if test.ends {
				want = 2
			}
			o.trouble = nil
			if check(t, c, o); o.fetched.Load() != want {
				t.Errorf("fetched %d times, want %d", o.fetched.Load(), want)
			}
			c.Close()
		})
	}
}

// TestAsItComes: a large file is read while it comes, but for its last bytes.
func TestAsItComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newObject(large + 1000)
		rest := make(chan struct{})
		o.trouble = func(s *source) { s.rest, s.have = rest, large }
		c := newCache(t, t.TempDir(), 1<<30)
		r := open(t, c, o)
		defer r.Close()
		got := make([]byte, len(o.content))
		n, err := io.ReadAtLeast(r, got, len(o.content)-tail)
		if err != nil || n != len(o.content)-tail {
			t.Errorf("%d bytes, %v", n, err)
		}
		done := make(chan error)
		go func() {
			_, err := io.ReadFull(r, got[n:])
			done <- err
		}()
		synctest.Wait()
		select {
		case err := <-done:
			t.Error("the end came before its time: ", err)
		default:
		}
		close(rest)
		if err := <-done; err != nil || !bytes.Equal(got, o.content) {
			t.Error(err)
		}
		if _, err := r.Read(got); !errors.Is(err, io.EOF) {
			t.Errorf("%v, want EOF", err)
		}
		if at, err := r.Seek(-10, io.SeekEnd); err != nil || at != large+990 {
			t.Errorf("%d, %v", at, err)
		}
		if end, err := io.ReadAll(r); err != nil || !bytes.Equal(end, o.content[large+990:]) {
			t.Error(err)
		}
	})
}

// TestTooMany: what is to be fetched waits a while, and is refused then.
func TestTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, t.TempDir(), 1<<40)
		rest := make(chan struct{})
		for i := range filling {
			o := newObject(1 + i)
			o.trouble = func(s *source) { s.rest = rest }
			go func() {
				r, err := c.Open(t.Context(), o.sum, int64(len(o.content)), o.fetch)
				if err != nil {
					t.Error(err)
					return
				}
				r.Close()
			}()
		}
		synctest.Wait()
		o := newObject(1000)
		begun := time.Now()
		_, err := c.Open(t.Context(), o.sum, 1000, o.fetch)
		var unavailable *store.UnavailableError
		if !errors.As(err, &unavailable) || time.Since(begun) != fillWait || o.fetched.Load() != 0 {
			t.Errorf("%v after %v, fetched %d times", err, time.Since(begun), o.fetched.Load())
		}
		close(rest)
		synctest.Wait()
		check(t, c, o)
	})
}

// TestBound: the files that were asked for last stay, and who has another one open reads on.
func TestBound(t *testing.T) {
	t.Parallel()
	c := newCache(t, t.TempDir(), 4000)
	var all []*object
	for i := range 6 {
		all = append(all, newObject(1000-i))
	}
	first := open(t, c, all[0])
	defer first.Close()
	for _, o := range all[1:4] {
		check(t, c, o)
	}
	if got := len(files(t, c.dir)); got != 4 {
		t.Errorf("%d files, want 4", got)
	}
	check(t, c, all[0])
	check(t, c, all[4])
	if !check(t, c, all[0]) || all[0].fetched.Load() != 1 {
		t.Error("the one that was asked for is gone")
	}
	check(t, c, all[5])
	check(t, c, all[1])
	if n := all[1].fetched.Load(); n != 2 {
		t.Errorf("the one that nobody asked for was fetched %d times, want 2", n)
	}
	if got, err := io.ReadAll(first); err != nil || !bytes.Equal(got, all[0].content) {
		t.Error(err)
	}
	s := c.Stats()
	if s.Bytes > 4000 || s.Files != int64(len(files(t, c.dir))) {
		t.Errorf("%+v, %d files", s, len(files(t, c.dir)))
	}
}

// TestRestart: what is there is used again once it was hashed, and goes in the order in which it was asked for.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var all []*object
	c := newCache(t, dir, 10_000)
	for i := range 8 {
		o := newObject(1000 - i)
		check(t, c, o)
		old := time.Now().Add(time.Duration(i-20) * time.Hour)
		if err := os.Chtimes(c.path(o.sum), old, old); err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
	c.Close()
	dead, live := filepath.Join(dir, "tmp", "dead"), filepath.Join(dir, "tmp", "live")
	for _, name := range []string{dead, live, filepath.Join(dir, "aa"), filepath.Join(dir, "notes.txt")} {
		if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(dead, time.Time{}, time.Now().Add(-2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.path(all[7].sum), all[6].content, 0o600); err != nil {
		t.Fatal(err)
	}

	c = newCache(t, dir, 4000)
	c.work.Wait()
	if s := c.Stats(); s.Files != 4 {
		t.Errorf("%+v, want 4 files", s)
	}
	for _, o := range all[4:] {
		check(t, c, o)
		if !check(t, c, o) {
			t.Error("not on the disk")
		}
	}
	for i, o := range all {
		want := int64(1)
		if i == 7 {
			want = 2 // it was damaged
		}
		if got := o.fetched.Load(); got != want {
			t.Errorf("%d was fetched %d times, want %d", i, got, want)
		}
	}
	if s := c.Stats(); s.Damaged != 1 {
		t.Errorf("%+v, want one damaged", s)
	}
	for name, want := range map[string]bool{dead: false, live: true, filepath.Join(dir, "aa"): true, filepath.Join(dir, "notes.txt"): true} {
		if _, err := os.Stat(name); (err == nil) != want {
			t.Errorf("%s: there %v, want %v", name, err == nil, want)
		}
	}
}

// TestDoubt: what was damaged while it was known is found once it is doubted.
func TestDoubt(t *testing.T) {
	t.Parallel()
	c := newCache(t, t.TempDir(), 10_000)
	good, bad := newObject(1000), newObject(999)
	for _, o := range []*object{good, bad} {
		check(t, c, o)
		c.Doubt(o.sum)
	}
	if err := os.Truncate(c.path(bad.sum), 500); err != nil {
		t.Fatal(err)
	}
	for o, want := range map[*object]int64{good: 1, bad: 2} {
		if !check(t, c, o) || o.fetched.Load() != want {
			t.Errorf("file of %d bytes was fetched %d times, want %d", len(o.content), o.fetched.Load(), want)
		}
	}
	c.Doubt("unknown")
}

// TestYield: what nobody asked for longest goes where others need room.
func TestYield(t *testing.T) {
	t.Parallel()
	c := newCache(t, t.TempDir(), 10_000)
	c.Yield()
	for i := range 5 {
		check(t, c, newObject(1000+i))
	}
	for want := 4; want >= 0; want-- {
		c.Yield()
		if got := len(files(t, c.dir)); got != want {
			t.Errorf("%d files, want %d", got, want)
		}
	}
	c.Yield()
}

// TestTouched: a later process knows to an hour what was asked for.
func TestTouched(t *testing.T) {
	t.Parallel()
	c := newCache(t, t.TempDir(), 10_000)
	o := newObject(1000)
	check(t, c, o)
	old := time.Now().Add(-3 * time.Hour)
	if err := os.Chtimes(c.path(o.sum), old, old); err != nil {
		t.Fatal(err)
	}
	c = newCache(t, c.dir, 10_000)
	c.work.Wait()
	check(t, c, o)
	c.entries[o.sum].Value.(*entry).touched = old
	check(t, c, o)
	fi, err := os.Stat(c.path(o.sum))
	if err != nil || time.Since(fi.ModTime()) > time.Hour {
		t.Error(fi.ModTime(), err)
	}
}

// TestFolderRemoved: the folder may be deleted at any time.
func TestFolderRemoved(t *testing.T) {
	t.Parallel()
	c := newCache(t, filepath.Join(t.TempDir(), "a", "b"), 10_000)
	o := newObject(1000)
	for range 3 {
		check(t, c, o)
		if !check(t, c, o) {
			t.Error("not on the disk")
		}
		if err := os.RemoveAll(c.dir); err != nil {
			t.Fatal(err)
		}
	}
	c.forget(o.sum)
	if s := c.Stats(); s.Files != 0 || s.Bytes != 0 {
		t.Errorf("%+v", s)
	}
}

// TestBrokenDisk: files are had without the cache, and it is said once.
func TestBrokenDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "cache")
		if err := os.WriteFile(dir, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		c := New(Options{Dir: dir, MaxBytes: 1 << 20, Log: slog.New(slog.NewTextHandler(&said, nil))})
		defer c.Close()
		o := newObject(100_000)
		for range 3 {
			if check(t, c, o) {
				t.Error("kept")
			}
			time.Sleep(pause)
		}
		if state, works := c.State(); works || !strings.HasPrefix(state, "cannot be written") {
			t.Error(state, works)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		if check(t, c, o); !check(t, c, o) {
			t.Error("not on the disk")
		}
		if state, works := c.State(); !works || state != "works" {
			t.Error(state, works)
		}
		if n := strings.Count(said.String(), "\n"); n != 2 {
			t.Errorf("%d lines in the log, want 2:\n%s", n, &said)
		}
	})
}

// TestHitDoesNotWait: hits go on while the cache is busy with others.
func TestHitsWhileFilling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, t.TempDir(), 1<<30)
		hot := newObject(1000)
		check(t, c, hot)
		slow := newObject(100_000)
		slow.trouble = func(s *source) { s.rest = make(chan struct{}) }
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _ = c.Open(ctx, slow.sum, 100_000, slow.fetch) }()
		synctest.Wait()
		var readers sync.WaitGroup
		for range 20 {
			readers.Go(func() {
				if !check(t, c, hot) {
					t.Error("not on the disk")
				}
			})
		}
		readers.Wait()
		cancel()
	})
}

func BenchmarkHit(b *testing.B) {
	c := New(Options{Dir: b.TempDir(), MaxBytes: 1 << 30})
	defer c.Close()
	o := newObject(1000)
	r, err := c.Open(b.Context(), o.sum, 1000, o.fetch)
	if err != nil {
		b.Fatal(err)
	}
	r.Close()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := c.Open(b.Context(), o.sum, 1000, o.fetch)
			if err != nil {
				b.Fatal(err)
			}
			r.Close()
		}
	})
}
