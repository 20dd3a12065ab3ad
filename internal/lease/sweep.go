package lease

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"
)

// outcome is what became of a lease, for Stats.
type outcome int

const (
	granted   outcome = iota // of a name that was free
	takenOver                // of a holder that was silent
	expired                  // swept: silent, and nobody wanted it
	done
	failed
	givenUp
	lost // told a holder that it is none
	outcomes
)

// Stats count what this server did and saw.
type Stats struct {
	Held    int   // leases that somebody holds, of the names that this server was asked about
	Waiters int64 // calls of Wait
	// What happened since the start.
	Granted, TakenOver, Expired, Done, Failed, GivenUp, Lost int64
}

// Stats counts.
func (l *Leases) Stats() Stats {
	n := func(o outcome) int64 { return l.counts[o].Load() }
	stats := Stats{
		Waiters: l.waiters.Load(), Granted: n(granted), TakenOver: n(takenOver), Expired: n(expired),
		Done: n(done), Failed: n(failed), GivenUp: n(givenUp), Lost: n(lost),
	}
	stats.Held = l.seenHeld()
	return stats
}

// seenHeld counts the leases that somebody holds, of the names that this server was asked about.
func (l *Leases) seenHeld() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sights {
		if s.held.Load() {
			n++
		}
	}
	for _, a := range l.apart {
		n += a.seenHeld()
	}
	return n
}

// Run sweeps now and then, until ctx is done.
func (l *Leases) Run(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := l.Sweep(ctx); err != nil && ctx.Err() == nil {
			l.log.Warn("old leases cannot be swept", "err", err)
		}
	}
}

// Sweep removes the documents of which nobody needs to know any more, unless another server sweeps ([Options.Sweeper]), and
// forgets what it saw of names that have none, and the groups that have nothing. Each server sweeps the groups that it was asked about.
func (l *Leases) Sweep(ctx context.Context) error {
	l.mu.Lock()
	groups := maps.Clone(l.apart)
	l.mu.Unlock()
	var failures []error
	for group, a := range groups {
		if err := a.Sweep(ctx); err != nil && len(failures) < 10 {
			failures = append(failures, fmt.Errorf("%s: %w", group, err))
		}
		a.mu.Lock()
		empty := len(a.sights) == 0
		a.mu.Unlock()
		if empty { // who has it at hand may use it: there may be any number over the same documents
			l.mu.Lock()
			delete(l.apart, group)
			l.mu.Unlock()
		}
	}
	if l.sweeper == nil || l.sweeper() {
		if err := l.sweepAll(ctx); err != nil {
			failures = append(failures, err)
		}
	}
	l.forget()
	return errors.Join(failures...)
}

func (l *Leases) sweepAll(ctx context.Context) error {
	var failures []error
	for name, err := range l.docs.List(ctx) {
		if err != nil {
			return errors.Join(append(failures, err)...)
		}
		if CheckName(name) != nil {
			continue
		}
		if err := l.sweep(ctx, name); err != nil && len(failures) < 10 {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// forget forgets what was seen of names at which nobody looked for long: their documents are gone, or somebody else's to sweep.
func (l *Leases) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, s := range l.sights {
		if s.users == 0 && l.now().Sub(s.last) > 2*max(sweepEvery, l.ttl, l.remember) {
			delete(l.sights, name)
		}
	}
}

func (l *Leases) sweep(ctx context.Context, name string) error {
	s, err := l.pin(name)
	if err != nil {
		return err
	}
	defer l.unpin(s)
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	if err := l.read(ctx, s, 0); err != nil {
		return err
	}
	if s.version == "" || l.state(s) != Free || s.doc.State == Held && l.age(s) < abandoned {
		return nil
	}
	wasHeld := s.doc.State == Held
	bounded, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	err = l.docs.Delete(bounded, name, s.version)
	if errors.Is(err, ErrConflict) {
		return nil // somebody needs it
	}
	if err != nil {
		return fmt.Errorf("lease %s: %w", name, err)
	}
	if wasHeld {
		l.counts[expired].Add(1)
	}
	l.note(s, document{}, "", l.now())
	return nil
}

// room tells that one more document may be made. It counts now and then, and when there seem to be as many as there may be.
func (l *Leases) room(ctx context.Context) error {
	l.mu.Lock()
	lately := !l.when.IsZero() && l.now().Sub(l.when) < recount && l.counted < l.most
	if lately {
		l.counted++
	}
	l.mu.Unlock()
	if lately {
		return nil
	}
	began, n := l.now(), 0
	for _, err := range l.docs.List(ctx) {
		if err != nil {
			return err
		}
		if n++; n >= l.most {
			return ErrFull
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counted, l.when = n+1, began
	return nil
}
