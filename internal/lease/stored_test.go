package lease

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"curdling/internal/store/storetest"
)

// crowd is some servers over one object store, and clients who all need the same.
type crowd struct {
	servers []*Leases
	clients int
	work    time.Duration

	begun, robbed atomic.Int64
	built         atomic.Bool
}

func newCrowd(raw *storetest.Memory, servers, clients int, faults storetest.Faults) *crowd {
	c := &crowd{clients: clients, work: time.Minute}
	for range servers {
		faults.Seed++
		c.servers = append(c.servers, New(NewStored(raw.Link(faults), "leases/"), Options{}))
	}
	return c
}

// run has the clients ask and wait as those of a server do, until each has what it needs.
func (c *crowd) run(ctx context.Context) {
	var clients sync.WaitGroup
	for i := range c.clients {
		clients.Go(func() {
			time.Sleep(time.Duration(i) * time.Millisecond)
			l, after, token := c.servers[i%len(c.servers)], "", NewToken()
			for !c.built.Load() {
				status, err := l.Acquire(ctx, name, Asker{Token: token, By: fmt.Sprint(i)}, after)
				switch {
				case ctx.Err() != nil:
					return
				case err != nil:
					time.Sleep(time.Second)
				case status.State == Granted:
					c.begun.Add(1)
					c.build(ctx, l, token)
					return
				default:
					soon, cancel := context.WithTimeout(ctx, 2*time.Second)
					l.Wait(soon, name, status.After)
					cancel()
					after = status.After
				}
			}
		})
	}
	clients.Wait()
}

// build holds a lease and sees that nobody takes it who had not to.
func (c *crowd) build(ctx context.Context, l *Leases, token string) {
	heard, log := time.Now(), 0
	for end := time.Now().Add(c.work); time.Now().Before(end); time.Sleep(l.TTL() / 3) {
		began, line := time.Now(), "cc -c x.c\n"
		for try := range 5 {
			err := l.Heartbeat(ctx, name, token, int64(log), []byte(line))
			if err == nil {
				heard, log = began, log+len(line)
				break
			}
			if errors.Is(err, ErrLost) {
				if time.Since(heard) < l.TTL() {
					c.robbed.Add(1)
				}
				return
			}
			time.Sleep(time.Second << try / 4)
		}
	}
	c.built.Store(true)
	for l.Done(ctx, name, token) != nil && ctx.Err() == nil {
		time.Sleep(time.Second)
	}
}

// TestRequests bounds what leases cost a bucket: those who wait cost what one of each server does.
func TestRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		raw := storetest.NewMemory(0, 0)
		c := newCrowd(raw, 4, 500, storetest.Faults{Delay: 30 * time.Millisecond})
		start := time.Now()
		c.run(t.Context())
		took, asked := time.Since(start), raw.Requests()
		all := asked.Get + asked.Head + asked.Put + asked.Delete + asked.List
		t.Logf("500 clients of 4 servers, who wait for a build of %v: %+v, %.1f requests a second", c.work, asked, float64(all)/took.Seconds())
		if c.begun.Load() != 1 || float64(all) > 5*took.Seconds() {
			t.Errorf("%d begun, %d requests in %v", c.begun.Load(), all, took)
		}

		l := c.servers[0]
		cost := func(do func() error) storetest.Requests {
			t.Helper()
			before := raw.Requests()
			if err := do(); err != nil {
				t.Error(err)
			}
			is := raw.Requests()
			return storetest.Requests{Get: is.Get - before.Get, Head: is.Head - before.Head, Put: is.Put - before.Put, Delete: is.Delete - before.Delete, List: is.List - before.List}
		}
		time.Sleep(time.Minute)
		token := NewToken()
		for _, test := range []struct {
			what string
			do   func() error
			want storetest.Requests
		}{
			{"acquire", func() error { _, err := l.Acquire(t.Context(), "aa/cc", Asker{Token: token}, ""); return err }, storetest.Requests{Get: 1, Put: 1, List: 1}},
			{"acquire another", func() error { _, err := l.Acquire(t.Context(), "aa/dd", Asker{}, ""); return err }, storetest.Requests{Get: 1, Put: 1}},
			{"heartbeat", func() error { return l.Heartbeat(t.Context(), "aa/cc", token, 0, []byte("x")) }, storetest.Requests{Put: 1}},
			{"done", func() error { return l.Done(t.Context(), "aa/cc", token) }, storetest.Requests{Put: 1}},
			{"heartbeat at another server", func() error {
				if err := c.servers[1].Heartbeat(t.Context(), "aa/cc", token, 0, nil); !errors.Is(err, ErrLost) {
					return fmt.Errorf("%w, want ErrLost", err)
				}
				return nil
			}, storetest.Requests{Get: 1}},
		} {
			if got := cost(test.do); got != test.want {
				t.Errorf("%s: %+v, want %+v", test.what, got, test.want)
			}
		}
	})
}

// TestTroubledStore: whatever requests are lost, late or done twice, all get what they need, and nobody is robbed
// who was heard within a TTL.
func TestTroubledStore(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd(storetest.NewMemory(0, 0), 3, 20, storetest.Faults{
					Seed: 1000 * seed, Delay: 100 * time.Millisecond, Fail: .05, Lose: .05, Late: .05, Twice: .05})
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				c.run(ctx)
				if ctx.Err() != nil || c.robbed.Load() > 0 || c.begun.Load() > 3 {
					t.Errorf("%d begun, %d robbed, %v", c.begun.Load(), c.robbed.Load(), ctx.Err())
				}
			})
		})
	}
}

// TestRemember: any number of those who ask at once cost one request, and what is there one a minute.
func TestRemember(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		raw := storetest.NewMemory(0, 0)
		prepared := NewStored(raw.Link(storetest.Faults{Delay: 30 * time.Millisecond}), "prepared/")
		here, there := Remember(prepared), Remember(prepared)
		ask := func(d Documents, want string, seconds, requests int) {
			t.Helper()
			before := raw.Requests().Get
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					for range 2 * seconds {
						value, version, err := d.Get(t.Context(), name, "")
						if want == "" && !errors.Is(err, fs.ErrNotExist) || want != "" && (string(value) != want || version == "") {
							t.Errorf("%q, %q, %v, want %q", value, version, err, want)
						}
						time.Sleep(time.Second / 2)
					}
				})
			}
			all.Wait()
			if n := raw.Requests().Get - before; n < 1 || n > requests {
				t.Errorf("%d requests, want up to %d", n, requests)
			}
		}
		ask(here, "", 10, 20)
		ask(there, "", 10, 20)
		if _, err := here.Swap(t.Context(), name, "", []byte("metadata")); err != nil {
			t.Fatal(err)
		}
		ask(there, "metadata", 50, 1)
		ask(here, "metadata", 120, 3)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := here.Get(ctx, "other", ""); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if err := here.Delete(t.Context(), name, "x"); !errors.Is(err, ErrConflict) {
			t.Error(err)
		}
	})
}
