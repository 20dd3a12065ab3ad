// Package index knows the wire formats of the Simple repository API (PEP 503,
// 592, 629, 658, 691, 700, 708, 714, 740, 792) up to version 1.4, parses and
// renders them, and is a client of them.
//
// Everything that comes from an index is hostile. A page is at most MaxPage
// bytes and MaxFiles files; core metadata at most MaxMetadata bytes, also after
// inflation; a distribution file at most MaxFile bytes. A page of another major
// API version is refused, one of a newer minor version is read for what we know
// of it. A file that we cannot use (a foreign name, a URL that is neither http
// nor https, nor file: on a page of a file: URL) is left out and named in
// Project.Skipped.
//
// Pages are kept in a private cache by the rules of RFC 9111; a stale page is
// never used without asking again, whatever is down, unless Options.Offline says
// so. Metadata of a file whose hash is known is kept for ever. What came from a
// host whose certificate was not verified is kept apart. Credentials
// go to the scheme, host and port they were given for and nowhere else, and
// stand in no error, no log line and no cache entry.
//
// A server has Options.Timeout (30 s) for its header, redirects included, and for
// each KiB of a body, and 20 times that for a page or metadata. At most 10
// redirects are followed, to http and https alone, and from https to http only
// where Options.TrustedHosts names the host; a header takes at most 256 KiB.
package index

import (
	"fmt"
	"mime"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"curdling/internal/dist"
	"curdling/internal/version"
)

// Limits of what an index may send, in bytes and files.
const (
	MaxPage     = 64 << 20
	MaxFiles    = 100_000
	MaxMetadata = 16 << 20
	MaxFile     = 16 << 30
)

// The content types of the Simple API's two forms (PEP 691); "text/html" is an alias of the second.
const (
	TypeJSON = "application/vnd.pypi.simple.v1+json"
	TypeHTML = "application/vnd.pypi.simple.v1+html"
	// TypeBuilds is TypeJSON with the builds that are for some machines or settings alone, see docs/builds.md.
	TypeBuilds = "application/vnd.curdling.simple.v1+json"

	apiVersion = "1.4"
)

// Project is one project's page.
type Project struct {
	Name         dist.Name
	Files        []dist.File
	Status       string // PEP 792: "active", "archived", "deprecated", "quarantined"; "" is active
	StatusReason string
	Tracks       []string // PEP 708: the pages of the indexes that this one follows
	Alternates   []string // PEP 708: alternate locations of the project
	Skipped      []string // file names on the page that are no distribution files of this project
	// Expires is until when the index wants the page to be used without asking
	// again. It is in the past, or zero, where each use should ask.
	Expires time.Time
}

// ParseProject reads a project's page; base is the page's own URL, against which file URLs are resolved.
func ParseProject(body []byte, contentType string, base *url.URL, name dist.Name) (*Project, error) {
	r := newReader(base)
	r.page.Name = name
	r.add = r.addFile
	if err := r.read(body, contentType); err != nil {
		return nil, fmt.Errorf("page of %s: %w", name, err)
	}
	r.page.Status, r.page.StatusReason = printable(r.page.Status), printable(r.page.StatusReason)
	return r.page, nil
}

// read reads a page in the form that contentType tells.
func (r *reader) read(body []byte, contentType string) error {
	if len(body) > MaxPage {
		return fmt.Errorf("%d bytes, more than %d", len(body), MaxPage)
	}
	switch media, _, _ := mime.ParseMediaType(contentType); media {
	case TypeJSON, TypeBuilds:
		return r.readJSON(string(body))
	case TypeHTML, "text/html":
		return r.readHTML(body)
	}
	return fmt.Errorf("content type %.80q is not the Simple API's version 1", contentType)
}

// RenderProject writes a page as contentType asks; file URLs that are relative stay so.
func RenderProject(p *Project, contentType string) ([]byte, error) {
	switch contentType {
	case TypeJSON, TypeBuilds:
		return renderProjectJSON(p)
	case TypeHTML, "text/html":
		return renderProjectHTML(p), nil
	}
	return nil, fmt.Errorf("no page of content type %q", contentType)
}

// RenderProjects writes the list of all projects.
func RenderProjects(names []dist.Name, contentType string) ([]byte, error) {
	switch contentType {
	case TypeJSON, TypeBuilds:
		return renderProjectsJSON(names)
	case TypeHTML, "text/html":
		return renderProjectsHTML(names), nil
	}
	return nil, fmt.Errorf("no list of projects of content type %q", contentType)
}

// checkVersion refuses an API version (PEP 629) whose major number is not 1.
func checkVersion(s string) error {
	major, _, _ := strings.Cut(s, ".")
	if n, err := strconv.Atoi(major); err != nil || n != 1 {
		return fmt.Errorf("API version %.40q; this program speaks version 1", s)
	}
	return nil
}

// link is one file as a page lists it, before anything in it is believed.
type link struct {
	filename, url, sha256      string
	requiresPython, uploadTime string
	size                       int64
	yanked                     bool
	yankedReason               string
	metadata                   digest
	provenance                 string
	builtFrom, buildKey        string
	tarball                    dist.Tarball
}

// digest is what a page says of a metadata file.
type digest struct {
	told, there bool   // the page says something; it says that there is one
	sha256      string // "": not known
}

