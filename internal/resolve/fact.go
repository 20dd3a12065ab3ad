package resolve

import "curdling/internal/version"

// fact is what an incompatibility rests on that was not derived.
type fact struct {
	kind  factKind
	order int         // of being stated
	where string      // asked, limited: who says so
	from  *project    // needed: who needs it,
	extra *project    // with this extra, or nil,
	in    set         // in these versions
	to    *project    // what it is about
	set   set         // the versions of it that are asked for, or that the fact excludes
	what  string      // asked, limited, needed: the requirement without its marker, "" for several
	asks  version.Set // of a closed fact: set, before it was closed
}

type factKind uint8

const (
	needed     factKind = iota // from in these versions needs to in set
	limited                    // a constraint limits to to set
	asked                      // the user asks for to in set
	unusable                   // no file of set's versions can be used: see release.reason
	prerelease                 // what there is in set are prereleases, and nothing admits them
	yanked                     // what there is in set is yanked, and nothing pins it
	absent                     // set's versions do not exist: see project.missing
)

// terms says the same as a set of terms that do not hold together; at gives
// the package that stands for a project.
func (f *fact) terms(at func(*project) *pkg) []term {
	is := within(at(f.to), f.set)
	isNot := is.not()
	switch f.kind {
	case asked:
		return []term{isNot}
	case limited:
		isNot.must = true
		return []term{isNot}
	case needed:
		terms := []term{within(at(f.from), f.in), isNot}
		if f.extra != nil {
			terms = append(terms, within(at(f.extra), everything()))
		}
		return terms
	}
	return []term{is}
}

// own gives the package that stands for a project in the solver.
func own(p *project) *pkg { return &p.pkg }
