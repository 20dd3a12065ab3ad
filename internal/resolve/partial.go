package resolve

import (
	"sort"

	"curdling/internal/version"
)

// pkg is a package as the engine sees it: something with versions, of which at
// most one is chosen.
type pkg struct {
	project           *project
	incompatibilities []*incompatibility // with a term on it
	history           []int              // its assignments, as places in the trail
	versions          []version.Version  // those that are listed, in no order
	decided           bool
	place             int // in versions, of the one decided for; -1 where it is a set
	queued            bool
}

// assignment is one step of the partial solution. Its term is what is known of
// the package with this step and all before it.
type assignment struct {
	term
	cause *incompatibility // that it was derived from; nil for a decision
	level int              // decisions up to here
	skip  [2]int           // see project.first
}

// partial is the partial solution: what was decided, and what follows. The zero
// value is empty.
type partial struct {
	trail []assignment
	level int
	queue []*pkg           // changed since the last propagation
	dead  []deadAt         // incompatibilities marked dead
	empty *incompatibility // an incompatibility without terms, where there is one
	log   []learned        // since the last reorder
}

// learned is what a conflict taught, and the package that it was about.
type learned struct {
	pkg *pkg
	inc *incompatibility
}

type deadAt struct {
	inc   *incompatibility
	level int
}

// add makes an incompatibility known.
func (s *partial) add(inc *incompatibility) {
	if len(inc.terms) == 0 {
		s.empty = inc
	}
	for _, t := range inc.terms {
		t.pkg.incompatibilities = append(t.pkg.incompatibilities, inc)
	}
}

// enqueue has p's incompatibilities looked at in the next propagation.
func (s *partial) enqueue(p *pkg) {
	if !p.queued {
		p.queued = true
		s.queue = append(s.queue, p)
	}
}

// last gives p's newest assignment, nil where there is none.
func (s *partial) last(p *pkg) *assignment {
	if len(p.history) == 0 {
		return nil
	}
	return &s.trail[p.history[len(p.history)-1]]
}

// needed tells whether p must be in the solution.
func (s *partial) needed(p *pkg) bool {
	a := s.last(p)
	return a != nil && a.must
}

func (s *partial) assign(t term, cause *incompatibility) {
	a := assignment{term: t, cause: cause, level: s.level}
	if last := s.last(t.pkg); last != nil {
		a.term, a.skip = last.and(&t), last.skip
	}
	t.pkg.history = append(t.pkg.history, len(s.trail))
	s.trail = append(s.trail, a)
	s.enqueue(t.pkg)
}

// decide chooses for p the version at a place, or, where that is -1, one of rest.
func (s *partial) decide(p *pkg, place int, rest version.Set) {
	s.level++
	p.decided, p.place = true, place
	in := set{rest: rest}
	if place >= 0 {
		in = only(p, place)
	}
	s.assign(within(p, in), nil)
}

// backtrack undoes all assignments above level.
func (s *partial) backtrack(level int) {
	n := len(s.trail)
	for ; n > 0 && s.trail[n-1].level > level; n-- {
		a := &s.trail[n-1]
		p := a.pkg
		p.history = p.history[:len(p.history)-1]
		if a.cause == nil {
			p.decided = false
		}
		*a = assignment{}
	}
	s.trail = s.trail[:n]
	n = len(s.dead)
	for ; n > 0 && s.dead[n-1].level > level; n-- {
		s.dead[n-1].inc.dead = false
	}
	s.dead = s.dead[:n]
	s.level = level
}

// relation of an incompatibility to the partial solution.
type relation uint8

const (
	open         relation = iota // two terms or more are undecided
	almost                       // all terms hold but one, which is undecided
	satisfied                    // all terms hold: a conflict
	contradicted                 // a term does not hold
)

// relate compares inc with the partial solution; for almost it also gives the
// place of the undecided term.
func (s *partial) relate(inc *incompatibility) (relation, int) {
	r, place := satisfied, -1
	for i := range inc.terms {
		implied, excluded := s.judge(&inc.terms[i])
		switch {
		case implied:
		case excluded:
			return contradicted, -1
		case r == satisfied:
			r, place = almost, i
		default:
			r, place = open, -1
		}
	}
	return r, place
}

// judge tells whether the partial solution implies or excludes a term.
func (s *partial) judge(t *term) (implied, excluded bool) {
	if t.pkg.decided && t.pkg.place >= 0 {
		implied = t.fit().has(t.pkg.place)
		return implied, !implied
	}
	a := s.last(t.pkg)
	if a == nil {
		return false, false
	}
	if a.implies(t) {
		return true, false
	}
	return false, a.excludes(t)
}

// satisfier is the assignment by which an incompatibility came to hold.
type satisfier struct {
	place int // in the trail
	term  int // in the incompatibility
	// before is the level on which all of it held but what this assignment
	// itself brought.
	before int
}

// satisfierOf finds it for an incompatibility that holds.
func (s *partial) satisfierOf(inc *incompatibility) satisfier {
	found := satisfier{place: -1}
	for i := range inc.terms {
		t := &inc.terms[i]
		place := s.firstImplying(t, nil)
		if place > found.place {
			if found.place >= 0 {
				found.before = max(found.before, s.trail[found.place].level)
			}
			found.place, found.term = place, i
		} else {
			found.before = max(found.before, s.trail[place].level)
		}
	}
	own := s.own(found.place)
	if place := s.firstImplying(&inc.terms[found.term], &own); place >= 0 {
		found.before = max(found.before, s.trail[place].level)
	}
	return found
}

// own gives what an assignment brought by itself.
func (s *partial) own(place int) term {
	a := &s.trail[place]
	if a.cause == nil {
		return a.term
	}
	return a.cause.about(a.pkg).not()
}

// firstImplying gives the place of the first assignment that, together with
// also (unless nil), implies t; -1 where also does so alone.
func (s *partial) firstImplying(t, also *term) int {
	if also != nil && also.implies(t) {
		return -1
	}
	h := t.pkg.history
	return h[sort.Search(len(h)-1, func(i int) bool {
		known := &s.trail[h[i]].term
		if also != nil {
			both := known.and(also)
			known = &both
		}
		return known.implies(t)
	})]
}
