package lease

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const name = "aa/bb"

// acquire asks with no token, and fails the test where the store does.
func acquire(t *testing.T, l *Leases, after string) Status {
	t.Helper()
	status, err := l.Acquire(t.Context(), name, Asker{By: "bob", What: "foo 1.0"}, after)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func TestLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		docs := newMemory()
		a, b := New(docs, Options{}), New(docs, Options{})
		mine := acquire(t, a, "")
		if mine.State != Granted || !IsToken(mine.Token) {
			t.Fatalf("%+v", mine)
		}
		if again, err := b.Acquire(t.Context(), name, Asker{Token: mine.Token}, ""); err != nil || again.State != Granted || again.Token != mine.Token {
			t.Errorf("asked again: %+v, %v", again, err)
		}
		time.Sleep(7 * time.Second)
		if err := a.Heartbeat(t.Context(), name, mine.Token, 0, []byte("cc -c x.c\nGr\xc3")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		theirs := acquire(t, b, "")
		want := Status{State: Held, By: "bob", What: "foo 1.0", Since: 9 * time.Second, Log: []byte("cc -c x.c\nGr"), After: theirs.After, holder: hashed(mine.Token)}
		if diff := cmp.Diff(want, theirs, cmp.AllowUnexported(Status{})); diff != "" {
			t.Error(diff)
		}
		if !theirs.HeldBy(mine.Token) || theirs.HeldBy(NewToken()) || theirs.HeldBy("") || (&Status{}).HeldBy("") {
			t.Error("it is not told whose the lease is")
		}
		if err := b.Heartbeat(t.Context(), name, mine.Token, 10, []byte("Gr\xc3\xbc\xc3\x9fe")); err != nil { // two bytes came before
			t.Fatal(err)
		}
		if more, err := b.Look(t.Context(), name, theirs.After); err != nil || string(more.Log) != "\xc3\xbc\xc3\x9fe" || more.State != Held {
			t.Errorf("%q, %+v, %v", more.Log, more, err)
		}
		if err := a.Fail(t.Context(), name, mine.Token, "exit status 1"); err != nil {
			t.Fatal(err)
		}
		if err := a.Fail(t.Context(), name, mine.Token, "exit status 1"); err != nil {
			t.Errorf("said twice: %v", err)
		}
		if err := a.Heartbeat(t.Context(), name, mine.Token, 0, nil); !errors.Is(err, ErrLost) {
			t.Errorf("a heartbeat after the end: %v", err)
		}
		time.Sleep(time.Minute)
		failed := acquire(t, b, "")
		if failed.State != Failed || failed.Message != "exit status 1" || failed.Since != time.Minute || string(failed.Log) != "cc -c x.c\nGrüße" || failed.For < 3*time.Minute {
			t.Errorf("%+v", failed)
		}
		time.Sleep(4*time.Minute + time.Second)
		mine = acquire(t, b, "")
		if mine.State != Granted {
			t.Errorf("a failure of long ago: %+v", mine)
		}
		if err := b.Done(t.Context(), name, mine.Token); err != nil {
			t.Fatal(err)
		}
		if status := acquire(t, a, ""); status.State != Done {
			t.Errorf("what was made may show in a second: %+v", status)
		}
		time.Sleep(2 * settle)
		if status := acquire(t, a, ""); status.State != Granted {
			t.Errorf("%+v", status)
		}
		wantStats := Stats{Granted: 1, Done: 1}
		if diff := cmp.Diff(wantStats, b.Stats()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestSilence: a lease is taken over after a TTL of silence that this server has seen, and the late holder is told.
func TestSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		docs := newMemory()
		a, b := New(docs, Options{}), New(docs, Options{})
		mine := acquire(t, a, "")
		time.Sleep(time.Hour) // nobody asked
		if status := acquire(t, b, ""); status.State != Held {
			t.Fatalf("not seen for a TTL: %+v", status)
		}
		start := time.Now()
		theirs := Status{}
		for theirs.State != Granted {
			status := acquire(t, b, theirs.After)
			if status.State == Held {
				b.Wait(t.Context(), name, status.After)
			}
			theirs = status
		}
		if took := time.Since(start); took < b.ttl || took > b.ttl+2*b.poll {
			t.Errorf("taken over after %v", took)
		}
		if err := a.Heartbeat(t.Context(), name, mine.Token, 0, nil); !errors.Is(err, ErrLost) {
			t.Errorf("the late holder: %v", err)
		}
		if err := a.Done(t.Context(), name, mine.Token); !errors.Is(err, ErrLost) {
			t.Errorf("the late holder: %v", err)
		}
		if err := b.Heartbeat(t.Context(), name, theirs.Token, 0, nil); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(Stats{Held: 1, TakenOver: 1}, b.Stats()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestWait: who waits on the holder's server wakes at once, who waits on another one within a second.
func TestWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		docs := newMemory()
		here, there := New(docs, Options{}), New(docs, Options{})
		mine := acquire(t, here, "")
		wait := func(l *Leases) <-chan time.Duration {
			after := acquire(t, l, "").After
			woken, start := make(chan time.Duration, 1), time.Now()
			go func() {
				l.Wait(t.Context(), name, after)
				woken <- time.Since(start)
			}()
			return woken
		}
		for _, change := range []func() error{
			func() error { return here.Heartbeat(t.Context(), name, mine.Token, 0, []byte("log")) },
			func() error { return here.Done(t.Context(), name, mine.Token) },
		} {
			near, far := wait(here), wait(there)
			time.Sleep(4500 * time.Millisecond)
			if err := here.Heartbeat(t.Context(), name, mine.Token, 0, nil); err != nil { // nothing to tell
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
			if err := change(); err != nil {
				t.Fatal(err)
			}
			if took := <-near; took != 4501*time.Millisecond {
				t.Errorf("here after %v", took)
			}
			if took := <-far; took <= 4501*time.Millisecond || took > 5501*time.Millisecond {
				t.Errorf("there after %v", took)
			}
		}
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		here.Wait(ctx, name, "free")
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("nothing happened, for %v", took)
		}
	})
}

// TestFleet: of many who need the same, over several servers and a slow store, one works; where it is
// killed at half, two; where servers lose the store for a while, no more than have to.
func TestFleet(t *testing.T) {
	t.Parallel()
	const work = time.Minute
	for _, test := range []struct {
		what    string
		killed  int           // the first so many holders die at half
		outages time.Duration // of one server, beginning at 10 s
		split   bool          // the first holder's server loses the store for good
		want    int64
	}{
		{what: "all is well", want: 1},
		{what: "a holder dies", killed: 1, want: 2},
		{what: "two die", killed: 2, want: 3},
		{what: "a server loses the store for less than a TTL", outages: 15 * time.Second, want: 1},
		{what: "the network is split between the holder's server and the store", split: true, want: 2},
	} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				docs := newMemory()
				servers := make([]*Leases, 3)
				links := make([]*link, len(servers))
				for i := range servers {
					links[i] = &link{memory: docs, delay: func() time.Duration { return rand.N(50 * time.Millisecond) }}
					servers[i] = New(links[i], Options{})
				}
				if test.outages > 0 {
					go func() {
						time.Sleep(10 * time.Second)
						links[0].set(cut)
						time.Sleep(test.outages)
						links[0].set(fine)
					}()
				}
				var built atomic.Bool
				var begun, lost atomic.Int64
				var clients sync.WaitGroup
				for i := range 16 {
					clients.Go(func() {
						l, after, deadline := servers[i%len(servers)], "", time.Now().Add(10*work)
						for !built.Load() {
							if time.Now().After(deadline) {
								t.Errorf("client %d waits for ever", i)
								return
							}
							status, err := l.Acquire(t.Context(), name, Asker{}, after)
							switch {
							case err != nil:
								time.Sleep(time.Second)
							case status.State == Granted:
								n := begun.Add(1)
								if n == 1 && test.split {
									links[i%len(servers)].set(cut)
								}
								for start := time.Now(); time.Since(start) < work; time.Sleep(l.TTL() / 3) {
									if int(n) <= test.killed && time.Since(start) > work/2 {
										return
									}
									if err := l.Heartbeat(t.Context(), name, status.Token, 0, []byte(fmt.Sprint(i))); errors.Is(err, ErrLost) {
										lost.Add(1)
									}
								}
								built.Store(true)
								if err := l.Done(t.Context(), name, status.Token); err != nil && !test.split {
									t.Error(err)
								}
								return
							default:
								wait, cancel := context.WithTimeout(t.Context(), 25*time.Second)
								l.Wait(wait, name, status.After)
								cancel()
								after = status.After
							}
						}
					})
				}
				clients.Wait()
				if got := begun.Load(); got != test.want || lost.Load() > 0 {
					t.Errorf("%d begun, want %d; %d lost", got, test.want, lost.Load())
				}
			})
		})
	}
}

