package server

import (
	"net/http"
	"strconv"
	"time"

	"curdling/internal/catalog"
)

const (
	// redirectFrom is the smallest file for which a client is sent to the store, in bytes: a smaller one is here as soon as the redirect.
	redirectFrom = 1 << 20
	// redirectTime is how long the store takes the URL that the client is sent to, and redirectUse how long a client may
	// remember it: a download that begins in time ends well.
	redirectTime = 10 * time.Minute
	redirectUse  = redirectTime / 2
)

var redirectControl = "private, max-age=" + strconv.Itoa(int(redirectUse.Seconds()))

// sendAway sends who asks for a large file, or a part of it, to the store. Where that cannot be, it
// does nothing: the server sends the file itself, as it answers what is asked for on a condition.
func (s *shelf) sendAway(w *response, r *http.Request, f *catalog.File, tarball bool) bool {
	size, presign, control := f.Size, s.catalog.Presign, redirectControl
	if tarball { // which may become another one
		size, presign, control = f.Tarball.Size, s.catalog.PresignTarball, "no-store"
	}
	if !s.redirect || r.Method != http.MethodGet || size < redirectFrom || headerOf(r, "If-None-Match") != "" {
		return false
	}
	u, err := presign(r.Context(), f.Filename, redirectTime)
	if err != nil {
		return false
	}
	h := w.Header()
	h["Location"] = []string{u}
	h["Cache-Control"] = []string{control}
	w.WriteHeader(http.StatusTemporaryRedirect)
	return true
}
