package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// A silence is that nothing, or next to nothing, moved for too long.
type silence string

func (s silence) Error() string { return string(s) }

// Timeout makes it known as one, also of the *url.Error that it comes in.
func (silence) Timeout() bool { return true }

const (
	errStalled = silence("the server is silent")
	errSlow    = silence("too slow")
)

const (
	// leastProgress is what must come or go within Options.Timeout, in bytes.
	leastProgress = 1 << 10
	// pageTimeouts is how many times Options.Timeout a page or metadata may take to come.
	pageTimeouts = 20
)

// watch ends an attempt in which nothing, or next to nothing, moves.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	limit  time.Duration
	end    func() // once

	mu    sync.Mutex
	timer *time.Timer
	last  *time.Timer // of the whole answer; nil: it may take any time
	bytes int         // that moved since the timer was set
}

func newWatch(ctx context.Context, limit time.Duration) *watch {
	w := &watch{limit: limit}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(limit, w.stall)
	return w
}

func (w *watch) stall() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bytes > 0 {
		w.cancel(fmt.Errorf("%w: %d bytes in %v", errSlow, w.bytes, w.limit))
	} else {
		w.cancel(fmt.Errorf("%w for %v", errStalled, w.limit))
	}
}

// moved counts bytes; enough of them give the attempt its time again.
func (w *watch) moved(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bytes += n; w.bytes >= leastProgress {
		w.bytes = 0
		w.timer.Reset(w.limit)
	}
}

// bound lets the rest of the answer take no longer than a page may.
func (w *watch) bound() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = time.AfterFunc(pageTimeouts*w.limit, func() {
		w.cancel(refusef("not whole after %v", pageTimeouts*w.limit))
	})
}

func (w *watch) stop() {
	w.mu.Lock()
	w.timer.Stop()
	if w.last != nil {
		w.last.Stop()
	}
	w.mu.Unlock()
	w.cancel(nil)
	w.end()
}

// cause gives why a transfer ended: an error without the URL that net/http
// puts there, or our own reason for ending it.
func (w *watch) cause(err error) error {
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		return outer.Err
	}
	return err
}

// request puts the request, and the reading of its body, under the watch.
func (w *watch) request(r *http.Request) *http.Request {
	r = r.Clone(w.ctx)
	if r.Body == nil || r.GetBody == nil {
		return r
	}
	r.Body = &sending{r.Body, w}
	again := r.GetBody
	r.GetBody = func() (io.ReadCloser, error) {
		b, err := again()
		return &sending{b, w}, err
	}
	return r
}

// sending is a request's body under watch.
type sending struct {
	io.ReadCloser
	watch *watch
}

func (s *sending) Read(p []byte) (int, error) {
	s.watch.moved(leastProgress) // who asks for more has sent what it had
	return s.ReadCloser.Read(p)
}

// body is an answer's body under watch. Its errors are *url.Error.
type body struct {
	io.ReadCloser
	watch       *watch
	method, url string
	closed      bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.watch.moved(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = failed(b.method, b.url, b.watch.cause(err))
	}
	return n, err
}

// hurry bounds the time in which an answer's body may be read.
func hurry(resp *http.Response) {
	if b, ok := resp.Body.(*body); ok {
		b.watch.bound()
	}
}

func (b *body) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	err := b.ReadCloser.Close()
	b.watch.stop()
	return err
}
