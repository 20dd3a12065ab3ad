//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"

	"curdling/internal/index"
)

const (
	beyond      = 5 * time.Second // the deadline a request is given up, so as to see what goes beyond it
	attempts    = 4               // of one request, as curd makes
	backoff     = 300 * time.Millisecond
	mostBackoff = time.Minute
	atOnce      = 8 // requests of one session
	maxBody     = 64 << 20
)

// unpacks bodies in zstd; many may use it at once.
var unpacks = func() *zstd.Decoder {
	d, err := zstd.NewReader(nil)
	if err != nil {
		panic(err)
	}
	return d
}()

// client asks one server, or one address that stands for many, as curd does: with connections of its own, kept
// while it lives, and tries again what may pass.
type client struct {
	http  *http.Client
	base  string
	stats *stats
}

func newClient(base string, s *stats) *client {
	return &client{&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce, MaxConnsPerHost: atOnce, DisableCompression: true}}, base, s}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// request is one that may be sent again.
type request struct {
	kind, method, path string
	header             http.Header
	body               []byte
	hash               bool // the answer's body is not kept, but its hash
}

// answer is one that says something: its status is below 400.
type answer struct {
	status int
	header http.Header
	body   []byte
	sha256 string // of the body, where that was wanted
	size   int64
}

// statusError is an answer that says no.
type statusError struct {
	status     int
	retryAfter time.Duration
	text       string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%d %s: %.200s", e.status, http.StatusText(e.status), e.text)
}

func (e *statusError) Is(target error) bool {
	return target == fs.ErrNotExist && e.status == http.StatusNotFound
}

// ask sends a request, again where that may help.
func (c *client) ask(ctx context.Context, r *request) (*answer, error) {
	for attempt := 1; ; attempt++ {
		a, err := c.once(ctx, r)
		if err == nil {
			return a, nil
		}
		var said *statusError
		wait := min(backoff<<(attempt-1), mostBackoff)
		wait = wait/2 + rand.N(wait/2+1)
		if errors.As(err, &said) {
			if said.status < http.StatusInternalServerError && said.status != http.StatusTooManyRequests || said.status == http.StatusInsufficientStorage {
				return nil, err
			}
			wait = max(wait, min(said.retryAfter, mostBackoff))
		}
		if attempt == attempts || ctx.Err() != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(wait):
		}
	}
}

// once sends a request, and counts it.
func (c *client) once(ctx context.Context, r *request) (a *answer, err error) {
	began := time.Now()
	a, err = c.send(ctx, r)
	took := time.Since(began)
	c.stats.change(r.kind, func(t *tally) {
		t.longest = max(t.longest, took)
		if took > deadline(r.kind) {
			t.overtime++
		}
		switch {
		case err == nil:
			t.took = append(t.took, took)
			t.bytes += a.size
			if a.status == http.StatusNotModified {
				t.same++
			}
		case ctx.Err() == nil:
			t.failed[cause(err)]++
		}
	})
	if err != nil {
		err = fmt.Errorf("%s %s: %w", r.method, r.path, err)
		c.stats.tell("%v, after %v", err, took.Round(time.Millisecond))
	}
	return a, err
}

// cause names what went wrong, in few words.
func cause(err error) string {
	var said *statusError
	switch {
	case errors.As(err, &said):
		return strconv.Itoa(said.status)
	case errors.Is(err, context.DeadlineExceeded):
		return "silence"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE):
		return "cut"
	}
	return "other"
}

func (c *client) send(ctx context.Context, r *request) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline(r.kind)+beyond)
	defer cancel()
	sent, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	for name, values := range r.header {
		sent.Header[name] = values
	}
	sent.Header.Set("User-Agent", "curd/bench")
	resp, err := c.http.Do(sent)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	if resp.StatusCode >= http.StatusBadRequest {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // the status says enough
		said := &statusError{status: resp.StatusCode, text: strings.TrimSpace(string(text))}
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
			said.retryAfter = time.Duration(seconds) * time.Second
		}
		return nil, said
	}
	if r.hash {
		h := sha256.New()
		if a.size, err = io.Copy(h, resp.Body); err != nil {
			return nil, err
		}
		a.sha256 = hex.EncodeToString(h.Sum(nil))
		return a, nil
	}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody)); err != nil {
		return nil, err
	}
	a.size = int64(len(a.body))
	if resp.Header.Get("Content-Encoding") == "zstd" {
		if a.body, err = unpacks.DecodeAll(a.body, nil); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// get makes a request without a body.
func get(kind, path string) *request {
	return &request{kind: kind, method: http.MethodGet, path: path, header: http.Header{"Accept-Encoding": {"zstd"}}}
}

// getPage asks for a project's page as curd does.
func getPage(project string) *request {
	r := get(kindPage, "/simple/"+project+"/")
	r.header.Set("Accept", index.TypeBuilds+", "+index.TypeJSON+";q=0.9, "+index.TypeHTML+";q=0.2, text/html;q=0.01")
	return r
}

// getFile asks for a file, whose hash is wanted and not the bytes.
func getFile(name string) *request {
	r := get(kindFile, "/p/"+name)
	r.header.Set("Accept-Encoding", "identity")
	r.hash = true
	return r
}

// putFile uploads a file that has no record.
func putFile(f *file) *request {
	return &request{kind: kindUpload, method: http.MethodPut, path: "/p/" + f.name, body: f.content, header: http.Header{"Content-Type": {"application/octet-stream"}}}
}
