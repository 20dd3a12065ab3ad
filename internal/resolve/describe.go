package resolve

import (
	"fmt"
	"slices"
)

// sentence tells a fact.
func (f *fact) sentence() string {
	what := f.to.describe(&f.set, nil, " and ")
	switch f.kind {
	case asked:
		return f.where + " asks for " + f.wanted()
	case limited:
		return f.where + " allows only " + f.wanted()
	case needed:
		return f.from.describe(&f.in, f.extra, " and ") + f.from.need(&f.in) + f.wanted()
	case unusable:
		return fmt.Sprintf("%s cannot be used (%s)", what, f.to.reasons(&f.set))
	case prerelease:
		return what + either(len(f.to.sorted(&f.set)) > 1, " are prereleases", " is a prerelease") + ", which nothing asks for"
	case yanked:
		what += either(len(f.to.runs(&f.set)) > 1, " are yanked", " is yanked")
		if reason := f.to.newest(&f.set).files[0].YankedReason; reason != "" {
			what += " (" + reason + ")"
		}
		return what
	}
	if f.to.missing != nil {
		return fmt.Sprintf("%s cannot be found (%v)", f.to.name, f.to.missing)
	}
	return "there is no version of " + string(f.to.name)
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
	case f.set.first() >= 0:
	case f.to.complete && len(f.to.versions) > 0:
		return what + ", of which there is no version (there " + f.to.stock() + ")"
	case f.set.rest.IsEmpty():
		return what + ", which no version can be"
	}
	return what
}

// hint tells what to do about a fact, "" where there is nothing to say.
func (f *fact) hint() string {
	switch f.kind {
	case prerelease:
		return fmt.Sprintf("prereleases of %[1]s are used where a requirement names one (%[1]s>=%[2]s), or with --pre", f.to.name, f.to.newest(&f.set).version())
	case yanked:
		return fmt.Sprintf("a yanked version is used where a requirement pins it (%s==%s)", f.to.name, f.to.newest(&f.set).version())
	}
	return ""
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
