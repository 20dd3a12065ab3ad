package curd

import (
	"context"
	"errors"
	"io/fs"
	"sync"

	"golang.org/x/sync/errgroup"

	"curdling/internal/dist"
	"curdling/internal/resolve"
	"curdling/internal/version"
)

// Latest is the newest version of a project that an environment could have.
type Latest struct {
	Version version.Version
	Kind    dist.Kind // of the file that would be installed
}

// Outdated asks the cache servers and indexes of Options for the newest version
// of each distribution, and gives those that are newer than what is there.
// Yanked versions do not count, prereleases where Options admit them. A project
// that nobody knows is left out.
func (e *Environment) Outdated(ctx context.Context, o Options) (map[dist.Name]Latest, error) {
	o.Upgrade = true // the newest of all places
	s, err := newSession(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if len(s.caches)+len(s.indexes) == 0 {
		return nil, errors.New("nobody to ask for newer versions: name an index with -i URL or a cache server with -c URL")
	}
	src := s.newSource(e.Python, nil)
	found := map[dist.Name]Latest{}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	defer src.ahead.Wait()
	for _, d := range e.Distributions {
		group.Go(func() error {
			candidates, err := src.Files(ctx, d.Name, version.All())
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if l := newest(candidates, o.Prereleases); l.Version.Compare(d.Version) > 0 {
				mu.Lock()
				defer mu.Unlock()
				found[d.Name] = l
			}
			return err
		})
	}
	return found, group.Wait()
}

// newest gives the first usable candidate; they come with the newest first.
func newest(candidates []resolve.Candidate, prereleases bool) Latest {
	for _, c := range candidates {
		if c.Barred == "" && !c.Yanked && (prereleases || !c.Version.IsPrerelease()) {
			return Latest{c.Version, c.Kind}
		}
	}
	return Latest{}
}
