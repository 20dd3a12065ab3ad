package server

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"sync/atomic"

	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/index"
)

// rendered is a page as it is sent.
type rendered struct {
	etag string
	body []byte
}

func newRendered(body []byte, err error) (*rendered, error) {
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	return &rendered{`"` + hex.EncodeToString(sum[:16]) + `"`, body}, nil
}

// pages are the forms of one page, made when they are first asked for.
type pages struct{ json, html atomic.Pointer[rendered] }

// get gives the page in a form; the two HTML types have the same bytes.
func (p *pages) get(contentType string, render func(contentType string) ([]byte, error)) (*rendered, error) {
	slot := &p.html
	if contentType == index.TypeJSON {
		slot = &p.json
	}
	if page := slot.Load(); page != nil {
		return page, nil
	}
	page, err := newRendered(render(contentType))
	if err == nil {
		slot.Store(page)
	}
	return page, err
}

// projectPages are right as long as the catalog has this very project.
type projectPages struct {
	project *catalog.Project
	pages
}

// listPages are right as long as the catalog's names are of this generation.
type listPages struct {
	generation uint64
	pages
}

// simpleProject serves a project's page.
func (s *Server) simpleProject(w *response, r *http.Request) error {
	raw := r.PathValue("project")
	name, err := dist.ParseName(raw)
	if err != nil {
		return refuse(http.StatusNotFound, clip(raw)+" is no name of a project")
	}
	if string(name) != raw || !strings.HasSuffix(r.URL.Path, "/") {
		return movedTo(w, r, "/simple/"+string(name)+"/")
	}
	p := s.catalog.Project(name)
	if p == nil {
		s.projects.Delete(name)
		return refuse(http.StatusNotFound, "no file of "+clip(raw)+" is held here")
	}
	known, _ := s.projects.Load(name)
	cached, _ := known.(*projectPages)
	if cached == nil || cached.project != p {
		cached = &projectPages{project: p}
		s.projects.Store(name, cached)
	}
	return s.simple(w, r, &cached.pages, func(contentType string) ([]byte, error) {
		return index.RenderProject(listing(p), contentType)
	})
}

// simpleList serves the list of all projects.
func (s *Server) simpleList(w *response, r *http.Request) error {
	if !strings.HasSuffix(r.URL.Path, "/") {
		return movedTo(w, r, "/simple/")
	}
	names, generation := s.catalog.Names()
	cached := s.list.Load()
	if cached == nil || cached.generation != generation {
		cached = &listPages{generation: generation}
		s.list.Store(cached)
	}
	return s.simple(w, r, &cached.pages, func(contentType string) ([]byte, error) {
		return index.RenderProjects(names, contentType)
	})
}

// simple serves a page in the form that the client wants.
func (s *Server) simple(w *response, r *http.Request, p *pages, render func(string) ([]byte, error)) error {
	accept := r.Header.Get("Accept")
	if r.URL.RawQuery != "" {
		if format := r.URL.Query().Get("format"); format != "" {
			accept = format
		}
	}
	h := w.Header()
	h.Set("Vary", "Accept")
	contentType := index.Negotiate(accept)
	if contentType == "" {
		return refuse(http.StatusNotAcceptable, "this page can be had as "+index.TypeJSON+", "+index.TypeHTML+" and text/html")
	}
	page, err := p.get(contentType, render)
	if err != nil {
		return err
	}
	h.Set("Cache-Control", "no-cache") // which is to say: ask whether it has changed
	if contentType != index.TypeJSON {
		h.Set("Content-Security-Policy", contentPolicy)
	}
	if contentType == "text/html" {
		contentType = "text/html; charset=utf-8"
	}
	w.page(r, contentType, page.etag, page.body)
	return nil
}

// listing is a project as the index package renders it.
func listing(p *catalog.Project) *index.Project {
	files := make([]dist.File, len(p.Files))
	for i, f := range p.Files {
		files[i] = f.File
		files[i].URL = "../../p/" + f.Filename
	}
	return &index.Project{Name: p.Name, Files: files}
}

func movedTo(w *response, r *http.Request, path string) error {
	if r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	http.Redirect(w, r, path, http.StatusMovedPermanently)
	return nil
}
