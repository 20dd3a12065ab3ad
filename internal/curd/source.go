package curd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/install"
	"curdling/internal/metadata"
	"curdling/internal/python"
	"curdling/internal/record"
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
	asked     map[dist.Name]bool              // by the user
	limits    map[dist.Name]version.Set       // what requirements and constraints of the user leave, set before the solve
	pinned    map[dist.Name]bool              // what one of those pins, set likewise
	decided   func() record.Decides           // what decides of builds for this interpreter, but for source and settings

	mu       sync.Mutex
	projects map[dist.Name]*project
	direct   map[dist.Name]direct // what was required by a URL
	statuses map[dist.Name]string // of projects that are archived or deprecated
	ahead    sync.WaitGroup       // prefetches under way
	foreseen map[string]bool      // files, with extras, of whose requirements prefetch thought
}

// project is what is known so far of one project.
type project struct {
	mu         turn
	candidates []resolve.Candidate
	asked      int      // how many tiers were asked
	known      bool     // one of them knows the name
	from       string   // the index that knows it, as shown; "" none was asked
	skipped    []string // names of files on its pages that cannot be used
	reads      int      // how often the solver wanted to know what a version requires
	fetched    int      // at how many reads the metadata of further versions is to be fetched
}

// turn is a mutex that is held while servers are waited for. It is a channel, so that testing/synctest knows
// of those who wait for it.
type turn chan struct{}

func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

func (s *session) newSource(py *python.Interpreter, installed map[dist.Name]install.Installed) *source {
	return &source{
		session:   s,
		python:    py,
		ranks:     tag.Rank(tag.Supported(py.Target)),
		installed: installed,
		projects:  map[dist.Name]*project{},
		direct:    map[dist.Name]direct{},
		statuses:  map[dist.Name]string{},
		asked:     map[dist.Name]bool{},
		foreseen:  map[string]bool{},
		decided:   sync.OnceValue(func() record.Decides { return decides("", py, nil, s.variables()) }),
	}
}

func (s *source) project(name dist.Name) *project {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.projects[name]
	if p == nil {
		p = &project{mu: make(turn, 1)}
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
		if p.suffices(want) && !s.everywhere(name) {
			break
		}
		if p.asked == 1 {
			s.askCaches(ctx, name)
		}
		found, known, err := s.tier(ctx, p, name)
		if err != nil {
			return nil, err
		}
		if p.known = p.known || known; known {
			s.log("resolve").Debug("candidates", "project", name, "place", s.tierName(p.asked), "count", len(found))
		}
		p.candidates = append(p.candidates, found...)
		s.order(name, p.candidates)
	}
	if !p.known {
		return nil, s.unknown(name)
	}
	return slices.Clone(p.candidates), nil // the solver keeps them
}

// askCaches has all cache servers asked for a project at once. Each is heard in its turn all the same, so that
// which of them answers first does not matter.
func (s *source) askCaches(ctx context.Context, name dist.Name) {
	if len(s.caches) < 2 {
		return
	}
	for _, c := range s.caches {
		s.ahead.Go(func() { _, _ = s.page(ctx, c, name) }) // who needs the page asks again, and hears of an error
	}
}

// suffices tells whether one of the candidates lies in want, so that no further place need be asked.
func (p *project) suffices(want version.Set) bool {
	return slices.ContainsFunc(p.candidates, func(c resolve.Candidate) bool {
		return c.Barred == "" && want.Contains(c.Version)
	})
}

// newest tells whether a project's newest version is wanted, whatever is installed or cached.
func (s *source) newest(name dist.Name) bool { return s.Upgrade || s.UpgradeOf[name] }

// lowest tells whether a project's lowest version is wanted.
func (s *source) lowest(name dist.Name) bool {
	return !s.nested && (s.Resolution == Lowest || s.Resolution == LowestDirect && s.asked[name])
}

// everywhere tells whether all places must be asked before a version is chosen.
func (s *source) everywhere(name dist.Name) bool {
	_, preferred := s.Preferred[name]
	return s.newest(name) || s.lowest(name) || preferred && !s.nested
}

// order sorts the candidates of all places so far: they stay in the order of the places, unless
// something else is wanted.
func (s *source) order(name dist.Name, candidates []resolve.Candidate) {
	rest := candidates
	if len(rest) > 0 && isInstalled(rest[0].File) && !s.newest(name) {
		rest = rest[1:]
	}
	switch {
	case s.lowest(name):
		slices.SortStableFunc(rest, func(a, b resolve.Candidate) int { return a.Version.Compare(b.Version) })
	case s.newest(name):
		slices.SortStableFunc(rest, func(a, b resolve.Candidate) int { return b.Version.Compare(a.Version) })
	}
	if v, ok := s.Preferred[name]; ok && !s.nested && !s.newest(name) {
		other := func(c resolve.Candidate) int {
			if c.Version.Compare(v) == 0 {
				return 0
			}
			return 1
		}
		slices.SortStableFunc(rest, func(a, b resolve.Candidate) int { return other(a) - other(b) })
	}
}

// tier asks one place: 0 is the environment, then come the cache servers, then the indexes as one.
func (s *source) tier(ctx context.Context, p *project, name dist.Name) (found []resolve.Candidate, known bool, err error) {
	var pages []*index.Project
	switch n := p.asked; {
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
		if page, err = s.verified(ctx, s.caches[n-1], page); err != nil {
			return nil, false, err
		}
		if page, err = s.dated(ctx, page); err != nil {
			return nil, false, err
		}
		pages = []*index.Project{page}
	default:
		if pages, p.from, err = s.indexed(ctx, name); err != nil {
			return nil, false, err
		}
	}
	for _, page := range pages {
		p.skipped = append(p.skipped, page.Skipped...)
	}
	return s.candidates(pages), len(pages) > 0, nil
}

