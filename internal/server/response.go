package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"curdling/internal/audit"
	"curdling/internal/auth"
)

// stride is how many bytes may be written before the time to write is put off;
// of a file that a client takes fast it is up to longStride.
const (
	stride     = 1 << 20
	longStride = 4 << 20
)

// response counts what is written, and gives a client that goes on reading as
// long as it needs.
type response struct {
	http.ResponseWriter
	control http.ResponseController
	begun   time.Time
	status  int   // 0 until the header is written
	bytes   int64 // of the body
	stride  int64 // bytes since the deadline was put off
	stall   time.Duration
	drained bool   // the request's body was read to its end
	broke   bool   // what was sent ended too early, or could not be read
	prefix  string // of paths in headers
	peer    string // whose connection it is; the request may be a client's behind it

	route  *route    // never nil
	missed bool      // the file asked for was not held
	until  time.Time // when an upload must be there; zero is never

	who    *auth.Identity // nil: not known, or not asked
	upload *audit.Entry   // what is known of an upload so far; nil of other requests
}

func (w *response) user() string {
	if w.who == nil {
		return ""
	}
	return w.who.User
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
		if status == http.StatusMovedPermanently || status == http.StatusTemporaryRedirect { // net/http writes a page of its own
			w.Header().Set("Content-Security-Policy", contentPolicy)
		}
		if w.prefix != "" {
			outward(w.Header(), w.prefix)
		}
		if w.who != nil && w.who.User != "" {
			makePrivate(w.Header())
		}
		if w.who != nil && w.who.Scope != "" {
			varyByUser(w.Header())
		}
		if time.Since(w.begun) > w.stall/8 { // else the time that the request came with will do
			w.putOff()
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// putOff gives the client time again to take what is written.
func (w *response) putOff() {
	w.stride = 0
	_ = w.control.SetWriteDeadline(time.Now().Add(w.stall)) // a test's recorder cannot
}

func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.advance(int64(n))
	return n, err
}

// ReadFrom lets the kernel send files, in strides.
func (w *response) ReadFrom(r io.Reader) (total int64, err error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	to, ok := w.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{w}, r)
	}
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: r, N: 1<<63 - 1}
	}
	for most := int64(stride); limited.N > 0; {
		// The kernel's way is taken for a file within one LimitedReader, not two.
		begun, part := time.Now(), io.LimitedReader{R: limited.R, N: min(limited.N, most)}
		n, err := to.ReadFrom(&part)
		w.broke = err == nil && n < min(limited.N, stride) || errors.Is(err, syscall.EIO)
		limited.N -= n
		total += n
		w.advance(n)
		if err != nil || n < most {
			return total, err
		}
		if most = stride; time.Since(begun) < time.Second {
			most = longStride
		}
	}
	return total, nil
}

func (w *response) advance(n int64) {
	w.bytes += n
	if w.stride += n; w.stride >= stride {
		w.putOff()
	}
}

// errBody is wrapped by errors that are the client's or the network's.
var errBody = errors.New("the body cannot be read")

// errUploadTime is what an upload ends with that takes too long on the whole.
var errUploadTime = refuse(http.StatusRequestTimeout, "the upload took longer than this server allows")

// body is a request's body of a client that goes on sending.
type body struct {
	r io.Reader
	w *response
}

func (b body) Read(p []byte) (int, error) {
	now := time.Now()
	if !b.w.until.IsZero() && now.After(b.w.until) {
		return 0, errUploadTime
	}
	patience := now.Add(b.w.stall)
	if !b.w.until.IsZero() && b.w.until.Before(patience) {
		patience = b.w.until
	}
	_ = b.w.control.SetReadDeadline(patience)
	n, err := b.r.Read(p)
	if err != nil { // the end, mostly: now the client waits for us
		b.w.drained = errors.Is(err, io.EOF)
		_ = b.w.control.SetReadDeadline(time.Time{})
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() && patience.Equal(b.w.until) {
		return n, errUploadTime
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", errBody, err)
	}
	return n, err
}

// matches tells whether an If-None-Match header names the tag (RFC 9110, 13.1.2).
func matches(header, etag string) bool {
	if header == etag {
		return true
	}
	for candidate := range strings.SplitSeq(header, ",") {
		candidate = strings.TrimSpace(candidate)
		if candidate == "*" || strings.TrimPrefix(candidate, "W/") == etag {
			return true
		}
	}
	return false
}

// setFields sets headers to values that are shared.
func (w *response) setFields(fields []field) {
	h := w.Header()
	for _, f := range fields {
		h[f.key] = f.value
	}
}

// text writes a line.
func (w *response) text(status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, line)
}

func (w *response) json(status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
