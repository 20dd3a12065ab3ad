package requirement

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/pelletier/go-toml/v2"
)

// Bounds of what costs a reader of TOML far more than its bytes: how many
// brackets may be open and how many parts a key may have, which take memory, and how
// many keys or tables may stand side by side, which are compared with each other.
const (
	maxTOMLDepth   = 100
	maxTOMLBreadth = 4096
)

// ParseTOML reads a TOML file that may be hostile; the caller has bounded its
// size. Errors tell the line.
func ParseTOML(b []byte) (map[string]any, error) {
	if line := costlyLine(b); line > 0 {
		return nil, fmt.Errorf("line %d: nested more than %d deep, or more than %d keys or tables side by side", line, maxTOMLDepth, maxTOMLBreadth)
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

// costlyLine gives the number of the first line that goes beyond the bounds, or 0.
func costlyLine(b []byte) int {
	var keys [maxTOMLDepth + 1]int // of each open bracket so far; of the table, for 0
	tables := 0                    // since the last element of an array of tables
	brackets, dots, blank := 0, 0, true
	for rest := b; len(rest) > 0; {
		size := 1
		switch c := rest[0]; c {
		case '"', '\'':
			size = stringSize(rest)
		case '#':
			if size = bytes.IndexByte(rest, '\n'); size < 0 {
				return 0
			}
		case '.':
			dots++
		case '[', '{':
			if blank && brackets == 0 { // a table's header
				keys[0] = 0
				if tables++; bytes.HasPrefix(rest, []byte("[[")) {
					tables = 0
				}
			}
			if brackets++; brackets <= maxTOMLDepth {
				keys[max(brackets, 0)] = 0
			}
			dots = 0
		case ']', '}':
			brackets = max(brackets-1, 0)
			dots = 0
		case '=':
			keys[brackets]++
			dots = 0
		case ',', '\n':
			dots = 0
		}
		if brackets > maxTOMLDepth || dots > maxTOMLDepth || keys[brackets] > maxTOMLBreadth || tables > maxTOMLBreadth {
			return 1 + bytes.Count(b[:len(b)-len(rest)], []byte("\n"))
		}
		blank = rest[0] == '\n' || blank && (rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r')
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