// indexed gives a project's pages: what --find-links has of it, and that of the first index which
// knows it (from), or of all with BestMatch.
func (s *session) indexed(ctx context.Context, name dist.Name) (pages []*index.Project, from string, err error) {
	for _, where := range s.FindLinks {
		links, err := s.links.get(ctx, where, func() (*index.Links, error) { return s.client.Links(ctx, where) })
		if err != nil {
			return nil, "", fmt.Errorf("--%w", err)
		}
		if files := links.Of(name); len(files) > 0 {
			pages = append(pages, &index.Project{Name: name, Files: files})
		}
	}
	for _, i := range s.indexes {
		if !s.asks(i, name) {
			continue
		}
		page, err := s.page(ctx, i, name)
		if err != nil {
			return nil, "", err
		}
		if page != nil {
			pages, from = append(pages, page), i.shown
			if !s.BestMatch {
				break
			}
		}
	}
	return pages, from, nil
}

// asks tells whether an index is asked for a project.
func (s *session) asks(i *place, name dist.Name) bool {
	if pin := s.Sources[name]; pin != "" {
		return i.name == pin
	}
	return !i.explicit && (!i.public || !s.private(name))
}

// dated gives a cache server's page with the times at which the indexes got the versions on it: a
// wheel is as old as what it was built from, whenever it was built.
func (s *source) dated(ctx context.Context, page *index.Project) (*index.Project, error) {
	if s.ExcludeNewer.IsZero() {
		return page, nil
	}
	pages, _, err := s.indexed(ctx, page.Name)
	if err != nil {
		return nil, err
	}
	first := map[string]time.Time{}
	for _, p := range pages {
		for _, f := range p.Files {
			key := f.Version.Key()
			if t, ok := first[key]; !f.UploadTime.IsZero() && (!ok || f.UploadTime.Before(t)) {
				first[key] = f.UploadTime
			}
		}
	}
	dated := *page
	dated.Files = slices.Clone(page.Files)
	for i, f := range dated.Files {
		if t, ok := first[f.Version.Key()]; ok {
			dated.Files[i].UploadTime = t
		}
	}
	return &dated, nil
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
	var places, notes []string
	for _, p := range slices.Concat(s.caches, s.indexes) {
		switch {
		case p.failed() != nil:
			places = append(places, p.shown+" (does not answer)")
		case p.origin == Index && s.Sources[name] != "" && p.name != s.Sources[name]:
			notes = append(notes, fmt.Sprintf("%s is not asked: the name is pinned to index %s", p.shown, s.Sources[name]))
		case p.public && s.private(name):
			notes = append(notes, "the default index is not asked: the name is private")
		case p.explicit && s.Sources[name] == "":
			notes = append(notes, p.shown+" is not asked: it is for pinned names alone")
		default:
			places = append(places, p.shown)
		}
	}
	for _, where := range s.FindLinks {
		places = append(places, index.Redact(where))
	}
	if len(s.indexes) == 0 && !s.NoIndex {
		notes = append(notes, "no index is named: try -i URL")
	}
	text := "no project " + string(name)
	if len(places) > 0 {
		text += " at " + strings.Join(places, ", ")
	}
	return fmt.Errorf("%s: %w", strings.Join(append([]string{text}, notes...), "; "), fs.ErrNotExist)
}

// installedFile stands for a distribution that is installed.
func installedFile(i install.Installed) dist.File {
	return dist.File{Name: i.Name, Version: i.Version, URL: "installed:" + i.DistInfo}
}

func isInstalled(f dist.File) bool { return strings.HasPrefix(f.URL, "installed:") }

// Requires implements resolve.Source.
func (s *source) Requires(ctx context.Context, f dist.File) ([]requirement.Requirement, error) {
	md, err := s.describe(ctx, f)
	var wrong *metadata.FieldError
	if errors.As(err, &wrong) {
		return nil, &resolve.Unusable{Reason: "its metadata is wrong", Err: wrong}
	}
	if err != nil {
		return nil, fmt.Errorf("metadata of %s %s: %w", f.Name, f.Version, err)
	}
	if !md.RequiresPython.Contains(s.python.Version) && !isInstalled(f) {
		return nil, &resolve.Unusable{Reason: fmt.Sprintf("needs Python %s", md.RequiresPython)}
	}
	if s.NoDeps && !s.nested {
		return nil, nil
	}
	for _, r := range md.RequiresDist {
		if r.URL != "" && !isInstalled(f) && local(r.URL) {
			return nil, &resolve.Unusable{Reason: "it requires a file of this machine, or no URL that is known: " + r.String()}
		}
	}
	if _, err := s.pinURLs(ctx, md.RequiresDist); err != nil {
		return nil, err
	}
	s.prefetch(ctx, md.RequiresDist, nil)
	s.lookAhead(ctx, f)
	return md.RequiresDist, nil
}

// local tells whether a URL names something of this machine.
func local(at string) bool {
	line, err := requirement.ParseArgument(at, false)
	return err != nil || line.Source.Path != "" || strings.HasPrefix(strings.ToLower(line.Source.URL), "file:")
}

// describe gives a candidate's core metadata.
func (s *source) describe(ctx context.Context, f dist.File) (*metadata.Metadata, error) {
	switch {
	case isInstalled(f):
		return s.metadata.get(ctx, f.URL, func() (*metadata.Metadata, error) { return s.installed[f.Name].Metadata() })
	case f.Kind == dist.Sdist:
		return s.sdistMetadata(ctx, f, s.python)
	default:
		return s.wheelMetadata(ctx, f)
	}
}
