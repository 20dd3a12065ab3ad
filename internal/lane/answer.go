package lane

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// joined is up to which size a body is copied behind its header, so that both are one write.
const joined = 8 << 10

// outs are what answers are put together in.
var outs = sync.Pool{New: func() any { return new(make([]byte, 0, 2*joined)) }}

// answer is the http.ResponseWriter of a connection's requests, one after the other.
type answer struct {
	c      *conn
	header http.Header
	keys   []string

	status  int     // 0 before WriteHeader
	length  int64   // of the body, as the header says; -1 where it does not
	written int64   // of the body
	out     *[]byte // what was not sent yet
	body    []byte  // with the header still open, as the length is not known
	chunked bool    // it never will be
	failed  error   // of the connection
	close   bool    // after this answer
	parts   [2][]byte
	buffers net.Buffers
}

// begin makes it the answer of the next request.
func (a *answer) begin() {
	clear(a.header)
	a.status, a.length, a.written, a.failed, a.body, a.chunked = 0, -1, 0, nil, nil, false
	a.close = a.c.request.Close
	a.out = outs.Get().(*[]byte)
}

// finish sends what was not sent, and tells whether the connection can have another request.
func (a *answer) finish() bool {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case a.chunked:
		*a.out = append(*a.out, "0\r\n\r\n"...)
	case a.length < 0:
		if a.bodyAllowed() && (a.written > 0 || !a.isHead()) {
			*a.out = appendLength(*a.out, a.written)
		}
		*a.out = append(*a.out, "\r\n"...)
		if !a.isHead() {
			a.send(a.body)
		}
	case a.written != a.length && a.bodyAllowed() && !a.isHead():
		a.close = true // the client must not take what comes next for the rest
	}
	a.flush()
	*a.out = (*a.out)[:0]
	outs.Put(a.out)
	a.out = nil
	return a.failed == nil && !a.close
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status != 0 || status < 200 {
		return
	}
	a.status = status
	a.close = a.close || a.c.l.closing.Load() || slices.Contains(a.header["Connection"], "close")
	if length := a.header["Content-Length"]; len(length) > 0 && a.bodyAllowed() {
		if n, err := strconv.ParseInt(length[0], 10, 64); err == nil && n >= 0 {
			a.length = n
		}
	}
	out := append(*a.out, "HTTP/1.1 "...)
	out = strconv.AppendInt(out, int64(status), 10)
	out = append(out, ' ')
	out = append(out, http.StatusText(status)...)
	out = append(out, "\r\n"...)
	a.keys = a.keys[:0]
	for key := range a.header {
		a.keys = append(a.keys, key)
	}
	slices.Sort(a.keys)
	dated := false
	for _, key := range a.keys {
		switch key {
		case "Content-Length", "Connection", "Transfer-Encoding":
			continue
		case "Content-Type":
			if status == http.StatusNotModified {
				continue
			}
		case "Date":
			dated = true
		}
		for _, value := range a.header[key] {
			out = append(out, key...)
			out = append(out, ": "...)
			if strings.IndexByte(value, '\n') >= 0 || strings.IndexByte(value, '\r') >= 0 { // it must not become a field of its own
				value = strings.NewReplacer("\r", " ", "\n", " ").Replace(value)
			}
			out = append(out, value...)
			out = append(out, "\r\n"...)
		}
	}
	if !dated {
		out = appendDate(out)
	}
	if a.close {
		out = append(out, "Connection: close\r\n"...)
	}
	if a.length >= 0 {
		out = append(appendLength(out, a.length), "\r\n"...)
	}
	*a.out = out
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case len(p) == 0:
		return 0, nil
	case !a.bodyAllowed():
		return 0, http.ErrBodyNotAllowed
	}
	a.written += int64(len(p))
	switch {
	case a.length >= 0 && a.written > a.length:
		return 0, http.ErrContentLength
	case a.isHead():
	case a.length >= 0:
		a.send(p)
	case !a.chunked && len(a.body)+len(p) <= joined:
		a.body = append(a.body, p...)
	default:
		a.chunk(p)
	}
	if a.failed != nil {
		return 0, a.failed
	}
	return len(p), nil
}

// ReadFrom has the kernel send files.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	if a.length < 0 || a.isHead() || a.failed != nil {
		return io.Copy(struct{ io.Writer }{a}, r)
	}
	a.flush()
	n, err := a.c.ReadFrom(r)
	a.written += n
	if err != nil {
		a.failed = err // what the client has of the answer is not known
	}
	return n, err
}

// SetWriteDeadline is for http.ResponseController.
func (a *answer) SetWriteDeadline(t time.Time) error {
	a.c.writeBy = t
	return a.c.SetWriteDeadline(t)
}

// send adds to what is to be sent: a little by copying it, much with what is there in one system call.
func (a *answer) send(p []byte) {
	if len(*a.out)+len(p) <= cap(*a.out) && len(p) <= joined {
		*a.out = append(*a.out, p...)
		return
	}
	a.parts = [2][]byte{*a.out, p}
	a.buffers = a.parts[:]
	if a.failed == nil {
		_, a.failed = a.buffers.WriteTo(a.c.transport)
	}
	*a.out = (*a.out)[:0]
}

// chunk sends a part of a body that is too long to wait for its length (RFC 9112, 7.1).
func (a *answer) chunk(p []byte) {
	if !a.chunked {
		a.chunked = true
		*a.out = append(*a.out, "Transfer-Encoding: chunked\r\n\r\n"...)
		if len(a.body) > 0 {
			a.chunk(a.body)
		}
	}
	*a.out = append(strconv.AppendInt(*a.out, int64(len(p)), 16), "\r\n"...)
	a.send(p)
	*a.out = append(*a.out, "\r\n"...)
}

func (a *answer) flush() {
	if len(*a.out) > 0 && a.failed == nil {
		_, a.failed = a.c.Write(*a.out)
	}
	*a.out = (*a.out)[:0]
}

func (a *answer) isHead() bool { return a.c.request.Method == http.MethodHead }

func (a *answer) bodyAllowed() bool {
	return a.status != http.StatusNoContent && a.status != http.StatusNotModified
}

func appendLength(b []byte, n int64) []byte {
	b = append(b, "Content-Length: "...)
	return append(strconv.AppendInt(b, n, 10), "\r\n"...)
}

// date is the field as it is right for a second.
type date struct {
	second int64
	field  []byte
}

var today atomic.Pointer[date]

func appendDate(b []byte) []byte {
	now := time.Now()
	d := today.Load()
	if d == nil || d.second != now.Unix() {
		d = &date{now.Unix(), append(now.UTC().AppendFormat([]byte("Date: "), http.TimeFormat), "\r\n"...)}
		today.Store(d)
	}
	return append(b, d.field...)
}
