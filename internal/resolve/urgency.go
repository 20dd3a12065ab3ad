package resolve

import "iter"

// urgency says how soon a project is decided: first what is pinned, since it
// leaves no choice; then what took part in many conflicts, so that they show
// before anything else is decided; then whatever was discovered first.
type urgency struct {
	order    int // of discovery
	conflict conflictRole
	rejected int // conflicts in which a release of it did not fit what was decided
	rejecter int // conflicts in which it was that
}

type conflictRole uint8

const (
	early conflictRole = iota + 1 // is rejected often
	late                          // rejects others often: decided after these
	peaceful
)

// manyConflicts is how many give a project a role.
const manyConflicts = 5

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

// blame counts a conflict: p did not fit the other packages of inc.
func (s *solver) blame(p *project, inc *incompatibility) {
	others := false
	for _, t := range inc.terms {
		q := t.pkg.project
		if q.name == p.name {
			continue
		}
		others = true
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
	s.toEarly, s.toLate = s.toEarly[:0], s.toLate[:0]
	return back
}
