package wheel

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// checkPath tells why a member's name may not be used: it must be a relative,
// slash-separated path that means one and the same file on every system.
func checkPath(p string) error {
	switch {
	case p == "":
		return errors.New("empty path")
	case len(p) > MaxPath:
		return fmt.Errorf("path of %d bytes, at most %d are allowed", len(p), MaxPath)
	case p[0] == '/':
		return fmt.Errorf("absolute path %q", p)
	case len(p) > 1 && p[1] == ':':
		return fmt.Errorf("path %q begins with a drive letter", p)
	}
	ascii, start := true, 0
	for i := range len(p) {
		switch c := p[i]; {
		case c == '/':
			if err := checkSegment(p, p[start:i]); err != nil {
				return err
			}
			start = i + 1
		case c < ' ' || c == 0x7f || c == '\\':
			return fmt.Errorf("path %q holds the character %q", p, c)
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	if !ascii {
		if err := checkRunes(p); err != nil {
			return err
		}
	}
	return checkSegment(p, p[start:])
}

func checkSegment(p, segment string) error {
	switch {
	case segment == "":
		return fmt.Errorf("path %q has an empty segment", p)
	case segment == "." || segment == "..":
		return fmt.Errorf("path %q has a %q segment", p, segment)
	case len(segment) > MaxSegment:
		return fmt.Errorf("path %q has a segment of %d bytes, at most %d are allowed", p, len(segment), MaxSegment)
	}
	return nil
}

// checkRunes refuses controls and line separators beyond ASCII, and what is not UTF-8.
func checkRunes(p string) error {
	if !utf8.ValidString(p) {
		return fmt.Errorf("path %q is not UTF-8", p)
	}
	for _, r := range p {
		if unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) {
			return fmt.Errorf("path %q holds the character %q", p, r)
		}
	}
	return nil
}

// parent is the folder of a path, "" for a path of one segment.
func parent(p string) string {
	return p[:max(strings.LastIndexByte(p, '/'), 0)]
}
