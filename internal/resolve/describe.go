package resolve

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// sentence tells a fact.
func (f *fact) sentence() string {
	what := f.to.describe(&f.set, nil, " and ")
	switch f.kind {
	case asked, needed:
		return f.teller() + f.wanted()
	case limited:
		return f.where + " allows only " + f.wanted()
	case unusable:
		return fmt.Sprintf("%s cannot be used (%s)", what, f.to.reasons(&f.set, func(r *release) string { return r.reason }))
	case prerelease:
		return what + either(len(f.to.sorted(&f.set)) > 1, " are prereleases", " is a prerelease") + ", which nothing asks for"
	case yanked:
		what += either(len(f.to.runs(&f.set)) > 1, " are yanked", " is yanked")
		if reason := f.to.reasons(&f.set, func(r *release) string { return r.files[0].YankedReason }); reason != "" {
			what += " (" + reason + ")"
		}
		return what
	}
	if f.to.missing != nil {
		return fmt.Sprintf("%s cannot be found (%s)", f.to.name, strings.TrimSuffix(f.to.missing.Error(), ": "+fs.ErrNotExist.Error()))
	}
	return "there is no version of " + string(f.to.name)
}

// teller writes who asks for something, or needs it: "a.txt:3 asks for ".
func (f *fact) teller() string {
	if f.kind == asked {
		return f.where + " asks for "
	}
	return f.from.describe(&f.in, f.extra, " and ") + f.from.need(&f.in)
}

// sameTeller tells whether f and g can be told in one sentence.
func (f *fact) sameTeller(g *fact) bool {
	return f.kind == g.kind && f.from == g.from && f.teller() == g.teller()
}

// need is the verb for a project in versions of s.
func (p *project) need(s *set) string { return either(len(p.runs(s)) > 1, " need ", " needs ") }

func either(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

// wanted writes what is asked for, and, where there is none of it, what there is.
func (f *fact) wanted() string {
	what := f.what
	if what == "" {
		what = f.to.describe(&f.set, nil, " or ")
	}
	f.set.fit(&f.to.pkg)
	switch {
	case f.none() && len(f.to.versions) > 0:
		return what + ", of which there is no version (there " + f.to.stock() + ")"
	case f.set.isEmpty():
		return what + ", which no version can be"
	}
	return what
}

// conclusion tells what an incompatibility that was derived means.
func (inc *incompatibility) conclusion() string {
	var these, those []string
	need := " needs "
	for _, t := range inc.terms {
		p := t.pkg.project
		switch {
		case !t.must:
			not := t.not()
			those = append(those, p.describe(not.fit(), nil, " or "))
		case p.base == nil:
			these = append(these, p.describe(t.fit(), inc.extraOf(p), " and "))
			need = p.need(t.fit())
		case !slices.ContainsFunc(inc.terms, func(u term) bool { return u.must && u.pkg.project == p.base }):
			these = append(these, label(p.name, p.extra))
		}
	}
	switch {
	case len(those) > 0 && len(these) > 0:
		if len(these) > 1 {
			need = " need "
		}
		return enumerate(these, " and ") + need + enumerate(those, " or ")
	case len(those) > 0:
		return enumerate(those, " or ") + " is needed"
	case len(these) == 1:
		return these[0] + " cannot be used"
	}
	return enumerate(these, " and ") + " do not go together"
}

// extraOf gives an extra of p that inc speaks of too, nil where there is none.
func (inc *incompatibility) extraOf(p *project) *project {
	for _, t := range inc.terms {
		if t.must && t.pkg.project.base == p {
			return t.pkg.project
		}
	}
	return nil
}
