package filecache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"curdling/internal/store"
)

// tap is a fetch that gives as many bytes as it was told to.
type tap struct {
	*bytes.Reader
	o   *object
	ctx context.Context

	mu      *sync.Mutex
	allowed int64
	failed  error
	changed chan struct{}
	over    bool
}

func (s *tap) Read(p []byte) (int, error) {
	for {
		s.mu.Lock()
		allowed, failed, changed := s.allowed, s.failed, s.changed
		s.mu.Unlock()
		at := s.Size() - int64(s.Len())
		switch {
		case failed != nil:
			return 0, failed
		case at >= s.Size():
			return 0, io.EOF
		case at < allowed:
			return s.Reader.Read(p[:min(int64(len(p)), allowed-at)])
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			return 0, s.ctx.Err()
		}
	}
}

func (s *tap) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	return nil
}

func (s *tap) set(allowed int64, failed error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allowed, s.failed = max(s.allowed, allowed), failed
	close(s.changed)
	s.changed = make(chan struct{})
}

// asker opens an object and reads it.
type asker struct {
	o     *object
	leave context.CancelFunc
	left  bool // or the fetch that it waited for failed
	over  bool
	got   []byte
	err   error
}

// world is a cache, those who ask it, and a disk that may fail.
type world struct {
	t       *rapid.T
	c       *Cache
	dir     string
	mu      sync.Mutex
	objects []*object
	taps    []*tap
	askers  []*asker

	bypassed int64 // by caches before c
}

const mostHeld = 1_000_000

func (w *world) start() {
	w.c = New(Options{Dir: w.dir, MaxBytes: mostHeld})
	w.c.large = 100_000
	synctest.Wait()
}

func (w *world) fetch(o *object) Fetch {
	return func(ctx context.Context) (io.ReadSeekCloser, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		s := &tap{Reader: bytes.NewReader(o.content), o: o, ctx: ctx, mu: &w.mu, changed: make(chan struct{})}
		w.taps = append(w.taps, s)
		return s, nil
	}
}

