// Package requirement reads what asks for distributions: PEP 508 lines, the
// arguments of commands, requirements files in pip's format, and pyproject.toml.
//
// PEP 508 requirements are read as Python's packaging reads them, and stricter in
// three points: names and extras must be valid (PEP 508 forbids "foo_", which
// packaging lets pass), a URL must not contain control characters, and a
// requirement has at most 64 KiB.
package requirement

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"curdling/internal/dist"
	"curdling/internal/marker"
	"curdling/internal/version"
)

const maxLength = 64 << 10 // bytes of a requirement

// Requirement is one PEP 508 requirement. Either URL or Specifiers is set, or neither.
type Requirement struct {
	Name       dist.Name
	Extras     []dist.Name // normalised, sorted, no repetition
	Specifiers version.Specifiers
	URL        string // "name @ URL"; may hold credentials: print with String, which hides them
	Marker     marker.Marker
}

// Parse reads one requirement as PEP 508 writes it. Parentheses around the
// specifiers, as old metadata has them, are accepted: "foo (>=1.0)".
func Parse(s string) (Requirement, error) {
	if len(s) > maxLength {
		return Requirement{}, fmt.Errorf("requirement of %d bytes: longer than %d", len(s), maxLength)
	}
	r, err := parse(s)
	if err != nil {
		return Requirement{}, fmt.Errorf("requirement %.200q: %w", hidePassword(s), err)
	}
	return r, nil
}

func parse(s string) (r Requirement, err error) {
	name, rest := identifier(trim(s))
	if r.Name, err = dist.ParseName(name); err != nil {
		return r, err
	}
	if r.Extras, rest, err = parseExtras(trim(rest)); err != nil {
		return r, err
	}
	if url, ok := strings.CutPrefix(trim(rest), "@"); ok {
		r.URL, rest, err = parseURL(trim(url))
	} else {
		r.Specifiers, rest, err = parseSpecifiers(trim(rest))
	}
	if err != nil || rest == "" {
		return r, err
	}
	text, ok := strings.CutPrefix(rest, ";")
	if !ok {
		return r, fmt.Errorf("expected a comma, a semicolon or the end before %.50q", rest)
	}
	r.Marker, err = marker.Parse(text)
	return r, err
}

// trim removes the spaces of PEP 508 in front of s.
func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	return s
}

// identifier cuts the run of characters that names consist of.
func identifier(s string) (name, rest string) {
	end := 0
	for end < len(s) && isNameByte(s[end]) {
		end++
	}
	return s[:end], s[end:]
}

func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.'
}

// parseExtras reads "[a, b]", if that stands here.
func parseExtras(s string) (extras []dist.Name, rest string, err error) {
	rest, ok := strings.CutPrefix(s, "[")
	if !ok {
		return nil, s, nil
	}
	if rest, ok = strings.CutPrefix(trim(rest), "]"); ok {
		return nil, rest, nil
	}
	for {
		var text string
		text, rest = identifier(trim(rest))
		extra, err := dist.ParseName(text)
		if err != nil {
			return nil, "", fmt.Errorf("extra: %w", err)
		}
		extras = append(extras, extra)
		rest = trim(rest)
		if rest, ok = strings.CutPrefix(rest, "]"); ok {
			slices.Sort(extras)
			return slices.Compact(extras), rest, nil
		}
		if rest, ok = strings.CutPrefix(rest, ","); !ok {
			return nil, "", errors.New(`expected a comma or "]" after an extra`)
		}
	}
}

// parseURL reads a URL, which ends at a space, and the spaces after it.
func parseURL(s string) (url, rest string, err error) {
	end := strings.IndexAny(s, " \t")
	if end < 0 {
		end = len(s)
	}
	url = s[:end]
	if url == "" {
		return "", "", errors.New(`expected a URL after "@"`)
	}
	if !utf8.ValidString(url) || strings.ContainsFunc(url, unicode.IsControl) {
		return "", "", errors.New("the URL contains control characters or is not UTF-8")
	}
	return url, trim(s[end:]), nil
}

// parseSpecifiers reads version specifiers, in parentheses or not, and the spaces after them.
func parseSpecifiers(s string) (specs version.Specifiers, rest string, err error) {
	rest, parens := strings.CutPrefix(s, "(")
	if parens {
		rest = trim(rest)
	}
	text, rest := specifierText(rest)
	if specs, err = version.ParseSpecifiers(text); err != nil {
		return specs, "", err
	}
	if rest = trim(rest); parens {
		var ok bool
		if rest, ok = strings.CutPrefix(rest, ")"); !ok {
			return specs, "", errors.New(`expected ")" after the version specifiers`)
		}
	}
	return specs, trim(rest), nil
}

// specifierText cuts a list "op version, op version," with spaces anywhere but
// inside a version; a comma may end it.
func specifierText(s string) (text, rest string) {
	rest = s
	for {
		after := strings.TrimLeft(rest, "=<>!~")
		op := rest[:len(rest)-len(after)]
		if op == "" {
			break
		}
		after = strings.TrimLeftFunc(after, unicode.IsSpace)
		ends := ",;)"
		if strings.HasPrefix(op, "===") {
			ends = ";)" // the version of === can be just about anything
		}
		end := strings.IndexFunc(after, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(ends, r) })
		if end < 0 {
			end = len(after)
		}
		rest = trim(after[end:])
		var comma bool
		if rest, comma = strings.CutPrefix(rest, ","); !comma {
			break
		}
		rest = trim(rest)
	}
	return s[:len(s)-len(rest)], rest
}

// String prints the requirement as packaging does, with normalised names; a
// password in URL is shown as ****.
func (r Requirement) String() string {
	var b strings.Builder
	b.WriteString(string(r.Name))
	separator := "["
	for _, extra := range r.Extras {
		b.WriteString(separator + string(extra))
		separator = ","
	}
	if len(r.Extras) > 0 {
		b.WriteByte(']')
	}
	b.WriteString(r.Specifiers.String())
	if r.URL != "" {
		b.WriteString(" @ " + hidePassword(r.URL))
		if !r.Marker.IsZero() {
			b.WriteByte(' ')
		}
	}
	if !r.Marker.IsZero() {
		b.WriteString("; " + r.Marker.String())
	}
	return b.String()
}

// hidePassword shows the password of a URL in s as ****; a user without a
// password may be a token and is hidden too.
func hidePassword(s string) string {
	start := strings.Index(s, "://")
	if start < 0 {
		return s
	}
	start += len("://")
	authority := s[start:]
	if end := strings.IndexAny(authority, "/?# \t"); end >= 0 {
		authority = authority[:end]
	}
	at := strings.LastIndexByte(authority, '@')
	if _, port, ok := strings.Cut(authority, ":"); at < 0 && ok && strings.Trim(port, "0123456789") != "" && authority[0] != '[' {
		authority = s[start:] // no port: a password with a slash in it
		at = strings.LastIndexByte(authority, '@')
	}
	if at < 0 {
		return s
	}
	user, _, ok := strings.Cut(authority[:at], ":")
	if ok {
		user += ":"
	} else {
		user = ""
	}
	return s[:start] + user + "****" + s[start+at:]
}
