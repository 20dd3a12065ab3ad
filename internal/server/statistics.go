package server

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	"curdling/internal/store"
	"curdling/internal/sums"
)

const (
	statisticsPrefix = "statistics/"
	showFor          = time.Second // what was added up
)

// statistics are what a server of several adds to what all count.
type statistics struct {
	Served Counts `json:"served"`
	Saved  tally  `json:"saved"`
}

func (a statistics) plus(b statistics) (sum statistics) {
	sum.Served = a.Served.plus(b.Served)
	sum.Saved.add(a.Saved)
	sum.Saved.add(b.Saved)
	return sum
}

// check tells that no server counts that.
func (a statistics) check() error {
	if err := a.Served.check(); err != nil {
		return err
	}
	for _, parts := range []iter.Seq[Saved]{maps.Values(a.Saved.Projects), maps.Values(a.Saved.Days)} {
		for part := range parts {
			if min(part.Builds, part.Bytes) < 0 || max(part.Builds, part.Bytes) > 1<<60 || part.Seconds < 0 || part.Seconds > 1e15 {
				return errors.New("no server ever saved that")
			}
		}
	}
	return nil
}

// shared is what several servers count.
type shared struct {
	*sums.Sum[statistics]
	fold  func() bool
	shown atomic.Pointer[shownSum]
}

type shownSum struct {
	statistics
	until time.Time
}

// ShareCounters counts with all other servers that use a store, below "statistics/". server is another name for each run of one; fold
// tells whether this one looks after what is old.
func ShareCounters(kept store.Versioned, server string, fold func() bool, log *slog.Logger) *Counters {
	c := &Counters{log: log}
	c.shared = &shared{fold: fold, Sum: sums.New(sums.Config[statistics]{
		Store: kept, Prefix: statisticsPrefix, Server: server, Log: log,
		Plus: statistics.plus, Check: statistics.check,
		Take: func() (fresh statistics, any bool) {
			c.mu.Lock()
			defer c.mu.Unlock()
			run := c.Run()
			fresh.Served, c.written = run.minus(c.written), run
			return fresh, fresh.Served != Counts{}
		},
	})}
	c.savings.shared = c.shared
	return c
}

// all gives what all count, as it was a moment ago.
func (s *shared) all() *statistics {
	shown := s.shown.Load()
	if now := time.Now(); shown == nil || now.After(shown.until) {
		shown = &shownSum{s.All(), now.Add(showFor)}
		s.shown.Store(shown)
	}
	return &shown.statistics
}

// save keeps what was counted last.
func (s *shared) save(log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), savingsPatience)
	defer cancel()
	if err := s.Save(ctx); err != nil {
		log.Warn("what was counted last is lost", "err", err)
	}
}
