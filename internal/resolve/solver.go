package resolve

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"curdling/internal/dist"
	"curdling/internal/requirement"
	"curdling/internal/version"
)

// solver is one run of Solve.
type solver struct {
	partial
	ctx      context.Context
	problem  Problem
	source   Source
	projects []*project // in the order of discovery, extras included
	byName   map[projectKey]*project
	limits   map[dist.Name][]limit
	facts    int // stated

	toEarly, toLate []*project // that the next reorder gives a role
	toRedo          []*project // that the next reorder goes back to before
	taken           []*release // that Problem.Trace was told of
}

type projectKey struct{ name, extra dist.Name }

// limit is a constraint.
type limit struct {
	*need
	where string
}

func newSolver(ctx context.Context, p Problem, src Source) *solver {
	return &solver{
		ctx:     ctx,
		problem: p,
		source:  src,
		byName:  map[projectKey]*project{},
		limits:  map[dist.Name][]limit{},
	}
}

// begin states what the user wants.
func (s *solver) begin() error {
	for _, w := range s.problem.Constraints {
		ok, err := w.holds(s.problem.Markers)
		if err != nil {
			return err
		}
		if ok {
			s.limits[w.Name] = append(s.limits[w.Name], limit{newLimit(w.Requirement), w.where()})
		}
	}
	for _, w := range s.problem.Requirements {
		ok, err := w.holds(s.problem.Markers)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		n := newNeed(w.Requirement)
		p := s.project(n.Name, "")
		p.wants, p.requested = append(p.wants, n), true
		s.state(&fact{kind: asked, where: w.where(), to: p, set: *p.admitted(n), what: n.what()})
		for _, e := range n.Extras {
			s.state(&fact{kind: asked, where: w.where(), to: s.project(n.Name, e), set: everything(), what: n.what()})
		}
	}
	return nil
}

// project gives a project or an extra of one; a new one comes with its constraints.
func (s *solver) project(name, extra dist.Name) *project {
	key := projectKey{name, extra}
	if p := s.byName[key]; p != nil {
		return p
	}
	p := &project{name: name, extra: extra, byKey: map[string]*release{}, stated: map[statement]*incompatibility{}, sets: map[string]*set{}}
	p.project = p
	p.urgency = urgency{order: len(s.projects), conflict: peaceful}
	s.byName[key] = p
	s.projects = append(s.projects, p)
	if extra != "" {
		p.base = s.project(name, "")
		p.base.extras = append(p.base.extras, p)
		return p
	}
	for _, l := range s.limits[name] {
		p.wants = append(p.wants, l.need)
		s.state(&fact{kind: limited, where: l.where, to: p, set: *p.admitted(l.need), what: l.what()})
	}
	return p
}

// state makes a fact known, and gives what it says, nil for nothing. It is
// looked at in the next propagation, or, for a need, when its release is tried.
func (s *solver) state(f *fact) *incompatibility {
	s.facts++
	f.order = s.facts
	inc := incompatibilityOf(f, own)
	if inc == nil {
		return nil
	}
	s.add(inc)
	if f.kind != needed {
		s.enqueue(&f.to.pkg)
	}
	return inc
}

// solve decides for one project after the other.
func (s *solver) solve() (*Solution, error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	for {
		if err := s.ctx.Err(); err != nil {
			return nil, err
		}
		if failure := s.settle(); failure != nil {
			if s.problem.Unexplained {
				return nil, &Conflict{"the requirements cannot be met together"}
			}
			return nil, s.conflict(failure)
		}
		if s.problem.Trace != nil {
			s.traceUndone("")
		}
		if back := s.reorder(); back || s.expandExtras() {
			if back && s.problem.Trace != nil {
				s.traceUndone("what it keeps conflicting with is chosen first")
			}
			continue
		}
		if done, err := s.next(); err != nil {
			return nil, err
		} else if done {
			return s.solution(), nil
		}
	}
}

// next decides for the most urgent project, or states why it cannot.
func (s *solver) next() (done bool, err error) {
	var held *project
	var costly *release
	for p := range s.undecided() {
		r, c, err := s.choose(p)
		switch {
		case err != nil:
			return false, err
		case c == found && !s.waits(r):
			return false, s.try(r)
		case c == found && costly == nil:
			costly = r
		case c == found:
		case c == none:
			return false, nil
		case held == nil:
			held = p
		}
	}
	switch {
	case costly != nil:
		return false, s.try(costly)
	case held == nil:
		return true, nil
	}
	s.exclude(held)
	return false, nil
}

