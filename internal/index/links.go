package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"curdling/internal/dist"
)

// Links is what one place of --find-links offers, of any project: a page's
// links, or a folder's files. It may be used by many at once.
type Links struct {
	// files by the letters and digits that their names begin with. What their
	// names say is not set: that depends on who asks.
	files map[string][]dist.File
}

// Of gives the wheels and source distributions of one project, in the order of
// the page, or of their names in a folder. Where an old source distribution's
// name and version part depends on the name, as for pip.
func (l *Links) Of(name dist.Name) []dist.File {
	var files []dist.File
	for _, f := range l.files[beginning(string(name))] {
		said, err := dist.ParseFilename(f.Filename, name)
		if err != nil || said.Name != name {
			continue
		}
		f.Name, f.Version, f.Kind, f.Build, f.Tags = said.Name, said.Version, said.Kind, said.Build, said.Tags
		files = append(files, f)
	}
	return files
}

// beginning gives what a project's name and the names of its files have in
// common however they are written: the letters and digits up to the first other sign.
func beginning(s string) string {
	end := strings.IndexFunc(s, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
	if end >= 0 {
		s = s[:end]
	}
	return strings.ToLower(s)
}

func (l *Links) add(f dist.File) {
	b := beginning(f.Filename)
	l.files[b] = append(l.files[b], f)
}

// Links reads what where offers, which is an http, https or file URL or a path:
// of a page in the Simple API's forms (a local one in HTML, its name ending in .html or
// .htm); of a wheel or source distribution; or of a folder, whose wheels and source
// distributions count, but neither its pages nor its folders. The page may be of
// the same size as a project's, and is cached likewise; credentials in its URL are
// for its origin.
func (c *Client) Links(ctx context.Context, where string) (*Links, error) {
	scheme, _, _ := strings.Cut(strings.ToLower(where), "://")
	if scheme == "http" || scheme == "https" {
		return c.webLinks(ctx, where)
	}
	shown := where
	var path string
	var err error
	switch {
	case isFileURL(where):
		shown = Redact(where)
		path, err = pathOf(where)
	case strings.Contains(where, "://"), where == "":
		return nil, fmt.Errorf("find-links %q: write a path, or a URL with https, http or file", Redact(where))
	default:
		path, err = filepath.Abs(where)
	}
	if err != nil {
		return nil, fmt.Errorf("find-links %s: %w", shown, err)
	}
	l, err := localLinks(path)
	if err != nil {
		return nil, fmt.Errorf("find-links %s: %w", shown, err)
	}
	return l, nil
}

func (c *Client) webLinks(ctx context.Context, where string) (*Links, error) {
	u, err := url.Parse(where)
	if err != nil || !isWeb(u) {
		return nil, fmt.Errorf("find-links %q is not a URL of the form https://host/path", Redact(where))
	}
	single := oneLink(u)
	c.identify(u)
	if single != nil {
		return single, nil
	}
	return share(ctx, c, "links "+u.String(), func() (*Links, error) {
		e, final, err := c.page(ctx, u)
		if err != nil {
			return nil, fmt.Errorf("find-links: %w", err)
		}
		l, err := parseLinks(e.body, e.ContentType, final)
		if err != nil {
			c.forget(u)
			return nil, fmt.Errorf("find-links: GET %s: %w", redact(u), err)
		}
		return l, nil
	})
}

// oneLink makes links of the URL of a file; nil where it is not that of one.
func oneLink(u *url.URL) *Links {
	var single link
	single.setHref(u.EscapedPath() + "#" + u.Fragment)
	if _, err := dist.ParseFilename(single.filename, ""); err != nil {
		return nil
	}
	l := &Links{files: map[string][]dist.File{}}
	at := *u
	at.User, at.Fragment, at.RawFragment = nil, "", ""
	l.add(dist.File{Filename: single.filename, URL: at.String(), SHA256: hexDigest(single.sha256)})
	return l
}

// parseLinks reads a page at the URL base.
func parseLinks(body []byte, contentType string, base *url.URL) (*Links, error) {
	l := &Links{files: map[string][]dist.File{}}
	r := newReader(base)
	count := 0
	r.add = func(one *link) error {
		if count++; count > MaxFiles {
			return fmt.Errorf("more than %d files", MaxFiles)
		}
		f := dist.File{Filename: one.filename}
		if r.describe(&f, one) {
			l.add(f)
		}
		return nil
	}
	return l, r.read(body, contentType)
}

func localLinks(path string) (*Links, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return folderLinks(path)
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".html", ".htm":
		text, err := localPage(path)
		if err != nil {
			return nil, err
		}
		return parseLinks(text, "text/html", urlOfPath(path))
	}
	if _, err := dist.ParseFilename(filepath.Base(path), ""); err != nil || !info.Mode().IsRegular() {
		return nil, errors.New("neither a folder, nor a page (.html), nor a wheel or source distribution")
	}
	l := &Links{files: map[string][]dist.File{}}
	l.addLocal(path, info)
	return l, nil
}

func folderLinks(dir string) (*Links, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	l := &Links{files: map[string][]dist.File{}}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			l.addLocal(path, info)
		}
	}
	return l, nil
}

func (l *Links) addLocal(path string, info fs.FileInfo) {
	l.add(dist.File{Filename: filepath.Base(path), URL: urlOfPath(path).String(), Size: info.Size()})
}
