package readme

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/html"
)

// elements are those that may stand in a fragment, besides headings, links and
// what the filter adds itself. void ones have no end.
var elements = map[string]struct{ void bool }{
	"p": {}, "blockquote": {}, "pre": {}, "code": {}, "em": {}, "strong": {}, "del": {},
	"ul": {}, "ol": {}, "li": {}, "table": {}, "thead": {}, "tbody": {}, "tr": {}, "th": {}, "td": {},
	"br": {void: true}, "hr": {void: true},
}

// fragment is being written: allowed things only, each element closed.
type fragment struct {
	bytes.Buffer
	open    []element
	heading int // level of the last one
}

// element is one that is not closed yet.
type element struct {
	source string // its name in what is read
	name   string // in what is written, "" for nothing
	start  int    // where its start tag stands,
	inside int    // and where that ends
	href   string // of a link
	above  int    // level of the heading before this one
}

// filter writes HTML anew: what is allowed of it. Images become links, since
// nothing is loaded from elsewhere; headings go below those of the page, without
// gaps; an element that a reader of screens could not tell of (a link, a heading
// without text) is left out or gets one.
func filter(r io.Reader) (template.HTML, error) {
	f := &fragment{heading: 2}
	tokens := html.NewTokenizer(r)
	for {
		switch kind := tokens.Next(); kind {
		case html.ErrorToken:
			if err := tokens.Err(); !errors.Is(err, io.EOF) {
				return "", fmt.Errorf("readme: %w", err)
			}
			for len(f.open) > 0 {
				f.end(f.open[len(f.open)-1].source)
			}
			return template.HTML(f.String()), nil
		case html.TextToken:
			f.text(string(tokens.Text()))
		case html.StartTagToken, html.SelfClosingTagToken:
			f.begin(tokens.Token())
		case html.EndTagToken:
			name, _ := tokens.TagName()
			f.end(string(name))
		}
		if len(f.open) > 3*maxDepth {
			return "", errComplex
		}
		if f.Len() > maxOutput {
			return "", errTooLong
		}
	}
}

func (f *fragment) text(s string) { f.WriteString(html.EscapeString(s)) }

// begin writes a start tag.
func (f *fragment) begin(t html.Token) {
	e := element{source: t.Data, start: f.Len()}
	level, isHeading := headingLevel(t.Data)
	allowed, ok := elements[t.Data]
	switch {
	case t.Data == "img":
		f.image(attribute(t, "src"), attribute(t, "alt"))
		return
	case t.Data == "a":
		if e.href = link(attribute(t, "href")); e.href != "" && !f.within("a") {
			e.name = "a"
			f.WriteString(`<a href="` + html.EscapeString(e.href) + `" rel="nofollow noopener">`)
		}
	case isHeading:
		e.above = f.heading
		f.heading = min(level+2, f.heading+1, 6)
		e.name = "h" + strconv.Itoa(f.heading)
		f.WriteString("<" + e.name + ">")
	case !ok:
		return // its end finds nothing to close
	case allowed.void:
		f.WriteString("<" + t.Data + ">")
		return
	default:
		if t.Data == "table" {
			f.WriteString(`<div tabindex="0">`) // so that a wide one can be moved by keyboard
		}
		e.name = t.Data
		f.WriteString("<" + t.Data + f.attributes(t) + ">")
	}
	e.inside = f.Len()
	f.open = append(f.open, e)
}

// attributes gives those of an element that may stay or that it needs.
func (f *fragment) attributes(t html.Token) string {
	switch t.Data {
	case "pre":
		return ` tabindex="0"`
	case "th", "td":
		if align := attribute(t, "align"); slices.Contains([]string{"left", "center", "right"}, align) {
			return ` align="` + align + `"`
		}
	case "ol":
		if n, err := strconv.ParseUint(attribute(t, "start"), 10, 31); err == nil {
			return ` start="` + strconv.FormatUint(n, 10) + `"`
		}
	}
	return ""
}

// end closes the innermost element, if it is of that name.
func (f *fragment) end(source string) {
	if len(f.open) == 0 || f.open[len(f.open)-1].source != source {
		return
	}
	e := f.open[len(f.open)-1]
	f.open = f.open[:len(f.open)-1]
	if e.name == "" {
		return
	}
	empty := len(bytes.TrimSpace(f.Bytes()[e.inside:])) == 0
	switch {
	case !empty:
	case e.name == "a":
		f.text(e.href)
	case e.name == "th":
		f.Truncate(e.start)
		f.WriteString("<td></td>")
		return
	case e.above > 0:
		f.heading = e.above
		f.Truncate(e.start)
		return
	case e.name == "p":
		f.Truncate(e.start)
		return
	}
	f.WriteString("</" + e.name + ">")
	if e.name == "table" {
		f.WriteString("</div>")
	}
}

// image writes a link to an image, or its text where there can be none.
func (f *fragment) image(src, alt string) {
	label := alt
	if strings.TrimSpace(label) == "" {
		label = "image"
	}
	if src = link(src); src == "" || f.within("a") {
		f.text(label)
		return
	}
	f.WriteString(`<a href="` + html.EscapeString(src) + `" rel="nofollow noopener">` + html.EscapeString(label) + `</a>`)
}

// within tells whether an element is open.
func (f *fragment) within(name string) bool {
	return slices.ContainsFunc(f.open, func(e element) bool { return e.name == name })
}

func attribute(t html.Token, name string) string {
	for _, a := range t.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func headingLevel(name string) (level int, ok bool) {
	if len(name) == 2 && name[0] == 'h' && '1' <= name[1] && name[1] <= '6' {
		return int(name[1] - '0'), true
	}
	return 0, false
}

// link gives the address of a link out of a description, "" if it may not be one.
func link(s string) string {
	if u, err := url.Parse(s); err == nil && u.Scheme == "mailto" && u.Host == "" && u.Opaque != "" {
		return u.String()
	}
	return Link(s)
}

// Link gives a foreign address as it may stand in a page, or "" if it may not:
// it must be an absolute one of http or https, with a host and without a password.
func Link(s string) string {
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.Opaque != "" {
		return ""
	}
	return u.String()
}
