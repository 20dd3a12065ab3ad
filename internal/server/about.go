package server

import (
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
	"sync"

	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/metadata"
	"curdling/internal/readme"
	"curdling/internal/requirement"
	"curdling/internal/sdist"
)

const (
	mostRequired = 200      // requirements that a page lists
	mostLinks    = 20       // links of a project's own
	longestField = 200      // bytes of what a page tells of it
	briefReadme  = 16 << 10 // bytes of a description that a page shows unless it is asked for all
	largestSdist = 16 << 20 // bytes of one that is read for its description
	mostAbout    = 8 << 20  // bytes of what is remembered of files
)

// about is what a file's own metadata says, ready to be shown. All of it is foreign.
type about struct {
	readme.Readme                 // brief
	whole           readme.Readme // where that is cut
	License, Author string
	Links           []projectLink
	requires        []requirement.Requirement
}

type projectLink struct{ Label, URL string }

// abouts remembers what was read of files, by their hash.
type abouts struct {
	reading chan struct{} // has room for those that may read at once
	mu      sync.Mutex
	known   map[string]*about
	bytes   int
}

func newAbouts() *abouts {
	return &abouts{reading: make(chan struct{}, 2), known: make(map[string]*about)}
}

func (a *abouts) get(sha256 string) *about {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known[sha256]
}

// put remembers, and forgets others where there are too many.
func (a *abouts) put(sha256 string, x *about) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known[sha256] != nil {
		return
	}
	for other, old := range a.known {
		if a.bytes+x.size() <= mostAbout {
			break
		}
		delete(a.known, other)
		a.bytes -= old.size()
	}
	a.known[sha256] = x
	a.bytes += x.size()
}

// size is about how many bytes it takes.
func (x *about) size() int {
	return len(x.HTML) + len(x.Text) + len(x.whole.HTML) + len(x.whole.Text) + 200*len(x.requires) + 4096
}

// about tells what the metadata of a version says. What cannot be read is left
// out and told to the log.
func (s *shelf) about(ctx context.Context, release []*catalog.File) *about {
	f := release[max(0, slices.IndexFunc(release, func(f *catalog.File) bool { return f.HasMetadata }))]
	if known := s.abouts.get(f.SHA256); known != nil {
		return known
	}
	select {
	case s.abouts.reading <- struct{}{}:
		defer func() { <-s.abouts.reading }()
	case <-ctx.Done():
		return new(about)
	}
	if known := s.abouts.get(f.SHA256); known != nil {
		return known
	}
	m, err := s.metadata(ctx, f)
	if m == nil {
		s.log.Debug("a page has no description", "file", f.Filename, "err", err)
		m = new(metadata.Metadata)
	}
	x := newAbout(m)
	if ctx.Err() == nil {
		s.abouts.put(f.SHA256, x)
	}
	return x
}

// metadata reads a file's own; nil where it has none that can be read.
func (s *shelf) metadata(ctx context.Context, f *catalog.File) (*metadata.Metadata, error) {
	if f.HasMetadata {
		text, _, err := s.catalog.Metadata(ctx, f.Filename)
		if err != nil {
			return nil, err
		}
		return metadata.Parse(text) // with an error in one field, the others
	}
	if f.Size > largestSdist {
		return nil, nil
	}
	content, f, err := s.catalog.Open(ctx, f.Filename)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	return sdist.Metadata(io.LimitReader(content, f.Size), f.Filename)
}

func newAbout(m *metadata.Metadata) *about {
	x := &about{
		Readme:   readme.Render(m.Description, m.DescriptionContentType, briefReadme),
		License:  short(cmp.Or(m.License, licenseOf(m.Classifiers))),
		Author:   short(m.Author),
		requires: m.RequiresDist[:min(len(m.RequiresDist), mostRequired)],
	}
	if x.Cut {
		x.whole = readme.Render(m.Description, m.DescriptionContentType, readme.MaxSource)
	}
	links := m.ProjectURLs
	if m.HomePage != "" {
		links = append([][2]string{{"Homepage", m.HomePage}}, links...)
	}
	for _, pair := range links {
		if url := readme.Link(pair[1]); url != "" && len(x.Links) < mostLinks && len(url) <= 2000 {
			x.Links = append(x.Links, projectLink{cmp.Or(short(pair[0]), url), url})
		}
	}
	return x
}

// licenseOf finds a licence among classifiers.
func licenseOf(classifiers []string) string {
	for _, c := range classifiers {
		if name, ok := strings.CutPrefix(c, "License :: "); ok {
			return name[strings.LastIndex(name, ":")+1:]
		}
	}
	return ""
}

// short gives the first line of foreign text, cut.
func short(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(readme.Clean(s)), "\n")
	if len(line) > longestField {
		line = strings.ToValidUTF8(line[:longestField], "") + "…"
	}
	return strings.TrimSpace(line)
}

// dependency is a requirement as a page shows it.
type dependency struct {
	Name   dist.Name
	Held   bool   // there is a page for it
	Wanted string // extras and versions
	When   string // its marker
}

func (s *shelf) dependencies(requires []requirement.Requirement) []dependency {
	var list []dependency
	for _, r := range requires {
		d := dependency{Name: r.Name, Held: s.catalog.Has(r.Name), When: short(r.Marker.String())}
		r.Marker = requirement.Requirement{}.Marker
		d.Wanted = short(strings.TrimSpace(strings.TrimPrefix(r.String(), string(r.Name))))
		list = append(list, d)
	}
	return list
}
