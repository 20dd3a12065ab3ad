package server

import (
	"context"
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
	o, stale, err := s.look(r.Context(), name)
	if err != nil {
		return err
	}
	if stale {
		w.Header().Set("Cache-Status", staleStatus)
	}
	if o == (overlay{}) {
		s.memory.drop(r.URL.Path)
		return refuse(http.StatusNotFound, "no file of "+clip(string(name))+" is held here, and no upstream knows it")
	}
	return s.simple(w, r, s.memory.get(r.URL.Path, o.key()), func(contentType string) ([]byte, error) {
		return renderProject(o.listing(name, contentType), contentType)
	})
}

// overlay is what is held, laid over an upstream's page. The zero value is of a project that nobody knows.
type overlay struct {
	held *catalog.Project // nil: nothing
	page *mirror.Page     // nil: no upstream has one, or is to be asked

	status, reason string // of the project, of which nothing need be held; "" where page is nil: held has it
}

// look gives what those who see the shelf may know of a project; stale says that what the upstream has today is not known.
func (s *shelf) look(ctx context.Context, name dist.Name) (o overlay, stale bool, err error) {
	if err := s.catalog.Fresh(ctx, name); err != nil {
		return overlay{}, false, err
	}
	o.held = s.catalog.Project(name)
	if s.mirror == nil {
		return o, false, nil
	}
	if s.catalog.Below(name) { // a name that is the scope's own does not mix either
		if private, err := s.mirror.Private(ctx, name); private || err != nil {
			return o, false, err
		}
	}
	if o.page, stale, err = s.mirror.Page(ctx, name); err != nil {
		return overlay{}, false, err
	}
	o.held = s.catalog.Project(name)
	if o.page != nil {
		o.status, o.reason = s.catalog.Status(name)
	}
	return o, stale, nil
}

// key is what the prepared pages of what is the same have in common.
func (o overlay) key() any {
	if o.page == nil {
		return o.held
	}
	return o
}

func (o overlay) listing(name dist.Name, contentType string) *index.Project {
	if o.page == nil {
		return listing(o.held, contentType)
	}
	held := &index.Project{Name: name, Status: o.status, StatusReason: o.reason}
	if o.held != nil {
		held = listing(o.held, contentType)
	}
	return mirror.Merge(held, o.page, filesBeside)
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