func (w *world) ask(o *object) {
	ctx, leave := context.WithCancel(context.Background())
	a := &asker{o: o, leave: leave}
	w.askers = append(w.askers, a)
	go func() {
		r, err := w.c.Open(ctx, o.sum, int64(len(o.content)), w.fetch(o))
		if err == nil {
			a.got, err = io.ReadAll(store.Until(ctx, r))
			r.Close()
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		a.err, a.over = err, true
	}()
}

// running gives the fetches that are under way.
func (w *world) running() (taps []*tap) {
	for _, s := range w.taps {
		if !s.over {
			taps = append(taps, s)
		}
	}
	return taps
}

func (w *world) check() {
	synctest.Wait()
	for _, a := range w.askers {
		switch {
		case !a.over:
		case a.err == nil && !bytes.Equal(a.got, a.o.content):
			w.t.Fatalf("%d wrong bytes were given for %d", len(a.got), len(a.o.content))
		case a.err != nil && !a.left:
			w.t.Fatalf("file of %d bytes: %v", len(a.o.content), a.err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	fetches := map[*object]int{}
	for _, s := range w.running() {
		fetches[s.o]++
	}
	s := w.c.Stats()
	for o, n := range fetches {
		if n > 1 && w.bypassed+s.Bypassed == 0 {
			w.t.Fatalf("file of %d bytes is being fetched %d times at once", len(o.content), n)
		}
	}
	if s.Bytes+w.c.reserved > mostHeld {
		w.t.Fatalf("%d bytes and %d more are too many", s.Bytes, w.c.reserved)
	}
	held := int64(0)
	for _, name := range w.onDisk() {
		fi, err := os.Stat(name)
		if err != nil {
			w.t.Fatal(err)
		}
		held += fi.Size()
	}
	if held > s.Bytes {
		w.t.Fatalf("%d bytes lie there, it knows of %d", held, s.Bytes)
	}
}

// onDisk gives the names of the files that are there.
func (w *world) onDisk() (names []string) {
	for _, o := range w.objects {
		if _, err := os.Lstat(w.c.path(o.sum)); err == nil {
			names = append(names, w.c.path(o.sum))
		}
	}
	return names
}

// finish lets all fetches go on to their ends. Then everybody has his file.
func (w *world) finish() {
	for range 100 {
		w.mu.Lock()
		taps := w.running()
		w.mu.Unlock()
		for _, s := range taps {
			s.set(s.Size(), nil)
		}
		synctest.Wait()
		if len(taps) == 0 {
			break
		}
	}
	w.check()
	for _, a := range w.askers {
		if !a.over {
			w.t.Fatalf("file of %d bytes: somebody waits for nothing", len(a.o.content))
		}
	}
	if len(w.c.fills) != 0 || w.c.reserved != 0 || len(w.c.slots) != 0 {
		w.t.Fatalf("%d fills, %d bytes reserved, %d slots are left", len(w.c.fills), w.c.reserved, len(w.c.slots))
	}
	if left, _ := os.ReadDir(w.c.temps()); len(left) != 0 {
		w.t.Fatalf("%v are left", left)
	}
}

// TestMachine: whoever leaves, fails, breaks or restarts, each gets the right bytes or his own error, a file
// is fetched once at a time, and the bound holds.
func TestMachine(t *testing.T) {
	t.Parallel()
	var objects []*object
	for _, size := range []int{0, 1, 5_000, 70_000, 110_000, 170_000, 240_000, 250_001, 249_000, 248_000} {
		objects = append(objects, newObject(size))
	}
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "filecache")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		var failed any // is for the goroutine that rapid knows
		synctest.Test(t, func(*testing.T) {
			defer func() { failed = recover() }()
			w := &world{t: rt, dir: dir, objects: objects}
			w.live()
		})
		if failed != nil {
			panic(failed)
		}
	})
}

// live lets things happen.
func (w *world) live() {
	w.start()
	defer func() {
		for _, a := range w.askers {
			a.leave()
		}
		w.c.Close()
	}()
	object := func(t *rapid.T) *object { return w.objects[rapid.IntRange(0, len(w.objects)-1).Draw(t, "object")] }
	one := func(t *rapid.T) *tap {
		taps := w.running()
		if len(taps) == 0 {
			t.Skip("nothing is being fetched")
		}
		return taps[rapid.IntRange(0, len(taps)-1).Draw(t, "fetch")]
	}
	w.t.Repeat(map[string]func(*rapid.T){
		"ask": func(t *rapid.T) { w.ask(object(t)) },
		"ask again": func(t *rapid.T) {
			if len(w.askers) == 0 {
				t.Skip("nobody asked")
			}
			w.ask(w.askers[len(w.askers)-1].o)
		},
		"leave": func(t *rapid.T) {
			if len(w.askers) == 0 {
				t.Skip("nobody is there")
			}
			a := w.askers[rapid.IntRange(0, len(w.askers)-1).Draw(t, "asker")]
			a.left = true
			a.leave()
		},
		"some bytes come": func(t *rapid.T) { one(t).set(rapid.Int64Range(1, 250_000).Draw(t, "bytes"), nil) },
		"all bytes come":  func(t *rapid.T) { s := one(t); s.set(s.Size(), nil) },
		"a fetch fails": func(t *rapid.T) {
			s := one(t)
			for _, a := range w.askers {
				a.left = a.left || a.o == s.o
			}
			s.set(0, errors.New("the store fails"))
		},
		"forget":                 func(t *rapid.T) { w.c.forget(object(t).sum) },
		"doubt":                  func(t *rapid.T) { w.c.Doubt(object(t).sum) },
		"the disk breaks":        func(*rapid.T) { w.breakDisk() },
		"the disk is mended":     func(*rapid.T) { w.mendDisk() },
		"another process evicts": func(t *rapid.T) { _ = os.Remove(w.c.path(object(t).sum)) },
		"time passes": func(t *rapid.T) {
			time.Sleep(rapid.SampledFrom([]time.Duration{time.Second, pause, 2 * touchEvery}).Draw(t, "time"))
		},
		"restart": func(t *rapid.T) {
			for _, a := range w.askers {
				a.left = true
			}
			w.c.Close()
			w.bypassed += w.c.Stats().Bypassed
			w.damage(t)
			w.start()
		},
		"": func(*rapid.T) { w.check() },
	})
	w.mendDisk()
	w.finish()
}

func (w *world) breakDisk() {
	_ = os.RemoveAll(w.c.temps())
	_ = os.WriteFile(w.c.temps(), nil, 0o600)
}

func (w *world) mendDisk() {
	if fi, err := os.Lstat(w.c.temps()); err == nil && !fi.IsDir() {
		_ = os.Remove(w.c.temps())
	}
}

// damage does to some of the files on the disk what may happen to them while nobody looks.
func (w *world) damage(t *rapid.T) {
	for _, name := range w.onDisk() {
		switch rapid.SampledFrom([]string{"keep", "keep", "remove", "cut", "change"}).Draw(t, "damage") {
		case "remove":
			_ = os.Remove(name)
		case "cut":
			_ = os.Truncate(name, 0)
		case "change":
			if b, err := os.ReadFile(name); err == nil && len(b) > 0 {
				b[len(b)/2] ^= 1
				_ = os.WriteFile(name, b, 0o600)
			}
		}
	}
}
