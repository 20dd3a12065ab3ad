package lane

import (
	"bytes"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// maxFields bounds the fields of a plain request.
const maxFields = 32

// head is the head of a plain request. What it parsed last it keeps, and does not
// parse again as long as the same bytes come.
type head struct {
	method string
	target string // as sent
	url    *url.URL
	raw    string // the fields as sent, with the empty line
	fields http.Header
	host   string
	close  bool
}

// parse reads the head that b begins with, and gives its length; 0 where it is not plain, or not all there.
func (h *head) parse(b []byte) int {
	var rest []byte
	switch {
	case bytes.HasPrefix(b, []byte("GET /")):
		h.method, rest = http.MethodGet, b[len("GET "):]
	case bytes.HasPrefix(b, []byte("HEAD /")):
		h.method, rest = http.MethodHead, b[len("HEAD "):]
	default:
		return 0
	}
	end := bytes.Index(rest, []byte("\r\n\r\n"))
	space := bytes.IndexByte(rest, ' ')
	if space < 0 || space > end || !bytes.HasPrefix(rest[space:], []byte(" HTTP/1.1\r\n")) {
		return 0
	}
	target, raw := rest[:space], rest[space+len(" HTTP/1.1\r\n"):end+len("\r\n\r\n")]
	if string(target) != h.target && !h.parseTarget(string(target)) || string(raw) != h.raw && !h.parseFields(string(raw)) {
		h.target, h.raw = "", ""
		return 0
	}
	return len(b) - len(rest) + end + len("\r\n\r\n")
}

// parseTarget reads a path and perhaps a query.
func (h *head) parseTarget(target string) bool {
	plain := true
	for i := range len(target) {
		switch c := target[i]; {
		case c <= ' ', c >= 0x7f, c == '#', c == '\\':
			return false
		case c == '-', c == '.', c == '/', c == '_', '0' <= c && c <= '9', 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z':
		default:
			plain = false
		}
	}
	h.target, h.url = target, &url.URL{Path: target}
	if plain && !strings.HasPrefix(target, "//") {
		return true
	}
	var err error
	h.url, err = url.ParseRequestURI(target)
	return err == nil
}

// parseFields reads the fields of a head, each of which ends with CRLF, and the empty line behind them.
func (h *head) parseFields(raw string) bool {
	h.raw, h.host, h.close = raw, "", false
	if h.fields == nil {
		h.fields = make(http.Header)
	}
	clear(h.fields)
	values := make([]string, 0, 8)
	for raw != "\r\n" {
		line, rest, ok := strings.Cut(raw, "\r\n")
		name, value, colon := strings.Cut(line, ":")
		if value = strings.Trim(value, " \t"); !ok || !colon || !isToken(name) || !isText(value) || len(values) == maxFields {
			return false
		}
		raw = rest
		key := textproto.CanonicalMIMEHeaderKey(name)
		if _, twice := h.fields[key]; twice {
			return false
		}
		switch key {
		case "Host":
			if h.host != "" || !isHost(value) {
				return false
			}
			h.host = value
			continue
		case "Connection":
			if h.close = strings.EqualFold(value, "close"); !h.close && !strings.EqualFold(value, "keep-alive") {
				return false
			}
		case "Content-Length", "Transfer-Encoding", "Trailer", "Te", "Expect", "Upgrade", "Http2-Settings", "Keep-Alive", "Proxy-Connection",
			"Pragma": // net/http adds Cache-Control for it
			return false
		}
		values = append(values, value)
		h.fields[key] = values[len(values)-1 : len(values) : len(values)]
	}
	return h.host != ""
}

// isToken tells whether a field can have that name (RFC 9110, 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isText tells whether a field can have that value, of ASCII alone (RFC 9110, 5.5).
func isText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

// isHost tells whether a host is one that needs no thought: a name or address, perhaps with a port.
func isHost(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && strings.IndexByte("-.:[]_", c) < 0 {
			return false
		}
	}
	return s != ""
}
