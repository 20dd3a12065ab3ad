package lease

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Turn is a lease that one server has for as long as it lives: of any number of them one does what is to be done once, as
// sweeping is. Make one with [Leases.Turn].
type Turn struct {
	leases *Leases
	name   string
	holder Asker
	start  time.Time
	until  atomic.Int64 // when it is not this server's any more, in nanoseconds since start
}

// Turn gives the turn of that name; by is who this server is, for people to read.
func (l *Leases) Turn(name, by string) *Turn {
	return &Turn{leases: l, name: name, holder: Asker{Token: NewToken(), By: by, What: name}, start: l.now()}
}

// Mine tells whether it is this server's turn. A program that was stopped after it asked goes on in what may be another's turn by
// then, so that what is done must be right with two at once.
func (t *Turn) Mine() bool { return t.elapsed(t.leases.now()) < t.until.Load() }

func (t *Turn) elapsed(now time.Time) int64 { return int64(now.Sub(t.start)) }

// Run asks for the turn, and keeps it, until ctx is done. Then it leaves it to others.
func (t *Turn) Run(ctx context.Context) {
	for {
		t.ask(ctx)
		pause := t.leases.ttl / 3
		if !t.Mine() {
			pause = t.leases.ttl/2 + rand.N(t.leases.ttl/8)
		}
		select {
		case <-time.After(pause):
			continue
		case <-ctx.Done():
		}
		mine := t.Mine()
		t.until.Store(0)
		if mine {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), opTimeout)
			defer cancel()
			_ = t.leases.GiveUp(ctx, t.name, t.holder.Token) // else it is over by itself
		}
		return
	}
}

// ask asks for the turn, or says that the holder lives.
func (t *Turn) ask(ctx context.Context) {
	began := t.leases.now()
	status, err := t.leases.Acquire(ctx, t.name, t.holder, "")
	switch {
	case err != nil: // what is known goes on being true
	case status.State == Granted:
		t.until.Store(t.elapsed(began.Add(t.leases.ttl * 2 / 3))) // before anybody can have seen a TTL of silence
	default:
		t.until.Store(0)
	}
}
