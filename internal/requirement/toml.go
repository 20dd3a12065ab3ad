package requirement

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/pelletier/go-toml/v2"
)

// maxTOMLDepth bounds how many brackets of a TOML file may be open, and how
// many parts a key may have, as each costs far more memory than its byte.
const maxTOMLDepth = 100

// ParseTOML reads a TOML file that may be hostile; the caller has bounded its
// size. Errors tell the line.
func ParseTOML(b []byte) (map[string]any, error) {
	if line := deepLine(b); line > 0 {
		return nil, fmt.Errorf("line %d: nested more than %d deep", line, maxTOMLDepth)
	}
	var file map[string]any
	err := toml.Unmarshal(b, &file)
	var wrong *toml.DecodeError
	if errors.As(err, &wrong) {
		line, _ := wrong.Position()
		return nil, fmt.Errorf("line %d: %w", line, err)
	}
	return file, err
}

// deepLine gives the number of the first line that is nested too deep, or 0.
func deepLine(b []byte) int {
	brackets, dots := 0, 0
	for rest := b; len(rest) > 0; {
		size := 1
		switch rest[0] {
		case '"', '\'':
			size = stringSize(rest)
		case '#':
			if size = bytes.IndexByte(rest, '\n'); size < 0 {
				return 0
			}
		case '.':
			dots++
		case '[', '{':
			brackets++
			dots = 0
		case ']', '}':
			brackets--
			dots = 0
		case '=', ',', '\n':
			dots = 0
		}
		if brackets > maxTOMLDepth || dots > maxTOMLDepth {
			return 1 + bytes.Count(b[:len(b)-len(rest)], []byte("\n"))
		}
		rest = rest[size:]
	}
	return 0
}

// stringSize gives the length of the TOML string that b begins with, or what
// there is of it.
func stringSize(b []byte) int {
	quote, multiline := b[:1], false
	if triple := bytes.Repeat(quote, 3); bytes.HasPrefix(b, triple) {
		quote, multiline = triple, true
	}
	for i := len(quote); i < len(b); i++ {
		switch {
		case b[i] == '\\' && quote[0] == '"':
			i++
		case b[i] == '\n' && !multiline:
			return i
		case bytes.HasPrefix(b[i:], quote):
			i += len(quote)
			for multiline && i < len(b) && b[i] == quote[0] { // up to two quotes may stand before the end
				i++
			}
			return i
		}
	}
	return len(b)
}
