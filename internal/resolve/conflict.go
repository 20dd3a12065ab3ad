package resolve

import (
	"slices"

	"curdling/internal/version"
)

// Conflict is the error of requirements that cannot be met together.
type Conflict struct{ text string }

// Error explains in sentences, on several lines, without a newline at the end.
func (c *Conflict) Error() string { return c.text }

// Bounds on simplify, for conflicts of absurd size.
const (
	maxTrials = 100   // how often it tries again
	maxEffort = 10000 // conflicts on the way, about, to find what is superfluous
)

// conflict explains why there is no solution. What the solver went through on
// the way is of no interest, so it goes by the facts alone that its proof rests
// on: alike ones are taken together, superfluous ones are dropped, and what is
// left is proved anew.
func (s *solver) conflict(failure *incompatibility) error {
	facts := simplify(closed(factsOf(failure)))
	proof, _ := refute(facts)
	facts = fromTheUser(facts)
	return &Conflict{explain(proof, facts, s.hints(facts))}
}

// factsOf gives the facts that an incompatibility was derived from.
func factsOf(inc *incompatibility) []*fact {
	var facts []*fact
	seen := map[*incompatibility]bool{}
	todo := []*incompatibility{inc}
	for len(todo) > 0 {
		last := len(todo) - 1
		inc := todo[last]
		todo = todo[:last]
		if seen[inc] {
			continue
		}
		seen[inc] = true
		if inc.fact != nil {
			facts = append(facts, inc.fact)
		} else {
			todo = append(todo, inc.right, inc.left)
		}
	}
	return facts
}

// closed gives the same facts for a world in which only the listed versions of
// a project exist, where the source has no more: that need not be said then.
func closed(facts []*fact) []*fact {
	var all []*fact
	for _, f := range facts {
		if f.kind == absent && len(f.to.versions) > 0 {
			continue
		}
		g := *f
		g.asks = f.set.rest
		g.set.close(g.to)
		if g.kind == needed {
			g.in.close(g.from)
		}
		all = append(all, &g)
	}
	return all
}

// close has all versions that do not exist go with one that does, so that the
// set of all listed versions is that of all, and its complement is empty.
func (s *set) close(p *project) {
	s.fit(&p.pkg)
	switch {
	case !p.complete || len(p.versions) == 0:
	case s.has(0):
		s.rest = version.All()
	default:
		s.rest = version.Set{}
	}
}

// subject is what facts have in common that can be told in one sentence.
type subject struct {
	kind            factKind
	where, what     string
	from, extra, to *project
}

func (f *fact) subject() subject {
	sub := subject{f.kind, f.where, f.what, f.from, f.extra, f.to}
	if f.kind == needed {
		sub.what = ""
	}
	return sub
}

// simplify takes facts on one subject together as long as what is left still
// admits no solution, and drops those that are not needed for that. The merged
// fact "a 1.0 to 3.0 needs b 1.0 to 3.0" is weaker than those it is made of; where
// a choice of versions agrees with the merged facts, a group that it does not
// agree with in detail is split.
func simplify(facts []*fact) []*fact {
	groups := group(facts)
	for range maxTrials {
		merged := make([]*fact, len(groups))
		for i, group := range groups {
			merged[i] = merge(group)
		}
		proof, model := refute(merged)
		if proof != nil {
			return minimize(merged, len(model.log))
		}
		groups = split(groups, model)
	}
	return facts
}

// group puts facts on one subject together.
func group(facts []*fact) [][]*fact {
	var groups [][]*fact
	places := map[subject]int{}
	for _, f := range facts {
		place, ok := places[f.subject()]
		if !ok {
			place = len(groups)
			places[f.subject()] = place
			groups = append(groups, nil)
		}
		groups[place] = append(groups[place], f)
	}
	return groups
}

