package server

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"curdling/internal/auth"
	"curdling/internal/catalog"
	"curdling/internal/mirror"
	"curdling/internal/oidc"
	"curdling/internal/store"
)

// refusal is an error with the status to answer and a sentence for the user.
type refusal struct {
	status int
	detail string
}

func (e *refusal) Error() string { return e.detail }

func refuse(status int, detail string) error { return &refusal{status, detail} }

// problem is RFC 9457's; type is left out, which means about:blank.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`

	retryAfter int  // seconds; 0: nobody knows
	elsewhere  bool // the trouble is not this server's, so that another one stands no better
}

// classify finds the status for an error, and what the client is told of it.
func classify(err error) problem {
	var (
		refused  *refusal
		invalid  *catalog.InvalidError
		conflict *catalog.ConflictError
		quota    *catalog.QuotaError
		closed   *catalog.StatusError
		absent   *mirror.AbsentError
		theirs   *mirror.ConflictError
		upstream *mirror.Error
		tooLarge *http.MaxBytesError
		timeout  net.Error
		limited  *auth.LimitedError
		denied   *auth.ForbiddenError
		unnoted  *auditError
		issuer   *oidc.UnreachableError
		full     *catalog.DiskFullError
		away     *store.UnavailableError
	)
	status, detail := http.StatusInternalServerError, "the server could not do it; its log says why"
	retryAfter, elsewhere := 0, false
	switch {
	case errors.As(err, &refused):
		status, detail = refused.status, refused.detail
	case errors.Is(err, auth.ErrUnauthenticated):
		status, detail = http.StatusUnauthorized, err.Error()
	case errors.As(err, &denied):
		status, detail = http.StatusForbidden, err.Error()
	case errors.As(err, &limited):
		status, detail, retryAfter = http.StatusTooManyRequests, err.Error(), limited.Seconds()
	case errors.As(err, &issuer):
		status, detail, elsewhere = http.StatusServiceUnavailable, err.Error()+"; try again in a moment", true
	case errors.As(err, &full):
		status, detail = http.StatusServiceUnavailable, "this server's own disk is full (its log says which folder), though the store may have room; try again in a moment, or at another server"
		retryAfter = 5
	case errors.As(err, &away):
		status, detail = http.StatusServiceUnavailable, "the store behind this server does not answer now; try again in a moment"
		retryAfter, elsewhere = max(1, int(math.Ceil(away.RetryAfter.Seconds()))), true
	case errors.Is(err, catalog.ErrBusy):
		status, detail = http.StatusServiceUnavailable, err.Error()
	case errors.As(err, &unnoted):
		status, detail = unnoted.problem()
	case errors.As(err, &invalid):
		status, detail = http.StatusBadRequest, err.Error()
	case errors.As(err, &conflict), errors.As(err, &theirs):
		status, detail = http.StatusConflict, err.Error()
	case errors.As(err, &closed):
		status, detail = http.StatusForbidden, err.Error()
	case errors.As(err, &absent):
		status, detail = http.StatusNotFound, err.Error()
	case errors.As(err, &tooLarge):
		status, detail = http.StatusRequestEntityTooLarge, "the file is too large for this server"
	case errors.As(err, &quota):
		status, detail = http.StatusInsufficientStorage, quota.Error()
	case store.IsFull(err):
		status, detail = http.StatusInsufficientStorage, "the server has no room left; nothing was kept"
	case errors.As(err, &upstream):
		status, detail = http.StatusBadGateway, "what is held here is served, but for this "+upstream.Error()
	case errors.Is(err, fs.ErrNotExist):
		status, detail = http.StatusNotFound, "no such file is held here"
	case errors.Is(err, errBody) && errors.As(err, &timeout) && timeout.Timeout():
		status, detail = http.StatusRequestTimeout, "nothing was sent for too long"
	case errors.Is(err, errBody), errors.Is(err, io.ErrUnexpectedEOF):
		status, detail = http.StatusBadRequest, "the body ended too early"
	}
	return problem{http.StatusText(status), status, detail, retryAfter, elsewhere}
}

// fail answers with an error in the form that the client understands.
func (s *Server) fail(w *response, r *http.Request, err error) {
	p := classify(err)
	switch p.Status {
	case http.StatusInternalServerError, http.StatusInsufficientStorage:
		s.metrics.errors.Inc()
		s.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	case http.StatusConflict:
		s.log.Warn("refused", "path", r.URL.Path, "user", w.user(), "remote", r.RemoteAddr, "err", err)
	}
	if w.status != 0 {
		return // too late; the length will tell the client
	}
	h := w.Header()
	if r.ContentLength != 0 && !w.drained { // the rest of the body is not waited for
		h["Connection"] = closes
		_ = w.control.SetReadDeadline(time.Now().Add(drainTimeout))
	}
	for _, name := range []string{"Etag", "Cache-Control", "Content-Disposition", "Content-Location", "Last-Modified", "Content-Length"} {
		h.Del(name)
	}
	if p.Status == http.StatusServiceUnavailable && !p.elsewhere {
		h["Connection"] = closes // another server, whom the next connection may find, stands better
	}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", challenge(r))
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	h.Set("Vary", "Accept")
	accept := r.Header.Get("Accept")
	switch {
	case accepts(accept, "application/problem+json", "application/json"):
		body, err := json.Marshal(p)
		if err != nil {
			s.log.Error("problem details", "err", err)
		}
		w.json(p.Status, "application/problem+json", append(body, '\n'))
	case strings.HasPrefix(accept, "text/html"): // pip accepts it too, last
		if err := s.problemPage(w, r, p); err != nil {
			s.log.Error("problem page", "err", err)
			w.text(p.Status, p.Detail+"\n")
		}
	default:
		w.text(p.Status, p.Detail+"\n")
	}
}

// accepts tells whether an Accept header names one of the types.
func accepts(header string, types ...string) bool {
	for item := range strings.SplitSeq(header, ",") {
		name, parameters, err := mime.ParseMediaType(item)
		for _, t := range types {
			if err == nil && name == t && parameters["q"] != "0" {
				return true
			}
		}
	}
	return false
}

// clip shortens what a client wrote, for a message.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}
