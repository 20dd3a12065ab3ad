package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"curdling/internal/dist"
	"curdling/internal/store"
)

const (
	claimsPrefix = "upstream/"
	claimFor     = time.Minute      // what was asked is believed
	claimTimeout = 10 * time.Second // for an answer
	mostClaims   = 100_000          // names of which it is known
)

// Whose a name is, and what people may want to know who look there.
const (
	theirClaim = "upstream\nA file of this project was fetched from an upstream before one was uploaded: its name is the upstream's.\n"
	houseClaim = "house\nA file of this project was uploaded before one was fetched from an upstream: no upstream is asked for it.\n"
)

// sharedClaims are names in a store of several servers: "upstream/flask" says whose flask is. One conditional put decides, and what comes late
// changes nothing. Each name is asked for by itself.
type sharedClaims struct {
	store  store.Versioned
	flight singleflight.Group

	mu    sync.Mutex
	names map[dist.Name]claim
}

type claim struct {
	owner owner
	at    time.Time // it was seen
}

func newSharedClaims(s store.Versioned) *sharedClaims {
	return &sharedClaims{store: s, names: make(map[dist.Name]claim)}
}

func (s *sharedClaims) get(name dist.Name) (c claim, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok = s.names[name]
	return c, ok
}

func (s *sharedClaims) set(name dist.Name, o owner, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.names[name].at.After(at) { // somebody saw it later
		return
	}
	if len(s.names) >= mostClaims {
		clear(s.names)
	}
	s.names[name] = claim{o, at}
}

func (s *sharedClaims) known(name dist.Name) (o owner, ok bool) {
	c, ok := s.get(name)
	return c.owner, ok && (c.owner != nobodys || time.Since(c.at) < claimFor)
}

// owner believes for a minute what was seen, and longer, where nobody answers, that a name is somebody's.
func (s *sharedClaims) owner(ctx context.Context, name dist.Name) (owner, error) {
	c, ok := s.get(name)
	if ok && time.Since(c.at) < claimFor {
		return c.owner, nil
	}
	asked := s.flight.DoChan(string(name), func() (any, error) { return s.ask(context.WithoutCancel(ctx), name) })
	select {
	case r := <-asked:
		switch {
		case r.Err == nil:
			return r.Val.(owner), nil
		case c.owner != nobodys:
			return c.owner, nil
		}
		return nobodys, r.Err
	case <-ctx.Done():
		return nobodys, context.Cause(ctx)
	}
}

// ask asks the store.
func (s *sharedClaims) ask(ctx context.Context, name dist.Name) (o owner, err error) {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	began := time.Now()
	text, _, err := s.store.Get(ctx, claimsPrefix+string(name), "")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		o, err = nobodys, nil
	case err == nil:
		o = parseClaim(string(text))
	}
	if err != nil {
		return nobodys, err
	}
	s.set(name, o, began)
	return o, nil
}

// parseClaim reads whose a name is. What nobody can read is taken by no upstream.
func parseClaim(text string) owner {
	if first, _, _ := strings.Cut(text, "\n"); strings.TrimSpace(first) == "upstream" {
		return upstreams
	}
	return house
}

func (s *sharedClaims) take(ctx context.Context, name dist.Name, by owner) (owner, error) {
	if c, _ := s.get(name); c.owner != nobodys {
		return c.owner, nil
	}
	text := houseClaim
	if by == upstreams {
		text = theirClaim
	}
	bounded, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	_, err := s.store.Put(bounded, claimsPrefix+string(name), "", []byte(text))
	switch {
	case err == nil:
		s.set(name, by, time.Now())
		return by, nil
	case !errors.Is(err, store.ErrChanged):
		return nobodys, fmt.Errorf("whose name %s is: %w", name, err)
	}
	return s.ask(ctx, name)
}

func (s *sharedClaims) close() error { return nil }
