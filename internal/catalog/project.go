package catalog

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"curdling/internal/dist"
	"curdling/internal/version"
)

// Project is what is held of one project at one time. It does not change: when
// what is held changes there is a new one, so two are equal if they are the same.
type Project struct {
	Name dist.Name
	// Files, at least one, by version, lowest first. Within a version wheels for
	// any platform come first, then other wheels, then source distributions.
	Files []*File

	Status, StatusReason string // PEP 792; "" is active

	lower atomic.Pointer[string] // the summary as it is searched, made when it first is
}

// Offered gives the files that may be had: none where the project is quarantined (PEP 792).
func (p *Project) Offered() []*File {
	if p.Status == Quarantined {
		return nil
	}
	return p.Files
}

func (p *Project) with(name dist.Name, added []*File) *Project {
	var files []*File
	if p != nil {
		files = p.Files
	}
	files = append(slices.Clip(files), added...)
	slices.SortFunc(files, order)
	return &Project{Name: name, Files: files}
}

// without gives the project without f, nil if nothing is left.
func (p *Project) without(f *File) *Project {
	files := make([]*File, 0, len(p.Files))
	for _, g := range p.Files {
		if g != f {
			files = append(files, g)
		}
	}
	if len(files) == 0 {
		return nil
	}
	return &Project{Name: p.Name, Files: files}
}

func order(a, b *File) int {
	return cmp.Or(a.Version.Compare(b.Version), cmp.Compare(portability(a), portability(b)), strings.Compare(a.Filename, b.Filename))
}

// portability ranks the files of one version, the one that suits most first.
func portability(f *File) int {
	switch {
	case f.Kind == dist.Sdist:
		return 2
	case len(f.Tags) > 0 && f.Tags[0].Platform != "any":
		return 1
	}
	return 0
}

// Summary is the highest version's one-line description, "" where it has none.
func (p *Project) Summary() string { return p.Latest()[0].Summary }

// Latest gives the files of the highest version: of one that is neither yanked
// nor a prerelease, else of a prerelease, else of what there is.
func (p *Project) Latest() (latest []*File) {
	const final, prerelease, yanked, none = 0, 1, 2, 3
	best := none
	for release := range p.Releases() {
		rank := final
		switch {
		case !slices.ContainsFunc(release, func(f *File) bool { return !f.Yanked }):
			rank = yanked
		case release[0].Version.IsPrerelease():
			rank = prerelease
		}
		if rank < best {
			latest, best = release, rank
		}
		if best == final {
			break
		}
	}
	return latest
}

// Releases gives the files of each version, highest version first.
func (p *Project) Releases() iter.Seq[[]*File] {
	return func(yield func([]*File) bool) {
		for start, end := 0, len(p.Files); end > 0; end = start {
			start = end - 1
			for start > 0 && p.Files[start-1].Version.Compare(p.Files[start].Version) == 0 {
				start--
			}
			if !yield(p.Files[start:end:end]) {
				return
			}
		}
	}
}

// Best gives the first file that fits of the highest version that has one and
// satisfies want, or nil. Prereleases count only where nothing else is there or
// want names one (PEP 440), what is yanked only where want pins it (PEP 592),
// and of a quarantined project nothing.
func (p *Project) Best(want version.Specifiers, fits func(*File) bool) *File {
	if p.Status == Quarantined {
		return nil
	}
	_, pinned := want.Pinned()
	usable := func(f *File) bool { return fits(f) && (pinned || !f.Yanked) }
	var prerelease *File
	for release := range p.Releases() {
		v := release[0].Version
		if !want.Contains(v) {
			continue
		}
		i := slices.IndexFunc(release, usable)
		switch {
		case i < 0:
		case !v.IsPrerelease() || want.NamesPrerelease():
			return release[i]
		case prerelease == nil:
			prerelease = release[i]
		}
	}
	return prerelease
}

// Updated is when the newest file came.
func (p *Project) Updated() (t time.Time) {
	for _, f := range p.Files {
		if f.UploadTime.After(t) {
			t = f.UploadTime
		}
	}
	return t
}

// Search gives the names of projects whose name or summary contains all words of
// query, and how many there are; at most limit names. First comes the one of that
// name, then those whose name begins so, then those whose name contains it all.
func (c *Catalog) Search(query string, limit int) (found []dist.Name, total int) {
	names, _ := c.Names()
	return search(names, c.Project, query, limit)
}

func search(names []dist.Name, project func(dist.Name) *Project, query string, limit int) (found []dist.Name, total int) {
	written := strings.Fields(strings.ToLower(query))
	words := make([]string, len(written)) // as names have them
	for i, word := range written {
		words[i] = strings.NewReplacer("_", "-", ".", "-").Replace(word)
	}
	if len(words) == 0 {
		return names[:min(limit, len(names))], len(names)
	}
	whole := strings.Join(words, "-")
	var ranked [4][]dist.Name
	for _, name := range names {
		switch {
		case string(name) == whole:
			ranked[0] = append(ranked[0], name)
		case strings.HasPrefix(string(name), whole):
			ranked[1] = append(ranked[1], name)
		case containsAll(string(name), words):
			ranked[2] = append(ranked[2], name)
		default:
			p := project(name)
			if p == nil {
				continue
			}
			summary, i := p.searchable(), -1
			if !slices.ContainsFunc(written, func(word string) bool {
				i++
				return !strings.Contains(summary, word) && !strings.Contains(string(name), words[i])
			}) {
				ranked[3] = append(ranked[3], name)
			}
		}
	}
	found = slices.Concat(ranked[:]...)
	return found[:min(limit, len(found))], len(found)
}

// searchable is the summary in lower case.
func (p *Project) searchable() string {
	known := p.lower.Load()
	if known == nil {
		summary := strings.ToLower(p.Summary())
		known = &summary
		p.lower.Store(known)
	}
	return *known
}

func containsAll(s string, words []string) bool {
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(s, word) })
}
