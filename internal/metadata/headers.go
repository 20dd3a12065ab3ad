package metadata

import (
	"strings"
	"unicode/utf8"
)

// headers are the values of each header, by its name in lower case, trimmed of
// white space around them. Folded values keep their line ends.
type headers map[string][]string

// first gives the first value of a header, "" where there is none.
func (h headers) first(name string) string {
	if values := h[name]; len(values) > 0 {
		return text(values[0])
	}
	return ""
}

// all gives every value of a header.
func (h headers) all(name string) []string {
	var values []string
	for _, v := range h[name] {
		values = append(values, text(v))
	}
	return values
}

// text gives s, or what it says in Latin-1 where it is not UTF-8.
func text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}

// parseHeaders splits s into headers and body. as gives the name under which a header is kept, "" for one that is not.
func parseHeaders(s string, as func(name string) string) (h headers, body string) {
	h = headers{}
	name, start := "", 0 // of the header being read, and where its value begins
	flush := func(end int) {
		if name != "" {
			h[name] = append(h[name], strings.TrimSpace(s[start:end]))
		}
		name = ""
	}
	for pos := 0; pos < len(s); {
		line := firstLine(s[pos:])
		next := pos + len(line)
		if line[0] == ' ' || line[0] == '\t' {
			pos = next
			continue
		}
		flush(pos)
		if !strings.HasPrefix(line, "From ") { // as mailboxes have it
			colon := strings.IndexByte(line, ':')
			if colon < 0 || !isFieldName(line[:colon]) {
				if strings.Trim(line, "\r\n") == "" {
					pos = next
				}
				return h, text(s[pos:])
			}
			name, start = as(line[:colon]), pos+colon+1
		}
		pos = next
	}
	flush(len(s))
	return h, ""
}

// firstLine gives the first line with its end, which is \n, \r\n or \r.
func firstLine(s string) string {
	end := strings.IndexByte(s, '\n') + 1
	if end == 0 {
		end = len(s)
	}
	if cr := strings.IndexByte(s[:end], '\r') + 1; cr > 0 && (cr != end-1 || s[cr] != '\n') {
		return s[:cr]
	}
	return s[:end]
}

// isFieldName tells whether s consists of printable ASCII (RFC 5322, 3.6.8).
func isFieldName(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// oneLine unfolds a value.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// dedent removes what folding put in front of the lines of a longer text:
// eight spaces, or seven and a bar.
func dedent(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		line = strings.TrimSuffix(line, "\r")
		if after, ok := strings.CutPrefix(line, "       |"); ok {
			line = after
		} else {
			line = strings.TrimPrefix(line, "        ")
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}
