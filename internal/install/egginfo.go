package install

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"curdling/internal/dist"
	"curdling/internal/metadata"
	"curdling/internal/requirement"
	"curdling/internal/smallfile"
)

const (
	maxRequires     = 1 << 20  // bytes of requires.txt
	maxRequirements = 16 << 10 // lines
)

// addRequires adds what the requires.txt of an .egg-info folder says, which
// setuptools wrote where PKG-INFO has no Requires-Dist. Like metadata.Parse it
// gives the first wrong line as a *metadata.FieldError, and takes the others.
func addRequires(m *metadata.Metadata, dir string) error {
	path := filepath.Join(dir, "requires.txt")
	b, err := smallfile.Read(path, maxRequires)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		m.RequiresDist, m.ProvidesExtra, err = parseRequires(string(b))
	}
	return err
}

// parseRequires reads a requires.txt: requirements, in sections "[extra]",
// "[extra:marker]" and "[:marker]", as importlib.metadata does. Of a section
// that is wrong nothing is taken.
func parseRequires(text string) (reqs []requirement.Requirement, extras []dist.Name, err error) {
	var s section
	count := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if count++; count > maxRequirements {
			return reqs, extras, fmt.Errorf("requires.txt: more than %d lines", maxRequirements)
		}
		var lineErr error
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			if s, lineErr = parseSection(line[1 : len(line)-1]); s.extra != "" && !slices.Contains(extras, s.extra) {
				extras = append(extras, s.extra)
			}
		} else if !s.wrong {
			var r requirement.Requirement
			if r, lineErr = requirement.Parse(withCondition(line, s.condition)); lineErr == nil {
				reqs = append(reqs, r)
			}
		}
		if lineErr != nil && err == nil {
			err = &metadata.FieldError{Field: "requires.txt", Value: line, Err: lineErr}
		}
	}
	return reqs, extras, err
}

// A section is what a line in brackets says of those below it.
type section struct {
	extra     dist.Name // "" for none
	condition string    // a marker, "" for none
	wrong     bool
}

func parseSection(text string) (s section, err error) {
	extra, marker, _ := strings.Cut(text, ":")
	s.condition = strings.TrimSpace(marker)
	if extra = strings.TrimSpace(extra); extra == "" {
		return s, nil
	}
	if s.extra, err = dist.ParseName(extra); err != nil {
		return section{wrong: true}, err
	}
	if s.condition != "" {
		s.condition = "(" + s.condition + ") and "
	}
	s.condition += fmt.Sprintf("extra == %q", s.extra)
	return s, nil
}

// withCondition adds a marker to a requirement, which may have one.
func withCondition(line, condition string) string {
	separator := ";"
	if strings.Contains(line, "@") {
		separator = " ;" // or it would be part of the URL
	}
	if condition == "" {
		return line
	}
	if req, marker, ok := strings.Cut(line, separator); ok {
		line, condition = req, fmt.Sprintf("(%s) and (%s)", strings.TrimSpace(marker), condition)
	}
	return line + separator + " " + condition
}
