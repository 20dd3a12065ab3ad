package index

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	maxRedirects  = 10
	maxRetryAfter = 60 * time.Second
	maxBackoff    = 10 * time.Second
	maxProblem    = 16 << 10 // bytes of an error's body that are looked at
)

// StatusError is an answer that says no.
type StatusError struct {
	Method, URL string // without credentials and query
	Code        int
	Message     string        // what the server says about it, "" where that is nothing for people
	RetryAfter  time.Duration // 0: the server does not say
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("%s %s: %d %s", e.Method, e.URL, e.Code, http.StatusText(e.Code))
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}

// Is knows fs.ErrNotExist (404, 410) and fs.ErrPermission (401, 403).
func (e *StatusError) Is(target error) bool {
	switch e.Code {
	case http.StatusNotFound, http.StatusGone:
		return target == fs.ErrNotExist
	case http.StatusUnauthorized, http.StatusForbidden:
		return target == fs.ErrPermission
	}
	return false
}

// refusal is our own "no" to what a server does; trying again would not mend it.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

func refuse(err error) error { return refusal{err} }

func refusef(format string, args ...any) error { return refusal{fmt.Errorf(format, args...)} }

// failed says which request failed: by a *url.Error where no whole answer came,
// in other words where the server or the network is at fault.
func failed(method, shown string, err error) error {
	var refused refusal
	if errors.As(err, &refused) {
		return fmt.Errorf("%s %s: %w", method, shown, err)
	}
	return &url.Error{Op: method, URL: shown, Err: err}
}

// do sends what build makes and gives an answer of 200 to 299, or 304, to use. Passing
// faults, of sending or of use, are tried again.
func (c *Client) do(ctx context.Context, build func() (*http.Request, error), use func(*http.Response) error) error {
	for attempt := 0; ; attempt++ {
		err := c.once(ctx, build, use)
		if err == nil || !c.again(ctx, attempt, err) {
			return err
		}
	}
}

// once is one attempt of do, or two where the first was answered 401 and the keyring
// knows who we are.
func (c *Client) once(ctx context.Context, build func() (*http.Request, error), use func(*http.Response) error) error {
	denied, err := c.attempt(ctx, build, use)
	if denied != nil && c.relogin(ctx, denied) {
		_, err = c.attempt(ctx, build, use)
	}
	return err
}

// attempt sends one request. Where the answer is 401 it gives the request that
// was answered so, the last one of any redirects.
func (c *Client) attempt(ctx context.Context, build func() (*http.Request, error), use func(*http.Response) error) (denied *http.Request, err error) {
	r, err := build()
	if err != nil {
		return nil, err
	}
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	c.answered.Store(true)
	if resp.StatusCode == http.StatusUnauthorized {
		denied = resp.Request
	}
	if resp.StatusCode/100 != 2 && resp.StatusCode != http.StatusNotModified {
		return denied, c.statusError(resp, r)
	}
	err = use(resp)
	var cut *url.Error
	if err != nil && !errors.As(err, &cut) {
		err = failed(r.Method, redact(r.URL), err)
	}
	return nil, err
}

// again waits before a further attempt, and tells whether there is to be one.
func (c *Client) again(ctx context.Context, attempt int, err error) bool {
	known := c.answered.Load() && attempt == 0
	if attempt >= c.retries || ctx.Err() != nil || !passing(err) || c.hasty && absent(err) && !known {
		return false
	}
	wait := min(c.backoff<<min(attempt, 10), maxBackoff)
	wait = wait/2 + rand.N(wait/2+1)
	var status *StatusError
	if errors.As(err, &status) {
		wait = max(wait, min(status.RetryAfter, maxRetryAfter))
	}
	if c.hasty && wait > c.timeout {
		return false
	}
	c.log.Info("trying again", "error", err, "wait", wait)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}

