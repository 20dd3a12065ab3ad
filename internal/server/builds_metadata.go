package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"curdling/internal/index"
	"curdling/internal/lease"
	"curdling/internal/metadata"
)

const (
	metadataTime  = time.Minute // for a body to come
	preparedClass = "text/plain; charset=utf-8"
)

// preparers keep the METADATA of sources that the scope's own believe: main's and, last, what takes what they send.
func (s *shelf) preparers() []lease.Documents {
	all := []lease.Documents{s.builds.Prepared}
	if s.scope != "" {
		_, prepared := s.builds.Below(s.scope)
		all = append(all, prepared)
	}
	return all
}

// prepared gives the METADATA of a source: what was prepared, or what a build of it has.
func (s *shelf) prepared(r *http.Request) ([]byte, error) {
	name, err := buildName(r)
	if err != nil {
		return nil, err
	}
	if text, err := s.sentMetadata(r, name); !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	if err := s.catalog.FreshBuilds(r.Context(), r.PathValue("from"), r.PathValue("key")); err != nil {
		return nil, err
	}
	for _, f := range s.catalog.Builds(r.PathValue("from"), r.PathValue("key")) {
		if text, _, err := s.catalog.Metadata(r.Context(), f.Filename); err == nil {
			return text, nil
		}
	}
	return nil, fmt.Errorf("the metadata of %s: %w", name, fs.ErrNotExist)
}

// sentMetadata gives the METADATA that was prepared.
func (s *shelf) sentMetadata(r *http.Request, name string) (text []byte, err error) {
	for _, prepared := range s.preparers() {
		if text, _, err = prepared.Get(r.Context(), name, ""); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return text, err
}

func (s *shelf) getBuildMetadata(w *response, r *http.Request) error {
	text, err := s.prepared(r)
	if errors.Is(err, fs.ErrNotExist) {
		return refuse(http.StatusNotFound, "nobody prepared the metadata of that source yet")
	}
	if err != nil {
		return err
	}
	newVariant(text, sha256Of(text), preparedClass, s.pageControl, "Accept-Encoding", chooseEncoding(headerOf(r, "Accept-Encoding"))).send(w, r)
	return nil
}

// putBuildMetadata keeps the METADATA of a source for the others. The first stays.
func (s *shelf) putBuildMetadata(w *response, r *http.Request) error {
	name, err := buildName(r)
	if err != nil {
		return err
	}
	w.upload.File = "builds/" + name + "/metadata"
	w.until = time.Now().Add(metadataTime)
	text, err := io.ReadAll(body{http.MaxBytesReader(w.ResponseWriter, r.Body, index.MaxBuildMetadata), w})
	if err != nil {
		return err
	}
	w.upload.Size, w.upload.SHA256 = int64(len(text)), sha256Of(text)
	m, err := metadata.Parse(text)
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	if err := w.mayUpload(m.Name); err != nil {
		return err
	}
	status := http.StatusOK
	held, err := s.sentMetadata(r, name)
	if errors.Is(err, fs.ErrNotExist) {
		err = s.prepare(r, name, text)
		if err == nil {
			status, held = http.StatusCreated, text
		} else if errors.Is(err, lease.ErrConflict) {
			held, err = s.sentMetadata(r, name)
		}
	}
	switch {
	case err != nil:
		return err
	case !bytes.Equal(held, text):
		return refuse(http.StatusConflict, fmt.Sprintf("other metadata of that source is held: its sha256 is %s, of what came it is %s", sha256Of(held), sha256Of(text)))
	}
	entry := w.entry(r)
	entry.Status = status
	if err := s.audit.Write(entry); err != nil {
		s.log.Error("metadata was kept and cannot be noted in the audit log", "file", entry.File, "sha256", entry.SHA256, "user", entry.User, "remote", entry.Remote, "err", err)
		return unaudited(err, "the metadata was kept")
	}
	w.text(status, "ok\n")
	return nil
}

// prepare keeps the METADATA of a source that has none yet. What those below main may fill is bounded.
func (s *shelf) prepare(r *http.Request, name string, text []byte) error {
	stores := s.preparers()
	store := stores[len(stores)-1]
	if s.scope != "" {
		n := 0
		for _, err := range store.List(r.Context()) {
			if n++; err != nil {
				return err
			}
		}
		if n >= lease.MostApart {
			return refuse(http.StatusInsufficientStorage, fmt.Sprintf("the scope %s has metadata of %d sources, which is as much as it may", s.scope, n))
		}
	}
	_, err := store.Swap(r.Context(), name, "", text)
	return err
}

func sha256Of(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
