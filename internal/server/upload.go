package server

import (
	"crypto/md5"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"

	"golang.org/x/crypto/blake2b"

	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/record"
)

const (
	maxForm  = 16 << 20 // bytes of a form beside the file
	maxField = 1 << 10  // bytes of a field that is read
)

// takesNone refuses an upload where nothing can be uploaded.
func takesNone(w *response, _ *http.Request) error {
	w.Header().Set("Allow", "GET, HEAD")
	return refuse(http.StatusMethodNotAllowed, "this server shows a machine's own cache and takes no uploads; upload to a server that has a folder of its own")
}

// putFile takes a file: the raw body, or the original client's form, whose field
// is named like the file. Before it the form may have the record of a build and its signature, in fields
// that are named as they lie beside the file.
func (s *shelf) putFile(w *response, r *http.Request) error {
	content, err := s.body(w, r)
	if err != nil {
		return err
	}
	filename := r.PathValue("file")
	var built, signature []byte
	if isForm(r) {
		form, err := formReader(r, content)
		if err != nil {
			return err
		}
		content = nil
		beside := map[string]*[]byte{filename + catalog.RecordSuffix: &built, filename + catalog.SignatureSuffix: &signature}
		for content == nil {
			part, err := form.NextPart()
			if errors.Is(err, io.EOF) {
				return refuse(http.StatusBadRequest, "the form has no field named "+clip(filename))
			}
			if err != nil {
				return badForm(err)
			}
			if name := part.FormName(); name == filename {
				content = part
			} else if to := beside[name]; to != nil {
				if *to, err = io.ReadAll(io.LimitReader(part, record.MaxSize+1)); err != nil {
					return badForm(err)
				}
			}
		}
	}
	u, err := s.receive(w, filename, content)
	if err != nil {
		return err
	}
	defer u.Discard()
	u.Record, u.Signature = built, signature
	return s.keep(w, r, u)
}

// postForm takes a file as twine, uv, poetry and flit send it.
func (s *shelf) postForm(w *response, r *http.Request) error {
	content, err := s.body(w, r)
	if err != nil {
		return err
	}
	if !isForm(r) {
		return refuse(http.StatusBadRequest, "an upload is a multipart form with the field content, as twine sends it; or use PUT /p/FILE")
	}
	form, err := formReader(r, content)
	if err != nil {
		return err
	}
	fields := make(map[string]string)
	var attestations []byte
	var u *catalog.Upload
	defer func() {
		if u != nil {
			u.Discard()
		}
	}()
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return badForm(err)
		}
		switch name := part.FormName(); name {
		case "content":
			if u != nil {
				return refuse(http.StatusBadRequest, "the form has two files")
			}
			if u, err = s.receive(w, part.FileName(), part); err != nil {
				return err
			}
		case "attestations":
			if attestations, err = io.ReadAll(io.LimitReader(part, catalog.MaxSidecar+1)); err != nil {
				return badForm(err)
			}
		case ":action", "sha256_digest", "blake2_256_digest", "md5_digest":
			value, err := io.ReadAll(io.LimitReader(part, maxField))
			if err != nil {
				return badForm(err)
			}
			fields[name] = string(value)
		}
	}
	if action := fields[":action"]; action != "file_upload" {
		return refuse(http.StatusBadRequest, fmt.Sprintf(":action is %q; only file_upload is known", clip(action)))
	}
	if u == nil {
		return refuse(http.StatusBadRequest, "the form has no field content")
	}
	if err := checkDigests(u, fields); err != nil {
		return err
	}
	if attestations == nil {
		return s.keep(w, r, u)
	}
	if err := u.CheckAttestations(attestations); err != nil {
		return err
	}
	return s.keep(w, r, u, attestations)
}

