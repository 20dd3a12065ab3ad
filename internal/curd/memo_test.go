package curd

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoComputesOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var m memo[string, int]
		var computed atomic.Int32
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				v, err := m.get(t.Context(), "k", func() (int, error) {
					computed.Add(1)
					time.Sleep(time.Second)
					return 7, nil
				})
				if v != 7 || err != nil {
					t.Errorf("got %d, %v", v, err)
				}
			})
		}
		wg.Wait()
		if n := computed.Load(); n != 1 {
			t.Errorf("computed %d times", n)
		}
	})
}

// A goroutine that gives up takes nobody with it.
func TestMemoOutlivesItsFirstAsker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var m memo[string, int]
		ctx, cancel := context.WithCancel(t.Context())
		go m.get(ctx, "k", func() (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		synctest.Wait()
		done := make(chan error)
		go func() {
			v, err := m.get(t.Context(), "k", func() (int, error) { return 1, nil })
			if err == nil && v != 1 {
				err = errors.New("the wrong value")
			}
			done <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestWaitsFindsCircles(t *testing.T) {
	t.Parallel()
	var w waits
	serving := func(id string) context.Context {
		ctx, _ := withBuild(t.Context(), id)
		return ctx
	}
	enter := func(outer, id string) func() {
		t.Helper()
		leave, err := w.enter(serving(outer), id, id)
		if err != nil {
			t.Fatal(err)
		}
		return leave
	}
	if _, err := w.enter(t.Context(), "a", "a 1.0"); err != nil {
		t.Fatal(err)
	}
	enter("a", "b")
	leave := enter("b", "c")
	if _, err := w.enter(serving("c"), "a", "a 1.0"); err == nil {
		t.Error("a circle of three was not found")
	} else {
		t.Log(err)
	}
	if _, err := w.enter(serving("c"), "c", "c"); err == nil {
		t.Error("a build that needs itself was not found")
	}
	leave()
	enter("c", "a") // no circle any more
}

// TestMemoAgain: what is known after a solve that must be done again is not what was known before.
func TestMemoAgain(t *testing.T) {
	t.Parallel()
	var m memo[string, int]
	for _, want := range []error{errAgain, errCacheLost, nil} {
		if _, err := m.get(t.Context(), "x", func() (int, error) { return 1, want }); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
}
