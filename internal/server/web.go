package server

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"curdling/internal/auth"
	"curdling/internal/readme"
)

// contentPolicy lets a page load what is ours and nothing else.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

//go:embed web
var web embed.FS

// templates are parsed when the first page is made.
var templates = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"size":     Size,
		"count":    count,
		"plural":   plural,
		"count64":  func(n int64) string { return count(int(n)) },
		"duration": duration,
		"percent":  func(part float64) string { return strconv.Itoa(int(100*part)) + "%" }, // 99.9% is not all
		"clean":    readme.Clean,
		"upper":    func(s string) string { return strings.ToUpper(s[:min(1, len(s))]) + s[min(1, len(s)):] },
		"date":     func(t time.Time) string { return t.UTC().Format("2006-01-02") },
		"time":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"asset":    assetPath,
	}).ParseFS(web, "web/*.html"))
})

// pageAsset is a file that pages load, in its encodings.
type pageAsset struct {
	version string // of the content
	kept    [encodings]*variant
	asked   [encodings]*variant // the same for who did not say the version
}

var assets = sync.OnceValues(func() (map[string]*pageAsset, error) {
	found := make(map[string]*pageAsset)
	for name, contentType := range map[string]string{
		"style.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
	} {
		body, err := web.ReadFile("web/" + name)
		if err != nil {
			return nil, err
		}
		tag := tagOf(body)
		a := &pageAsset{version: tag[:8]}
		for encoding := range encodings {
			a.kept[encoding] = newVariant(body, tag, contentType, forEver, "Accept-Encoding", encoding)
			a.asked[encoding] = newVariant(body, tag, contentType, "no-cache", "Accept-Encoding", encoding)
		}
		found[name] = a
	}
	return found, nil
})

// assetPath is the address of an asset below the root. It names the content, so
// that browsers may keep it for ever.
func assetPath(name string) (string, error) {
	all, err := assets()
	if err != nil {
		return "", err
	}
	return name + "?" + all[name].version, nil
}

// asset serves what pages load. None of it is a secret, and the page that asks for
// a password needs it.
func (s *Server) asset(w *response, r *http.Request) error {
	all, err := assets()
	if err != nil {
		return err
	}
	a := all[path.Base(r.URL.Path)]
	w.Header().Set("Content-Security-Policy", contentPolicy) // for an image that is looked at by itself
	encoding := chooseEncoding(headerOf(r, "Accept-Encoding"))
	if r.URL.RawQuery == a.version {
		a.kept[encoding].send(w, r)
	} else {
		a.asked[encoding].send(w, r)
	}
	return nil
}

// frame is what every page has.
type frame struct {
	Title   string
	Root    string // the way from the page to the server's root: "../"
	Home    bool   // the search stands in the page, not above it
	Private bool   // this browser may not search
	Query   string // in the search
	URL     string // of the server, as the browser wrote it
	WithKey string // the same with a place for user and password, where they are needed
	ToWrite string // the same where they are needed to upload
	Closed  bool   // nothing can be uploaded
	Trust   string // host that pip must be told to trust, "" for none
}

func (s *Server) frame(r *http.Request, title string) frame {
	f := frame{Title: title, URL: s.base(r), Root: "./", Closed: s.readOnly}
	if depth := strings.Count(r.URL.EscapedPath(), "/"); depth > 1 {
		f.Root = strings.Repeat("../", depth-1)
	}
	f.WithKey, f.ToWrite = f.URL, f.URL
	withKey := strings.Replace(f.URL, "://", "://USER:PASSWORD@", 1)
	if s.gate.Closed(auth.Read) {
		f.WithKey = withKey
	}
	if s.gate.Closed(auth.Upload) {
		f.ToWrite = withKey
	}
	if u, err := url.Parse(f.URL); err == nil && u.Scheme == "http" && u.Hostname() != "localhost" {
		if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() {
			f.Trust = u.Hostname()
		}
	}
	return f
}

// html writes a page from a template.
func (s *Server) html(w *response, r *http.Request, status int, name string, data any) error {
	var b bytes.Buffer
	if err := templates().ExecuteTemplate(&b, name, data); err != nil {
		return fmt.Errorf("the page cannot be made: %w", err)
	}
	h := w.Header()
	h.Set("Referrer-Policy", "same-origin")
	const contentType = "text/html; charset=utf-8"
	if status == http.StatusOK {
		body := b.Bytes()
		newVariant(body, tagOf(body), contentType, "no-cache", "Accept-Encoding", chooseEncoding(headerOf(r, "Accept-Encoding"))).send(w, r)
		return nil
	}
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
	return nil
}

// problemPage shows an error.
func (s *Server) problemPage(w *response, r *http.Request, p problem) error {
	page := struct {
		frame
		Problem problem
	}{s.frame(r, p.Title+" · curdling"), p}
	page.Private = p.Status == http.StatusUnauthorized
	return s.html(w, r, p.Status, "problem.html", page)
}

// count writes a number with its thousands apart.
func count(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "\u202f" + digits[i:]
	}
	return digits
}

// plural is a number with its noun.
func plural(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return count(n) + " " + noun
}

// Size writes a number of bytes for people: "12.3 MB", in powers of 1000.
func Size(bytes int64) string {
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

// duration writes a time for people, in two units at most: "3 h 20 min".
func duration(d time.Duration) string {
	minutes := int(d.Minutes())
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case minutes < 60:
		return fmt.Sprintf("%d min", minutes)
	case minutes < 48*60:
		return fmt.Sprintf("%d h %d min", minutes/60, minutes%60)
	}
	return plural(minutes/60/24, "day")
}
