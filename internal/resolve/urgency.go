package resolve

import (
	"iter"

	"curdling/internal/dist"
)

// urgency says how soon a project is decided: first what is pinned, since it
// leaves no choice; then what took part in many conflicts, so that they show
// before anything else is decided; then whatever was discovered first; last what
// others often did not fit, so that it is the one to adapt. Where metadata may
// have to be built, others go first, see waits.
type urgency struct {
	order    int // of discovery
	conflict conflictRole
	rejected int // conflicts in which a release of it did not fit what was decided
	rejecter int // conflicts in which it was that

	requested bool // by the user
	waiting   bool // others were decided instead
	prompt    bool // it does not wait any more
}

type conflictRole uint8

const (
	early    conflictRole = iota + 1 // is rejected often
	peaceful                         // and whatever it takes to come to the former
	late                             // rejects others often: decided after these
)

// manyConflicts is how many give a project a role.
const manyConflicts = 5

// waits tells whether r is to be read only once nothing else is left to decide:
// the metadata of a source distribution may have to be built, in vain if the
// project turns out not to be needed. What the user asks for is needed for sure.
func (s *solver) waits(r *release) bool {
	p, f := r.project, r.files[0]
	if f.Kind != dist.Sdist || r.needs != nil || p.requested || p.prompt || p.conflict == early {
		return false
	}
	p.waiting = true
	return true
}

// undecided gives the projects that are needed and not decided, most urgent first.
func (s *solver) undecided() iter.Seq[*project] {
	return func(yield func(*project) bool) {
		var done int64 = -1
		for {
			var next *project
			var first int64
			for _, p := range s.projects {
				if p.base != nil || p.decided || !s.needed(&p.pkg) {
					continue
				}
				if rank := s.rank(p); rank > done && (next == nil || rank < first) {
					next, first = p, rank
				}
			}
			if next == nil || !yield(next) {
				return
			}
			done = first
		}
	}
}

// rank orders the undecided; the lowest is the most urgent.
func (s *solver) rank(p *project) int64 {
	class := int64(p.conflict)
	for n := range s.inForce(p) {
		if n.pinned || n.URL != "" {
			class = 0
			break
		}
	}
	return class<<32 + int64(p.order)
}

// blame counts a conflict: p did not fit the other packages of inc. Where they
// were decided before their turn since p had to wait, that is undone: otherwise
// one version of p after the other would be built to find one that fits them.
func (s *solver) blame(p *project, inc *incompatibility) {
	others := false
	for _, t := range inc.terms {
		q := t.pkg.project
		if q.name == p.name {
			continue
		}
		others = true
		if p.waiting && q.order > p.order {
			s.toRedo, p.prompt = append(s.toRedo, q), true
		}
		if q.rejecter++; q.rejecter == manyConflicts {
			s.toLate = append(s.toLate, q)
		}
	}
	if !others {
		return
	}
	if p.rejected++; p.rejected == manyConflicts {
		s.toEarly = append(s.toEarly, p)
	}
}

// reorder gives the projects with many conflicts their roles, and goes back to
// before those that reject others were decided; it tells whether it did.
func (s *solver) reorder() (back bool) {
	for _, b := range s.log {
		s.blame(b.pkg.project, b.inc)
	}
	s.log = s.log[:0]
	for _, p := range s.toEarly {
		p.conflict = early
	}
	for _, p := range s.toLate {
		if p.conflict != peaceful {
			continue
		}
		p.conflict = late
		if p.decided {
			s.backtrack(s.last(&p.pkg).level - 1)
			back = true
		}
	}
	for _, p := range s.toRedo {
		if p.decided {
			s.backtrack(s.last(&p.pkg).level - 1)
			back = true
		}
	}
	s.toEarly, s.toLate, s.toRedo = s.toEarly[:0], s.toLate[:0], s.toRedo[:0]
	return back
}
