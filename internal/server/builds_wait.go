package server

import (
	"context"
	"sync"
	"time"
)

const (
	maxWaiting = 4096            // clients; who comes then does not wait
	findEvery  = 5 * time.Second // what may come without a lease, for all who wait for it
)

// waiting is the room for those who wait, all of whom are answered when the server ends.
type waiting struct {
	places chan struct{}
	end    context.Context
	stop   context.CancelFunc

	mu     sync.Mutex
	looked map[string]time.Time // when one of those who wait for it began to look, and there was nothing
}

func newWaiting() *waiting {
	w := &waiting{places: make(chan struct{}, maxWaiting), looked: make(map[string]time.Time)}
	w.end, w.stop = context.WithCancel(context.Background())
	return w
}

// look tells one of all who wait for the same, while somebody builds it, to look for it now and then.
func (w *waiting) look(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.looked[name]) < findEvery {
		return false
	}
	if len(w.looked) >= maxWaiting {
		clear(w.looked)
	}
	w.looked[name] = time.Now()
	return true
}

// found has all who wait for something look.
func (w *waiting) found(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.looked, name)
}

// begin gives a context that is done when there was enough waiting, which is at once where
// there is no room. end is to be called.
func (w *waiting) begin(ctx context.Context, patience time.Duration) (_ context.Context, end func()) {
	leave := func() { <-w.places }
	select {
	case w.places <- struct{}{}:
	default:
		patience, leave = 0, func() {}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	unhook := context.AfterFunc(w.end, cancel)
	return ctx, func() {
		unhook()
		cancel()
		leave()
	}
}
