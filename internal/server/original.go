package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"path"
	"regexp"
	"strings"

	"curdling/internal/catalog"
	"curdling/internal/requirement"
	"curdling/internal/store"
)

// apiList is the original's list of names.
func (s *shelf) apiList(w *response, r *http.Request) error {
	if err := s.catalog.FreshNames(r.Context()); err != nil {
		return err
	}
	names, _ := s.catalog.Names()
	return sendJSON(w, http.StatusOK, names)
}

// apiRelease is a release as the original's client reads it.
type apiRelease struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	URLs    []apiURL `json:"urls"` // the client takes the first
}

type apiURL struct {
	URL    string `json:"url"`
	SHA256 string `json:"sha256"`
}

// apiProject is the original's list of releases.
func (s *shelf) apiProject(w *response, r *http.Request) error {
	p, err := s.project(r)
	var away *store.UnavailableError
	if errors.As(err, &away) {
		return err
	}
	if err != nil || p.Status == catalog.Quarantined {
		return sendJSON(w, http.StatusNotFound, map[string]string{"status": "error"})
	}
	// The client finds the name as it wrote it, which is not always normalised.
	name := strings.ReplaceAll(strings.ToLower(r.PathValue("project")), "_", "-")
	releases := []apiRelease{}
	for files := range p.Releases() {
		release := apiRelease{Name: name, Version: files[0].Version.String()}
		for _, f := range files {
			if !f.Yanked && (f.Build == nil || f.Build.Plain) { // a client that knows nothing of it must not take it
				release.URLs = append(release.URLs, apiURL{s.base(r) + "/p/" + f.Filename, f.SHA256})
			}
		}
		if release.URLs != nil {
			releases = append(releases, release)
		}
	}
	return sendJSON(w, http.StatusOK, releases)
}

func sendJSON(w *response, status int, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	w.json(status, "application/json", append(b, '\n'))
	return nil
}

// suffix is the original's way to ask for a form of file: "flask==1.0;whl", "flask;~whl" for anything else.
var suffix = regexp.MustCompile(`^(.*);\s*(~?)([a-z0-9]+)\s*$`)

// search sends the best file for a requirement.
func (s *shelf) search(w *response, r *http.Request) error {
	query := r.PathValue("requirement")
	fits := func(f *catalog.File) bool { return f.Build == nil || f.Build.Plain }
	if m := suffix.FindStringSubmatch(query); m != nil {
		query = m[1]
		plain := fits
		fits = func(f *catalog.File) bool { return plain(f) && (path.Ext(f.Filename) == "."+m[3]) == (m[2] == "") }
	}
	wanted, err := requirement.Parse(query)
	switch {
	case err != nil:
		return refuse(http.StatusBadRequest, "not a requirement: "+err.Error())
	case wanted.URL != "":
		return refuse(http.StatusBadRequest, "a requirement with a URL needs no server's search")
	case !wanted.Marker.IsZero():
		return refuse(http.StatusBadRequest, "a requirement with a marker cannot be judged here: leave out what follows the semicolon")
	}
	if err := s.catalog.Fresh(r.Context(), wanted.Name); err != nil {
		return err
	}
	var best *catalog.File
	if p := s.catalog.Project(wanted.Name); p != nil {
		best = p.Best(wanted.Specifiers, fits)
	}
	if best == nil {
		return refuse(http.StatusNotFound, "no file for "+clip(wanted.String())+" is held here")
	}
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Location", "/p/"+best.Filename)
	h.Set("Content-Disposition", "attachment; filename="+best.Filename)
	return s.send(w, r, best.Filename)
}
