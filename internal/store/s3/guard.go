package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"curdling/internal/store"
)

const (
	// inFlight is how many requests the bucket is asked at once that it has not begun to answer. As many as queued
	// wait for queueTime at most; more are refused at once.
	inFlight  = 128
	queued    = 512
	queueTime = 5 * time.Second

	connectTimeout = 5 * time.Second
	// patience is how long a request may take until it is answered, while nothing of it is sent, and how long
	// leastProgress bytes of an answer may take to come. A PUT has more, as the bucket has to keep the file.
	patience      = 10 * time.Second
	putPatience   = 30 * time.Second
	leastProgress = 1 << 10
)

// guard is the way of all requests to the bucket. It bounds how many there are and how long nothing may come, refuses
// them while the bucket does not answer, and counts them. It repeats none.
type guard struct {
	next    http.RoundTripper
	slots   chan struct{} // one for each request in flight
	waiting atomic.Int64
	breaker breaker
	metrics metrics
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	kind := kindOf(r)
	resp, outcome, err := g.send(r, kind)
	if resp == nil && r.Body != nil {
		r.Body.Close()
	}
	g.metrics.observe(kind, outcome, time.Since(began))
	return resp, err
}

func (g *guard) send(r *http.Request, kind string) (*http.Response, string, error) {
	if err := g.breaker.check(); err != nil {
		return nil, outcomeClosed, err
	}
	if outcome, err := g.enter(r.Context()); err != nil {
		return nil, outcome, err
	}
	defer func() { <-g.slots }()
	turn, err := g.breaker.begin(r.ContentLength <= maxProbe)
	if err != nil {
		return nil, outcomeClosed, err
	}
	limit := patience
	if kind == kindPut {
		limit = putPatience
	}
	w := newWatch(r.Context(), limit)
	r = r.WithContext(w.ctx)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &sent{r.Body, w}
	}
	resp, err := g.next.RoundTrip(r)
	if err != nil {
		outcome := outcomeFailed
		if err = w.cause(err); w.parent.Err() != nil {
			outcome = outcomeCancelled
		} else if errors.Is(err, errStalled) {
			outcome = outcomeTimeout
		}
		w.stop()
		g.breaker.end(turn, outcome, err)
		return nil, outcome, err
	}
	outcome := outcomeOf(resp.StatusCode)
	g.breaker.end(turn, outcome, errors.New(resp.Status))
	if hint, ok := r.Context().Value(hintKey{}).(*time.Duration); ok {
		*hint = retryAfter(resp.Header)
	}
	w.pause()
	resp.Body = &received{body: resp.Body, watch: w, breaker: &g.breaker}
	return resp, outcome, nil
}

// enter waits for a slot, among not too many others.
func (g *guard) enter(ctx context.Context) (outcome string, err error) {
	select {
	case g.slots <- struct{}{}:
		return "", nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > queued {
		return outcomeShed, &store.UnavailableError{Err: errors.New("too many requests wait for it"), RetryAfter: time.Second}
	}
	timer := time.NewTimer(queueTime)
	defer timer.Stop()
	select {
	case g.slots <- struct{}{}:
		return "", nil
	case <-timer.C:
		return outcomeShed, &store.UnavailableError{Err: fmt.Errorf("it was busy with others for %v", queueTime), RetryAfter: time.Second}
	case <-ctx.Done():
		return outcomeCancelled, context.Cause(ctx)
	}
}

// hintKey is the key, in a request's context, of the *time.Duration that the bucket wants to be left alone for.
type hintKey struct{}

// retryAfter is what a Retry-After header says (RFC 9110, 10.2.3); 0 is nothing.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if s, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(s) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// errStalled is a timeout.
var errStalled = errors.New("the bucket is silent")

// watch ends a request of which nothing moves for too long.
type watch struct {
	parent, ctx context.Context
	cancel      context.CancelCauseFunc
	limit       time.Duration

	mu    sync.Mutex
	timer *time.Timer
	begun time.Time     // of what the timer runs for
	left  time.Duration // of limit, when it begins to run again
	bytes int           // that moved in what is gone of limit
}

func newWatch(parent context.Context, limit time.Duration) *watch {
	w := &watch{parent: parent, limit: limit, left: patience}
	w.ctx, w.cancel = context.WithCancelCause(parent)
	w.timer = time.AfterFunc(limit, func() { w.cancel(fmt.Errorf("%w for %v", errStalled, limit)) })
	return w
}

// moved gives a request, of which something is sent, its time again.
func (w *watch) moved() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.begun.IsZero() { // else it is answered already
		w.timer.Reset(w.limit)
	}
}

// pause lets the one who reads take his time.
func (w *watch) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun = time.Now()
	w.timer.Stop()
}

// expect begins to wait for bytes of the answer, and got ends it.
func (w *watch) expect() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun = time.Now()
	w.timer.Reset(w.left)
}

func (w *watch) got(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.left -= time.Since(w.begun)
	if w.bytes += n; w.bytes >= leastProgress {
		w.bytes, w.left = 0, patience
	}
	w.left = max(w.left, 1)
}

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// cause gives why the request ended: err, or our own reason.
func (w *watch) cause(err error) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	return err
}

// sent is the body of a request.
type sent struct {
	io.ReadCloser
	watch *watch
}

func (s *sent) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.watch.moved()
	return n, err
}

// received is the body of an answer.
type received struct {
	body    io.ReadCloser
	watch   *watch
	breaker *breaker
}

func (r *received) Read(p []byte) (int, error) {
	r.watch.expect()
	n, err := r.body.Read(p)
	r.watch.got(n)
	if err != nil && !errors.Is(err, io.EOF) {
		if err = r.watch.cause(err); errors.Is(err, errStalled) {
			r.breaker.end(turn{begun: time.Now()}, outcomeTimeout, err)
		}
	}
	return n, err
}

func (r *received) Close() error {
	err := r.body.Close()
	r.watch.stop()
	return err
}
