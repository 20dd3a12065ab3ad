package index

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"golang.org/x/net/html"

	"curdling/internal/dist"
)

// maxTag bounds one tag of a page, in bytes.
const maxTag = 1 << 20

// readHTML reads PEP 503's form: every anchor with an href is a file, wherever
// it stands. The first <base href> holds for the whole page.
func (r *reader) readHTML(body []byte) error {
	z := html.NewTokenizer(bytes.NewReader(body))
	z.SetMaxBuf(maxTag)
	var links []link
	based, tagged := false, false
	for {
		switch z.Next() {
		case html.ErrorToken:
			if err := z.Err(); !errors.Is(err, io.EOF) {
				return fmt.Errorf("HTML: %w", err)
			}
			if !tagged && len(bytes.TrimSpace(body)) > 0 {
				return errors.New("HTML: no tag in it; it is something else")
			}
			for i := range links {
				if err := r.add(&links[i]); err != nil {
					return err
				}
			}
			return nil
		case html.StartTagToken, html.SelfClosingTagToken:
		default:
			continue
		}
		tagged = true
		name, more := z.TagName()
		switch string(name) {
		case "a":
			if l := readAnchor(z, more); l.filename != "" && len(links) <= MaxFiles {
				links = append(links, l)
			}
		case "meta":
			if err := r.readMetaTag(z, more); err != nil {
				return err
			}
		case "base":
			href, ok := attribute(z, more, "href")
			if base, err := r.base.Parse(href); ok && !based && err == nil && (base.Scheme != "file" || r.base.Scheme == "file") {
				r.base, based = base, true
			}
		}
	}
}

func readAnchor(z *html.Tokenizer, more bool) link {
	var l link
	var legacy digest
	for more {
		var key, val []byte
		key, val, more = z.TagAttr()
		switch string(key) {
		case "href":
			l.setHref(strings.TrimSpace(string(val)))
		case "data-requires-python":
			l.requiresPython = string(val)
		case "data-yanked":
			l.yanked, l.yankedReason = true, string(val)
		case "data-core-metadata":
			l.metadata = htmlDigest(string(val))
		case "data-dist-info-metadata":
			legacy = htmlDigest(string(val))
		case "data-provenance":
			l.provenance = string(val)
		case "data-upload-time": // no standard, but some indexes tell
			l.uploadTime = string(val)
		}
	}
	if !l.metadata.told {
		l.metadata = legacy
	}
	return l
}

// setHref takes the file's name from the URL's last segment, as pip does, and
// the hash from its fragment.
func (l *link) setHref(href string) {
	var fragment string
	l.url, fragment, _ = strings.Cut(href, "#")
	for part := range strings.SplitSeq(fragment, "&") {
		if sum, ok := strings.CutPrefix(part, "sha256="); ok {
			l.sha256 = sum
		}
	}
	path, _, _ := strings.Cut(l.url, "?")
	l.filename = path[strings.LastIndexByte(path, '/')+1:]
	if name, err := url.PathUnescape(l.filename); err == nil {
		l.filename = name
	}
}

// htmlDigest reads "true", "sha256=..." or a hash that we do not use.
func htmlDigest(val string) digest {
	return digest{told: true, there: val != "false", sha256: strings.TrimPrefix(val, "sha256=")}
}

func (r *reader) readMetaTag(z *html.Tokenizer, more bool) error {
	var name, content string
	for more {
		var key, val []byte
		key, val, more = z.TagAttr()
		switch string(key) {
		case "name":
			name = string(val)
		case "content":
			content = string(val)
		}
	}
	switch name {
	case "pypi:repository-version":
		return checkVersion(content)
	case "pypi:project-status":
		r.page.Status = content
	case "pypi:project-status-reason":
		r.page.StatusReason = content
	case "pypi:tracks":
		r.page.Tracks = append(r.page.Tracks, content)
	case "pypi:alternate-locations":
		r.page.Alternates = append(r.page.Alternates, content)
	}
	return nil
}

func attribute(z *html.Tokenizer, more bool, name string) (string, bool) {
	for more {
		var key, val []byte
		key, val, more = z.TagAttr()
		if string(key) == name {
			return strings.TrimSpace(string(val)), true
		}
	}
	return "", false
}

func renderProjectHTML(p *Project) []byte {
	h := newHTML("Links for " + string(p.Name))
	if p.Status != "" {
		h.meta("pypi:project-status", p.Status)
		if p.StatusReason != "" {
			h.meta("pypi:project-status-reason", p.StatusReason)
		}
	}
	for _, u := range p.Tracks {
		h.meta("pypi:tracks", u)
	}
	for _, u := range p.Alternates {
		h.meta("pypi:alternate-locations", u)
	}
	h.body()
	for i := range p.Files {
		h.file(&p.Files[i])
	}
	return h.end()
}

func renderProjectsHTML(names []dist.Name) []byte {
	h := newHTML("Simple index")
	h.body()
	for _, name := range names {
		h.WriteString("<a")
		h.attribute("href", string(name)+"/")
		h.text(string(name))
	}
	return h.end()
}

// htmlPage is a page while it is written.
type htmlPage struct {
	bytes.Buffer
	title string
}

func newHTML(title string) *htmlPage {
	h := &htmlPage{title: html.EscapeString(title)}
	h.WriteString("<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n")
	h.meta("pypi:repository-version", apiVersion)
	return h
}

func (h *htmlPage) meta(name, content string) {
	h.WriteString("<meta")
	h.attribute("name", name)
	h.attribute("content", content)
	h.WriteString(">\n")
}

func (h *htmlPage) body() {
	h.WriteString("<title>" + h.title + "</title>\n</head>\n<body>\n<h1>" + h.title + "</h1>\n")
}

func (h *htmlPage) file(f *dist.File) {
	href := f.URL
	if f.SHA256 != "" {
		href += "#sha256=" + f.SHA256
	}
	h.WriteString("<a")
	h.attribute("href", href)
	if !f.RequiresPython.IsEmpty() {
		h.attribute("data-requires-python", f.RequiresPython.String())
	}
	if f.Yanked {
		h.attribute("data-yanked", f.YankedReason)
	}
	if f.HasMetadata {
		value := "true"
		if f.MetadataSHA256 != "" {
			value = "sha256=" + f.MetadataSHA256
		}
		h.attribute("data-core-metadata", value)
		h.attribute("data-dist-info-metadata", value)
	}
	if f.Provenance != "" {
		h.attribute("data-provenance", f.Provenance)
	}
	if !f.UploadTime.IsZero() {
		h.attribute("data-upload-time", f.UploadTime.UTC().Format(timeLayout))
	}
	h.text(f.Filename)
}

func (h *htmlPage) attribute(name, value string) {
	h.WriteString(" " + name + `="` + html.EscapeString(value) + `"`)
}

// text ends an anchor's tag and the anchor.
func (h *htmlPage) text(s string) {
	h.WriteString(">" + html.EscapeString(s) + "</a><br>\n")
}

func (h *htmlPage) end() []byte {
	h.WriteString("</body>\n</html>\n")
	return h.Bytes()
}
