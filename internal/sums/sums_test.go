package sums

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"curdling/internal/store"
	"curdling/internal/store/storetest"
)

// counts are what is added up here: by who added it.
type counts map[string]int

func plus(a, b counts) counts {
	sum := maps.Clone(a)
	if sum == nil {
		sum = make(counts)
	}
	for who, n := range b {
		sum[who] += n
	}
	return sum
}

func check(c counts) error {
	for who, n := range c {
		if n < 0 {
			return fmt.Errorf("%s has %d", who, n)
		}
	}
	return nil
}

// fault is what the way to the store does to a request.
type fault int

const (
	fine     fault = iota
	cut            // nothing arrives
	mute           // it is done, and the answer lost
	late           // the answer is lost, and it is done some other time, if at all
	faultsOf       // how many there are
)

var errCut = errors.New("the way is cut")

// way is one server's way to the store.
type way struct {
	*storetest.Memory
	fault   fault
	after   int // requests until the fault
	pending []func()
}

func (w *way) meet() fault {
	if w.after--; w.after >= 0 {
		return fine
	}
	return w.fault
}

// pass does what the fault makes of a change.
func (w *way) pass(do func() error) error {
	switch w.meet() {
	case fine:
		return do()
	case mute:
		_ = do()
	case late:
		w.pending = append(w.pending, func() { _ = do() })
	}
	return errCut
}

func (w *way) Get(ctx context.Context, key, known string) ([]byte, string, error) {
	if w.meet() == cut {
		return nil, "", errCut
	}
	return w.Memory.Get(ctx, key, known)
}

func (w *way) Put(ctx context.Context, key, version string, content []byte) (is string, err error) {
	content = slices.Clone(content)
	err = w.pass(func() error {
		is, err = w.Memory.Put(context.WithoutCancel(ctx), key, version, content)
		return err
	})
	return is, err
}

func (w *way) Delete(ctx context.Context, key, version string) error {
	return w.pass(func() error { return w.Memory.Delete(context.WithoutCancel(ctx), key, version) })
}

func (w *way) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	if w.meet() == cut {
		return func(yield func(store.Info, error) bool) { yield(store.Info{}, errCut) }
	}
	return w.Memory.List(ctx, prefix)
}

// fleet is some servers over one store, in a time of its own.
type fleet struct {
	raw     *storetest.Memory
	elapsed time.Duration
	servers []*server
	runs    int
	added   counts // by run
	saved   counts // of which a save said that it was
}

type server struct {
	*Sum[counts]
	way  *way
	run  string
	skew time.Duration
}

func (f *fleet) start(s *server) {
	f.runs++
	s.run = fmt.Sprintf("run%d", f.runs)
	s.Sum = New(Config[counts]{Store: s.way, Prefix: "statistics/", Server: s.run, Plus: plus, Check: check})
	s.now = func() time.Time { return time.Unix(0, 0).Add(f.elapsed) }
	s.wall = func() time.Time { return time.Unix(1e9, 0).Add(f.elapsed + s.skew) }
}

// seen is what somebody sees who was never here.
func (f *fleet) seen(t *rapid.T) counts {
	s := New(Config[counts]{Store: f.raw, Prefix: "statistics/", Server: "visitor", Plus: plus, Check: check})
	if err := s.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s.All()
}

// holds fails where something was lost that was saved, or counted twice. floor is what must be there.
func (f *fleet) holds(t *rapid.T, who string, sum, floor counts) {
	for run, n := range sum {
		if n > f.added[run] {
			t.Fatalf("%s: of %s there are %d, it added %d", who, run, n, f.added[run])
		}
	}
	for run, n := range floor {
		if sum[run] < n {
			t.Fatalf("%s: of %s there are %d, it had saved %d", who, run, sum[run], n)
		}
	}
}

