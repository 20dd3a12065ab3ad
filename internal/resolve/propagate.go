package resolve

// settle derives all that follows from the partial solution. Where that is a
// contradiction, it goes back as far as the contradiction's reason allows. It
// gives the incompatibility without terms where there is no solution.
func (s *partial) settle() (failure *incompatibility) {
	for s.empty == nil {
		conflict := s.propagate()
		if conflict == nil {
			return nil
		}
		s.learn(conflict)
	}
	return s.empty
}

// propagate derives until nothing new follows, and gives the incompatibility
// that then holds, if one does.
func (s *partial) propagate() *incompatibility {
	for len(s.queue) > 0 {
		p := s.queue[0]
		s.queue = s.queue[1:]
		p.queued = false
		for i := len(p.incompatibilities) - 1; i >= 0; i-- {
			inc := p.incompatibilities[i]
			if inc.dead {
				continue
			}
			switch r, place := s.relate(inc); r {
			case satisfied:
				s.clearQueue()
				return inc
			case almost:
				s.assign(inc.terms[place].not(), inc)
				fallthrough
			case contradicted:
				inc.dead = true
				s.dead = append(s.dead, deadAt{inc, s.level})
			}
		}
	}
	return nil
}

func (s *partial) clearQueue() {
	for _, p := range s.queue {
		p.queued = false
	}
	s.queue = s.queue[:0]
}

// learn finds the reason of a conflict: an incompatibility that follows from
// the conflict and the causes of the assignments that led to it, and that
// would have derived something before the last decision among them. It goes
// back to there, and derives it. Without such a decision, the reason ends up
// without terms.
func (s *partial) learn(conflict *incompatibility) {
	reason := conflict
	for len(reason.terms) > 0 {
		found := s.satisfierOf(reason)
		a := s.trail[found.place]
		if a.cause == nil || found.before < a.level {
			s.backtrack(found.before)
			if reason != conflict {
				s.add(reason)
			}
			s.assign(reason.terms[found.term].not(), reason)
			s.log = append(s.log, learned{a.pkg, reason})
			return
		}
		reason = resolvent(reason, a.cause, a.pkg)
	}
	s.add(reason)
}