// TestApart: what one group holds, fails or fills does not concern another.
func TestApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		all := New(newMemory(), Options{Documents: 2})
		memories := map[string]*memory{"pr-1": newMemory(), "pr-2": newMemory()}
		group := func(name string) *Leases { return all.Apart(name, func() Documents { return memories[name] }) }
		for _, other := range []string{name, "cc"} { // which fills it
			if s, err := group("pr-1").Acquire(t.Context(), other, Asker{}, ""); err != nil || s.State != Granted {
				t.Fatalf("%+v, %v", s, err)
			}
		}
		if _, err := group("pr-1").Acquire(t.Context(), "dd", Asker{}, ""); !errors.Is(err, ErrFull) {
			t.Errorf("one too many: %v", err)
		}
		mains, second := acquire(t, all, ""), acquire(t, group("pr-2"), "")
		if mains.State != Granted || second.State != Granted {
			t.Fatalf("held by another: %+v, %+v", mains, second)
		}
		if err := group("pr-1").Fail(t.Context(), name, mains.Token, "mine"); !errors.Is(err, ErrLost) {
			t.Errorf("main's lease failed by another: %v", err)
		}
		if err := group("pr-2").Fail(t.Context(), name, second.Token, "exit status 1"); err != nil {
			t.Error(err)
		}
		if held := all.Stats().Held; held != 3 {
			t.Errorf("%d are held", held)
		}
		for want, l := range map[State]*Leases{Held: all, Failed: group("pr-2")} {
			if s, err := l.Look(t.Context(), name, ""); err != nil || s.State != want {
				t.Errorf("%+v, %v, want %s", s, err, want)
			}
		}
		time.Sleep(3 * time.Hour)
		for range 2 { // first the documents, then what was seen of them
			if err := all.Sweep(t.Context()); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Hour)
		}
		if left := len(memories["pr-1"].raw.Keys()) + len(memories["pr-2"].raw.Keys()); left != 0 || len(all.apart) != 0 {
			t.Errorf("%d documents and %d groups are left", left, len(all.apart))
		}
		if s := all.Stats(); s.Granted != 4 || s.Failed != 1 || s.Lost != 1 || s.Held != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := New(newMemory(), Options{Documents: 3})
		for i := range 4 {
			status, err := l.Acquire(t.Context(), fmt.Sprintf("a/%d", i), Asker{By: strings.Repeat("é", 2000), What: "\xff"}, "")
			if want := i == 3; errors.Is(err, ErrFull) != want || err == nil && status.State != Granted {
				t.Errorf("%d: %+v, %v", i, status, err)
			}
			if i == 0 {
				if err := l.Done(t.Context(), "a/0", status.Token); err != nil {
					t.Error(err)
				}
			}
			if i == 1 {
				if err := l.Heartbeat(t.Context(), "a/1", status.Token, 100, []byte(strings.Repeat("log\n", MaxLog))); err != nil {
					t.Error(err)
				}
				if d := l.docs.(*memory).document("a/1"); len(d.Log) != MaxLog || d.LogEnd != 100+4*MaxLog || len(d.By) > maxText {
					t.Errorf("%d bytes of log, until %d; %d of who", len(d.Log), d.LogEnd, len(d.By))
				}
			}
		}
		for _, name := range []string{"", "a//b", "a/b/c/d", "A/b", "../x", "a/" + strings.Repeat("b", 65), "a.b", "a/\x00"} {
			if _, err := l.Look(t.Context(), name, ""); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%q: %v", name, err)
			}
		}
		if err := l.Heartbeat(t.Context(), "a/none", NewToken(), 0, nil); !errors.Is(err, ErrLost) {
			t.Error(err)
		}
		for i := range 100 { // who asks for what is not there leaves nothing
			if _, err := l.Look(t.Context(), fmt.Sprintf("b/%d", i), ""); err != nil {
				t.Error(err)
			}
		}
		if len(l.sights) != 3 {
			t.Errorf("%d names are remembered", len(l.sights))
		}
		ctx, cancel := context.WithCancel(t.Context())
		running := make(chan struct{})
		go func() { l.Run(ctx); close(running) }()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		documents := func() (n int) {
			for range l.docs.List(t.Context()) {
				n++
			}
			return n
		}
		if n := documents(); n != 2 {
			t.Errorf("%d documents, want those of the two silent ones", n)
		}
		time.Sleep(2 * abandoned)
		synctest.Wait()
		cancel()
		<-running
		if n := documents() + len(l.sights); n != 0 || l.Stats().Expired != 2 {
			t.Errorf("%d left, %+v", n, l.Stats())
		}
	})
}

