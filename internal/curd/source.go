package curd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/install"
	"curdling/internal/metadata"
	"curdling/internal/python"
	"curdling/internal/requirement"
	"curdling/internal/resolve"
	"curdling/internal/tag"
	"curdling/internal/version"
)

// source answers one solve's questions: what is installed first, then the
// cache servers in order, then the first index that knows the name. It
// implements resolve.Source.
type source struct {
	*session
	python    *python.Interpreter
	ranks     tag.Ranking
	installed map[dist.Name]install.Installed // what may stay; nil: nothing
	nested    bool                            // the solve is for a build's requirements

	mu       sync.Mutex
	projects map[dist.Name]*project
	direct   map[dist.Name]direct // what was required by a URL
	ahead    sync.WaitGroup       // prefetches under way
}

// project is what is known so far of one project.
type project struct {
	mu         sync.Mutex
	candidates []resolve.Candidate
	asked      int  // how many tiers were asked
	known      bool // one of them knows the name
	reads      int  // how often the solver wanted to know what a version requires
	fetched    int  // at how many reads the metadata of further versions is to be fetched
}

func (s *session) newSource(py *python.Interpreter, installed map[dist.Name]install.Installed) *source {
	return &source{
		session:   s,
		python:    py,
		ranks:     tag.Rank(tag.Supported(py.Target)),
		installed: installed,
		projects:  map[dist.Name]*project{},
		direct:    map[dist.Name]direct{},
	}
}

func (s *source) project(name dist.Name) *project {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.projects[name]
	if p == nil {
		p = &project{}
		s.projects[name] = p
	}
	return p
}

// Files implements resolve.Source.
func (s *source) Files(ctx context.Context, name dist.Name, want version.Set) ([]resolve.Candidate, error) {
	p := s.project(name)
	p.mu.Lock()
	defer p.mu.Unlock()
	for tiers := 2 + len(s.caches); p.asked < tiers; p.asked++ {
		if p.suffices(want) && !s.Upgrade {
			break
		}
		found, known, err := s.tier(ctx, p.asked, name)
		if err != nil {
			return nil, err
		}
		if p.known = p.known || known; known {
			s.log("resolve").Debug("candidates", "project", name, "place", s.tierName(p.asked), "count", len(found))
		}
		p.candidates = append(p.candidates, found...)
		if s.Upgrade {
			slices.SortStableFunc(p.candidates, func(a, b resolve.Candidate) int { return b.Version.Compare(a.Version) })
		}
	}
	if !p.known {
		return nil, s.unknown(name)
	}
	return slices.Clone(p.candidates), nil // the solver keeps them
}

// suffices tells whether one of the candidates lies in want, so that no further place need be asked.
func (p *project) suffices(want version.Set) bool {
	return slices.ContainsFunc(p.candidates, func(c resolve.Candidate) bool {
		return c.Barred == "" && want.Contains(c.Version)
	})
}

// tier asks one place: 0 is the environment, then come the cache servers, then the indexes as one.
func (s *source) tier(ctx context.Context, n int, name dist.Name) (found []resolve.Candidate, known bool, err error) {
	switch {
	case n == 0:
		if i, ok := s.installed[name]; ok {
			return []resolve.Candidate{{File: installedFile(i), Admitted: true}}, true, nil
		}
		return nil, false, nil
	case n <= len(s.caches):
		page, err := s.page(ctx, s.caches[n-1], name)
		if page == nil || err != nil {
			return nil, false, err
		}
		return s.candidates(page), true, nil
	}
	for _, i := range s.indexes {
		if i.public && s.private(name) {
			continue
		}
		page, err := s.page(ctx, i, name)
		if err != nil {
			return nil, false, err
		}
		if page != nil {
			return s.candidates(page), true, nil
		}
	}
	return nil, false, nil
}

func (s *source) tierName(n int) string {
	switch {
	case n == 0:
		return "the environment"
	case n <= len(s.caches):
		return s.caches[n-1].shown
	}
	return "the indexes"
}

// unknown says where a name was looked for in vain.
func (s *source) unknown(name dist.Name) error {
	var places []string
	for _, p := range slices.Concat(s.caches, s.indexes) {
		switch {
		case p.failed() != nil:
			places = append(places, p.shown+" (does not answer)")
		case p.public && s.private(name):
			places = append(places, "the default index is not asked: the name is private")
		default:
			places = append(places, p.shown)
		}
	}
	if len(s.indexes) == 0 && !s.NoIndex {
		places = append(places, "no index is named: try -i URL")
	}
	return fmt.Errorf("no project %s at %s: %w", name, strings.Join(places, ", "), fs.ErrNotExist)
}

// installedFile stands for a distribution that is installed.
func installedFile(i install.Installed) dist.File {
	return dist.File{Name: i.Name, Version: i.Version, URL: "installed:" + i.DistInfo}
}

func isInstalled(f dist.File) bool { return strings.HasPrefix(f.URL, "installed:") }

// candidates chooses the best file of each version on a page, newest version first.
func (s *source) candidates(page *index.Project) []resolve.Candidate {
	type choice struct {
		resolve.Candidate
		rank int
	}
	best := map[string]*choice{}
	for _, f := range page.Files {
		rank, barred := s.judge(f)
		key := f.Version.Key()
		b := best[key]
		if b == nil || better(f, rank, barred, b.Candidate, b.rank) {
			best[key] = &choice{resolve.Candidate{File: f, Barred: barred}, rank}
		}
	}
	all := make([]resolve.Candidate, 0, len(best))
	for _, b := range best {
		all = append(all, b.Candidate)
	}
	slices.SortFunc(all, func(a, b resolve.Candidate) int { return b.Version.Compare(a.Version) })
	return all
}