// reader turns links into the files of a page. It remembers what repeats from
// link to link, which is most of a page.
type reader struct {
	page     *Project
	add      func(*link) error // takes what the page lists
	base     *url.URL
	pythons  map[string]version.Specifiers
	prefixes map[string]string // of URLs, as written: as resolved; "" is refused
}

func newReader(base *url.URL) *reader {
	return &reader{
		page:     &Project{},
		base:     base,
		pythons:  map[string]version.Specifiers{},
		prefixes: map[string]string{},
	}
}

// addFile takes a link's file into the page.
func (r *reader) addFile(l *link) error {
	if len(r.page.Files)+len(r.page.Skipped) >= MaxFiles {
		return fmt.Errorf("more than %d files", MaxFiles)
	}
	if f, ok := r.file(l); ok {
		r.page.Files = append(r.page.Files, f)
	} else {
		r.page.Skipped = append(r.page.Skipped, printable(l.filename))
	}
	return nil
}

// file believes a link as far as it can be believed.
func (r *reader) file(l *link) (dist.File, bool) {
	f, err := dist.ParseFilename(l.filename, r.page.Name)
	if err != nil || f.Name != r.page.Name {
		return f, false
	}
	return f, r.describe(&f, l)
}

// describe sets what a link says of its file besides the name; false where its URL is unusable.
func (r *reader) describe(f *dist.File, l *link) (ok bool) {
	if f.URL, ok = r.resolve(l.url); !ok {
		return false
	}
	f.SHA256 = hexDigest(l.sha256)
	f.Size = max(l.size, 0)
	f.RequiresPython = r.python(l.requiresPython)
	f.Yanked, f.YankedReason = l.yanked, printable(l.yankedReason)
	f.UploadTime, _ = time.Parse(time.RFC3339Nano, l.uploadTime)
	f.HasMetadata, f.MetadataSHA256 = l.metadata.there, hexDigest(l.metadata.sha256)
	f.Provenance = l.provenance
	if f.BuiltFrom, f.BuildKey = hexDigest(l.builtFrom), hexDigest(l.buildKey); f.BuiltFrom == "" || f.BuildKey == "" || f.Kind != dist.Wheel {
		f.BuiltFrom, f.BuildKey = "", ""
	}
	if t := l.tarball; f.Kind == dist.Wheel && hexDigest(t.SHA256) != "" && t.Size > 0 && t.Size <= MaxFile {
		f.Tarball = dist.Tarball{SHA256: hexDigest(t.SHA256), Size: t.Size}
	}
	return true
}

// python reads a Requires-Python. Old releases carry wrong ones, which pip
// ignores with the constraint; so do we.
func (r *reader) python(s string) version.Specifiers {
	set, ok := r.pythons[s]
	if !ok {
		set, _ = version.ParseSpecifiers(s)
		r.pythons[s] = set
	}
	return set
}

// resolve makes a file's URL absolute, without credentials and fragment. Only
// the part that repeats (scheme and host, or a relative folder) goes through
// net/url, once; where the rest is not plain, all of it does.
func (r *reader) resolve(ref string) (string, bool) {
	ref, _, _ = strings.Cut(ref, "#")
	cut := strings.LastIndexByte(ref, '/') + 1
	if _, after, ok := strings.Cut(ref, "://"); ok {
		host := strings.IndexByte(after, '/') + 1
		if host == 0 {
			return "", false
		}
		cut = len(ref) - len(after) + host
	}
	prefix, rest := ref[:cut], ref[cut:]
	if !isPlain(rest) || prefix == "" {
		return r.resolveWhole(ref)
	}
	resolved, ok := r.prefixes[prefix]
	if !ok {
		resolved, _ = r.resolveWhole(prefix)
		r.prefixes[prefix] = resolved
	}
	switch resolved {
	case "":
		return "", false
	case prefix:
		return ref, true
	}
	return resolved + rest, true
}

func (r *reader) resolveWhole(ref string) (string, bool) {
	u, err := r.base.Parse(ref)
	if err != nil || !utf8.ValidString(ref) {
		return "", false
	}
	local := u.Scheme == "file" && r.base.Scheme == "file" && u.Host == ""
	if !isWeb(u) && !local || u.Path == "" { // a host alone is no file
		return "", false
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	return u.String(), true
}

// IsWebURL tells whether s is an absolute http or https URL.
func IsWebURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && isWeb(u)
}

const (
	hexDigits = "0123456789abcdefABCDEF"
	plain     = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-_.+~!"
)

// isPlain tells whether s is the end of a URL's path that resolving leaves as it is.
func isPlain(s string) bool {
	return s != "" && s != "." && !strings.Contains(s, "..") && strings.TrimLeft(s, plain) == ""
}

// maxText bounds what people are shown of a foreign text, in bytes.
const maxText = 1000

// printable makes a foreign text fit for a terminal: no control characters,
// valid UTF-8, and not endless.
func printable(s string) string {
	s = s[:min(len(s), maxText)]
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return ' '
	}, strings.ToValidUTF8(s, ""))
}

// hexDigest gives a sha256 in lower-case hex, or "" where s is none.
func hexDigest(s string) string {
	if len(s) != 64 || strings.TrimLeft(s, hexDigits) != "" {
		return ""
	}
	return strings.ToLower(s)
}