// TestForeignDocuments: what a crash left is free, what a newer program wrote is let alone.
func TestForeignDocuments(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]error{
		"": nil, "{": nil, `{"format": 1, "state": "held"}`: nil, `{"format": 2, "state": "waiting"}`: ErrNewer,
	} {
		docs := newMemory()
		if _, err := docs.Swap(t.Context(), name, "", []byte(value)); err != nil {
			t.Fatal(err)
		}
		l := New(docs, Options{})
		status, err := l.Acquire(t.Context(), name, Asker{}, "")
		if !errors.Is(err, want) || err == nil && status.State != Granted {
			t.Errorf("%q: %+v, %v", value, status, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	d := document{State: Held, Token: hashed("x"), Beat: 3, By: "bob", Log: []byte("log\xff"), LogEnd: 10}
	b, err := d.render()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, int64(7), []byte("more"), "2d711642.5.held")
	f.Add([]byte(`{"format":1,"state":"failed","log":"AAAA","log_end":3}`), int64(-1), []byte{0xc3}, "")
	f.Add([]byte(`{"format":2}`), int64(1<<62), []byte("x"), "free")
	f.Fuzz(func(t *testing.T, b []byte, at int64, more []byte, after string) {
		d, err := parse(b)
		if err != nil {
			return
		}
		d.write(at, more)
		again, err := d.render()
		if err != nil {
			t.Fatal(err)
		}
		same, err := parse(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if diff := cmp.Diff(d.Log, same.Log); diff != "" && len(d.Log) > 0 {
			t.Fatal(diff)
		}
		l := New(newMemory(), Options{})
		s := &sight{name: name, doc: d}
		status := l.status(s, after)
		if len(status.Log) > MaxLog {
			t.Fatal("too much of a log")
		}
		if more := l.status(s, status.After); len(more.Log) > 0 || more.After != status.After {
			t.Fatalf("known, and told again: %+v", more)
		}
	})
}

// TestBlind: while the store answers nobody, no holder is silent.
func TestBlind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		docs := newMemory()
		ways := []*link{{memory: docs}, {memory: docs}}
		a, b := New(ways[0], Options{}), New(ways[1], Options{})
		mine := acquire(t, a, "")
		look := func(seconds int) {
			for range seconds {
				time.Sleep(time.Second)
				_, _ = b.Look(t.Context(), name, "")
			}
		}
		look(9)
		ways[0].set(cut)
		ways[1].set(cut)
		look(40)
		ways[0].set(fine)
		ways[1].set(fine)
		look(10)
		if status := acquire(t, b, ""); status.State != Held {
			t.Errorf("after a pause of the store: %+v", status)
		}
		if err := a.Heartbeat(t.Context(), name, mine.Token, 0, nil); err != nil {
			t.Error(err)
		}
		look(31)
		if status := acquire(t, b, ""); status.State != Granted {
			t.Errorf("after a TTL of silence: %+v", status)
		}
	})
}