// TestMachine: whatever fails, comes late or is done by two at once, nothing is counted twice, and what was saved is never lost.
func TestMachine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := &fleet{raw: storetest.NewMemory(3, 0), added: make(counts), saved: make(counts)}
		for range rapid.IntRange(1, 4).Draw(t, "servers") {
			s := &server{way: &way{Memory: f.raw}}
			f.start(s)
			f.servers = append(f.servers, s)
		}
		some := func(t *rapid.T) *server { return rapid.SampledFrom(f.servers).Draw(t, "server") }
		with := func(t *rapid.T, s *server, do func() error) error {
			if rapid.IntRange(0, 1).Draw(t, "faulty") == 0 {
				s.way.fault = fault(rapid.IntRange(1, int(faultsOf)-1).Draw(t, "fault"))
				s.way.after = rapid.IntRange(0, 4).Draw(t, "after")
				defer func() { s.way.fault = fine }()
			}
			return do()
		}
		save := func(t *rapid.T, s *server) error {
			n := f.added[s.run]
			err := s.Save(t.Context())
			if err == nil {
				f.saved[s.run] = n
			}
			return err
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { f.holds(t, "a visitor", f.seen(t), f.saved) },
			"a server counts": func(t *rapid.T) {
				s := some(t)
				s.Add(counts{s.run: 1})
				f.added[s.run]++
			},
			"a server saves": func(t *rapid.T) {
				s := some(t)
				_ = with(t, s, func() error { return save(t, s) })
			},
			"a server reads": func(t *rapid.T) {
				s := some(t)
				floor := maps.Clone(f.saved)
				if with(t, s, func() error { return s.Read(t.Context()) }) != nil {
					floor = counts{}
				}
				floor[s.run] = f.added[s.run]
				f.holds(t, s.run, s.All(), floor)
			},
			"a server folds": func(t *rapid.T) {
				s := some(t)
				_ = with(t, s, func() error { return s.Fold(t.Context()) })
			},
			"time passes": func(t *rapid.T) {
				f.elapsed += time.Duration(rapid.IntRange(1, 90).Draw(t, "minutes")) * time.Minute
			},
			"a clock jumps": func(t *rapid.T) {
				some(t).skew += time.Duration(rapid.IntRange(-10, 10).Draw(t, "minutes")) * time.Minute
			},
			"a server starts again": func(t *rapid.T) { f.start(some(t)) },
			"something late comes": func(t *rapid.T) {
				w := some(t).way
				if len(w.pending) == 0 {
					return
				}
				i := rapid.IntRange(0, len(w.pending)-1).Draw(t, "which")
				do := w.pending[i]
				w.pending = slices.Delete(w.pending, i, i+1)
				if rapid.Bool().Draw(t, "comes") {
					do()
				}
			},
			"all is well again": func(t *rapid.T) {
				for _, s := range f.servers {
					if err := save(t, s); err != nil {
						t.Fatal(err)
					}
				}
				f.holds(t, "a visitor", f.seen(t), f.saved)
				for range 2 {
					if err := f.servers[0].Fold(t.Context()); err != nil {
						t.Fatal(err)
					}
					f.elapsed += foldAfter
				}
				if err := f.servers[0].Fold(t.Context()); err != nil {
					t.Fatal(err)
				}
				if keys := f.raw.Keys(); len(keys) > 1 {
					t.Fatalf("left are %v", keys)
				}
				for _, s := range f.servers {
					if err := s.Read(t.Context()); err != nil {
						t.Fatal(err)
					}
					f.holds(t, s.run, s.All(), f.saved)
				}
			},
		})
	})
}

// TestSaveAfterFailure: what could not be saved before, and what came since, are saved together.
func TestSaveAfterFailure(t *testing.T) {
	t.Parallel()
	for _, fault := range []fault{cut, mute, late} {
		raw := storetest.NewMemory(0, 0)
		w := &way{Memory: raw}
		s := New(Config[counts]{Store: w, Prefix: "statistics/", Server: "a", Plus: plus})
		s.Add(counts{"a": 1})
		w.fault = fault
		if err := s.Save(t.Context()); !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		w.fault = fine
		s.Add(counts{"a": 1})
		if err := s.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, do := range w.pending {
			do()
		}
		visitor := New(Config[counts]{Store: raw, Prefix: "statistics/", Server: "b", Plus: plus})
		if err := visitor.Read(t.Context()); err != nil || visitor.All()["a"] != 2 {
			t.Errorf("fault %d: %v, %v", fault, visitor.All(), err)
		}
	}
}

// TestRun: what is counted shows in minutes on all servers, and what a server counted last is saved when it ends.
func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		raw := storetest.NewMemory(0, 0)
		start := func(name string) (s *Sum[counts], end func()) {
			s = New(Config[counts]{Store: raw.Link(storetest.Faults{Delay: 50 * time.Millisecond}), Prefix: "statistics/", Server: name, Plus: plus, Check: check})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { s.Run(ctx, func() bool { return true }); close(ended) }()
			return s, func() { cancel(); <-ended }
		}
		a, endA := start("a")
		b, endB := start("b")
		a.Add(counts{"a": 2})
		b.Add(counts{"b": 3})
		want := func(s *Sum[counts], want string) {
			t.Helper()
			s.All() // somebody asks
			time.Sleep(time.Second)
			if got := fmt.Sprint(s.All()); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		want(b, "map[b:3]")
		time.Sleep(2 * time.Minute)
		want(b, "map[a:2 b:3]")
		want(a, "map[a:2 b:3]")
		before := raw.Requests()
		time.Sleep(time.Hour)
		if after := raw.Requests(); after.Put > before.Put+6 || after.Get > before.Get+50 {
			t.Errorf("who has nothing to do asks: %+v, then %+v", before, after)
		}
		a.Add(counts{"a": 1})
		endA()
		c, endC := start("c")
		time.Sleep(time.Second)
		want(c, "map[a:3 b:3]")
		time.Sleep(3 * time.Hour)
		want(c, "map[a:3 b:3]")
		if keys := raw.Keys(); len(keys) != 1 {
			t.Errorf("left are %v", keys)
		}
		b.Add(counts{"b": 1})
		endB()
		want(c, "map[a:3 b:3]")
		time.Sleep(2 * time.Minute)
		want(c, "map[a:3 b:4]")
		endC()
		if _, err := raw.Put(t.Context(), "statistics/foreign.json", "", []byte(`{"format":2}`)); err != nil {
			t.Error(err)
		}
		if _, err := raw.Put(t.Context(), "statistics/negative.json", "", []byte(`{"format":1,"sum":{"x":-1}}`)); err != nil {
			t.Error(err)
		}
		if err := raw.Create(t.Context(), "statistics/other/x.json", strings.NewReader("x"), 1); err != nil {
			t.Error(err)
		}
		if err := a.Read(t.Context()); err != nil || fmt.Sprint(a.All()) != "map[a:3 b:4]" {
			t.Errorf("%v, %v", a.All(), err)
		}
	})
}
