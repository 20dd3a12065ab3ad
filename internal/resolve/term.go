package resolve

import (
	"slices"

	"curdling/internal/version"
)

// term is a statement about one package: its chosen version lies in the set,
// or, unless must is set, it is not chosen at all.
type term struct {
	pkg  *pkg
	must bool
	in   set
}

// within is the term that p is chosen from in.
func within(p *pkg, in set) term { return term{p, true, in} }

// everything is the set of all versions.
func everything() set { return set{rest: version.All()} }

// fit makes the term's set fit its package.
func (t *term) fit() *set {
	t.in.fit(t.pkg)
	return &t.in
}

func (t *term) not() term        { return term{t.pkg, !t.must, t.fit().complement()} }
func (t *term) and(u *term) term { return term{t.pkg, t.must || u.must, t.fit().and(u.fit())} }
func (t *term) or(u *term) term  { return term{t.pkg, t.must && u.must, t.fit().or(u.fit())} }

// implies tells whether u holds wherever t does.
func (t *term) implies(u *term) bool { return (t.must || !u.must) && t.fit().subsetOf(u.fit()) }

// excludes tells whether t and u cannot both hold.
func (t *term) excludes(u *term) bool { return (t.must || u.must) && t.fit().disjoint(u.fit()) }

// always tells whether t says nothing.
func (t *term) always() bool { return !t.must && t.fit().isAll() }

// never tells whether t cannot hold.
func (t *term) never() bool { return t.must && t.fit().isEmpty() }

// incompatibility is a set of terms, one a package, that do not hold together.
// Without terms it says that there is no solution.
type incompatibility struct {
	terms       []term
	fact        *fact            // what states it; nil where it was derived
	left, right *incompatibility // what it was derived from
	dead        bool             // a term is known not to hold, until the partial solution goes back
}

// incompatibilityOf says what a fact does, nil where that is nothing.
func incompatibilityOf(f *fact, at func(*project) *pkg) *incompatibility {
	inc := &incompatibility{fact: f}
	for _, t := range f.terms(at) {
		inc.join(t)
	}
	for i := range inc.terms {
		if inc.terms[i].never() {
			return nil
		}
	}
	return inc
}

// join adds a term.
func (inc *incompatibility) join(t term) {
	for i := range inc.terms {
		if u := &inc.terms[i]; u.pkg == t.pkg {
			*u = u.and(&t)
			return
		}
	}
	if !t.always() {
		inc.terms = append(inc.terms, t)
	}
}

// about gives the term on p; there is one.
func (inc *incompatibility) about(p *pkg) *term {
	return &inc.terms[slices.IndexFunc(inc.terms, func(t term) bool { return t.pkg == p })]
}

// resolvent follows from two incompatibilities: whatever holds for p, one of
// them has only terms on other packages left.
func resolvent(a, b *incompatibility, p *pkg) *incompatibility {
	inc := &incompatibility{left: a, right: b, terms: make([]term, 0, len(a.terms)+len(b.terms)-1)}
	for _, from := range []*incompatibility{a, b} {
		for _, t := range from.terms {
			if t.pkg != p {
				inc.join(t)
			}
		}
	}
	inc.join(a.about(p).or(b.about(p)))
	return inc
}
