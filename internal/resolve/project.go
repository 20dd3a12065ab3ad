package resolve

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"curdling/internal/dist"
	"curdling/internal/marker"
	"curdling/internal/requirement"
	"curdling/internal/version"
)

// project is a project, or one extra of it. An extra has no releases: it is
// needed or not.
type project struct {
	pkg
	name, extra dist.Name
	base        *project   // of an extra; nil for a project
	extras      []*project // that were asked for anywhere

	listed   []Candidate
	releases []*release // usable, most preferred first
	finals   []*release // of releases, those that are no prereleases
	byKey    map[string]*release
	chosen   *release // valid while decided
	asked    bool     // the source was, for candidates
	complete bool     // the source has no more candidates
	missing  error    // why the source has none at all

	sets    map[string]*set                // what specifiers admit
	wants   []*need                        // by the user, constraints included: always in force
	needers []needer                       // who may need it
	stated  map[statement]*incompatibility // from the needs of its releases

	urgency
}

// needer is a project, with one of its extras or without (nil).
type needer struct{ from, extra *project }

// statement is a need that several releases of a project have in common.
type statement struct {
	extra, to *project
	what      string
}

// release is one version of a project.
type release struct {
	project *project
	place   int             // of its version in pkg.versions
	files   []*dist.File    // that may be used, most preferred first
	failed  map[string]bool // files that turned out to be unusable, by fileKey
	reason  string          // why a file may not be used
	told    bool            // to Problem.Trace: why it is left

	admitted bool // it counts as final: see Candidate.Admitted
	requires []requirement.Requirement
	plain    []bool             // of requires: those that hold without an extra
	needs    map[*project]needs // by extra, nil for none; a nil map: requires is not known yet
}

// needs is what a release needs, with an extra or without.
type needs struct {
	list              []*need
	of                map[*project][]*need // list by the project that is needed
	incompatibilities []*incompatibility
}

// need is a requirement, prepared.
type need struct {
	requirement.Requirement
	pinned bool // it pins a version, and so admits a yanked one
	named  bool // it admits prereleases
}

func newNeed(r requirement.Requirement) *need {
	_, pinned := r.Specifiers.Pinned()
	return &need{r, pinned, r.URL != "" || r.Specifiers.NamesPrerelease()}
}

// newLimit is newNeed for a constraint, whose extras mean nothing.
func newLimit(r requirement.Requirement) *need {
	r.Extras = nil
	return newNeed(r)
}

// what writes the requirement without its marker: "flask[async] >=2.0".
func (n *need) what() string {
	r := n.Requirement
	r.Marker = marker.Marker{}
	if r.URL != "" || r.Specifiers.IsEmpty() {
		return r.String()
	}
	r.Specifiers = version.Specifiers{}
	specifiers := strings.Split(n.Specifiers.String(), ",")
	slices.SortStableFunc(specifiers, func(a, b string) int { return strings.Index("=~><!", a[:1]) - strings.Index("=~><!", b[:1]) })
	return r.String() + " " + strings.Join(specifiers, ",")
}

// String gives name and version: "flask 3.0.0".
func (r *release) String() string { return string(r.project.name) + " " + r.version().String() }

func (r *release) version() version.Version { return r.project.versions[r.place] }
func (r *release) prerelease() bool         { return r.version().IsPrerelease() && !r.admitted }
func (r *release) usable() bool             { return len(r.files) > 0 }
func (r *release) yanked() bool             { return r.files[0].Yanked }

func fileKey(f *dist.File) string { return f.URL + " " + f.Filename }

// take keeps what the source listed.
func (p *project) take(candidates []Candidate) {
	p.listed = candidates
	for _, r := range p.byKey {
		r.files = nil
	}
	p.versions = slices.Grow(p.versions, len(candidates))
	files := make([]*dist.File, len(candidates)) // of most releases there is one
	for i := range candidates {
		c := &candidates[i]
		r := p.release(c.Version)
		r.admitted = r.admitted || c.Admitted
		switch {
		case c.Barred != "":
			r.reason = cmp.Or(r.reason, c.Barred)
		case r.failed != nil && r.failed[fileKey(&c.File)]:
		case r.usable():
			r.files = append(r.files, &c.File)
			slices.SortStableFunc(r.files, yankedLast)
		default:
			files[i] = &c.File
			r.files = files[i : i+1 : i+1]
		}
	}
	p.releases = make([]*release, 0, len(candidates))
	for i := range candidates {
		c := &candidates[i]
		if r := p.release(c.Version); r.usable() && r.files[0] == &c.File {
			p.releases = append(p.releases, r)
		}
	}
	p.finals = p.releases
	if slices.ContainsFunc(p.releases, (*release).prerelease) {
		p.finals = slices.DeleteFunc(slices.Clone(p.releases), (*release).prerelease)
	}
}

func yankedLast(a, b *dist.File) int {
	switch {
	case a.Yanked == b.Yanked:
		return 0
	case a.Yanked:
		return 1
	}
	return -1
}

// release gives the release of a version, which is listed from then on.
func (p *project) release(v version.Version) *release {
	r := p.byKey[v.Key()]
	if r == nil {
		r = &release{project: p, place: len(p.versions)}
		p.byKey[v.Key()] = r
		p.versions = append(p.versions, v)
	}
	return r
}

// admitted gives the versions that a requirement admits.
func (p *project) admitted(n *need) *set {
	key := n.Specifiers.String()
	if p.sets[key] == nil {
		p.sets[key] = &set{rest: n.Specifiers.Set()}
	}
	p.sets[key].fit(&p.pkg)
	return p.sets[key]
}

// inForce gives the requirements on p that hold now.
func (s *solver) inForce(p *project) iter.Seq[*need] {
	return func(yield func(*need) bool) {
		for _, n := range p.wants {
			if !yield(n) {
				return
			}
		}
		for _, by := range p.needers {
			if !by.from.decided || by.extra != nil && !s.needed(&by.extra.pkg) {
				continue
			}
			for _, n := range by.from.chosen.needs[by.extra].of[p] {
				if !yield(n) {
					return
				}
			}
		}
	}
}
