package server

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"curdling/internal/audit"
	"curdling/internal/auth"
	"curdling/internal/dist"
	"curdling/internal/store"
)

// allow lets a handler run for those who may, with what they see.
func (s *Server) allow(action auth.Action, h shelved) handler {
	return func(w *response, r *http.Request) error {
		authorization := ""
		if values := r.Header["Authorization"]; len(values) > 0 {
			authorization = values[0]
		}
		who, err := s.gate.Authorize(authorization, remoteAddr(r), action)
		w.who = who
		if err != nil {
			return err
		}
		if who.Scope == "" {
			return h(s.main, w, r)
		}
		shelf, release, err := s.shelf(who.Scope, action)
		if err != nil {
			return err
		}
		defer release()
		return h(shelf, w, r)
	}
}

// upload lets a handler of uploads run for those who may, and has the audit log
// know of what was refused. What was kept [Server.keep] tells it.
func (s *Server) upload(handle shelved) handler {
	h := s.allow(auth.Upload, handle)
	return func(w *response, r *http.Request) error {
		if err := s.audit.Ready(); err != nil {
			return unaudited(err, "nothing was kept")
		}
		w.upload = new(audit.Entry)
		err := h(w, r)
		var unaudited *auditError
		if err == nil || errors.As(err, &unaudited) {
			return err
		}
		p := classify(err)
		// Who says nothing of himself, or the same again, or is told to wait, could fill the log.
		var repeated *auth.RepeatedError
		if p.Status == http.StatusTooManyRequests || p.Status == http.StatusUnauthorized && r.Header.Get("Authorization") == "" || errors.As(err, &repeated) {
			return err
		}
		e := w.entry(r)
		e.Status, e.Detail = p.Status, p.Detail
		if e.File == "" {
			e.File = clip(r.PathValue("file"))
		}
		if failed := s.audit.Write(e); failed != nil {
			s.log.Error("a refused upload cannot be noted in the audit log", "file", e.File, "user", e.User, "remote", e.Remote, "err", failed)
		}
		return err
	}
}

// mayUpload tells that files of a project may be uploaded by who is let in.
func (w *response) mayUpload(project dist.Name) error { return w.who.MayUpload(string(project)) }

// entry is what is known of an upload for the audit log.
func (w *response) entry(r *http.Request) audit.Entry {
	e := *w.upload
	e.Action = "upload"
	if w.who != nil {
		e.User, e.Token, e.Scope = w.who.User, w.who.Token, w.who.Scope
	}
	e.Remote = remoteAddr(r).String()
	if w.peer != r.RemoteAddr {
		e.Via = w.peer
		for _, name := range []string{"Forwarded", "X-Forwarded-For"} {
			for _, value := range r.Header.Values(name) {
				e.Forwarded += name + ": " + value + "; "
			}
		}
		e.Forwarded = strings.TrimSuffix(e.Forwarded, "; ")
	}
	return e
}

// auditError says that an upload could not be noted.
type auditError struct {
	err  error
	kept string // what became of it
}

func unaudited(err error, kept string) error { return &auditError{err, kept} }

func (e *auditError) Error() string { return "the audit log: " + e.err.Error() }
func (e *auditError) Unwrap() error { return e.err }

// problem is what the client is told.
func (e *auditError) problem() (status int, detail string) {
	status = http.StatusInternalServerError
	if store.IsFull(e.err) {
		status = http.StatusInsufficientStorage
	}
	return status, fmt.Sprintf("the upload cannot be noted in the server's audit log; %s; who runs the server finds the cause in its log", e.kept)
}

// challenge tells how to say who one is.
func challenge(r *http.Request) string {
	if scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		return `Bearer realm="curdling", error="invalid_token"`
	}
	return `Basic realm="curdling"`
}

// scheme is the one that the client used.
func scheme(r *http.Request) string {
	switch {
	case r.URL.Scheme != "": // as a trusted proxy says
		return r.URL.Scheme
	case r.TLS != nil:
		return "https"
	}
	return "http"
}

// base is this server's address as the client wrote it, with the prefix and without a slash at the end.
func (s *Server) base(r *http.Request) string { return scheme(r) + "://" + r.Host + s.prefix }

// local gives the request as it came to this server, without proxies and prefix before it.
func (s *Server) local(r *http.Request) *http.Request {
	if s.proxies != nil {
		r = s.proxies.apply(r)
	}
	path := s.within(r.URL.Path)
	if len(path) == len(r.URL.Path) {
		return r
	}
	stripped, u := *r, *r.URL
	u.Path, u.RawPath = path, strings.TrimPrefix(u.RawPath, s.prefix)
	stripped.URL = &u
	return &stripped
}

// within gives a path without the prefix.
func (s *Server) within(path string) string {
	if rest, ok := strings.CutPrefix(path, s.prefix); ok && strings.HasPrefix(rest, "/") {
		return rest
	}
	return path
}

// outward puts the prefix before the paths in headers.
func outward(h http.Header, prefix string) {
	for _, name := range []string{"Location", "Content-Location"} {
		if path := h.Get(name); strings.HasPrefix(path, "/") && !strings.HasPrefix(path, prefix+"/") {
			h.Set(name, prefix+path)
		}
	}
}

// Cache-Control where nobody has to say who he is: of what never changes, and of what caches may keep as long as they
// ask each time whether it is still right.
const (
	forEver  = "public, max-age=31536000, immutable"
	eachTime = "public, max-age=0, must-revalidate"
)

// private are these where somebody has to; shared by all answers, and never changed. What else is public is made so each time.
var private = map[string][]string{
	forEver:  {"private, max-age=31536000, immutable"},
	eachTime: {"private, max-age=0, must-revalidate"},
}

// makePrivate keeps what somebody had to say who he is for from caches that others share.
func makePrivate(h http.Header) {
	if control := h["Cache-Control"]; len(control) == 1 {
		if value, ok := private[control[0]]; ok {
			h["Cache-Control"] = value
		} else if rest, ok := strings.CutPrefix(control[0], "public"); ok {
			h["Cache-Control"] = []string{"private" + rest}
		}
	}
}

// varyByUser tells caches that what is answered depends on who asks.
func varyByUser(h http.Header) {
	h["Vary"] = append(slices.Clone(h["Vary"]), "Authorization") // the value may be shared
}

// CheckPathPrefix tells whether links can begin with a prefix: "" or one like /pypi.
func CheckPathPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(prefix, "/"), "/")
	switch first {
	case "simple", "p", "api", "s", "project", "legacy", "builds", "plan":
		return fmt.Errorf("path prefix %q: /%s is a path of the server's own", prefix, first)
	}
	for segment := range strings.SplitSeq(prefix[1:], "/") {
		if prefix[0] != '/' || segment == "" || strings.Trim(segment, ".") == "" || strings.ContainsFunc(segment, func(r rune) bool {
			return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("-._~", r)
		}) {
			return fmt.Errorf("path prefix %q: write one like /pypi, with a slash before it and none behind, of letters, digits and -._~", prefix)
		}
	}
	return nil
}
