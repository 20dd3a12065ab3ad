package server

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"curdling/internal/catalog"
	"curdling/internal/dist"
)

// contentPolicy lets a page load our style and nothing else.
const contentPolicy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// mostListed is how many projects the page lists at once.
const mostListed = 200

//go:embed web
var web embed.FS

// templates are parsed when the first page is made.
var templates = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"size":     size,
		"date":     func(t time.Time) string { return t.UTC().Format("2006-01-02") },
		"time":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"platform": platform,
	}).ParseFS(web, "web/*.html"))
})

var stylesheet = sync.OnceValues(func() (*rendered, error) { return newRendered(web.ReadFile("web/style.css")) })

// style serves the stylesheet.
func (s *Server) style(w *response, r *http.Request) error {
	page, err := stylesheet()
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-cache")
	w.page(r, "text/css; charset=utf-8", page.etag, page.body)
	return nil
}

// address is what a page says of how to reach this server.
type address struct {
	URL     string // as the browser wrote it
	WithKey string // the same with a place for user and password, where they are needed
	Trust   string // host that pip must be told to trust, "" for none
}

func (s *Server) address(r *http.Request) address {
	a := address{URL: base(r), WithKey: base(r)}
	scheme := a.URL[:len(a.URL)-len(r.Host)]
	if s.policy.Users != nil {
		a.WithKey = scheme + "USER:PASSWORD@" + r.Host
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	if ip := net.ParseIP(host); r.TLS == nil && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		a.Trust = host
	}
	return a
}

// home is the page.
func (s *Server) home(w *response, r *http.Request) error {
	query := r.URL.Query().Get("q")
	names, total := s.catalog.Search(query, mostListed)
	page := struct {
		address
		Query    string
		Stats    catalog.Stats
		Projects []*catalog.Project
		Total    int
	}{address: s.address(r), Query: query, Stats: s.catalog.Stats(), Total: total}
	for _, name := range names {
		if p := s.catalog.Project(name); p != nil {
			page.Projects = append(page.Projects, p)
		}
	}
	s.html(w, r, http.StatusOK, "home.html", page)
	return nil
}

// projectPage shows a project's files.
func (s *Server) projectPage(w *response, r *http.Request) error {
	p, err := s.project(r)
	if err != nil {
		return err
	}
	if path := "/project/" + string(p.Name); r.URL.Path != path {
		return movedTo(w, r, path)
	}
	s.html(w, r, http.StatusOK, "project.html", struct {
		address
		*catalog.Project
	}{s.address(r), p})
	return nil
}

// html writes a page from a template.
func (s *Server) html(w *response, r *http.Request, status int, name string, data any) {
	var b bytes.Buffer
	if err := templates().ExecuteTemplate(&b, name, data); err != nil {
		s.log.Error("a page cannot be made", "path", r.URL.Path, "err", err)
		w.text(http.StatusInternalServerError, "the page cannot be made\n")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("Referrer-Policy", "same-origin")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// size writes a number of bytes for people.
func size(bytes int64) string {
	const unit = 1000
	if bytes < unit {
		return fmt.Sprintf("%d bytes", bytes)
	}
	value, prefix := float64(bytes)/unit, 0
	for value >= 999.95 && prefix < 4 {
		value /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGTP"[prefix])
}

// platform tells what a file is for: a wheel's tags as its name has them.
func platform(f *catalog.File) string {
	if f.Kind == dist.Sdist {
		return "source"
	}
	parts := strings.Split(strings.TrimSuffix(f.Filename, ".whl"), "-")
	return strings.Join(parts[len(parts)-3:], "-")
}
