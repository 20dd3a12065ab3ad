// Package metadata parses core metadata: METADATA of wheels, PKG-INFO of
// source distributions (PEP 241, 314, 345, 566, 643, 685).
//
// The form is read as pip reads it, which is as Python's email parser does:
// a line ends with \n, \r\n or \r; header names ignore case; a line that begins
// with a space or a tab continues the header above; the first line that is
// neither ends the headers, and what follows is the description. Of a header
// that must not repeat, the first counts. Values are UTF-8; what is not UTF-8
// is taken for Latin-1, except in Requires-Dist, where it is an error.
//
// Limits: 16 MiB altogether, 16384 each of Requires-Dist and Provides-Extra.
package metadata

import (
	"errors"
	"fmt"
	"strings"

	"curdling/internal/dist"
	"curdling/internal/requirement"
	"curdling/internal/version"
)

const (
	maxSize    = 16 << 20 // bytes
	maxRepeats = 16 << 10 // of one header
)

// Metadata is the part of core metadata that we use. Everything in it is foreign.
// "UNKNOWN", which old tools wrote for an empty value, is "".
type Metadata struct {
	MetadataVersion                     string // "2.4"
	RawName                             string
	Name                                dist.Name
	Version                             version.Version
	Summary                             string
	RequiresPython                      version.Specifiers
	RequiresDist                        []requirement.Requirement
	ProvidesExtra                       []dist.Name // those that are valid names
	Dynamic                             []string    // lower case field names (PEP 643)
	Keywords, HomePage, License, Author string      // License: License-Expression where there is one
	ProjectURLs                         [][2]string // label, URL
	Classifiers                         []string
	Description                         string
	DescriptionContentType              string

	headers headers // all of them, for MarshalJSON
}

// FieldError tells which field could not be used.
type FieldError struct {
	Field, Value string
	Err          error
}

func (e *FieldError) Error() string { return fmt.Sprintf("metadata: %s: %v", e.Field, e.Err) }
func (e *FieldError) Unwrap() error { return e.Err }

// Parse reads the RFC 822 form. A missing or wrong Name or Version is an
// error, and there is no metadata then.
//
// A wrong Requires-Dist or Requires-Python is an error of type *FieldError
// (the first one; Requires-Dist goes before Requires-Python), and the metadata
// is given along with it, without the wrong values: enough to show, and to
// unpack, but not to resolve with. pip skips a candidate whose Requires-Dist
// is wrong and ignores a wrong Requires-Python.
func Parse(b []byte) (*Metadata, error) { return parse(b, strings.ToLower) }

// parse reads the headers that as gives a name.
func parse(b []byte, as func(name string) string) (*Metadata, error) {
	if len(b) > maxSize {
		return nil, fmt.Errorf("metadata: longer than %d bytes", maxSize)
	}
	h, body := parseHeaders(string(b), as)
	m := &Metadata{
		MetadataVersion:        h.first("metadata-version"),
		RawName:                h.first("name"),
		Summary:                oneLine(known(h.first("summary"))),
		Keywords:               oneLine(known(h.first("keywords"))),
		HomePage:               oneLine(known(h.first("home-page"))),
		License:                dedent(known(h.first("license-expression"), h.first("license"))),
		Author:                 oneLine(known(h.first("author"), h.first("author-email"))),
		Classifiers:            h.all("classifier"),
		DescriptionContentType: h.first("description-content-type"),
		Description:            body,
		headers:                h,
	}
	if strings.TrimSpace(body) == "" {
		m.Description = dedent(h.first("description"))
	}
	for _, field := range h.all("dynamic") {
		m.Dynamic = append(m.Dynamic, strings.ToLower(field))
	}
	for _, pair := range h.all("project-url") {
		label, url, _ := strings.Cut(pair, ",")
		m.ProjectURLs = append(m.ProjectURLs, [2]string{strings.TrimSpace(label), strings.TrimSpace(url)})
	}
	if err := m.identify(h.first("version")); err != nil {
		return nil, err
	}
	return m, m.require(h)
}

// known gives the first of values that says something.
func known(values ...string) string {
	for _, v := range values {
		if v != "" && v != "UNKNOWN" {
			return v
		}
	}
	return ""
}

// identify sets Name and Version.
func (m *Metadata) identify(text string) (err error) {
	if m.RawName == "" {
		return &FieldError{Field: "Name", Err: errors.New("is missing")}
	}
	if m.Name, err = dist.ParseName(m.RawName); err != nil {
		return &FieldError{"Name", m.RawName, err}
	}
	if text == "" {
		return &FieldError{Field: "Version", Err: errors.New("is missing")}
	}
	if m.Version, err = version.Parse(text); err != nil {
		return &FieldError{"Version", text, err}
	}
	return nil
}

// require sets RequiresDist, RequiresPython and ProvidesExtra, and gives the
// first error in this order.
func (m *Metadata) require(h headers) error {
	var first error
	note := func(field, value string, err error) {
		if err != nil && first == nil {
			first = &FieldError{field, value, err}
		}
	}
	for _, field := range []string{"Requires-Dist", "Provides-Extra"} {
		if n := len(h[strings.ToLower(field)]); n > maxRepeats {
			return &FieldError{Field: field, Err: fmt.Errorf("stands there %d times, more than %d", n, maxRepeats)}
		}
	}
	for _, value := range h["requires-dist"] { // as it stands: not UTF-8 is an error
		r, err := requirement.Parse(strings.Clone(value)) // outlives the description
		if note("Requires-Dist", value, err); err == nil {
			m.RequiresDist = append(m.RequiresDist, r)
		}
	}
	if value := h.first("requires-python"); value != "" {
		specs, err := version.ParseSpecifiers(strings.Clone(value))
		if note("Requires-Python", value, err); err == nil {
			m.RequiresPython = specs
		}
	}
	for _, value := range h["provides-extra"] {
		if extra, err := dist.ParseName(value); err == nil {
			m.ProvidesExtra = append(m.ProvidesExtra, extra)
		}
	}
	return first
}
