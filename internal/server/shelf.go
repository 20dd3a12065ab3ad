package server

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"curdling/internal/auth"
	"curdling/internal/catalog"
)

// scopeMemory is how many bytes of prepared answers are kept of each scope below main.
const scopeMemory = 2 << 20

// shelf is what those of one scope see, and where their uploads go.
type shelf struct {
	*Server
	scope   string // "" is main
	catalog *catalog.View
	memory  *memory
	list    atomic.Pointer[listPages]
	plans   *plans

	immutable []string // Cache-Control of files
}

// shelved is a handler of what is on a shelf.
type shelved func(*shelf, *response, *http.Request) error

func newShelf(s *Server, view *catalog.View, scope string, memory int64) *shelf {
	x := &shelf{Server: s, scope: scope, catalog: view, memory: newMemory(memory), plans: newPlans(memory / 4), immutable: s.immutable}
	if scope != "" {
		// Main may come to hold another file under the same name.
		x.immutable = passing
	}
	return x
}

var passing = []string{"private, no-cache"}

// control is the Cache-Control of a file, or its METADATA.
func (s *shelf) control(filename string) []string {
	if s.catalog.Passing(filename) {
		return passing
	}
	return s.immutable
}

// shelves are those of scopes below main.
type shelves struct {
	scopes *catalog.Scopes // nil: none

	mu   sync.Mutex
	kept map[string]*shelf
}

// maxShelves bounds those that are kept: some more than scopes that are open at once.
const maxShelves = 100

// shelf gives a scope's, until release is called.
func (s *Server) shelf(scope string, action auth.Action) (x *shelf, release func(), err error) {
	if s.shelves.scopes == nil {
		return nil, nil, refuse(http.StatusForbidden, "this server has no scopes, and you are bound to "+scope)
	}
	view, release, err := s.shelves.scopes.View(scope, action == auth.Upload)
	if err != nil {
		return nil, nil, fmt.Errorf("scope %s: %w", scope, err)
	}
	s.shelves.mu.Lock()
	defer s.shelves.mu.Unlock()
	if x = s.shelves.kept[scope]; x == nil || x.catalog != view {
		if s.shelves.kept == nil || len(s.shelves.kept) >= maxShelves {
			s.shelves.kept = make(map[string]*shelf)
		}
		x = newShelf(s, view, scope, scopeMemory)
		s.shelves.kept[scope] = x
	}
	return x, release, nil
}