// checkDigests holds the content against what the form says of it.
func checkDigests(u *catalog.Upload, fields map[string]string) error {
	blake, err := blake2b.New256(nil)
	if err != nil {
		return err
	}
	for _, digest := range []struct {
		field string
		hash  hash.Hash // nil: known already
	}{{"sha256_digest", nil}, {"blake2_256_digest", blake}, {"md5_digest", md5.New()}} {
		want := fields[digest.field]
		if want == "" {
			continue
		}
		got := u.SHA256
		if digest.hash != nil {
			if got, err = u.Digest(digest.hash); err != nil {
				return err
			}
		}
		if !strings.EqualFold(got, want) {
			return refuse(http.StatusBadRequest, fmt.Sprintf("%s: %s is %s, of what came it is %s", u.Filename, digest.field, clip(want), got))
		}
	}
	return nil
}

// body gives a body that is not larger than may be. Nothing is read yet, so that a
// client that waits to be told to go on need not send what is refused.
func (s *Server) body(w *response, r *http.Request) (io.Reader, error) {
	limit := s.maxUpload
	if isForm(r) {
		limit += maxForm
	}
	if r.ContentLength > limit {
		return nil, s.tooLarge()
	}
	return body{http.MaxBytesReader(w.ResponseWriter, r.Body, limit), w}, nil
}

// receive takes the bytes of a file that may be uploaded.
func (s *shelf) receive(w *response, filename string, content io.Reader) (*catalog.Upload, error) {
	w.upload.File = clip(filename)
	// What project a source distribution is of, its name alone cannot always tell.
	if f, err := dist.ParseFilename(filename, ""); err == nil && f.Kind == dist.Wheel {
		if err := w.mayUpload(f.Name); err != nil {
			return nil, err
		}
	}
	u, err := s.catalog.Receive(filename, content)
	if err != nil {
		return nil, err
	}
	w.upload.Size, w.upload.SHA256 = u.Size, u.SHA256
	if u.Size > s.maxUpload {
		u.Discard()
		return nil, s.tooLarge()
	}
	u.Allow = w.mayUpload
	return u, nil
}

func (s *Server) tooLarge() error {
	return refuse(http.StatusRequestEntityTooLarge, fmt.Sprintf("a file may have %d bytes at most on this server", s.maxUpload))
}

// keep has a file held, and attestations that came with it, and says so.
func (s *shelf) keep(w *response, r *http.Request, u *catalog.Upload, attestations ...[]byte) error {
	from := catalog.From{}
	if s.mirror != nil {
		admit := s.mirror.Admit
		if s.scope != "" {
			admit = s.mirror.Published // what lies below main makes no name an upstream's or private
		}
		var err error
		if from, err = admit(r.Context(), u.Filename, u.SHA256); err != nil {
			return err
		}
	}
	from.User = w.user()
	created, err := u.Keep(r.Context(), from)
	if err != nil {
		return err
	}
	if s.mirror != nil && s.scope == "" && from.Upstream == "" {
		if err := s.mirror.Uploaded(r.Context(), u.Filename); err != nil {
			return err
		}
	}
	for _, a := range attestations {
		if err := u.KeepAttestations(r.Context(), a); err != nil {
			return err
		}
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		s.log.Info("uploaded", "file", u.Filename, "bytes", u.Size, "sha256", u.SHA256, "user", w.user(), "scope", s.scope, "remote", r.RemoteAddr)
	}
	entry := w.entry(r)
	entry.Status = status
	if err := s.audit.Write(entry); err != nil {
		s.log.Error("an upload was kept and cannot be noted in the audit log", "file", u.Filename, "bytes", u.Size, "sha256", u.SHA256,
			"status", status, "user", entry.User, "token", entry.Token, "remote", entry.Remote, "err", err)
		return unaudited(err, "the file was kept")
	}
	w.text(status, "ok\n")
	return nil
}

func isForm(r *http.Request) bool {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && t == "multipart/form-data"
}

func formReader(r *http.Request, content io.Reader) (*multipart.Reader, error) {
	_, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || parameters["boundary"] == "" {
		return nil, refuse(http.StatusBadRequest, "the form's Content-Type has no boundary")
	}
	return multipart.NewReader(content, parameters["boundary"]), nil
}

// badForm keeps the errors that have a status of their own.
func badForm(err error) error {
	if p := classify(err); p.Status != http.StatusInternalServerError {
		return err
	}
	return refuse(http.StatusBadRequest, "the form cannot be read: "+err.Error())
}
