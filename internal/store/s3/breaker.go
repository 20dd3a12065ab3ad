package s3

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"curdling/internal/store"
)

const (
	// tripAfter failures, with no success among them, the first of which began tripTime ago, have requests refused.
	tripAfter = 5
	tripTime  = time.Second
	// shortBreak is how long they are, at first; each probe that fails doubles it.
	shortBreak = time.Second
	longBreak  = 4 * time.Second
	// maxProbe is how many bytes a request may send that finds out whether the bucket answers again.
	maxProbe = 1 << 20
)

// breaker refuses requests while the bucket does not answer: it would only keep who waits, and whoever has to answer
// so many requests at once when it comes back. Now and then one goes through as a probe. The zero value will do.
type breaker struct {
	log *slog.Logger // nil is silent

	mu       sync.Mutex
	failures int // since the last success
	since    time.Time
	last     error
	until    time.Time // requests are refused; zero: they are not
	pause    time.Duration
	probing  bool
}

// turn is a request's leave to go through.
type turn struct {
	begun time.Time
	probe bool
}

// check tells whether a request would be refused.
func (b *breaker) check() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refusal()
}

// refusal is nil where a request may go through. b.mu is held.
func (b *breaker) refusal() error {
	left := time.Until(b.until)
	switch {
	case b.until.IsZero(), left <= 0 && !b.probing:
		return nil
	case b.probing:
		left = shortBreak
	}
	return &store.UnavailableError{Err: fmt.Errorf("%d requests failed, the last one so: %w", b.failures, b.last), RetryAfter: left}
}

// begin lets a request through, or refuses it. Each that it lets through is ended once.
func (b *breaker) begin(mayProbe bool) (turn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.refusal()
	switch {
	case err != nil:
		return turn{}, err
	case b.until.IsZero():
		return turn{begun: time.Now()}, nil
	case !mayProbe:
		return turn{}, &store.UnavailableError{Err: b.last, RetryAfter: shortBreak}
	}
	b.probing = true
	return turn{begun: time.Now(), probe: true}, nil
}

// end takes note of how a request, or a part of it, went; err is for who is refused because of it.
func (b *breaker) end(t turn, outcome string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t.probe {
		b.probing = false
	}
	switch outcome {
	case outcomeCancelled:
		return // nobody knows
	case outcomeFailed, outcomeTimeout, outcomeThrottled:
	default:
		if !b.until.IsZero() && b.log != nil {
			b.log.Info("the bucket answers again", "failures", b.failures, "seconds", int(time.Since(b.since).Seconds()))
		}
		b.failures, b.until, b.pause = 0, time.Time{}, 0
		return
	}
	if b.failures++; b.failures == 1 {
		b.since = t.begun
	}
	b.last = err
	switch {
	case t.probe:
		b.pause = min(2*b.pause, longBreak)
	case b.until.IsZero() && b.failures >= tripAfter && time.Since(b.since) >= tripTime:
		b.pause = shortBreak
		if b.log != nil {
			b.log.Error("the bucket does not answer; requests are refused until it does", "failures", b.failures, "err", err)
		}
	default:
		return
	}
	b.until = time.Now().Add(b.pause/2 + rand.N(b.pause/2)) // servers that share the bucket do not all probe at once
}
