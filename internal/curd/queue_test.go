package curd

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// What takes longest goes first, and of what takes equally long, what came first.
func TestQueueOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := queue{free: 1}
		if err := q.enter(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		var order []int64
		var wg sync.WaitGroup
		for i, effort := range []int64{3, 1, 5, 3, 5, 0} {
			wg.Go(func() {
				if err := q.enter(t.Context(), effort); err != nil {
					t.Error(err)
				}
				order = append(order, effort*10+int64(i)) // one at a time
				q.leave()
			})
			synctest.Wait()
		}
		q.leave()
		wg.Wait()
		if want := []int64{52, 54, 30, 33, 11, 5}; !slices.Equal(order, want) {
			t.Errorf("%v, want %v", order, want)
		}
	})
}

// Who gives up takes no turn along, whenever that is.
func TestQueueGivingUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := queue{free: 2}
		var mu sync.Mutex
		var working, most, gaveUp int
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				time.Sleep(time.Duration(i%7) * time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%5)*time.Second)
				defer cancel()
				if err := q.enter(ctx, int64(i%3)); err != nil {
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
					mu.Lock()
					gaveUp++
					mu.Unlock()
					return
				}
				defer q.leave()
				mu.Lock()
				working++
				most = max(most, working)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				working--
				mu.Unlock()
			})
		}
		wg.Wait()
		if most != 2 || gaveUp == 0 || q.free != 2 || len(q.waiting) > 0 {
			t.Errorf("at most %d at once, %d gave up; at the end %d are free and %d wait", most, gaveUp, q.free, len(q.waiting))
		}
	})
}
