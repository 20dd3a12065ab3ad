// Package s3test is an object store in memory that speaks as much of S3 as package s3 asks for, and fails as told.
package s3test

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is an object store with any bucket that somebody names. It checks no signatures.
type Server struct {
	URL string
	// Before is called for each request; what it answers itself (true) goes no further. Set it before the first request.
	Before func(http.ResponseWriter, *http.Request) (answered bool)
	// After is called once a request has changed something, before it is answered, likewise.
	After func(http.ResponseWriter, *http.Request) (answered bool)
	// Wrap, where it is set, gives what answers are written to.
	Wrap func(http.ResponseWriter, *http.Request) http.ResponseWriter

	mu       sync.Mutex
	objects  map[string]object // by bucket/key
	requests int
}

type object struct {
	body     []byte
	etag     string
	modified time.Time
	metadata http.Header
}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	s := NewHandler()
	s.Start(t)
	return s
}

// Start has a server serve until the test ends. Where other processes ask, what is to be set must be set before.
func (s *Server) Start(t testing.TB) {
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
}

// NewHandler gives a server that nobody serves yet.
func NewHandler() *Server { return &Server{objects: make(map[string]object)} }

// Requests is how many came.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	s.mu.Unlock()
	if s.Before != nil && s.Before(w, r) {
		return
	}
	if s.Wrap != nil {
		w = s.Wrap(w, r)
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case r.Method == http.MethodPut && key != "":
		s.put(w, r, bucket+"/"+key)
	case r.Method == http.MethodDelete && key != "":
		s.delete(w, r, bucket+"/"+key)
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && key != "":
		s.get(w, r, bucket+"/"+key)
	case r.Method == http.MethodGet:
		s.list(w, r, bucket+"/")
	default:
		Fail(w, r, http.StatusNotImplemented, "NotImplemented")
	}
}

func (s *Server) put(w http.ResponseWriter, r *http.Request, name string) {
	body, err := payload(r)
	if err != nil {
		Fail(w, r, http.StatusBadRequest, "IncompleteBody")
		return
	}
	sum := md5.Sum(body)
	o := object{body: body, etag: `"` + hex.EncodeToString(sum[:]) + `"`, modified: time.Now(), metadata: http.Header{}}
	for key, values := range r.Header {
		if strings.HasPrefix(key, "X-Amz-Meta-") {
			o.metadata[key] = values
		}
	}
	s.mu.Lock()
	old, held := s.objects[name]
	ok := (r.Header.Get("If-None-Match") != "*" || !held) && (r.Header.Get("If-Match") == "" || held && r.Header.Get("If-Match") == old.etag)
	if ok {
		s.objects[name] = o
	}
	s.mu.Unlock()
	switch {
	case !ok:
		Fail(w, r, http.StatusPreconditionFailed, "PreconditionFailed")
	case s.After == nil || !s.After(w, r):
		w.Header().Set("ETag", o.etag)
	}
}

func (s *Server) delete(w http.ResponseWriter, r *http.Request, name string) {
	s.mu.Lock()
	old, held := s.objects[name]
	ok := r.Header.Get("If-Match") == "" || held && r.Header.Get("If-Match") == old.etag
	if ok {
		delete(s.objects, name)
	}
	s.mu.Unlock()
	if !ok {
		Fail(w, r, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// payload reads a body, and takes it out of the chunks in which signed ones come.
func payload(r *http.Request) ([]byte, error) {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return io.ReadAll(r.Body)
	}
	var body []byte
	in := bufio.NewReader(r.Body)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		digits, _, _ := strings.Cut(strings.TrimSpace(line), ";")
		size, err := strconv.ParseInt(digits, 16, 32)
		if err != nil {
			return nil, err
		}
		chunk := make([]byte, size+2)
		if size == 0 {
			_, err = io.Copy(io.Discard, in)
		} else {
			_, err = io.ReadFull(in, chunk)
		}
		if err != nil {
			return nil, err
		}
		body = append(body, chunk[:size]...)
		if size == 0 {
			if want := r.Header.Get("X-Amz-Decoded-Content-Length"); want != strconv.Itoa(len(body)) {
				return nil, errors.New("cut off")
			}
			return body, nil
		}
	}
}

func (s *Server) get(w http.ResponseWriter, r *http.Request, name string) {
	s.mu.Lock()
	o, held := s.objects[name]
	s.mu.Unlock()
	if !held {
		Fail(w, r, http.StatusNotFound, "NoSuchKey")
		return
	}
	maps.Copy(w.Header(), o.metadata)
	w.Header().Set("ETag", o.etag)
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", o.modified, bytes.NewReader(o.body))
}

type listing struct {
	XMLName        xml.Name `xml:"ListBucketResult"`
	IsTruncated    bool
	Next           string `xml:"NextContinuationToken,omitempty"`
	Contents       []listed
	CommonPrefixes []common
}

type listed struct {
	Key, LastModified, ETag string
	Size                    int
}

type common struct{ Prefix string }

func (s *Server) list(w http.ResponseWriter, r *http.Request, bucket string) {
	q := r.URL.Query()
	most, _ := strconv.Atoi(cmp.Or(q.Get("max-keys"), "1000"))
	prefix, last := q.Get("prefix"), max(q.Get("continuation-token"), q.Get("start-after"))
	var all listing
	s.mu.Lock()
	for _, name := range slices.Sorted(maps.Keys(s.objects)) {
		key, ok := strings.CutPrefix(name, bucket)
		if !ok || !strings.HasPrefix(key, prefix) {
			continue
		}
		folder, _, inFolder := strings.Cut(key[len(prefix):], "/")
		if inFolder = inFolder && q.Get("delimiter") == "/"; inFolder {
			key = prefix + folder + "/"
		}
		if key <= last {
			continue
		}
		if all.IsTruncated = len(all.Contents)+len(all.CommonPrefixes) == most; all.IsTruncated {
			all.Next = last
			break
		}
		if last = key; inFolder {
			all.CommonPrefixes = append(all.CommonPrefixes, common{key})
			continue
		}
		o := s.objects[name]
		all.Contents = append(all.Contents, listed{key, o.modified.UTC().Format("2006-01-02T15:04:05.000Z"), o.etag, len(o.body)})
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(all)
}

// SlowDown answers as a store does that is asked too much.
func SlowDown(w http.ResponseWriter, r *http.Request) {
	Fail(w, r, http.StatusServiceUnavailable, "SlowDown")
}

// Fail answers with an error of the store's.
func Fail(w http.ResponseWriter, r *http.Request, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code)
	}
}
