package resolve

import (
	"iter"
	"slices"
	"strings"
)

// Step is what the solver did with versions of a project: see Problem.Trace.
type Step struct {
	Verdict Verdict
	What    string // "flask 3.0", "flask 3.1 to 3.4"
	Why     string // "the command line asks for flask >=2"
}

// Verdict says what happened to versions.
type Verdict uint8

// The verdicts.
const (
	Took     Verdict = iota // a version was taken, for now
	Left                    // versions that the source prefers to the one that is then taken were not
	TookBack                // a version that was taken is not any more
)

// String writes the step as a line: "took flask 3.0: the command line asks for flask >=2".
func (s Step) String() string {
	return [...]string{"took ", "left ", "took back "}[s.Verdict] + s.What + ": " + s.Why
}

// maxDemands bounds the requirements that are told of a version that is taken.
const maxDemands = 4

// traceTaken tells that r is taken, and why no release that the source lists
// before it is: of each once, for going back changes little about it.
func (s *solver) traceTaken(r *release) {
	p := r.project
	var reasons []string
	left := map[string]*set{}
	for i := range p.listed {
		q := p.release(p.listed[i].Version)
		if q == r {
			break
		}
		if q.told {
			continue
		}
		q.told = true
		reason := s.whyNot(q)
		if left[reason] == nil {
			none := nothing(&p.pkg)
			left[reason] = &none
			reasons = append(reasons, reason)
		}
		left[reason].add(q.place)
	}
	for _, reason := range reasons {
		s.problem.Trace(Step{Left, p.describe(left[reason], nil, " and "), reason})
	}
	var demands []string
	for why := range s.demands(p) {
		if !slices.Contains(demands, why) {
			demands = append(demands, why)
		}
	}
	if len(demands) > maxDemands {
		demands = append(demands[:maxDemands], "...")
	}
	s.problem.Trace(Step{Took, r.String(), strings.Join(demands, "; ")})
	s.taken = append(s.taken, r)
}

// demands gives the requirements on p that hold now, each with a sentence.
func (s *solver) demands(p *project) iter.Seq2[string, *need] {
	return func(yield func(string, *need) bool) {
		for _, w := range s.problem.Requirements {
			if holds, _ := w.holds(s.problem.Markers); !holds || w.Name != p.name {
				continue
			}
			if n := newNeed(w.Requirement); !yield(w.where()+" asks for "+n.what(), n) {
				return
			}
		}
		for _, l := range s.limits[p.name] {
			if !yield(l.where+" allows only "+l.what(), l.need) {
				return
			}
		}
		for _, by := range p.needers {
			if !by.from.decided || by.extra != nil && !s.needed(&by.extra.pkg) {
				continue
			}
			who := by.from.chosen.String()
			if by.extra != nil {
				who = label(by.extra.name, by.extra.extra) + " " + by.from.chosen.version().String()
			}
			for _, n := range by.from.chosen.needs[by.extra].of[p] {
				if !yield(who+" needs "+n.what(), n) {
					return
				}
			}
		}
	}
}

// whyNot tells why r is not taken.
func (s *solver) whyNot(r *release) string {
	p := r.project
	if !r.usable() {
		return plain(r.reason)
	}
	for why, n := range s.demands(p) {
		if !n.Specifiers.Contains(r.version()) {
			return why
		}
	}
	for _, inc := range p.incompatibilities {
		t := inc.about(&p.pkg)
		if !t.fit().has(r.place) || !s.holdsWith(inc, p) {
			continue
		}
		if inc.fact != nil && inc.fact.kind == needed {
			return "it needs " + inc.fact.wanted() + ", but " + s.against(inc.fact)
		}
		return inc.why()
	}
	switch {
	case r.yanked() && r.files[0].YankedReason != "":
		return "it is yanked (" + plain(r.files[0].YankedReason) + ")"
	case r.yanked():
		return "it is yanked"
	}
	return "it is a prerelease, which nothing asks for"
}

// against tells what keeps the versions that f asks for from being taken.
func (s *solver) against(f *fact) string {
	if f.to.decided && f.to.base == nil {
		return f.to.chosen.String() + " is taken"
	}
	f.set.fit(&f.to.pkg)
	for why, n := range s.demands(f.to) {
		if f.set.disjoint(f.to.admitted(n)) {
			return why
		}
	}
	return "no such version goes with the rest"
}

// traceUndone tells which releases are no longer taken; why is "" where that
// is what the last conflict taught.
func (s *solver) traceUndone(why string) {
	s.taken = slices.DeleteFunc(s.taken, func(r *release) bool {
		if r.project.decided {
			return false
		}
		because := why
		if because == "" {
			because = s.log[len(s.log)-1].inc.why()
		}
		s.problem.Trace(Step{TookBack, r.String(), because})
		return true
	})
}

// why tells what inc says.
func (inc *incompatibility) why() string {
	switch f := inc.fact; {
	case f == nil:
		return inc.conclusion()
	case f.kind == absent && len(f.to.versions) > 0:
		return "there are no other versions of " + string(f.to.name)
	default:
		return f.sentence()
	}
}
