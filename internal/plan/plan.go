// Package plan answers, on a server, what a client will need to install some requirements: it
// runs the solver over what the server has, and notes what the solver looked at.
//
// The client's own solver looks at the same facts again, and its answer counts. So a plan need not be right,
// only its pages must be: they are the server's pages, without the files that a client which asks
// for plans has no use for. No code of anybody runs here: what a source distribution needs is known
// where a wheel of the same version is there, and is else taken for nothing.
//
// Limits: 2,000 projects and 4,000 files of metadata are looked at, for as long as the context allows.
package plan

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"unicode/utf8"

	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/metadata"
	"curdling/internal/requirement"
	"curdling/internal/resolve"
	"curdling/internal/tag"
	"curdling/internal/version"
)

const (
	maxProjects = 2000
	maxMetadata = 4000
	maxSize     = 16 << 20 // bytes of all pages and metadata; what goes beyond is left out
)

// Facts is what one reader may see on a server.
type Facts interface {
	// Page gives a project's page as [index.TypeBuilds] has it; fs.ErrNotExist: there is none. Another error: that is not known now.
	Page(context.Context, dist.Name) (*index.Project, error)
	// Metadata gives METADATA of a wheel on a page. An error: it cannot be had now.
	Metadata(context.Context, dist.File) ([]byte, error)
	// Expect hears which pages are probably asked for soon.
	Expect(context.Context, []dist.Name)
}

// errTooMuch ends a solve that looks at too much.
var errTooMuch = errors.New("the plan is too large")

// Make makes a plan for the question q that was parsed into requirements and constraints. It is whole unless facts
// could not be had, or ctx ended, or it would be too large: then it has what was found until then.
func Make(ctx context.Context, q *index.PlanQuestion, requirements, constraints []requirement.Requirement, facts Facts) (p *index.Plan, whole bool) {
	s := &source{
		facts: facts, question: q, ranks: tag.Rank(tag.Supported(q.Target)), whole: true,
		projects: map[dist.Name]*project{},
	}
	s.expect(ctx, requirements)
	solution, err := resolve.Solve(ctx, resolve.Problem{
		Requirements: wanted(requirements), Constraints: wanted(constraints), Markers: q.Markers, Prereleases: q.Prereleases, Unexplained: true,
	}, s)
	p = s.plan()
	if err == nil {
		for _, c := range solution.Chosen {
			if c.File.Kind == dist.Wheel {
				p.Chosen = append(p.Chosen, c.File.Filename)
			}
		}
	}
	var conflict *resolve.Conflict
	return p, s.whole && ctx.Err() == nil && (err == nil || errors.As(err, &conflict) || errors.Is(err, fs.ErrNotExist))
}

func wanted(all []requirement.Requirement) []resolve.Wanted {
	w := make([]resolve.Wanted, len(all))
	for i, r := range all {
		w[i].Requirement = r
	}
	return w
}

// source answers the solver, and notes what it asks for.
type source struct {
	facts    Facts
	question *index.PlanQuestion
	ranks    tag.Ranking
	projects map[dist.Name]*project
	whole    bool
	read     int // of metadata
}

// project is what the solver looked at of one.
type project struct {
	page       *index.Project // nil: it is not known, or that there is none
	err        error
	candidates []resolve.Candidate
	witness    map[string]dist.File // by URL of a source distribution: a wheel of the same version
	metadata   map[string]string    // by file name
}

// Files implements resolve.Source.
func (s *source) Files(ctx context.Context, name dist.Name, _ version.Set) ([]resolve.Candidate, error) {
	p := s.projects[name]
	if p == nil {
		if len(s.projects) == maxProjects {
			return nil, s.giveUp(errTooMuch)
		}
		p = &project{witness: map[string]dist.File{}, metadata: map[string]string{}}
		s.projects[name] = p
		page, err := s.facts.Page(ctx, name)
		if err == nil {
			p.page = cut(page, s.sort)
			s.choose(p)
		} else if p.err = err; !errors.Is(err, fs.ErrNotExist) {
			s.whole = false
		}
	}
	return slices.Clone(p.candidates), p.err
}

func (s *source) giveUp(err error) error {
	s.whole = false
	return err
}

