package curd

import (
	"context"
	"fmt"
	"slices"

	"curdling/internal/dist"
	"curdling/internal/requirement"
	"curdling/internal/resolve"
	"curdling/internal/version"
)

// maxGuess is up to how many bytes a file is downloaded that only prefetch chose.
const maxGuess = 32 << 20

// prefetch asks ahead of the solver for what it will most likely want next: the best candidate of each requirement,
// with the extras that are asked for, and of what that requires in turn. Each level of requirements takes two
// round trips so, for the page and the metadata, in whatever order the solver goes through them. Meanwhile a wheel that
// is not large is downloaded, and a source that the user pins is built.
func (s *source) prefetch(ctx context.Context, reqs []requirement.Requirement, extras []dist.Name) {
	for _, r := range reqs {
		if !s.needs(r, extras) {
			continue
		}
		s.ahead.Go(func() {
			want := r.Specifiers.Set()
			if limit, ok := s.limits[r.Name]; ok {
				want = want.Intersect(limit)
			}
			candidates, err := s.Files(ctx, r.Name, want)
			if err != nil {
				return
			}
			i := slices.IndexFunc(candidates, func(c resolve.Candidate) bool {
				return c.Barred == "" && !c.Yanked && want.Contains(c.Version) &&
					(!c.Version.IsPrerelease() || s.Prereleases || r.Specifiers.NamesPrerelease())
			})
			if i < 0 {
				return
			}
			f := candidates[i].File
			_, pinned := r.Specifiers.Pinned()
			if f.Kind == dist.Sdist && !pinned && !s.pinned[r.Name] { // it may have to be run, for a version that is not taken
				return
			}
			md, err := s.describe(ctx, f) // the solver will ask again, and hear of an error
			if err != nil || !md.RequiresPython.Contains(s.python.Version) || !s.foresee(f, r.Extras) {
				return
			}
			if f.Kind == dist.Sdist && s.eager && !s.nested && s.pinned[f.Name] && s.asked[f.Name] {
				s.buildAhead(f)
			}
			if !s.nested && f.Kind == dist.Wheel && onWeb(f) && f.Size <= maxGuess {
				s.fetchAhead(s.background, f)
			}
			if s.nested || !s.NoDeps {
				s.prefetch(ctx, slices.DeleteFunc(slices.Clone(md.RequiresDist), func(r requirement.Requirement) bool { return r.URL != "" }), r.Extras)
			}
		})
	}
}

// limit sets limits.
func (s *source) limit(p resolve.Problem) {
	s.limits, s.pinned = map[dist.Name]version.Set{}, map[dist.Name]bool{}
	for _, w := range slices.Concat(p.Requirements, p.Constraints) {
		if !s.needs(w.Requirement, nil) {
			continue
		}
		limit, ok := s.limits[w.Name]
		if !ok {
			limit = version.All()
		}
		s.limits[w.Name] = limit.Intersect(w.Specifiers.Set())
		if _, pins := w.Specifiers.Pinned(); pins {
			s.pinned[w.Name] = true
		}
	}
}

// needs tells whether a requirement of a release is in force with some of the release's extras.
func (s *source) needs(r requirement.Requirement, extras []dist.Name) bool {
	return slices.ContainsFunc(append([]dist.Name{""}, extras...), func(extra dist.Name) bool {
		ok, err := r.Marker.Holds(s.python.Markers, string(extra))
		return ok && err == nil
	})
}

// foresee tells whether prefetch comes to what a file requires, with these extras, for the first time.
func (s *source) foresee(f dist.File, extras []dist.Name) bool {
	key := f.URL + fmt.Sprint(extras)
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := s.foreseen[key]
	s.foreseen[key] = true
	return !seen
}

// buildAhead begins to build a source that will be needed. Whoever prepares it hears what comes of it. Where
// its hash is yet to be held against those that it must have, nothing of it is run.
func (s *source) buildAhead(f dist.File) {
	p := &prepared{choice: resolve.Choice{File: f}}
	if f.SHA256 == "" || s.hasOtherHashes(p) {
		return
	}
	s.running.Go(func() { _, _ = s.built(s.background, s.sdistRecipe(f, held{sha256: f.SHA256}, s.python)) })
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
