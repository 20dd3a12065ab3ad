package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxDepth bounds how deep a page may nest; the specification needs 4.
const maxDepth = 32

// scanner pulls values out of a JSON text (RFC 8259). It checks the structure
// of all it passes; literals that nobody asks for it checks only roughly. The
// strings that it gives are parts of the text.
type scanner struct {
	text  string
	pos   int
	depth int
}

func (s *scanner) wrong(want string) error {
	return fmt.Errorf("JSON: no %s at byte %d of %d", want, s.pos, len(s.text))
}

// peek skips white space and gives the byte that follows, 0 at the end.
func (s *scanner) peek() byte {
	for ; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; c {
		case ' ', '\n', '\t', '\r':
		default:
			return c
		}
	}
	return 0
}

// object calls member at each value, which member must read or skip. Where the
// next value is no object, it is skipped.
func (s *scanner) object(member func(key string) error) error {
	if s.peek() != '{' {
		return s.skip()
	}
	return s.list('}', func() error {
		if s.peek() != '"' {
			return s.wrong("key")
		}
		key, err := s.string()
		if err != nil {
			return err
		}
		if s.peek() != ':' {
			return s.wrong("colon")
		}
		s.pos++
		return member(key)
	})
}

// array calls item at each item, likewise.
func (s *scanner) array(item func() error) error {
	if s.peek() != '[' {
		return s.skip()
	}
	return s.list(']', item)
}

func (s *scanner) list(end byte, item func() error) error {
	if s.depth++; s.depth > maxDepth {
		return errors.New("JSON: nested too deep")
	}
	s.pos++
	if s.peek() == end {
		s.pos++
		s.depth--
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.pos++
		case end:
			s.pos++
			s.depth--
			return nil
		default:
			return s.wrong("comma or end of list")
		}
	}
}

// string gives the next value, "" where it is no string.
func (s *scanner) string() (string, error) {
	if s.peek() != '"' {
		return "", s.skip()
	}
	body := s.text[s.pos+1:]
	end := strings.IndexByte(body, '"')
	if end >= 0 && strings.IndexByte(body[:end], '\\') < 0 {
		s.pos += end + 2
		return body[:end], nil
	}
	for end = 0; end < len(body) && body[end] != '"'; end++ {
		if body[end] == '\\' {
			end++
		}
	}
	if end >= len(body) {
		return "", s.wrong("end of a string")
	}
	var value string
	if err := json.Unmarshal([]byte(s.text[s.pos:s.pos+end+2]), &value); err != nil {
		return "", s.wrong("string")
	}
	s.pos += end + 2
	return value, nil
}

// strings appends the strings of an array to list, at most as many as a page may have files.
func (s *scanner) strings(list *[]string) error {
	return s.array(func() error {
		item, err := s.string()
		if err == nil && len(*list) >= MaxFiles {
			err = fmt.Errorf("JSON: a list of more than %d", MaxFiles)
		}
		*list = append(*list, item)
		return err
	})
}

// int gives the next value, 0 where it is no integer.
func (s *scanner) int() (int64, error) {
	s.peek()
	start := s.pos
	if err := s.skip(); err != nil {
		return 0, err
	}
	return integer(s.text[start:s.pos]), nil
}

func integer(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// skip passes over the next value, whatever it is.
func (s *scanner) skip() error {
	switch s.peek() {
	case '"':
		_, err := s.string()
		return err
	case '{':
		return s.object(func(string) error { return s.skip() })
	case '[':
		return s.array(s.skip)
	}
	start := s.pos
	for s.pos < len(s.text) && isLiteral(s.text[s.pos]) {
		s.pos++
	}
	if s.pos == start {
		return s.wrong("value")
	}
	return nil
}

// isLiteral tells whether c can stand in a number, true, false or null.
func isLiteral(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'E'
}
