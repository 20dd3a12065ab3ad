package catalog

import (
	"encoding/json"
	"strconv"
	"strings"
)

// parseFacts reads a line of facts.jsonl. Nearly all are flat objects of plain
// strings and whole numbers, and read as such; any other is left to encoding/json.
func parseFacts(line string) (x facts, ok bool) {
	if scanFacts(line, &x) {
		return x, true
	}
	x = facts{}
	return x, json.Unmarshal([]byte(line), &x) == nil
}

// scanFacts reads a line that has no space between its tokens.
func scanFacts(line string, x *facts) bool {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "{")
	for ok {
		var key string
		if key, rest, ok = scanString(rest); !ok || rest == "" || rest[0] != ':' {
			return false
		}
		rest = rest[1:]
		if text := x.text(key); text != nil {
			*text, rest, ok = scanString(rest)
		} else if number := x.number(key); number != nil {
			*number, rest, ok = scanNumber(rest)
		} else {
			return false
		}
		if ok && rest == "}" {
			return true
		}
		if ok {
			rest, ok = strings.CutPrefix(rest, ",")
		}
	}
	return false
}

// text gives the place of a field that is a string, or nil.
func (x *facts) text(key string) *string {
	switch key {
	case "file":
		return &x.File
	case "sha256":
		return &x.SHA256
	case "project":
		return (*string)(&x.Project)
	case "metadata_sha256":
		return &x.MetadataSHA256
	case "requires_python":
		return &x.RequiresPython
	case "summary":
		return &x.Summary
	case "user":
		return &x.User
	case "upstream":
		return &x.Upstream
	case "record":
		return &x.Record
	case "signature":
		return &x.Signature
	}
	return nil
}

// number gives the place of a field that is a whole number, or nil.
func (x *facts) number(key string) *int64 {
	switch key {
	case "size":
		return &x.Size
	case "mtime":
		return &x.ModTime
	case "upload_time":
		return &x.UploadTime
	}
	return nil
}

// scanString reads a string of ASCII without escapes, but for those of <, > and &.
func scanString(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	escaped := false
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' && !escaped:
			return s[1:i], s[i+1:], true
		case c == '"':
			text = unescape.Replace(s[1:i])
			return text, s[i+1:], strings.IndexByte(text, '\\') < 0
		case c == '\\':
			escaped = true
			if i++; i == len(s) || s[i] != 'u' {
				return "", "", false
			}
		case c < ' ' || c >= 0x80:
			return "", "", false
		}
	}
	return "", "", false
}

var unescape = strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&")

func scanNumber(s string) (n int64, rest string, ok bool) {
	digits := strings.TrimLeft(s, "-0123456789")
	s, rest = s[:len(s)-len(digits)], digits
	n, err := strconv.ParseInt(s, 10, 64)
	return n, rest, err == nil && strconv.FormatInt(n, 10) == s
}
