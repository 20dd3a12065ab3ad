// Package process runs programs of others, such as build backends and git: each
// with its children as one session, which has no terminal to ask at and of
// which nothing is left behind, and makes what they print fit to be shown.
package process

import (
	"strings"
	"unicode"

	"curdling/internal/lazyregexp"
)

const (
	tailLines = 20  // shown of what a program said, of at most
	tailWidth = 300 // bytes each
)

var escapes = lazyregexp.New(`\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[ -/]*.)`)

// Plain makes what a program said fit for a terminal: without escape sequences
// and control characters, in valid UTF-8.
func Plain(said []byte) string {
	text := strings.ToValidUTF8(string(escapes.ReplaceAll(said, nil)), "?")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\r':
			return '\n'
		case r == '\t':
			return ' '
		case r != '\n' && !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text)
}

// LastLines gives the last 20 lines that say something, of 300 bytes each at most.
func LastLines(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, " \n"); line != "" {
			lines = append(lines, line[:min(len(line), tailWidth)])
		}
	}
	return lines[max(0, len(lines)-tailLines):]
}
