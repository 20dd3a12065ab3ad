package lease

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// fleet is some servers over one memory, and some clients, in a time of its own.
type fleet struct {
	*memory
	elapsed time.Duration // the true time
	servers []*serverOf
	clients []*clientOf
	beats   map[string]time.Duration // when a name's document last changed
	grants  int
}

type serverOf struct {
	*Leases
	link *link
	skew time.Duration // of the wall clock
	boot time.Duration // of the monotonic clock
}

type clientOf struct {
	name, token string // "": holds nothing, as far as it knows
	log         int64
}

const testTTL = 30 * time.Second

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (f *fleet) start(s *serverOf) {
	s.Leases = New(s.link, Options{TTL: testTTL, Remember: time.Minute, Documents: 8})
	s.now = func() time.Time { return epoch.Add(s.boot + f.elapsed) }
	s.wall = func() time.Time { return epoch.Add(s.skew + f.elapsed) }
}

// TestMachine: whatever fails, comes late or jumps, nobody is robbed of a lease who was not silent
// for a TTL, who is told that he has a lease has it, and whatever happened, the
// next who asks gets an answer that he can go on with.
func TestMachine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := &fleet{memory: newMemory(), beats: make(map[string]time.Duration)}
		f.changed = func(name string, old, is document) {
			silent := f.elapsed - f.beats[name]
			if old.State == Held && is.Token != old.Token && silent < testTTL {
				t.Fatalf("%s: taken from a holder who was silent for %v only", name, silent)
			}
			if is.State == Held && is.Token != old.Token {
				f.grants++
			}
			f.beats[name] = f.elapsed
		}
		for i := range rapid.IntRange(1, 3).Draw(t, "servers") {
			s := &serverOf{link: &link{memory: f.memory}, boot: time.Duration(i) * 1000 * time.Hour}
			f.start(s)
			f.servers = append(f.servers, s)
		}
		for range rapid.IntRange(1, 4).Draw(t, "clients") {
			f.clients = append(f.clients, new(clientOf))
		}
		names := []string{"a/x", "b/y/metadata"}
		server := func(t *rapid.T) *serverOf { return rapid.SampledFrom(f.servers).Draw(t, "server") }
		client := func(t *rapid.T) *clientOf { return rapid.SampledFrom(f.clients).Draw(t, "client") }
		with := func(t *rapid.T, s *serverOf, do func()) {
			if rapid.IntRange(0, 3).Draw(t, "faulty") == 0 {
				s.link.set(fault(rapid.IntRange(1, int(faultsOf)-1).Draw(t, "fault")))
				defer s.link.set(fine)
			}
			do()
		}
		t.Repeat(map[string]func(*rapid.T){
			"time passes": func(t *rapid.T) {
				f.elapsed += time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second
			},
			"a wall clock jumps": func(t *rapid.T) {
				server(t).skew += time.Duration(rapid.IntRange(-100, 100).Draw(t, "minutes")) * time.Minute
			},
			"a server starts again": func(t *rapid.T) { f.start(server(t)) },
			"something late comes": func(t *rapid.T) {
				server(t).link.deliver(rapid.IntRange(0, 5).Draw(t, "which"), rapid.Bool().Draw(t, "lost"))
			},
			"a client asks": func(t *rapid.T) {
				s, c := server(t), client(t)
				if c.token == "" {
					c.name, c.token, c.log = rapid.SampledFrom(names).Draw(t, "name"), NewToken(), 0
				}
				with(t, s, func() {
					status, err := s.Acquire(t.Context(), c.name, Asker{Token: c.token, By: "c"}, "")
					d := f.document(c.name)
					if mine := d.State == Held && d.Token == hashed(c.token); err == nil && status.State == Granted && !mine {
						t.Fatalf("told %+v of %+v", status, d)
					}
				})
			},
			"a holder lives": func(t *rapid.T) {
				s, c := server(t), client(t)
				if c.token == "" {
					return
				}
				with(t, s, func() {
					chunk := fmt.Sprintf("%d\n", c.log)
					err := s.Heartbeat(t.Context(), c.name, c.token, c.log, []byte(chunk))
					d := f.document(c.name)
					mine := d.State == Held && d.Token == hashed(c.token)
					if err == nil && !mine || errors.Is(err, ErrLost) && mine {
						t.Fatalf("%v of %+v", err, d)
					}
					if err == nil {
						c.log += int64(len(chunk))
					}
					if errors.Is(err, ErrLost) {
						c.token = ""
					}
				})
			},
			"a holder ends": func(t *rapid.T) {
				s, c := server(t), client(t)
				if c.token == "" {
					return
				}
				how := rapid.IntRange(0, 3).Draw(t, "how")
				with(t, s, func() {
					switch how {
					case 0:
						_ = s.Done(t.Context(), c.name, c.token)
					case 1:
						_ = s.Fail(t.Context(), c.name, c.token, "gcc")
					case 2:
						_ = s.GiveUp(t.Context(), c.name, c.token)
					} // 3: killed
				})
				c.token = ""
			},
			"a server sweeps": func(t *rapid.T) {
				s := server(t)
				with(t, s, func() { _ = s.Sweep(t.Context()) })
			},
			"all is well again, and somebody waits": func(t *rapid.T) {
				s, name := server(t), rapid.SampledFrom(names).Draw(t, "name")
				for end := f.elapsed + testTTL + time.Minute + 5*time.Second; ; f.elapsed += time.Second {
					status, err := s.Acquire(t.Context(), name, Asker{}, "")
					if err != nil {
						t.Fatal(err)
					}
					if status.State == Granted {
						if err := s.GiveUp(t.Context(), name, status.Token); err != nil {
							t.Fatal(err)
						}
						return
					}
					if f.elapsed >= end {
						t.Fatalf("nobody lives, and still %+v", status)
					}
				}
			},
		})
	})
}
