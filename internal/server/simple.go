package server

import (
	"net/http"
	"regexp"
	"slices"
	"strings"

	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/tag"
)

// listPages are right as long as the catalog's names are of this generation. They
// are kept beside the memory: there is one, however large it is.
type listPages struct {
	generation uint64
	prepared
}

// formTypes are the content types that RenderProject knows, and those that are sent.
var formTypes = [forms][2]string{
	formJSON:   {index.TypeJSON, index.TypeJSON},
	formHTML:   {index.TypeHTML, index.TypeHTML},
	formText:   {index.TypeHTML, "text/html; charset=utf-8"},
	formBuilds: {index.TypeBuilds, index.TypeBuilds},
}

// simpleProject serves a project's page.
func (s *shelf) simpleProject(w *response, r *http.Request) error {
	raw := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/simple/"), "/")
	if err := s.catalog.Fresh(r.Context(), dist.Name(raw)); err != nil {
		return err
	}
	p := s.catalog.Project(dist.Name(raw))
	if p == nil || s.mirror != nil || r.URL.Path[len(r.URL.Path)-1] != '/' {
		return s.otherProject(w, r, raw)
	}
	return s.simple(w, r, s.memory.get(r.URL.Path, p), func(contentType string) ([]byte, error) {
		return renderProject(listing(p, contentType), contentType)
	})
}

// otherProject answers for what is not the path of a project that is held.
func (s *shelf) otherProject(w *response, r *http.Request, raw string) error {
	name, err := dist.ParseName(raw)
	if err != nil {
		return refuse(http.StatusNotFound, clip(raw)+" is no name of a project")
	}
	if path := "/simple/" + string(name) + "/"; r.URL.Path != path {
		return movedTo(w, r, path)
	}
	if s.mirror != nil {
		return s.mirroredProject(w, r, name)
	}
	s.memory.drop(r.URL.Path)
	return refuse(http.StatusNotFound, "no file of "+clip(raw)+" is held here")
}

// simpleList serves the list of all projects.
func (s *shelf) simpleList(w *response, r *http.Request) error {
	if !strings.HasSuffix(r.URL.Path, "/") {
		return movedTo(w, r, "/simple/")
	}
	if err := s.catalog.FreshNames(r.Context()); err != nil {
		return err
	}
	names, generation := s.catalog.Names()
	cached := s.list.Load()
	if cached == nil || cached.generation != generation {
		cached = &listPages{generation: generation}
		s.list.Store(cached)
	}
	return s.simple(w, r, &cached.prepared, func(contentType string) ([]byte, error) {
		return index.RenderProjects(names, contentType)
	})
}

// simple serves a page in the form and encoding that the client wants.
func (s *shelf) simple(w *response, r *http.Request, p *prepared, render func(contentType string) ([]byte, error)) error {
	accept := headerOf(r, "Accept")
	if r.URL.RawQuery != "" {
		if format := r.URL.Query().Get("format"); format != "" {
			accept = format
		}
	}
	want, ok := s.choices.of(wish{accept, headerOf(r, "Accept-Encoding")})
	if !ok {
		w.Header().Set("Vary", "Accept")
		return refuse(http.StatusNotAcceptable, "this page can be had as "+index.TypeJSON+", "+index.TypeHTML+" and text/html")
	}
	v := p.variants[want.form][want.encoding].Load()
	if v == nil {
		body, err := render(formTypes[want.form][0])
		if err != nil {
			return err
		}
		v = newVariant(body, tagOf(body), formTypes[want.form][1], s.pageControl, "Accept, Accept-Encoding", want.encoding)
		if p.variants[want.form][want.encoding].Swap(v) == nil {
			s.memory.grow(r.URL.Path, p, int64(len(v.body))+overhead)
		}
	}
	v.send(w, r)
	return nil
}

// renderProject renders a page. Where the project itself published a wheel, installers that know nothing of
// records see no build that is for the same: they would prefer it, for its build tag or its platform.
func renderProject(p *index.Project, contentType string) ([]byte, error) {
	if contentType != index.TypeBuilds && slices.ContainsFunc(p.Files, func(f dist.File) bool { return f.BuildKey != "" }) {
		published := make(map[string]bool)
		for _, f := range p.Files {
			for _, t := range f.Tags {
				published[wheelFor(f, t)] = published[wheelFor(f, t)] || f.BuildKey == ""
			}
		}
		p.Files = slices.DeleteFunc(p.Files, func(f dist.File) bool {
			return f.BuildKey != "" && slices.ContainsFunc(f.Tags, func(t tag.Tag) bool { return published[wheelFor(f, t)] })
		})
	}
	return index.RenderProject(p, contentType)
}

// release is that of a system, the oldest that a platform is for.
var release = regexp.MustCompile(`^(?:many)?((?:musl)?linux|macosx)[0-9]*(?:_[0-9]+_[0-9]+)?_`)

// wheelFor says for what a wheel is: version, interpreter, ABI and system.
func wheelFor(f dist.File, t tag.Tag) string {
	return f.Version.Key() + " " + t.Python + " " + t.ABI + " " + release.ReplaceAllString(t.Platform, "$1 ")
}

// listing is a project as the index package renders it; see [index.TypeBuilds].
func listing(p *catalog.Project, contentType string) *index.Project {
	offered := p.Listed(contentType != index.TypeBuilds)
	files := make([]dist.File, len(offered))
	for i, f := range offered {
		files[i] = f.File
		files[i].URL = filesBeside + f.Filename
		if f.Build != nil {
			files[i].BuiltFrom, files[i].BuildKey = f.Build.From, f.Build.Key
		}
		if f.Provenance != "" {
			files[i].Provenance = "../../p/" + f.Provenance
		}
	}
	return &index.Project{Name: p.Name, Files: files, Status: p.Status, StatusReason: p.StatusReason}
}

func movedTo(w *response, r *http.Request, path string) error {
	if r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	http.Redirect(w, r, path, http.StatusMovedPermanently)
	return nil
}
