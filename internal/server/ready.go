package server

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Check is something that /readyz tells of.
type Check struct {
	Name string
	// Ask gives a word or two on how it stands, which everybody may read, and an
	// error, for the log, where the server is of no use as long as it is so.
	Ask func(context.Context) (state string, err error)
}

const (
	checkTimeout = 3 * time.Second // to wait for an answer
	checkEvery   = time.Second     // at most
)

// readiness asks the checks, one round at a time, however many want to know.
type readiness struct {
	checks []Check
	log    *slog.Logger

	mu    sync.Mutex
	round *round // the last one
}

// round is one answer of all checks, which are there once done is closed.
type round struct {
	done    chan struct{}
	started time.Time
	ready   bool
	states  map[string]string
}

// ask gives an answer that is not older than a second, or nil where none comes in time.
func (r *readiness) ask(ctx context.Context) *round {
	current := r.current(ctx)
	timer := time.NewTimer(checkTimeout)
	defer timer.Stop()
	select {
	case <-current.done:
		return current
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

// current gives the round under way, or one that was a moment ago, or begins one.
func (r *readiness) current(ctx context.Context) *round {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.round != nil {
		select {
		case <-r.round.done:
			if time.Since(r.round.started) < checkEvery {
				return r.round
			}
		default:
			return r.round
		}
	}
	next := &round{done: make(chan struct{}), started: time.Now(), ready: true, states: make(map[string]string)}
	r.round = next
	ctx = context.WithoutCancel(ctx) // others may wait for it
	go func() {
		defer close(next.done)
		for _, check := range r.checks {
			state, err := check.Ask(ctx)
			next.states[check.Name] = state
			if err != nil {
				next.ready = false
				r.log.Warn("not ready", "check", check.Name, "err", err)
			}
		}
	}()
	return next
}

// ready answers /readyz.
func (s *Server) ready(w *response, r *http.Request) error {
	answer := struct {
		Status string            `json:"status"` // ready, failed, draining
		Checks map[string]string `json:"checks,omitempty"`
	}{Status: "ready"}
	status := http.StatusOK
	w.Header().Set("Cache-Control", "no-store")
	if s.draining.Load() {
		answer.Status, status = "draining", http.StatusServiceUnavailable
		return sendJSON(w, status, answer)
	}
	answered := s.readiness.ask(r.Context())
	switch {
	case answered == nil:
		answer.Status, status = "a check does not answer", http.StatusServiceUnavailable
	case !answered.ready:
		answer.Status, status = "failed", http.StatusServiceUnavailable
		fallthrough
	default:
		answer.Checks = answered.states
	}
	return sendJSON(w, status, answer)
}
