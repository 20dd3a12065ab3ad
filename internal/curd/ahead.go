package curd

import (
	"context"
	"slices"

	"curdling/internal/dist"
	"curdling/internal/requirement"
	"curdling/internal/resolve"
)

// prefetch asks ahead of the solver for what it will most likely want next:
// the pages of what was just required, and the metadata of the first candidate on them.
func (s *source) prefetch(ctx context.Context, reqs []requirement.Requirement) {
	for _, r := range reqs {
		if ok, err := r.Marker.Holds(s.python.Markers, ""); !ok || err != nil {
			continue
		}
		s.ahead.Go(func() {
			want := r.Specifiers.Set()
			candidates, err := s.Files(ctx, r.Name, want)
			if err != nil {
				return
			}
			for _, c := range candidates {
				if c.Barred == "" && !c.Yanked && want.Contains(c.Version) &&
					(!c.Version.IsPrerelease() || s.Prereleases || r.Specifiers.NamesPrerelease()) {
					if c.Kind == dist.Wheel || isInstalled(c.File) { // that of a source may have to be built
						_, _ = s.describe(ctx, c.File) // the solver will ask again, and hear of an error
					}
					return
				}
			}
		})
	}
}

// Backtracking: after patience versions of one project, the metadata of the
// next ones are fetched together, twice as many as were wanted so far.
const (
	patience     = 4
	maxLookAhead = 64
)

// lookAhead fetches the metadata of the versions after f, where the solver is going through them one by one.
func (s *source) lookAhead(ctx context.Context, f dist.File) {
	p := s.project(f.Name)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads++
	if p.reads < max(patience, p.fetched) {
		return
	}
	batch := min(2*p.reads, maxLookAhead)
	p.fetched = p.reads + batch
	at := slices.IndexFunc(p.candidates, func(c resolve.Candidate) bool { return c.URL == f.URL })
	for _, c := range p.candidates[at+1:] {
		if c.Barred != "" || c.Yanked || c.Kind != dist.Wheel || c.BuildKey != "" && len(s.Trusted) > 0 || c.Version.IsPrerelease() && !f.Version.IsPrerelease() {
			continue
		}
		if batch--; batch < 0 {
			return
		}
		s.ahead.Go(func() { _, _ = s.wheelMetadata(ctx, c.File) })
	}
}
