package catalog

import (
	"context"
	"errors"
	"sync"
	"time"

	"curdling/internal/store"
)

const (
	maxAge      = time.Second      // of what is served as it is, from when the look at the store began
	soonAge     = time.Minute      // of what is served while it is looked at again
	patience    = 2 * time.Second  // to wait for a look where something is known
	longestWait = 10 * time.Second // where nothing is
	lookTime    = time.Minute      // that a look may take
	firstRest   = time.Second      // from a look that failed to the next one; it doubles
	longestRest = 10 * time.Second
)

// sight is something in a store far away that is looked at whenever somebody wants to know how it is now: by one at a
// time, however many want to know, at most once a second, and after a failure not at once.
type sight struct {
	looks *looks
	// lazy is how many times as long as a look took what it found is served; at least it is maxAge.
	lazy int

	mu     sync.Mutex
	begun  uint64    // looks that began
	number uint64    // of them, the last that succeeded
	at     time.Time // when that began; zero: nothing is known
	took   time.Duration
	flight *flight // nil: nobody looks
	err    error   // of the last look, where it failed
	rest   time.Duration
	until  time.Time // when it may be looked at again
}

// flight is a look under way.
type flight struct {
	done chan struct{}
	err  error // once it is done
	slow bool  // who knows something waits for it no more; guarded by sight.mu
}

// looks are all that are under way.
type looks struct {
	end  context.Context
	stop context.CancelFunc
	work sync.WaitGroup
}

func newLooks() *looks {
	l := new(looks)
	l.end, l.stop = context.WithCancel(context.Background())
	return l
}

func (l *looks) close() {
	l.stop()
	l.work.Wait()
}

// fresh waits until what is known is fresh. Where the store does not answer what is known will do, and where that is
// nothing the error is a *[store.UnavailableError].
func (s *sight) fresh(ctx context.Context, look func(context.Context) error) error {
	s.mu.Lock()
	since := time.Now().Add(-s.age())
	s.mu.Unlock()
	return s.wait(ctx, func() bool { return !s.at.Before(since) }, false, look)
}

// sure is fresh where what was known will not do.
func (s *sight) sure(ctx context.Context, look func(context.Context) error) error {
	since := time.Now().Add(-maxAge)
	return s.wait(ctx, func() bool { return !s.at.Before(since) }, true, look)
}

// anew waits for a look that begins after it was called; no older one will do.
func (s *sight) anew(ctx context.Context, look func(context.Context) error) error {
	s.mu.Lock()
	before := s.begun
	s.mu.Unlock()
	return s.wait(ctx, func() bool { return s.number > before }, true, look)
}

// soon is fresh that does not wait where something is known that is not too old.
func (s *sight) soon(ctx context.Context, look func(context.Context) error) error {
	now := time.Now()
	s.mu.Lock()
	if s.at.IsZero() || now.Sub(s.at) > soonAge {
		s.mu.Unlock()
		return s.fresh(ctx, look)
	}
	if s.flight == nil && now.Sub(s.at) > s.age() && !now.Before(s.until) {
		s.begin(look)
	}
	s.mu.Unlock()
	return nil
}

// age is how old what is known may be. The caller holds mu.
func (s *sight) age() time.Duration { return max(maxAge, time.Duration(s.lazy)*s.took) }

// stale has the next who wants to know look. The caller may have learnt that something changed.
func (s *sight) stale() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.at.IsZero() {
		s.at = time.Unix(0, 0)
	}
}

// busy tells that somebody looks.
func (s *sight) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flight != nil
}

// known tells that a look succeeded once.
func (s *sight) known() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.at.IsZero()
}

// wait waits until a look that succeeded is enough, which is asked with mu held. must is that nothing less will do.
func (s *sight) wait(ctx context.Context, enough func() bool, must bool, look func(context.Context) error) error {
	var patient <-chan time.Time // nil until there is something to wait for
	for {
		f, known, err := s.join(enough, must, look)
		if f == nil {
			return err
		}
		if patient == nil {
			most := longestWait
			if known {
				most = patience
			}
			timer := time.NewTimer(most)
			defer timer.Stop()
			patient = timer.C
		}
		select {
		case <-f.done:
			if f.err != nil && known {
				return nil
			}
			if f.err != nil {
				return unavailable(f.err, firstRest)
			}
		case <-patient:
			if !known {
				return unavailable(errors.New("it takes too long"), firstRest)
			}
			s.mu.Lock()
			f.slow = true
			s.mu.Unlock()
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// join gives the look that is to be waited for, and whether what is known would do; nil where there is nothing to wait for.
func (s *sight) join(enough func() bool, must bool, look func(context.Context) error) (f *flight, known bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known = !s.at.IsZero() && !must
	if !s.at.IsZero() && enough() {
		return nil, known, nil
	}
	if s.flight == nil {
		if left := time.Until(s.until); left > 0 {
			if known {
				return nil, known, nil
			}
			return nil, known, unavailable(s.err, left)
		}
		s.begin(look)
	}
	if known && s.flight.slow {
		return nil, known, nil
	}
	return s.flight, known, nil
}

// begin has somebody look. The caller holds mu.
func (s *sight) begin(look func(context.Context) error) {
	s.begun++
	began, number := time.Now(), s.begun
	f := &flight{done: make(chan struct{})}
	s.flight = f
	s.looks.work.Go(func() {
		ctx, cancel := context.WithTimeout(s.looks.end, lookTime)
		defer cancel()
		err := look(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.flight, s.err, f.err = nil, err, err
		if err == nil {
			s.number, s.at, s.took, s.rest, s.until = number, began, time.Since(began), 0, time.Time{}
		} else {
			s.rest = min(max(2*s.rest, firstRest), longestRest)
			var away *store.UnavailableError
			if errors.As(err, &away) {
				s.rest = min(max(s.rest, away.RetryAfter), longestRest)
			}
			s.until = time.Now().Add(s.rest)
		}
		close(f.done)
	})
}

// unavailable makes of an error one that says that the store does not answer.
func unavailable(err error, after time.Duration) error {
	var away *store.UnavailableError
	if errors.As(err, &away) && away.RetryAfter >= after {
		return err
	}
	return &store.UnavailableError{Err: err, RetryAfter: after}
}