// passing tells whether a fault may be gone next time.
func passing(err error) bool {
	var status *StatusError
	if errors.As(err, &status) {
		switch status.Code {
		case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
			http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		return false
	}
	var certificate *tls.CertificateVerificationError
	var name *net.DNSError
	switch {
	case errors.As(err, &certificate):
		return false
	case errors.As(err, &name):
		return !name.IsNotFound
	}
	var transfer *url.Error
	return errors.As(err, &transfer)
}

// absent tells that nobody is there: no connection was made, or nothing came through it.
func absent(err error) bool {
	var connect connectError
	return errors.As(err, &connect) || IsSilence(err)
}

// IsSilence tells of an error that nothing came from a server for as long as it may be silent, or that no
// connection was made in time.
func IsSilence(err error) bool {
	var timeout interface{ Timeout() bool }
	for ; err != nil; err = errors.Unwrap(err) {
		if errors.As(err, &timeout) && timeout.Timeout() {
			return true
		}
	}
	return false
}

// get makes a request without a body.
func get(u *url.URL, header http.Header) *http.Request {
	return &http.Request{Method: http.MethodGet, URL: u, Header: header}
}

// send sends a request when there is a slot for it. The slot is given back when
// the answer's body is closed; until then the attempt ends whenever nothing
// moves for Options.Timeout.
func (c *Client) send(ctx context.Context, r *http.Request) (*http.Response, error) {
	if c.offline {
		return nil, failed(r.Method, redact(r.URL), refuse(ErrOffline))
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return c.transmit(ctx, r, func() { <-c.slots })
}

// transmit sends a request, and calls end when the answer's body is closed, or none came.
func (c *Client) transmit(ctx context.Context, r *http.Request, end func()) (*http.Response, error) {
	w := newWatch(ctx, c.timeout)
	w.end = end
	r = w.request(r)
	r.Header.Set("User-Agent", c.userAgent)
	c.authorize(r)
	began := time.Now()
	resp, err := c.http.Do(r)
	if err != nil {
		err = failed(r.Method, redact(r.URL), w.cause(err))
		w.stop()
		c.log.Debug("request failed", "error", err)
		return nil, err
	}
	c.log.Debug("request", "method", r.Method, "url", redact(r.URL), "code", resp.StatusCode,
		"protocol", resp.Proto, "length", resp.ContentLength, "after", time.Since(began))
	w.moved(leastProgress)
	resp.Body = &body{ReadCloser: resp.Body, watch: w, method: r.Method, url: redact(resp.Request.URL)}
	return resp, nil
}

// checkRedirect follows as far as is safe, and takes no credentials along but
// those that are meant for where it leads.
func (c *Client) checkRedirect(r *http.Request, via []*http.Request) error {
	last := via[len(via)-1]
	switch {
	case r.Method != last.Method: // 301, 302 and 303 would make a GET of a PUT
		return http.ErrUseLastResponse
	case len(via) > maxRedirects:
		return refusef("more than %d redirects", maxRedirects)
	case r.URL.Scheme != "https" && (r.URL.Scheme != "http" || last.URL.Scheme == "https" && !c.trusted.has(r.URL)):
		return refusef("redirect from %s to %s refused", last.URL.Scheme, redact(r.URL))
	}
	c.authorize(r)
	return nil
}

func (c *Client) statusError(resp *http.Response, r *http.Request) error {
	e := &StatusError{Method: r.Method, URL: redact(r.URL), Code: resp.StatusCode}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(min(s, 1<<30)) * time.Second
	} else if at, err := http.ParseTime(resp.Header.Get("Retry-After")); err == nil {
		e.RetryAfter = max(at.Sub(c.now()), 0)
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	e.Message = sentence(text, resp.Header.Get("Content-Type"))
	return e
}

// sentence picks what is for people out of an error's body: problem details
// (RFC 9457), or the first line of plain text.
func sentence(text []byte, contentType string) string {
	media, _, _ := mime.ParseMediaType(contentType)
	switch {
	case strings.HasSuffix(media, "json"):
		var problem struct{ Title, Detail string }
		if json.Unmarshal(text, &problem) != nil {
			return ""
		}
		return printable(cmp.Or(problem.Detail, problem.Title))
	case media == "text/plain":
		line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		return printable(strings.TrimSpace(line))
	}
	return ""
}
