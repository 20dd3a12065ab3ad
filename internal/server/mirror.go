package server

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/mirror"
)

// staleStatus is what RFC 9211 has for a page that should have been asked for again and was not.
const staleStatus = "curd-server; hit; ttl=-1; detail=upstream-silent"

// filesBeside is where files lie, seen from a project's page.
const filesBeside = "../../p/"

// mirroredProject serves the page of what an upstream publishes, with what is held laid over it.
func (s *shelf) mirroredProject(w *response, r *http.Request, name dist.Name) error {
	p := s.catalog.Project(name)
	var page *mirror.Page
	if !s.catalog.Below(name) || !s.mirror.Private(name) { // a name that is the scope's own does not mix either
		var stale bool
		var err error
		if page, stale, err = s.mirror.Page(r.Context(), name); err != nil {
			return err
		}
		if stale {
			w.Header().Set("Cache-Status", staleStatus)
		}
		p = s.catalog.Project(name)
	}
	if page == nil && p == nil {
		s.memory.drop(r.URL.Path)
		return refuse(http.StatusNotFound, "no file of "+clip(string(name))+" is held here, and no upstream knows it")
	}
	if page == nil {
		return s.simple(w, r, s.memory.get(r.URL.Path, p), func(contentType string) ([]byte, error) {
			return renderProject(listing(p, contentType), contentType)
		})
	}
	status, reason := s.catalog.Status(name)
	return s.simple(w, r, s.memory.get(r.URL.Path, overlay{p, page, status, reason}), func(contentType string) ([]byte, error) {
		held := &index.Project{Name: name, Status: status, StatusReason: reason}
		if p != nil {
			held = listing(p, contentType)
		}
		return renderProject(mirror.Merge(held, page, filesBeside), contentType)
	})
}

// overlay is what is held, laid over an upstream's page.
type overlay struct {
	held *catalog.Project // nil: nothing
	page *mirror.Page

	status, reason string // of the project, of which nothing need be held
}

// sendMirrored sends a file that is not held, while it arrives from its upstream.
func (s *shelf) sendMirrored(w *response, r *http.Request, filename string) error {
	if r.Method == http.MethodHead {
		f, err := s.mirror.Find(r.Context(), filename)
		if err != nil {
			return err
		}
		if f.Size > 0 && f.SHA256 != "" {
			h := w.Header()
			h["Content-Type"], h["Cache-Control"] = octets, s.immutable
			h.Set("Content-Length", strconv.FormatInt(f.Size, 10))
			h.Set("Accept-Ranges", "bytes")
			h.Set("Etag", `"`+f.SHA256+`"`)
			w.WriteHeader(http.StatusOK)
			return nil
		}
	}
	w.Header()["Cache-Control"] = s.immutable
	content, err := s.mirror.Fetch(r.Context(), filename)
	if errors.Is(err, mirror.ErrHeld) {
		return s.send(w, r, filename)
	}
	if err != nil {
		return err
	}
	defer content.Close()
	if err := content.Ready(); err != nil {
		return err
	}
	f := content.File()
	h := w.Header()
	h["Content-Type"] = octets
	if f.SHA256 != "" {
		h.Set("Etag", `"`+f.SHA256+`"`)
	}
	http.ServeContent(w, r, "", time.Time{}, arriving{content, w})
	if content.Err() != nil {
		panic(http.ErrAbortHandler) // so that nobody takes what was sent for the whole file
	}
	return nil
}

// arriving has a client's time run only while there is something to send.
type arriving struct {
	*mirror.Reader
	w *response
}

func (a arriving) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if a.w.status != 0 {
		a.w.putOff()
	}
	return n, err
}

// mirroredMetadata sends METADATA of a wheel that is not held.
func (s *shelf) mirroredMetadata(w *response, r *http.Request, filename string) error {
	text, err := s.mirror.Metadata(r.Context(), filename)
	if errors.Is(err, mirror.ErrHeld) {
		text, _, err = s.catalog.Metadata(r.Context(), filename)
	}
	if err != nil {
		return err
	}
	newVariant(text, tagOf(text), "text/plain; charset=utf-8", s.immutable[0], "Accept-Encoding", chooseEncoding(headerOf(r, "Accept-Encoding"))).send(w, r)
	return nil
}
