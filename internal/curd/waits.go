package curd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// waits knows which build of this run waits for which, so that a circle is an error and not a deadlock.
type waits struct {
	mu    sync.Mutex
	on    map[string]map[string]int // build -> builds that it waits for, counted
	names map[string]string         // of the builds, for people
}

type buildsKey struct{}

// withBuild notes in the context that what follows serves the build id; nested tells whether it
// already served another.
func withBuild(ctx context.Context, id string) (_ context.Context, nested bool) {
	outer, _ := ctx.Value(buildsKey{}).(string)
	return context.WithValue(ctx, buildsKey{}, id), outer != ""
}

// enter notes that the build which ctx serves now waits for the build id.
func (w *waits) enter(ctx context.Context, id, name string) (leave func(), err error) {
	outer, _ := ctx.Value(buildsKey{}).(string)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.on == nil {
		w.on, w.names = map[string]map[string]int{}, map[string]string{}
	}
	w.names[id] = name
	if outer == "" {
		return func() {}, nil
	}
	if path := w.path(id, outer, nil); path != nil {
		var names []string
		for _, p := range path {
			names = append(names, w.names[p])
		}
		return nil, fmt.Errorf("a circle of build requirements: %s needs itself to be built (%s)",
			w.names[outer], strings.Join(append(names, w.names[id]), " is needed to build "))
	}
	if w.on[outer] == nil {
		w.on[outer] = map[string]int{}
	}
	w.on[outer][id]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.on[outer][id]--; w.on[outer][id] == 0 {
			delete(w.on[outer], id)
		}
	}, nil
}

// path finds a way of waiting from one build to another, nil where there is none.
func (w *waits) path(from, to string, seen []string) []string {
	if from == to {
		return append(seen, to)
	}
	if slices.Contains(seen, from) {
		return nil
	}
	for next := range w.on[from] {
		if p := w.path(next, to, append(seen, from)); p != nil {
			return p
		}
	}
	return nil
}
