package server

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"curdling/internal/catalog"
	"curdling/internal/wheel"
)

const (
	// smallFile is the largest file that is kept in memory, in bytes.
	smallFile = 64 << 10
	// trust is how long a small file is sent from memory before its place in the store is looked at again. The
	// catalog's word, which follows the store, is asked each time, and will do of a store far away.
	trust = time.Second / 2
)

// getFile serves a file, or what lies beside it.
func (s *shelf) getFile(w *response, r *http.Request) error {
	filename := strings.TrimPrefix(r.URL.Path, "/p/")
	switch {
	case strings.HasSuffix(filename, ".whl"): // most
	case strings.HasSuffix(filename, ".metadata"):
		return s.getMetadata(w, r, strings.TrimSuffix(filename, ".metadata"))
	case strings.HasSuffix(filename, wheel.TarballSuffix):
		return s.getTarball(w, r, strings.TrimSuffix(filename, wheel.TarballSuffix))
	case strings.HasSuffix(filename, catalog.ProvenanceSuffix):
		return s.getSidecar(w, r, filename, "application/vnd.pypi.integrity.v1+json")
	case strings.HasSuffix(filename, catalog.SignatureSuffix):
		return s.getSidecar(w, r, filename, "text/plain; charset=utf-8")
	case strings.HasSuffix(filename, catalog.AttestationsSuffix), strings.HasSuffix(filename, catalog.RecordSuffix):
		return s.getSidecar(w, r, filename, "application/json")
	}
	err := s.sendFile(w, r, filename)
	s.count(w, r, err)
	if r.Method == http.MethodGet && err == nil && (w.status == http.StatusOK || w.status == http.StatusTemporaryRedirect) {
		if f := s.catalog.File(filename); f != nil && f.Build != nil {
			s.counters.savings.add(f)
		}
	}
	return err
}

// count counts a file that was asked for.
func (s *Server) count(w *response, r *http.Request, err error) {
	sent := err == nil && (w.status == http.StatusOK || w.status == http.StatusPartialContent || w.status == http.StatusTemporaryRedirect)
	switch {
	case r.Method != http.MethodGet:
		return
	case w.missed || errors.Is(err, fs.ErrNotExist):
		s.counters.misses.Add(1)
	case sent:
		s.counters.hits.Add(1)
	}
	if sent {
		s.counters.bytes.Add(w.bytes)
	}
}

// sendFile sends a file, a small one from memory.
func (s *shelf) sendFile(w *response, r *http.Request, filename string) error {
	if err := s.catalog.FreshFile(r.Context(), filename); err != nil {
		return err
	}
	f, err := s.catalog.Offered(filename)
	if s.mirror != nil {
		if errors.Is(err, fs.ErrNotExist) {
			w.missed = true
			return s.sendMirrored(w, r, filename)
		}
		if err == nil && f.From.Upstream != "" {
			s.mirror.Hit()
		}
	}
	if err != nil {
		return err
	}
	if f.Size > smallFile {
		if s.sendAway(w, r, f, false) {
			return nil
		}
		w.Header()["Cache-Control"] = s.control(filename)
		return s.send(w, r, filename)
	}
	p := s.memory.get(r.URL.Path, f)
	v := p.variants[0][identity].Load()
	if now := time.Now().UnixNano(); v == nil || !s.catalog.Far() && now-p.checked.Load() > int64(trust) {
		if v, err = s.readSmall(r, f, p, v); err != nil {
			s.memory.drop(r.URL.Path)
			return err
		}
		p.checked.Store(now)
	}
	if isConditional(r) {
		w.setFields(v.common)
		w.Header()["Content-Type"] = octets
		http.ServeContent(w, r, "", f.ModTime, bytes.NewReader(v.body))
		return nil
	}
	v.send(w, r)
	return nil
}

// isConditional tells whether a request asks for more than a whole file.
func isConditional(r *http.Request) bool {
	for _, key := range [...]string{"Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since"} {
		if _, ok := r.Header[key]; ok {
			return true
		}
	}
	return false
}

// readSmall opens a small file, and reads it where it was not read before.
func (s *shelf) readSmall(r *http.Request, f *catalog.File, p *prepared, known *variant) (*variant, error) {
	content, _, err := s.catalog.Open(r.Context(), f.Filename)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	if known != nil {
		return known, nil
	}
	body := make([]byte, f.Size)
	if _, err := io.ReadFull(content, body); err != nil {
		return nil, err
	}
	v := newVariant(body, f.SHA256, octets[0], s.control(f.Filename)[0], "", identity)
	v.common = append(v.common, field{"Last-Modified", []string{f.ModTime.UTC().Format(http.TimeFormat)}}, field{"Accept-Ranges", []string{"bytes"}})
	if p.variants[0][identity].Swap(v) == nil {
		s.memory.grow(r.URL.Path, p, f.Size+overhead)
	}
	return v, nil
}