// merge gives the strongest single fact that follows from those of a group.
func merge(group []*fact) *fact {
	all := *group[0]
	for _, f := range group[1:] {
		all.set.fit(&all.to.pkg)
		f.set.fit(&all.to.pkg)
		all.set = all.set.or(&f.set)
		all.asks = all.asks.Union(f.asks)
		if all.kind == needed {
			all.in.fit(&all.from.pkg)
			f.in.fit(&all.from.pkg)
			all.in = all.in.or(&f.in)
		}
		if f.what != all.what {
			all.what = ""
		}
	}
	return &all
}

// split parts each group with a fact that the model contradicts: those that the
// model's version of the project asked for would satisfy, and the others.
func split(groups [][]*fact, m *model) [][]*fact {
	var parts [][]*fact
	for _, group := range groups {
		if !slices.ContainsFunc(group, m.contradicts) {
			parts = append(parts, group)
			continue
		}
		var fits, fails []*fact
		for _, f := range group {
			if m.has(f.to, &f.set) {
				fits = append(fits, f)
			} else {
				fails = append(fails, f)
			}
		}
		if len(fits) == 0 { // the version is an unlisted one, and stands for several
			fits, fails = fails[:1], fails[1:]
		}
		parts = append(parts, fits, fails)
	}
	return parts
}

// minimize drops facts, one after the other, without which there still is no
// solution. To prove that with all of them took so many conflicts.
func minimize(facts []*fact, conflicts int) []*fact {
	if len(facts) > maxTrials || len(facts)*conflicts > maxEffort {
		return facts
	}
	for i := 0; i < len(facts); {
		fewer := slices.Delete(slices.Clone(facts), i, i+1)
		if proof, _ := refute(fewer); proof != nil {
			facts = fewer
		} else {
			i++
		}
	}
	return facts
}

// model is a choice of versions that agrees with some facts.
type model struct {
	partial
	pkgs map[*project]*pkg
}

// refute looks for a choice of versions that agrees with the facts, and gives a
// proof that there is none, or nil and the choice.
func refute(facts []*fact) (proof *incompatibility, m *model) {
	m = &model{pkgs: map[*project]*pkg{}}
	var pkgs []*pkg
	at := func(p *project) *pkg {
		if m.pkgs[p] == nil {
			m.pkgs[p] = &pkg{project: p, versions: p.versions}
			pkgs = append(pkgs, m.pkgs[p])
		}
		return m.pkgs[p]
	}
	for _, f := range facts {
		if inc := incompatibilityOf(f, at); inc != nil {
			m.add(inc)
		}
	}
	for _, p := range pkgs {
		m.enqueue(p)
	}
	for {
		if proof := m.settle(); proof != nil {
			return proof, m
		}
		next := slices.IndexFunc(pkgs, func(p *pkg) bool { return !p.decided && m.needed(p) })
		if next < 0 {
			return nil, m
		}
		m.decideAny(pkgs[next])
	}
}

// decideAny decides for some version of p, or for others than the listed ones
// of which the incompatibilities say all the same.
func (m *model) decideAny(p *pkg) {
	left := m.last(p).fit()
	if place := left.first(); place >= 0 {
		m.decide(p, place, left.rest)
		return
	}
	rest := left.rest
	for _, inc := range p.incompatibilities {
		if both := rest.Intersect(inc.about(p).in.rest); !both.IsEmpty() {
			rest = both
		}
	}
	m.decide(p, -1, rest)
}

// has tells whether the model's version of p is in set.
func (m *model) has(p *project, s *set) bool {
	t := within(m.pkgs[p], *s)
	return t.pkg.decided && m.implies(&t)
}

func (m *model) implies(t *term) bool {
	implied, _ := m.judge(t)
	return implied
}

// contradicts tells whether the model does not agree with a fact.
func (m *model) contradicts(f *fact) bool {
	for _, t := range f.terms(func(p *project) *pkg { return m.pkgs[p] }) {
		if t.pkg.decided && !m.implies(&t) || !t.pkg.decided && t.must {
			return false
		}
	}
	return true
}
