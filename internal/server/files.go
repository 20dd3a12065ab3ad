package server

import (
	"net/http"
	"strings"

	"curdling/internal/catalog"
)

// getFile serves a file, or a wheel's METADATA.
func (s *Server) getFile(w *response, r *http.Request) error {
	filename := r.PathValue("file")
	if of, ok := strings.CutSuffix(filename, ".metadata"); ok {
		return s.getMetadata(w, r, of)
	}
	w.Header()["Cache-Control"] = []string{s.immutable}
	return s.send(w, r, filename)
}

// send sends a file, or the ranges of it that are asked for.
func (s *Server) send(w *response, r *http.Request, filename string) error {
	content, f, err := s.catalog.Open(r.Context(), filename)
	if err != nil {
		return err
	}
	defer content.Close()
	h := w.Header()
	h["Content-Type"] = []string{"application/octet-stream"}
	h["Etag"] = []string{fileTag(f)}
	http.ServeContent(w, r, "", f.ModTime, content)
	return nil
}

func fileTag(f *catalog.File) string { return `"` + f.SHA256 + `"` }

func (s *Server) getMetadata(w *response, r *http.Request, filename string) error {
	text, f, err := s.catalog.Metadata(r.Context(), filename)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", s.immutable)
	w.page(r, "text/plain; charset=utf-8", `"`+f.MetadataSHA256+`"`, text)
	return nil
}