var octets, zstds = []string{"application/octet-stream"}, []string{"application/zstd"}

// send sends a file, or the ranges of it that are asked for.
func (s *shelf) send(w *response, r *http.Request, filename string) error {
	if s.catalog.Far() && (r.Method == http.MethodHead || isConditional(r)) {
		if sent, err := s.sendKnown(w, r, filename); sent || err != nil {
			return err
		}
	}
	content, f, err := s.catalog.Open(r.Context(), filename)
	if err != nil {
		return err
	}
	defer content.Close()
	h := w.Header()
	h["Content-Type"] = octets
	h["Etag"] = []string{`"` + f.SHA256 + `"`}
	http.ServeContent(w, r, "", f.ModTime, content)
	if w.broke {
		s.catalog.Doubt(filename)
	}
	return nil
}

// sendKnown answers, where it can, by what is known of a file, without asking a store far away for its bytes.
func (s *shelf) sendKnown(w *response, r *http.Request, filename string) (sent bool, err error) {
	f, err := s.catalog.Offered(filename)
	if err != nil {
		return false, err
	}
	tag := `"` + f.SHA256 + `"`
	if r.Method != http.MethodHead && !matches(headerOf(r, "If-None-Match"), tag) {
		return false, nil
	}
	h := w.Header()
	h["Content-Type"] = octets
	h["Etag"] = []string{tag}
	http.ServeContent(w, r, "", f.ModTime, io.NewSectionReader(nil, 0, f.Size))
	return true, nil
}

// getTarball serves a wheel's tarball. It may become another one: its name says nothing of the compressor.
func (s *shelf) getTarball(w *response, r *http.Request, filename string) error {
	if err := s.catalog.FreshFile(r.Context(), filename+wheel.TarballSuffix); err != nil {
		return err
	}
	if f, err := s.catalog.Offered(filename); err == nil && s.sendAway(w, r, f, true) {
		s.count(w, r, nil)
		return nil
	}
	content, f, err := s.catalog.Tarball(r.Context(), filename)
	if err != nil {
		return err
	}
	defer content.Close()
	h := w.Header()
	h["Content-Type"] = zstds
	h["Etag"] = []string{`"` + f.Tarball.SHA256 + `"`}
	h["Cache-Control"] = []string{s.pageControl}
	http.ServeContent(w, r, "", time.Time{}, content)
	s.count(w, r, nil)
	if s.mirror != nil && f.From.Upstream != "" {
		s.mirror.Hit()
	}
	return nil
}

// getMetadata serves a wheel's METADATA.
func (s *shelf) getMetadata(w *response, r *http.Request, filename string) error {
	if err := s.catalog.FreshFile(r.Context(), filename); err != nil {
		return err
	}
	f, err := s.catalog.Offered(filename)
	if s.mirror != nil && errors.Is(err, fs.ErrNotExist) {
		return s.mirroredMetadata(w, r, filename)
	}
	if err != nil {
		return err
	}
	p := s.memory.get(r.URL.Path, f)
	encoding := chooseEncoding(headerOf(r, "Accept-Encoding"))
	v := p.variants[0][encoding].Load()
	if v == nil {
		text, f, err := s.catalog.Metadata(r.Context(), filename)
		if err != nil {
			return err
		}
		v = newVariant(text, f.MetadataSHA256, "text/plain; charset=utf-8", s.control(f.Filename)[0], "Accept-Encoding", encoding)
		if p.variants[0][encoding].Swap(v) == nil {
			s.memory.grow(r.URL.Path, p, int64(len(v.body))+overhead)
		}
	}
	v.send(w, r)
	return nil
}

// getSidecar serves what lies beside a file. It may change.
func (s *shelf) getSidecar(w *response, r *http.Request, key, contentType string) error {
	if err := s.catalog.FreshFile(r.Context(), key); err != nil {
		return err
	}
	content, err := s.catalog.Sidecar(r.Context(), key)
	if err != nil {
		return err
	}
	newVariant(content, tagOf(content), contentType, s.pageControl, "Accept-Encoding", chooseEncoding(headerOf(r, "Accept-Encoding"))).send(w, r)
	return nil
}
