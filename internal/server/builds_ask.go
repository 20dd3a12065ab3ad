package server

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"

	"curdling/internal/auth"
	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/lease"
	"curdling/internal/process"
)

const (
	maxQuestion  = 64 << 10         // bytes
	questionTime = 10 * time.Second // for a body to come
	maxBuildWait = 30 * time.Second // for news
	wakeEvery    = 2 * time.Second  // those who wait
)

// askBuild answers with the builds that there are, a lease, or what another one is doing.
func (s *shelf) askBuild(w *response, r *http.Request) error {
	return s.ask(w, r, func(q *index.BuildQuestion) (*index.BuildAnswer, error) {
		if err := s.catalog.FreshBuilds(r.Context(), r.PathValue("from"), r.PathValue("key")); err != nil {
			return nil, err
		}
		var a index.BuildAnswer
		for _, f := range s.catalog.Builds(r.PathValue("from"), r.PathValue("key")) {
			if !slices.Contains(q.Unfit, f.Filename) {
				a.Files = append(a.Files, index.BuiltFile{Filename: f.Filename, SHA256: f.SHA256, Size: f.Size})
			}
		}
		if a.Files == nil {
			return nil, nil
		}
		return &a, nil
	})
}

// askMetadata is the same for the METADATA of a source.
func (s *shelf) askMetadata(w *response, r *http.Request) error {
	return s.ask(w, r, func(*index.BuildQuestion) (*index.BuildAnswer, error) {
		text, err := s.prepared(r)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return &index.BuildAnswer{Metadata: sha256Of(text)}, err
	})
}

// ask answers a question, as late as the asker wants, or as soon as there is news.
func (s *shelf) ask(w *response, r *http.Request, find func(*index.BuildQuestion) (*index.BuildAnswer, error)) error {
	name, err := leaseName(r)
	if err != nil {
		return err
	}
	q, err := s.question(w, r)
	if err != nil {
		return err
	}
	refusal, err := s.mayBuild(w, r, q)
	if err != nil {
		return err
	}
	waiting, done := s.waiting.begin(r.Context(), min(time.Duration(q.Wait*float64(time.Second)), maxBuildWait, s.stall/2))
	defer done()
	w.Header().Set("Cache-Control", "no-store")
	builder := refusal == nil && !q.Look
	for waits := q.After != ""; ; waits = true {
		var leases *lease.Leases
		var status lease.Status
		if waits {
			if leases, status, err = s.claim(r, name, q, false, ""); err != nil {
				return leaseError(err)
			}
		}
		if status.State != lease.Held || s.waiting.look(s.scope+" "+name) {
			if answer, err := find(&q); err != nil {
				return err
			} else if answer != nil {
				s.waiting.found(s.scope + " " + name)
				return sendJSON(w, http.StatusOK, answer)
			}
		}
		if !waits || builder && (status.State == lease.Free || status.HeldBy(q.Ours)) {
			if leases, status, err = s.claim(r, name, q, builder, w.user()); err != nil {
				return leaseError(err)
			}
		}
		switch status.State {
		case lease.Granted:
			return sendJSON(w, http.StatusCreated, index.BuildAnswer{Lease: status.Token, TTL: s.builds.Leases.TTL().Seconds()})
		case lease.Failed:
			return sendFailure(w, q.Name, status)
		case lease.Free:
			if q.Look {
				w.WriteHeader(http.StatusNoContent)
				return nil
			}
			if refusal != nil {
				return refusal
			}
		}
		if waiting.Err() != nil || status.After != q.After {
			return sendJSON(w, http.StatusAccepted, index.BuildAnswer{
				Holder: plainLine(status.By), Since: status.Since.Seconds(), Log: process.Plain(status.Log), After: status.After})
		}
		soon, cancel := context.WithTimeout(waiting, wakeEvery)
		leases.Wait(soon, name, status.After)
		cancel()
	}
}

func (s *Server) question(w *response, r *http.Request) (q index.BuildQuestion, err error) {
	w.until = time.Now().Add(questionTime)
	b, err := io.ReadAll(body{http.MaxBytesReader(w.ResponseWriter, r.Body, maxQuestion), w})
	if err != nil {
		return q, err
	}
	if q, err = index.ParseBuildQuestion(b); err == nil && q.Ours != "" && !lease.IsToken(q.Ours) {
		err = errors.New("ours is not a token: 26 of the characters A-Z and 2-7")
	}
	if err != nil {
		return q, refuse(http.StatusBadRequest, "the question cannot be read: "+err.Error())
	}
	return q, nil
}

// mayBuild tells why who asks may have no lease, but wait for another's; nil where he may
// have one. An error is for who is not let in at all.
func (s *Server) mayBuild(w *response, r *http.Request, q index.BuildQuestion) (refusal, err error) {
	authorization := r.Header.Get("Authorization")
	who, err := s.gate.Authorize(authorization, remoteAddr(r), auth.Upload)
	var denied *auth.ForbiddenError
	switch {
	case errors.As(err, &denied):
		return err, nil
	case errors.Is(err, auth.ErrUnauthenticated) && authorization == "": // everybody may read
		return &auth.ForbiddenError{Reason: "nobody builds that now, and who does not say who he is may not build for others"}, nil
	case err != nil:
		return nil, err
	}
	w.who = who
	if !who.Limited() {
		return nil, nil
	}
	project, _, _ := strings.Cut(q.Name, " ")
	name, err := dist.ParseName(project)
	if err != nil {
		return &auth.ForbiddenError{Reason: "the token is for uploads of some projects, and the question's name does not begin with one"}, nil
	}
	return w.mayUpload(name), nil
}

// claim asks for a lease, or for how it stands where the asker may not have one, and tells among whose leases. What main's
// build, or failed to build, those below wait for, or are told of.
func (s *shelf) claim(r *http.Request, name string, q index.BuildQuestion, builder bool, user string) (among *lease.Leases, status lease.Status, err error) {
	among = s.leases()
	if main := s.builds.Leases; among != main {
		if status, err = main.Look(r.Context(), name, q.After); err != nil || status.State != lease.Free {
			return main, status, err
		}
	}
	if !builder {
		status, err = among.Look(r.Context(), name, q.After)
		return among, status, err
	}
	by := remoteAddr(r).String()
	if user != "" {
		by = user + " at " + by
	}
	status, err = among.Acquire(r.Context(), name, lease.Asker{Token: q.Ours, By: by, What: q.Name}, q.After)
	return among, status, err
}
