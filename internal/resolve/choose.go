package resolve

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"curdling/internal/version"
)

// choice is what choose says of a project's releases.
type choice uint8

const (
	found    choice = iota
	none            // no release can be used
	withheld        // there are some, which the rules on prereleases and yanked files exclude for now
)

// choose gives the release of p to try next, among those that the partial
// solution leaves.
func (s *solver) choose(p *project) (*release, choice, error) {
	if !p.asked {
		if err := s.list(p, s.last(&p.pkg).in.rest); err != nil {
			return nil, none, err
		}
	}
	for {
		if r := s.pick(p); r != nil {
			return r, found, nil
		}
		switch {
		case !p.complete:
			if err := s.list(p, s.unlisted(p)); err != nil {
				return nil, none, err
			}
		case s.withheld(p):
			return nil, withheld, nil
		default:
			s.enqueue(&p.pkg) // propagation knows that
			return nil, none, nil
		}
	}
}

// list asks the source for candidates of p, of which want can still be used.
func (s *solver) list(p *project, want version.Set) error {
	candidates, err := s.source.Files(s.ctx, p.name, want)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.missing = err
	case err != nil:
		return fmt.Errorf("%s: %w", p.name, err)
	}
	p.asked = true
	p.complete = !slices.ContainsFunc(candidates, func(c Candidate) bool {
		return c.Barred == "" && want.Contains(c.Version)
	})
	s.take(p, candidates)
	return nil
}

// fail notes that the file that was to be used of r cannot be.
func (s *solver) fail(r *release, why error) {
	if r.failed == nil {
		r.failed = map[string]bool{}
	}
	r.failed[fileKey(r.files[0])] = true
	r.reason = why.Error()
	s.take(r.project, r.project.listed)
}

// take keeps what the source listed of p, as far as it did not fail.
func (s *solver) take(p *project, candidates []Candidate) {
	p.take(candidates)
	for _, place := range p.history {
		s.trail[place].skip = [2]int{}
	}
	if p.complete {
		s.close(p)
	}
}

// close states that what is not listed of p does not exist, and that what has
// no usable file cannot be used.
func (s *solver) close(p *project) {
	others, useless := nothing(&p.pkg), nothing(&p.pkg)
	others.rest = version.All()
	s.state(&fact{kind: absent, to: p, set: others})
	for _, r := range p.byKey {
		if !r.usable() {
			useless.add(r.place)
		}
	}
	s.state(&fact{kind: unusable, to: p, set: useless})
}

// exclude states that the releases of p that the partial solution leaves are
// prereleases or yanked.
func (s *solver) exclude(p *project) {
	left := s.last(&p.pkg).fit()
	prereleases, retracted := nothing(&p.pkg), nothing(&p.pkg)
	for _, r := range p.releases {
		switch {
		case !r.usable() || !left.has(r.place):
		case r.yanked() && !s.pinned(p, r):
			retracted.add(r.place)
		default:
			prereleases.add(r.place)
		}
	}
	s.state(&fact{kind: prerelease, to: p, set: prereleases})
	s.state(&fact{kind: yanked, to: p, set: retracted})
}

// pick gives the first release that the partial solution and the rules admit.
func (s *solver) pick(p *project) *release {
	if s.admitsPrereleases(p) {
		return s.first(p, p.releases, 1)
	}
	if r := s.first(p, p.finals, 0); r != nil {
		return r
	}
	if p.complete && len(p.finals) < len(p.releases) && !s.finalAdmitted(p) {
		return s.first(p, p.releases, 1)
	}
	return nil
}

// first gives the first of p's releases in the list that may be taken. It is
// called for the same list again and again while the partial solution leaves
// ever less of it, so assignments remember under kind how many at its front
// are out of the question.
func (s *solver) first(p *project, list []*release, kind int) *release {
	a := s.last(&p.pkg)
	a.fit()
	front := true
	for i := a.skip[kind]; i < len(list); i++ {
		r := list[i]
		in := r.usable() && a.in.has(r.place)
		if in && (!r.yanked() || s.pinned(p, r)) {
			return r
		}
		if front = front && !in; front {
			a.skip[kind] = i + 1
		}
	}
	return nil
}

// withheld tells whether the partial solution leaves usable releases of p.
// Where it leaves none that pick gives, those are the ones that the rules
// exclude.
func (s *solver) withheld(p *project) bool {
	left := s.last(&p.pkg).fit()
	return slices.ContainsFunc(p.releases, func(r *release) bool { return r.usable() && left.has(r.place) })
}

// unlisted gives the versions of p that the partial solution leaves, without
// those that have a usable file, or had one that turned out not to be.
func (s *solver) unlisted(p *project) version.Set {
	left := s.last(&p.pkg).fit()
	var listed []version.Version
	for _, r := range p.byKey {
		if r.usable() || r.failed != nil || !left.has(r.place) {
			listed = append(listed, r.version())
		}
	}
	slices.SortFunc(listed, version.Version.Compare)
	return left.rest.Intersect(union(listed).Complement())
}

// union gives the set of versions.
func union(versions []version.Version) version.Set {
	switch n := len(versions); n {
	case 0:
		return version.Set{}
	case 1:
		return version.Exactly(versions[0])
	default:
		return union(versions[:n/2]).Union(union(versions[n/2:]))
	}
}

// admitsPrereleases tells whether prereleases of p are on a par with finals.
func (s *solver) admitsPrereleases(p *project) bool {
	if s.problem.Prereleases {
		return true
	}
	for n := range s.inForce(p) {
		if n.named {
			return true
		}
	}
	return false
}

// pinned tells whether a requirement in force pins r's version.
func (s *solver) pinned(p *project, r *release) bool {
	for n := range s.inForce(p) {
		if n.pinned && n.Specifiers.Contains(r.version()) {
			return true
		}
	}
	return false
}

// finalAdmitted tells whether the requirements in force on p admit a final
// release that may be used.
func (s *solver) finalAdmitted(p *project) bool {
	admitted := everything()
	admitted.fit(&p.pkg)
	for n := range s.inForce(p) {
		admitted = admitted.and(p.admitted(n))
	}
	for _, r := range p.finals {
		if r.usable() && admitted.has(r.place) && (!r.yanked() || s.pinned(p, r)) {
			return true
		}
	}
	return false
}
