package server

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"

	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/readme"
	"curdling/internal/record"
	"curdling/internal/tag"
	"curdling/internal/version"
)

const (
	mostVersions = 20 // that a page lists unless it is asked for all
	mostOpen     = 12 // files of a version, over which groups of them are folded
)

// shownFile is a file in words.
type shownFile struct {
	*catalog.File
	tag.Words
	Record *record.Record // of a build; nil: it is none, or cannot be read
}

// fileGroup are a version's files for one family of systems.
type fileGroup struct {
	Family string
	Files  []shownFile
	Open   bool
}

// shownVersion is a version in the list of a project's.
type shownVersion struct {
	Version        string
	Files          int
	Newest         *catalog.File // the one that was published last
	Yanked, Before bool          // all its files are yanked; it is a prerelease
	Shown          bool          // it is the page's
}

// projectPage shows a project by one version: the latest, or the one that the path names.
func (s *shelf) projectPage(w *response, r *http.Request) error {
	p, err := s.project(r)
	if err != nil {
		return err
	}
	release, latest := p.Latest(), true
	path := "/project/" + string(p.Name)
	if text := r.PathValue("version"); text != "" {
		if release = releaseOf(p, text); release == nil {
			return refuse(http.StatusNotFound, "no file of "+string(p.Name)+" "+clip(text)+" is held here")
		}
		latest = release[0].Version.Equal(p.Latest()[0].Version)
		path += "/" + url.PathEscape(release[0].Version.String())
	}
	if r.URL.EscapedPath() != path && r.URL.Path != path {
		return movedTo(w, r, path)
	}
	shown := release[0]
	page := struct {
		frame
		*catalog.Project
		Version   version.Version
		Newest    version.Version
		Latest    bool
		Yanked    bool
		File      *catalog.File // stands for the version
		Published *catalog.File // came last
		Groups    []fileGroup
		Versions  []shownVersion
		More      int // versions that are not listed
		About     *about
		Readme    readme.Readme
		Whole     bool // the description as far as it can be shown
		Requires  []dependency
		Saved     Saved
		Conflicts int // other builds that were sent of those in Groups
	}{
		frame: s.frame(r, string(p.Name)+" "+shown.Version.String()+" · curdling"), Project: p,
		Version: shown.Version, Newest: p.Latest()[0].Version, Latest: latest, Yanked: allYanked(release),
		File: shown, Published: lastOf(release), About: s.about(r.Context(), release),
	}
	limit := mostVersions
	query := r.URL.Query()
	if query.Get("versions") == "all" {
		limit = len(p.Files)
	}
	page.Readme, page.Whole = page.About.Readme, query.Get("description") == "all"
	if page.Whole && page.Readme.Cut {
		page.Readme = page.About.whole
	}
	if p.Status != catalog.Quarantined { // else nothing of it may be had
		page.Groups = groups(release, func(f *catalog.File) *record.Record { return s.recordOf(r.Context(), f) })
		for _, f := range release {
			of, _ := s.Server.catalog.Evidence(f.Filename)
			page.Conflicts += of
		}
	}
	page.Saved = s.counters.savings.of(p.Name)
	page.Versions, page.More = versions(p, shown.Version, limit)
	page.Requires = s.dependencies(page.About.requires)
	return s.html(w, r, http.StatusOK, "project.html", page)
}

// recordOf reads the record of a build; nil where there is none.
func (s *Server) recordOf(ctx context.Context, f *catalog.File) *record.Record {
	if f.Build == nil {
		return nil
	}
	text, err := s.catalog.Sidecar(ctx, f.Filename+record.Suffix)
	if err != nil {
		return nil // it goes at this moment
	}
	r, _ := record.Parse(text) // the catalog could
	return r
}

// releaseOf gives the files of a version in any spelling, or nil.
func releaseOf(p *catalog.Project, text string) []*catalog.File {
	v, err := version.Parse(text)
	if err != nil {
		return nil
	}
	for release := range p.Releases() {
		if release[0].Version.Equal(v) {
			return release
		}
	}
	return nil
}

func versions(p *catalog.Project, shown version.Version, limit int) (list []shownVersion, more int) {
	for release := range p.Releases() {
		if len(list) == limit {
			more++
			continue
		}
		v := release[0].Version
		list = append(list, shownVersion{
			Version: v.String(), Files: len(release), Newest: lastOf(release),
			Yanked: allYanked(release), Before: v.IsPrerelease(), Shown: v.Equal(shown),
		})
	}
	return list, more
}

// families are the groups of files in their order.
var families = []string{"Any system", "Linux", "macOS", "Windows", "Other systems", "Source"}

func groups(release []*catalog.File, recordOf func(*catalog.File) *record.Record) []fileGroup {
	byFamily := make(map[string][]shownFile)
	for _, f := range release {
		words := tag.Words{Family: "Source"}
		if f.Kind == dist.Wheel {
			words = tag.Describe(f.Tags)
		}
		byFamily[words.Family] = append(byFamily[words.Family], shownFile{f, words, recordOf(f)})
	}
	var list []fileGroup
	for _, family := range families {
		if files := byFamily[family]; files != nil {
			list = append(list, fileGroup{family, files, len(release) <= mostOpen})
		}
	}
	return list
}

func lastOf(release []*catalog.File) *catalog.File {
	return slices.MaxFunc(release, func(a, b *catalog.File) int { return cmp.Or(a.UploadTime.Compare(b.UploadTime), 0) })
}

func allYanked(release []*catalog.File) bool {
	return !slices.ContainsFunc(release, func(f *catalog.File) bool { return !f.Yanked })
}
