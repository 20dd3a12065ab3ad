package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// entry is an option of a file of pip's.
type entry struct {
	section, name, value string
	line                 int
	lines                []string // of value, while the file is read
}

// iniReader reads as pip does: by the rules of Python's RawConfigParser, names
// lower case, with - for _, and without -- before them.
type iniReader struct {
	section   string
	inSection bool
	entries   []entry
	defaults  []entry // of [DEFAULT], which every section has
	sections  []string
	seen      map[[2]string]bool // sections and options
	open      *entry             // the option that an indented line goes on with
	indent    int                // of that option
}

// maxInherited bounds how often options of [DEFAULT] stand in other sections.
const maxInherited = 1 << 16

// parseINI gives the options of every section in their order, with those of
// [DEFAULT] first. Errors tell path and line.
func parseINI(path string, b []byte) ([]entry, error) {
	if !utf8.Valid(b) {
		return nil, fmt.Errorf("%s: is not UTF-8; save it as UTF-8", path)
	}
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(b))
	r := iniReader{seen: map[[2]string]bool{}}
	line := 0
	for raw := range strings.Lines(text) {
		line++
		if err := r.line(line, strings.TrimSuffix(raw, "\n")); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, line, err)
		}
	}
	if len(r.sections)*len(r.defaults) > maxInherited {
		return nil, fmt.Errorf("%s: too many sections have the options of [DEFAULT]", path)
	}
	var all []entry
	for _, section := range r.sections {
		for _, e := range r.defaults {
			e.section = section
			all = append(all, e)
		}
	}
	all = append(all, r.entries...)
	for i := range all {
		all[i].value = strings.TrimRightFunc(strings.Join(all[i].lines, "\n"), isSpace)
	}
	return all, nil
}

func (r *iniReader) line(number int, raw string) error {
	text := strings.TrimFunc(raw, isSpace)
	switch {
	case text == "":
		if r.open != nil {
			r.open.lines = append(r.open.lines, "")
		}
		return nil
	case text[0] == '#' || text[0] == ';':
		return nil
	}
	before, _, _ := strings.Cut(raw, text)
	indent := utf8.RuneCountInString(before)
	if r.open != nil && indent > r.indent {
		r.open.lines = append(r.open.lines, text)
		return nil
	}
	r.indent = indent
	if end := strings.LastIndexByte(text, ']'); text[0] == '[' && end > 1 {
		return r.header(text[1:end])
	}
	return r.option(number, text)
}

func (r *iniReader) header(name string) error {
	if r.seen[[2]string{name}] {
		return fmt.Errorf("section [%.100s] stands there twice", name)
	}
	if name != "DEFAULT" {
		r.seen[[2]string{name}] = true
		r.sections = append(r.sections, name)
	}
	r.section, r.inSection, r.open = name, true, nil
	return nil
}

func (r *iniReader) option(number int, text string) error {
	if !r.inSection {
		return errors.New("there is no section, such as [global], before it")
	}
	at := strings.IndexAny(text, "=:")
	if at < 0 {
		return errors.New("not of the form KEY = VALUE")
	}
	name := strings.TrimRightFunc(text[:at], isSpace)
	if name == "" {
		return errors.New("no key stands before the value")
	}
	name = strings.TrimPrefix(strings.ReplaceAll(strings.ToLower(name), "_", "-"), "--")
	key := [2]string{r.section, name}
	if r.seen[key] {
		return fmt.Errorf("%.100s stands twice in section [%.100s]", name, r.section)
	}
	r.seen[key] = true
	into := &r.entries
	if r.section == "DEFAULT" {
		into = &r.defaults
	}
	*into = append(*into, entry{section: r.section, name: name, lines: []string{strings.TrimFunc(text[at+1:], isSpace)}, line: number})
	r.open = &(*into)[len(*into)-1]
	return nil
}

// isSpace tells what Python strips.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }
