package curd

import (
	"context"
	"errors"
	"maps"
	"sync"
)

// memo computes the value of each key once, however many goroutines ask. Where
// the first asker gave up, it is computed again for the others; where the solve
// must be done again, it is computed again for those who ask later.
type memo[K comparable, V any] struct {
	mu sync.Mutex
	m  map[K]*pending[V]
}

type pending[V any] struct {
	done chan struct{}
	v    V
	err  error
}

func (m *memo[K, V]) get(ctx context.Context, key K, compute func() (V, error)) (V, error) {
	for {
		m.mu.Lock()
		p, found := m.m[key]
		if !found {
			p = &pending[V]{done: make(chan struct{})}
			if m.m == nil {
				m.m = map[K]*pending[V]{}
			}
			m.m[key] = p
		}
		m.mu.Unlock()
		if !found {
			p.v, p.err = compute()
			if gaveUp(p.err) || errors.Is(p.err, errAgain) {
				m.mu.Lock()
				delete(m.m, key)
				m.mu.Unlock()
			}
			close(p.done)
			return p.v, p.err
		}
		select {
		case <-p.done:
			if !gaveUp(p.err) {
				return p.v, p.err
			}
			if ctx.Err() != nil {
				return p.v, ctx.Err()
			}
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		}
	}
}

// forget has what was computed of some keys computed again.
func (m *memo[K, V]) forget(some func(K) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.m, func(key K, _ *pending[V]) bool { return some(key) })
}

func gaveUp(err error) bool { return errors.Is(err, context.Canceled) }

// peek gives the value of a key where it was computed already.
func (m *memo[K, V]) peek(key K) (v V, ok bool) {
	m.mu.Lock()
	p, found := m.m[key]
	m.mu.Unlock()
	if !found {
		return v, false
	}
	select {
	case <-p.done:
		return p.v, p.err == nil
	default:
		return v, false
	}
}