// try decides for r, unless something that it needs is already known not to
// fit: then propagation, which knows the needs now, excludes it.
func (s *solver) try(r *release) error {
	if ok, err := s.read(r); !ok {
		return err
	}
	p := r.project
	s.expand(r, nil)
	incs := r.needs[nil].incompatibilities
	for _, e := range p.extras {
		if s.needed(&e.pkg) {
			s.expand(r, e)
			incs = slices.Concat(incs, r.needs[e].incompatibilities)
		}
	}
	for _, inc := range incs {
		if s.holdsWith(inc, p) {
			s.blame(p, inc)
			s.enqueue(&p.pkg)
			return nil
		}
	}
	if s.problem.Trace != nil {
		s.traceTaken(r)
	}
	p.chosen = r
	s.decide(&p.pkg, r.place, version.Set{})
	return nil
}

// holdsWith tells whether inc holds once its term on p does.
func (s *solver) holdsWith(inc *incompatibility, p *project) bool {
	for i := range inc.terms {
		if t := &inc.terms[i]; t.pkg != &p.pkg {
			if implied, _ := s.judge(t); !implied {
				return false
			}
		}
	}
	return true
}

// expandExtras states the needs of extras that came to be needed after their
// project was decided.
func (s *solver) expandExtras() (more bool) {
	for _, e := range s.projects {
		if e.base == nil || !e.base.decided || !s.needed(&e.pkg) {
			continue
		}
		if _, ok := e.base.chosen.needs[e]; !ok {
			s.expand(e.base.chosen, e)
			s.enqueue(&e.pkg)
			more = true
		}
	}
	return more
}

// expand states what r needs with an extra, or without (nil).
func (s *solver) expand(r *release, extra *project) {
	if _, ok := r.needs[extra]; ok {
		return
	}
	all := needs{of: map[*project][]*need{}}
	for i, req := range r.requires {
		if s.holdsFor(r, i, extra) {
			n, to := newNeed(req), s.project(req.Name, "")
			all.list = append(all.list, n)
			all.of[to] = append(all.of[to], n)
			all.incompatibilities = append(all.incompatibilities, s.stateNeed(r, extra, n, to)...)
		}
	}
	r.needs[extra] = all
}

// stateNeed states one requirement of r, for all releases that have it in
// common at once: there are far fewer requirements than releases.
func (s *solver) stateNeed(r *release, extra *project, n *need, to *project) []*incompatibility {
	from := r.project
	if by := (needer{from, extra}); !slices.Contains(to.needers, by) {
		to.needers = append(to.needers, by)
	}
	f := fact{kind: needed, from: from, extra: extra, in: only(&from.pkg, r.place), to: to, set: *to.admitted(n), what: n.what()}
	incs := s.stateFor(f)
	f.set = everything()
	for _, e := range n.Extras {
		f.to = s.project(n.Name, e)
		incs = append(incs, s.stateFor(f)...)
	}
	return incs
}

func (s *solver) stateFor(f fact) []*incompatibility {
	common := statement{f.extra, f.to, f.what}
	if inc := f.from.stated[common]; inc != nil {
		t := &inc.terms[0]
		t.in, inc.dead = t.fit().or(&f.in), false
		inc.fact.in = t.in
		return []*incompatibility{inc}
	}
	inc := s.state(&f)
	if inc == nil { // r needs itself
		return nil
	}
	if f.to != f.from {
		f.from.stated[common] = inc
	}
	return []*incompatibility{inc}
}

// read asks the source what r needs; false where its file turned out to be
// unusable: then another file or release is to be chosen.
func (s *solver) read(r *release) (bool, error) {
	if r.needs != nil {
		return true, nil
	}
	requires, err := s.source.Requires(s.ctx, *r.files[0])
	if err == nil {
		err = s.keep(r, requires)
	}
	var unfit *Unusable
	switch {
	case err == nil:
		return true, nil
	case !errors.As(err, &unfit):
		return false, fmt.Errorf("%s: %w", r, err)
	}
	s.fail(r, unfit)
	return false, nil
}

// keep notes what r needs, and which of it without an extra.
func (s *solver) keep(r *release, requires []requirement.Requirement) error {
	plain := make([]bool, len(requires))
	for i, req := range requires {
		var err error
		if plain[i], err = req.Marker.Holds(s.problem.Markers, ""); err != nil {
			return &Unusable{fmt.Sprintf("the marker of %q cannot be evaluated", req), err}
		}
	}
	r.requires, r.plain, r.needs = requires, plain, map[*project]needs{}
	return nil
}

// holdsFor tells whether r's requirement at i holds with an extra, nil for
// none. With one, what holds without is left out.
func (s *solver) holdsFor(r *release, i int, extra *project) bool {
	if extra == nil || r.plain[i] {
		return extra == nil && r.plain[i]
	}
	// What can go wrong does so for every extra, and then did in keep.
	holds, err := r.requires[i].Marker.Holds(s.problem.Markers, string(extra.extra))
	return holds && err == nil
}