// TestTurn: one of three has the turn, and another when that one dies, stops or is cut off, and never two at once.
func TestTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		docs := newMemory()
		var turns []*Turn
		var ways []*link
		var ends []context.CancelFunc
		var running sync.WaitGroup
		defer running.Wait()
		for i := range 3 {
			way := &link{memory: docs, delay: func() time.Duration { return rand.N(50 * time.Millisecond) }}
			turn := New(way, Options{TTL: 2 * time.Minute}).Turn("sweep", fmt.Sprint(i))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			running.Go(func() { turn.Run(ctx) })
			turns, ways, ends = append(turns, turn), append(ways, way), append(ends, cancel)
		}
		var changes int
		holder := func(seconds int) (last int) {
			last = -1
			for range seconds {
				time.Sleep(time.Second)
				n := 0
				for i, turn := range turns {
					if turn.Mine() {
						if n++; last != i {
							changes++
						}
						last = i
					}
				}
				if n > 1 {
					t.Fatalf("%d have it at once", n)
				}
			}
			return last
		}
		first := holder(600)
		if first < 0 || changes != 1 {
			t.Fatalf("%d changes, and it is %d's", changes, first)
		}
		ways[first].set(cut)
		second := holder(600)
		if second < 0 || second == first {
			t.Fatalf("%d was cut off, and it is %d's", first, second)
		}
		ways[first].set(fine)
		if still := holder(600); still != second {
			t.Errorf("it is %d's", still)
		}
		ends[second]()
		if next := holder(100); next < 0 || next == second {
			t.Errorf("%d ended, and it is %d's", second, next)
		}
	})
}
