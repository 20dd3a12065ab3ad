// Package dist knows the names of distributions: project names (PEP 503, 508),
// file names of wheels (PEP 427, 491) and of source distributions (PEP 625 and
// the older customs), and File, the one noun that travels through the house.
//
// Names are foreign. What is accepted here can be one segment of a path or of a
// URL on every system: at most 255 bytes of ASCII letters, digits and "-_.+!",
// beginning with a letter or a digit. Within that, file names are read as
// Python's packaging reads them (and as pip does where a project is expected),
// with these limits more: the project's name must be a valid one (PEP 508), a
// build number fits in 18 digits, and a file name stands for at most 1024 tags.
package dist

import (
	"fmt"
	"time"

	"curdling/internal/tag"
	"curdling/internal/version"
)

const maxName = 255 // bytes, of a project's name and of a file's

// Name is a project's normalised name: "ruamel-yaml". Make one with ParseName.
type Name string

// ParseName validates a project's name (PEP 508) and normalises it (PEP 503).
// Names of extras follow the same rule (PEP 685).
func ParseName(s string) (Name, error) {
	if len(s) > maxName {
		return "", fmt.Errorf("name of %d bytes: longer than %d", len(s), maxName)
	}
	if s == "" || !isAlnum(s[0]) || !isAlnum(s[len(s)-1]) {
		return "", nameError(s)
	}
	if isNormal(s) {
		return Name(s), nil
	}
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		switch c := s[i]; {
		case isAlnum(c):
			b = append(b, lower(c))
		case c != '-' && c != '_' && c != '.':
			return "", nameError(s)
		case b[len(b)-1] != '-':
			b = append(b, '-')
		}
	}
	return Name(b), nil
}

func nameError(s string) error {
	return fmt.Errorf("name %q: must be ASCII letters, digits, '-', '_' and '.', and begin and end with a letter or digit", s)
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= lower(c) && lower(c) <= 'z'
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// isNormal tells whether s, which begins and ends with a letter or digit, is normalised.
func isNormal(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isAlnum(c) && c != '-' || c != lower(c) || c == '-' && s[i-1] == '-' {
			return false
		}
	}
	return true
}

// Kind tells what a file is.
type Kind uint8

// The kinds of files; the zero value is none of them.
const (
	Wheel Kind = iota + 1
	Sdist
)

func (k Kind) String() string {
	switch k {
	case Wheel:
		return "wheel"
	case Sdist:
		return "sdist"
	}
	return "unknown"
}

// File is one distribution file: index makes it, resolve chooses it, curds and
// store keep it, install consumes it. A zero field is a fact not known.
type File struct {
	Name     Name
	Version  version.Version
	Kind     Kind
	Filename string    // the last segment of a path, never with a slash
	Build    BuildTag  // wheels only
	Tags     []tag.Tag // wheels only

	URL    string // absolute; never holds credentials
	Size   int64  // bytes
	SHA256 string // lower-case hex

	RequiresPython version.Specifiers
	Yanked         bool
	YankedReason   string
	UploadTime     time.Time
	// HasMetadata: the index serves URL+".metadata" (PEP 658, 714).
	HasMetadata    bool
	MetadataSHA256 string // of that, where the index tells
	Provenance     string // URL (PEP 740), or ""
	// BuiltFrom and BuildKey tell of a build that its index has the record of what it was built from,
	// and under which key: 64 hex digits each, see package record. URL+".build.json" is the record.
	BuiltFrom, BuildKey string
	// Tarball is what the index says of URL+".tar.zst", the wheel's other form (see package wheel); zero: it has none.
	Tarball Tarball
}

// Tarball is a wheel's tarball.
type Tarball struct {
	SHA256 string // lower-case hex
	Size   int64  // bytes
}

// String gives the file's name.
func (f File) String() string { return f.Filename }
