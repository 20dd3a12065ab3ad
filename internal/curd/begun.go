package curd

import (
	"sync"

	"curdling/internal/build"
	"curdling/internal/dist"
)

// begun is a build that goes on where the preparation of its metadata ended.
type begun struct {
	id   string // of the recipe
	src  build.Source
	used *used
}

// begunBuilds keeps what was begun until the wheel is wanted: one build of each project, since of the versions that a
// solve goes through it wants one in the end.
type begunBuilds struct {
	mu sync.Mutex
	of map[dist.Name]*begun
}

func (a *begunBuilds) put(r *recipe, src build.Source, used *used) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if old := a.of[r.project]; old != nil {
		old.src.Prepared.Close()
	}
	if a.of == nil {
		a.of = map[dist.Name]*begun{}
	}
	a.of[r.project] = &begun{r.id(), src, used}
}

// take gives what was begun of a recipe, nil where nothing was.
func (a *begunBuilds) take(r *recipe) *begun {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.of[r.project]
	if b == nil || b.id != r.id() {
		return nil
	}
	delete(a.of, r.project)
	return b
}

// close deletes what nobody wanted.
func (a *begunBuilds) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, b := range a.of {
		b.src.Prepared.Close()
	}
	clear(a.of)
}
