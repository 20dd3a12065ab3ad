package curd

import (
	"context"
	"sync"
)

// queue lets a number of builds work at once. Of those that wait, the one goes next that is expected to take longest, so
// that no long one is left over when all others are done.
type queue struct {
	mu      sync.Mutex
	free    int
	waiting []*waiter // in the order in which they came
}

type waiter struct {
	effort int64
	turn   chan struct{} // closed when it comes
}

// enter waits for a turn, which leave ends.
func (q *queue) enter(ctx context.Context, effort int64) error {
	q.mu.Lock()
	w := &waiter{effort: effort, turn: make(chan struct{})}
	q.waiting = append(q.waiting, w)
	q.next()
	q.mu.Unlock()
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, other := range q.waiting {
		if other == w {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			return ctx.Err()
		}
	}
	q.free++ // its turn came at this very moment
	q.next()
	return ctx.Err()
}

// leave ends a turn.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free++
	q.next()
}

// next gives the turns that are free.
func (q *queue) next() {
	for q.free > 0 && len(q.waiting) > 0 {
		first := 0
		for i, w := range q.waiting {
			if w.effort > q.waiting[first].effort {
				first = i
			}
		}
		close(q.waiting[first].turn)
		q.waiting = append(q.waiting[:first], q.waiting[first+1:]...)
		q.free--
	}
}
