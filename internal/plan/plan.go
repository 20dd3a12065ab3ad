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
	maxTries    = 50       // solves, each without a project more that is not here
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

var (
	// errTooMuch ends a solve that looks at too much.
	errTooMuch = errors.New("the plan is too large")
	// errLacking ends a solve that came to a project which is not here, to be begun again without it.
	errLacking = errors.New("a project is not here")
)

// Make makes a plan for the question q that was parsed into requirements and constraints. It is whole unless facts
// could not be had, or ctx ended, or it would be too large: then it has what was found until then.
//
// What a server lacks, others have: a requirement that nothing here meets is left out of the solve.
func Make(ctx context.Context, q *index.PlanQuestion, requirements, constraints []requirement.Requirement, facts Facts) (p *index.Plan, whole bool) {
	s := &source{
		facts: facts, question: q, ranks: tag.Rank(tag.Supported(q.Target)), whole: true,
		projects: map[dist.Name]*project{},
	}
	var solution *resolve.Solution
	err := errLacking
	for tries := 0; errors.Is(err, errLacking) && tries < maxTries; tries++ {
		solution, err = resolve.Solve(ctx, resolve.Problem{
			Requirements: wanted(s.met(ctx, requirements)), Constraints: wanted(constraints), Markers: q.Markers, Prereleases: q.Prereleases, Unexplained: true,
		}, s)
	}
	p = s.plan()
	if err == nil {
		for _, c := range solution.Chosen {
			if c.File.Kind == dist.Wheel {
				p.Chosen = append(p.Chosen, c.File.Filename)
			}
		}
	}
	var conflict *resolve.Conflict
	return p, s.whole && ctx.Err() == nil && (err == nil || errors.As(err, &conflict))
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
	page       *index.Project
	err        error // there is none; that may be known, too
	candidates []resolve.Candidate
	witness    map[string]dist.File // by URL of a source distribution: a wheel of the same version
	metadata   map[string]string    // by file name
	needs      map[string]needs     // likewise
}

// needs is what a file needs.
type needs struct {
	all []requirement.Requirement
	err error
}

// project looks at a project.
func (s *source) project(ctx context.Context, name dist.Name) *project {
	p := s.projects[name]
	if p != nil {
		return p
	}
	p = &project{witness: map[string]dist.File{}, metadata: map[string]string{}, needs: map[string]needs{}, err: errTooMuch}
	var page *index.Project
	if len(s.projects) < maxProjects {
		s.projects[name] = p
		page, p.err = s.facts.Page(ctx, name)
	}
	switch {
	case p.err == nil:
		p.page = cut(page, s.sort)
		s.choose(p)
	case !errors.Is(p.err, fs.ErrNotExist):
		s.whole = false
	}
	return p
}

// Files implements resolve.Source.
func (s *source) Files(ctx context.Context, name dist.Name, _ version.Set) ([]resolve.Candidate, error) {
	p := s.project(ctx, name)
	if p.err != nil && s.projects[name] != nil {
		return nil, errLacking
	}
	return slices.Clone(p.candidates), p.err
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
	n, ok := p.needs[f.Filename]
	if !ok {
		n.all, n.err = s.readNeeds(ctx, p, f)
		p.needs[f.Filename] = n
	}
	if s.question.NoDeps {
		return nil, n.err
	}
	return s.met(ctx, n.all), n.err
}

func (s *source) readNeeds(ctx context.Context, p *project, f dist.File) ([]requirement.Requirement, error) {
	if s.read++; s.read > maxMetadata {
		s.whole = false
		return nil, errTooMuch
	}
	text, err := s.facts.Metadata(ctx, f)
	if err != nil {
		s.whole = false
		return nil, ctx.Err() // the client reads it itself
	}
	m, err := metadata.Parse(text)
	if err != nil || m.Name != f.Name || m.Version.Compare(f.Version) != 0 {
		return nil, &resolve.Unusable{Reason: "its metadata is wrong", Err: err} // likewise
	}
	if text := metadata.ForSolving(text); utf8.Valid(text) { // JSON has nothing else
		p.metadata[f.Filename] = string(text)
	}
	if !m.RequiresPython.Contains(s.question.Python) {
		return nil, &resolve.Unusable{Reason: "needs another Python"}
	}
	return slices.DeleteFunc(m.RequiresDist, func(r requirement.Requirement) bool { return r.URL != "" }), nil
}

// met gives the requirements that something here may meet. It looks ahead at those that hold without an extra, as the client does.
func (s *source) met(ctx context.Context, all []requirement.Requirement) []requirement.Requirement {
	hold := func(r requirement.Requirement) bool {
		ok, err := r.Marker.Holds(s.question.Markers, "")
		return ok && err == nil
	}
	var unseen []dist.Name
	for _, r := range all {
		if s.projects[r.Name] == nil && hold(r) {
			unseen = append(unseen, r.Name)
		}
	}
	s.facts.Expect(ctx, unseen)
	return slices.DeleteFunc(slices.Clone(all), func(r requirement.Requirement) bool {
		p := s.projects[r.Name]
		if p == nil && hold(r) {
			p = s.project(ctx, r.Name)
		}
		return p != nil && (p.err != nil || !slices.ContainsFunc(p.candidates, func(c resolve.Candidate) bool {
			return c.Barred == "" && r.Specifiers.Contains(c.Version)
		}))
	})
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
		case p.err != nil:
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