// better tells whether a file is to be preferred to the best one so far: what can be used and is not
// yanked, then the better tag, then the higher build tag.
func better(f dist.File, rank int, barred string, b resolve.Candidate, bRank int) bool {
	switch {
	case (barred == "") != (b.Barred == ""):
		return barred == ""
	case f.Yanked != b.Yanked:
		return b.Yanked
	case rank != bRank:
		return rank < bRank
	}
	return f.Build.Compare(b.Build) > 0
}

// Ranks of what is no supported wheel: after all tags.
const (
	sdistRank = 1 << 30
	noRank    = sdistRank + 1
)

// judge ranks a file for this interpreter (lower is better) or tells why it can't be used.
func (s *source) judge(f dist.File) (rank int, barred string) {
	if f.Kind == dist.Sdist {
		rank = sdistRank
		if s.onlyBinary(f.Name) {
			return rank, "only a source distribution is there, and --only-binary forbids to build it"
		}
	} else {
		r, ok := s.ranks.Best(f.Tags)
		if !ok {
			return noRank, fmt.Sprintf("no wheel for %s and no source distribution", describePython(s.python))
		}
		rank = r
		if s.noBinary(f.Name) && (!s.nested || !s.NoBinary.All) {
			return noRank, "only wheels are there, and --no-binary forbids them"
		}
	}
	if !f.RequiresPython.Contains(s.python.Version) {
		return rank, fmt.Sprintf("needs Python %s", f.RequiresPython)
	}
	return rank, s.wrongHash(f)
}

// wrongHash tells why a file's hash forbids it, "" where it does not. What a
// build requires was never pinned.
func (s *source) wrongHash(f dist.File) string {
	hashes, pinned := s.Hashes[f.Name]
	switch {
	case s.nested || !pinned && !s.RequireHashes || slices.Contains(hashes, f.SHA256):
		return ""
	case !pinned:
		return "no --hash is given for it, and hashes are required"
	case f.SHA256 == "":
		return "its sha256 is not known, and hashes are required"
	}
	return "its sha256 is none of those given with --hash"
}

func describePython(py *python.Interpreter) string {
	return fmt.Sprintf("%s %s on %s %s", py.Target.Implementation, py.Version, py.Target.OS, py.Target.Arch)
}

// Requires implements resolve.Source.
func (s *source) Requires(ctx context.Context, f dist.File) ([]requirement.Requirement, error) {
	md, err := s.describe(ctx, f)
	var wrong *metadata.FieldError
	if errors.As(err, &wrong) {
		return nil, &resolve.Unusable{Reason: "its metadata is wrong: " + wrong.Error(), Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("metadata of %s %s: %w", f.Name, f.Version, err)
	}
	if !md.RequiresPython.Contains(s.python.Version) && !isInstalled(f) {
		return nil, &resolve.Unusable{Reason: fmt.Sprintf("needs Python %s", md.RequiresPython)}
	}
	for _, r := range md.RequiresDist {
		if strings.HasPrefix(r.URL, "file:") && !isInstalled(f) {
			return nil, &resolve.Unusable{Reason: "it requires a file of this machine: " + r.String()}
		}
	}
	if _, err := s.pinURLs(ctx, md.RequiresDist); err != nil {
		return nil, err
	}
	s.prefetch(ctx, md.RequiresDist)
	s.lookAhead(ctx, f)
	return md.RequiresDist, nil
}

// describe gives a candidate's core metadata.
func (s *source) describe(ctx context.Context, f dist.File) (*metadata.Metadata, error) {
	switch {
	case isInstalled(f):
		return s.installed[f.Name].Metadata()
	case f.Kind == dist.Sdist:
		return s.sdistMetadata(ctx, f, s.python)
	default:
		return s.wheelMetadata(ctx, f)
	}
}

// prefetch asks ahead of the solver for what it will most likely want next:
// the pages of what was just required, and the metadata of the first candidate on them.
func (s *source) prefetch(ctx context.Context, reqs []requirement.Requirement) {
	for _, r := range reqs {
		if ok, err := r.Marker.Holds(s.python.Markers, ""); !ok || err != nil {
			continue
		}
		s.ahead.Go(func() {
			want := r.Specifiers.Set()
			candidates, err := s.Files(ctx, r.Name, want)
			if err != nil {
				return
			}
			for _, c := range candidates {
				if c.Barred == "" && !c.Yanked && want.Contains(c.Version) &&
					(!c.Version.IsPrerelease() || s.Prereleases || r.Specifiers.NamesPrerelease()) {
					if c.Kind != dist.Wheel {
						return // its metadata may have to be built
					}
					_, _ = s.wheelMetadata(ctx, c.File) // the solver will ask again, and hear of an error
					return
				}
			}
		})
	}
}

// Backtracking: after patience versions of one project, the metadata of the
// next ones are fetched together, twice as many as were wanted so far.
const (
	patience     = 4
	maxLookAhead = 64
)

// lookAhead fetches the metadata of the versions after f, where the solver is going through them one by one.
func (s *source) lookAhead(ctx context.Context, f dist.File) {
	p := s.project(f.Name)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads++
	if p.reads < max(patience, p.fetched) {
		return
	}
	batch := min(2*p.reads, maxLookAhead)
	p.fetched = p.reads + batch
	at := slices.IndexFunc(p.candidates, func(c resolve.Candidate) bool { return c.URL == f.URL })
	for _, c := range p.candidates[at+1:] {
		if c.Barred != "" || c.Yanked || c.Kind != dist.Wheel || c.Version.IsPrerelease() && !f.Version.IsPrerelease() {
			continue
		}
		if batch--; batch < 0 {
			return
		}
		s.ahead.Go(func() { _, _ = s.wheelMetadata(ctx, c.File) })
	}
}
