package resolve

import (
	"fmt"
	"slices"

	"curdling/internal/version"
)

// hints tells what to do about facts.
func (s *solver) hints(facts []*fact) []string {
	var hints []string
	for _, f := range facts {
		all := []string{f.hint()}
		if f.kind == unusable {
			all = append(all, s.otherPython(f))
		}
		if h, ok := s.source.(Hinter); ok && (f.kind == unusable || f.kind == absent || f.none()) {
			all = append(all, h.Hint(f.to.name, f.inVain()))
		}
		for _, hint := range all {
			if hint != "" && !slices.Contains(hints, hint) {
				hints = append(hints, hint)
			}
		}
	}
	return hints
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

// otherPython tells with which Python a version that f excludes could be used.
func (s *solver) otherPython(f *fact) string {
	python, err := version.Parse(s.problem.Markers["python_full_version"])
	if err != nil {
		return ""
	}
	var newest *Candidate
	for i, c := range f.to.listed {
		if c.Barred != "" && !c.RequiresPython.Contains(python) && f.set.has(f.to.release(c.Version).place) &&
			(newest == nil || newest.Version.Compare(c.Version) < 0) {
			newest = &f.to.listed[i]
		}
	}
	if newest == nil {
		return ""
	}
	return fmt.Sprintf("%s %s is for Python %s, and this is %s: name another one with --python", f.to.name, newest.Version, newest.RequiresPython, python)
}

// none tells whether f asks for versions of which there is none.
func (f *fact) none() bool {
	f.set.fit(&f.to.pkg)
	return f.kind <= asked && f.to.base == nil && f.to.complete && f.set.first() < 0
}

// inVain gives the versions of which f tells that they cannot be had.
func (f *fact) inVain() version.Set {
	if f.kind != unusable {
		return f.asks
	}
	var all []version.Version
	for _, place := range f.to.sorted(&f.set) {
		all = append(all, f.to.versions[place])
	}
	return union(all)
}
