package lease

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"
)

// sight is what this server itself saw of a name. Who has entered it has all but
// users and change to himself.
type sight struct {
	name string
	turn chan struct{} // holds whoever has entered

	doc     document
	version string    // "": there is no document
	first   time.Time // the end of the first look at the document as it is; zero: nobody looked
	last    time.Time // the begin of the last one
	blind   bool      // a look failed since

	held atomic.Bool // for Stats

	users  int           // guarded by Leases.mu
	change chan struct{} // closed when doc changes; guarded by Leases.mu
}

// enter waits for the turn.
func (s *sight) enter(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *sight) leave() { <-s.turn }

// pin gives what was seen of a name, and keeps it until it is unpinned.
func (l *Leases) pin(name string) (*sight, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sights[name]
	if s == nil {
		s = &sight{name: name, turn: make(chan struct{}, 1), change: make(chan struct{})}
		l.sights[name] = s
	}
	s.users++
	return s, nil
}

// unpin forgets a name of which there is nothing to remember.
func (l *Leases) unpin(s *sight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.users--; s.users == 0 && s.version == "" { // nobody has entered
		delete(l.sights, s.name)
	}
}

func (l *Leases) changed(s *sight) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.change
}

// read has s know the document as it was at most maxAge ago. The caller has entered s.
func (l *Leases) read(ctx context.Context, s *sight, maxAge time.Duration) error {
	began := l.now()
	if !s.first.IsZero() && began.Sub(s.last) < maxAge {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	value, version, err := l.docs.Get(bounded, s.name, s.version)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.note(s, document{}, "", began)
		return nil
	case err != nil:
		s.blind = s.blind || ctx.Err() == nil
		return fmt.Errorf("lease %s: %w", s.name, err)
	case version == s.version:
		l.note(s, s.doc, version, began)
		return nil
	}
	d, err := parse(value)
	if errors.Is(err, ErrNewer) {
		return fmt.Errorf("lease %s: %w", s.name, err)
	}
	if err != nil { // a crash's; what it was is lost
		l.log.Warn("a lease cannot be read, and counts as free", "name", s.name, "err", err)
		d = document{State: Free}
	}
	l.note(s, d, version, began)
	return nil
}

// note remembers what the store answered to what was asked at began. The document was as it is
// at some moment between then and now.
func (l *Leases) note(s *sight, d document, version string, began time.Time) {
	same := !s.first.IsZero() && s.version == version && s.doc.Token == d.Token && s.doc.Beat == d.Beat && s.doc.State == d.State
	if same && s.blind { // a store that did not answer may not have let the holder be heard either
		s.first = s.first.Add(max(began.Sub(s.last), 0))
	}
	s.last, s.blind = began, false
	if !same {
		s.doc, s.version, s.first = d, version, l.now()
	}
	s.held.Store(l.state(s) == Held)
	if same {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	close(s.change)
	s.change = make(chan struct{})
}

// age is for how long, at least, the document has been as it is. The caller has entered s.
func (l *Leases) age(s *sight) time.Duration { return max(s.last.Sub(s.first), 0) }

// state is the document's, as time has changed it. The caller has entered s, and read.
func (l *Leases) state(s *sight) State {
	limit := time.Duration(0)
	switch s.doc.State {
	case Held:
		limit = l.ttl
	case Done:
		limit = min(settle, l.ttl)
	case Failed:
		limit = l.remember
		// Nothing rests on this: a server that sees an old failure for the first time need not repeat it.
		if l.wall().Sub(s.doc.Ended) >= limit {
			return Free
		}
	}
	if l.age(s) >= limit {
		return Free
	}
	return s.doc.State
}