// Requires implements resolve.Source.
func (s *source) Requires(ctx context.Context, f dist.File) ([]requirement.Requirement, error) {
	p := s.projects[f.Name]
	if f.Kind == dist.Sdist {
		var ok bool
		if f, ok = p.witness[f.URL]; !ok {
			return nil, nil
		}
	}
	if s.read++; s.read > maxMetadata {
		return nil, s.giveUp(errTooMuch)
	}
	text, err := s.facts.Metadata(ctx, f)
	if err != nil {
		return nil, s.giveUp(err)
	}
	m, err := metadata.Parse(text)
	if err != nil || m.Name != f.Name || m.Version.Compare(f.Version) != 0 {
		return nil, &resolve.Unusable{Reason: "its metadata is wrong", Err: err} // which the client reads itself
	}
	if needs := metadata.ForSolving(text); utf8.Valid(needs) { // JSON has nothing else
		p.metadata[f.Filename] = string(needs)
	}
	if !m.RequiresPython.Contains(s.question.Python) {
		return nil, &resolve.Unusable{Reason: "needs another Python"}
	}
	named := slices.DeleteFunc(m.RequiresDist, func(r requirement.Requirement) bool { return r.URL != "" })
	s.expect(ctx, named)
	return named, nil
}

// expect tells the facts which pages are wanted next.
func (s *source) expect(ctx context.Context, all []requirement.Requirement) {
	var names []dist.Name
	for _, r := range all {
		holds, err := r.Marker.Holds(s.question.Markers, "")
		if _, known := s.projects[r.Name]; holds && err == nil && !known && !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	s.facts.Expect(ctx, names)
}

// sort tells of what use a file is to the asker.
func (s *source) sort(f *dist.File) use {
	_, fits := s.ranks.Best(f.Tags)
	switch {
	case f.Kind == dist.Wheel && !fits:
		return foreign
	case f.Kind != dist.Wheel, f.BuildKey != "", f.Yanked, !f.RequiresPython.Contains(s.question.Python),
		slices.ContainsFunc(f.Tags, func(t tag.Tag) bool { return isOwn(t.Platform) }):
		return perhaps
	}
	return sure
}

// choose gives the solver the best file of each version, newest version first. A build counts as a source
// distribution: whether it is what the client would build, only the client knows.
func (s *source) choose(p *project) {
	type choice struct {
		f    dist.File
		rank int
	}
	best := map[string]choice{}
	witness := map[string]choice{} // the wheel of each version that tells best what it needs
	for _, f := range p.page.Files {
		key, rank := f.Version.Key(), sdistRank
		if f.Kind == dist.Wheel {
			r, fits := s.ranks.Best(f.Tags)
			if rank = r; !fits {
				rank = sdistRank + 1
			}
			if w, ok := witness[key]; !ok || rank < w.rank {
				witness[key] = choice{f, rank}
			}
			if !fits || f.BuildKey != "" {
				continue
			}
		}
		b, ok := best[key]
		if !ok || f.Yanked != b.f.Yanked && b.f.Yanked || f.Yanked == b.f.Yanked && (rank < b.rank || rank == b.rank && f.Build.Compare(b.f.Build) > 0) {
			best[key] = choice{f, rank}
		}
	}
	for key, b := range best {
		if w, ok := witness[key]; ok && b.f.Kind == dist.Sdist {
			p.witness[b.f.URL] = w.f
		}
		barred := ""
		if !b.f.RequiresPython.Contains(s.question.Python) || p.page.Status == "quarantined" {
			barred = "not for this Python"
		}
		p.candidates = append(p.candidates, resolve.Candidate{File: b.f, Barred: barred})
	}
	for key, w := range witness { // of what is there as a build alone
		if _, ok := best[key]; !ok && w.f.BuildKey != "" && w.rank < sdistRank {
			p.candidates = append(p.candidates, resolve.Candidate{File: w.f})
		}
	}
	slices.SortFunc(p.candidates, func(a, b resolve.Candidate) int { return b.Version.Compare(a.Version) })
}

const sdistRank = 1 << 30

// plan puts together what the solver looked at.
func (s *source) plan() *index.Plan {
	plan := &index.Plan{Projects: []index.PlannedProject{}}
	room := maxSize
	for name, p := range s.projects {
		switch {
		case errors.Is(p.err, fs.ErrNotExist):
			plan.Unknown = append(plan.Unknown, name)
			continue
		case p.page == nil:
			continue
		}
		page, err := index.RenderProject(p.page, index.TypeBuilds)
		for _, text := range p.metadata {
			room -= len(text)
		}
		if room -= len(page); room < 0 || err != nil {
			room, s.whole = 0, false
			continue
		}
		plan.Projects = append(plan.Projects, index.PlannedProject{Name: name, Page: json.RawMessage(page), Metadata: p.metadata})
	}
	slices.Sort(plan.Unknown)
	slices.SortFunc(plan.Projects, func(a, b index.PlannedProject) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return plan
}
