package mirror

import (
	"context"
	"errors"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"curdling/internal/dist"
	"curdling/internal/store"
)

// Names are the names that are an upstream's, for who copies them. A server that runs over a file of them does not see what is added.
type Names struct {
	names
	all func(ctx context.Context) ([]dist.Name, error)
}

// NamesInFile gives those in a text file ([Config.Claims]), which is made when one is added.
func NamesInFile(path string) (*Names, error) {
	c, err := openClaims(path)
	if err != nil {
		return nil, err
	}
	return &Names{c, func(context.Context) (all []dist.Name, err error) {
		for name := range c.names {
			all = append(all, name)
		}
		return all, nil
	}}, nil
}

// NamesInStore gives those that several servers write down ([Config.Shared]).
func NamesInStore(s store.Versioned) *Names {
	shared := newSharedClaims(s)
	return &Names{shared, shared.all}
}

// All gives them, in no particular order.
func (n *Names) All(ctx context.Context) ([]dist.Name, error) { return n.all(ctx) }

// Add writes down, for good, that a name is an upstream's, unless it is the house's: then theirs is false.
func (n *Names) Add(ctx context.Context, name dist.Name) (theirs bool, err error) {
	o, err := n.take(ctx, name, upstreams)
	return o == upstreams, err
}

// Close ends the use of a file.
func (n *Names) Close() error { return n.close() }

// all asks for each that is listed whose it is.
func (s *sharedClaims) all(ctx context.Context) (all []dist.Name, err error) {
	var (
		mu sync.Mutex
		g  errgroup.Group
	)
	g.SetLimit(32)
	for info, err := range s.store.List(ctx, claimsPrefix) {
		if err != nil {
			return nil, errors.Join(err, g.Wait())
		}
		text := strings.TrimPrefix(info.Key, claimsPrefix)
		name, err := dist.ParseName(text)
		if err != nil || string(name) != text {
			continue
		}
		g.Go(func() error {
			o, err := s.owner(ctx, name)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if o == upstreams {
				all = append(all, name)
			}
			return nil
		})
	}
	err = g.Wait()
	return all, err
}
