package s3

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"curdling/internal/store"
	"curdling/internal/store/s3/s3test"
	"curdling/internal/store/storetest"
)

func TestMain(m *testing.M) {
	s3test.SetCredentials()
	os.Exit(m.Run())
}

func open(t *testing.T, place, endpoint string) *Store {
	t.Helper()
	s, err := Open(t.Context(), place, Options{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	for _, place := range []string{"s3://bucket", "s3://bucket/a/prefix/"} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T) store.Store { return open(t, place, s3test.New(t).URL) })
		})
	}
}

// TestTrouble: a store that throttles, breaks off and loses answers only takes longer.
func TestTrouble(t *testing.T) {
	t.Parallel()
	server := s3test.New(t)
	var n atomic.Int64
	server.Before = func(w http.ResponseWriter, r *http.Request) bool {
		switch i := n.Add(1); {
		case r.Method == http.MethodPut && i%3 == 0:
			s3test.SlowDown(w, r)
			return true
		case i%5 == 0:
			panic(http.ErrAbortHandler)
		}
		return false
	}
	server.After = func(http.ResponseWriter, *http.Request) bool {
		if n.Load()%2 == 0 {
			panic(http.ErrAbortHandler) // kept, and not answered
		}
		return false
	}
	s := open(t, "s3://bucket", server.URL)
	content := bytes.Repeat([]byte("0123456789"), 100)
	for _, key := range []string{"a", "b", "c", "d"} {
		if err := s.Create(t.Context(), key, bytes.NewReader(content), int64(len(content))); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		r, _, err := s.Open(t.Context(), key)
		if err != nil {
			t.Errorf("%s: %v", key, err)
			continue
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", key, len(got), err)
		}
		r.Close()
	}
	if err := s.Create(t.Context(), "a", strings.NewReader("other"), 5); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a again: %v, want fs.ErrExist", err)
	}
}

// TestNoBucket: that a bucket is missing is said so, whatever the store or what stands in its place calls that.
func TestNoBucket(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "<html>Not Found</html>", "<Error><Code>NoSuchBucket</Code></Error>", "<Error><Code>NoSuchKey</Code></Error>"} {
		server := s3test.New(t)
		server.Before = func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, body)
			return true
		}
		_, err := Open(t.Context(), "s3://wheels/team", Options{Endpoint: server.URL})
		if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "there is no bucket wheels at "+strings.TrimPrefix(server.URL, "http://")) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// TestReadGoesOn: a reader outlives connections that break in the middle.
func TestReadGoesOn(t *testing.T) {
	t.Parallel()
	server := s3test.New(t)
	s := open(t, "s3://bucket", server.URL)
	content := strings.Repeat("0123456789", 100_000)
	if err := s.Create(t.Context(), "a", strings.NewReader(content), int64(len(content))); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	server.Wrap = func(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
		if r.Method == http.MethodGet && asked.Add(1) <= 5 {
			return &breaking{w, 150_000}
		}
		return w
	}
	r, info, err := s.Open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != content || info.Size != int64(len(content)) {
		t.Errorf("%d of %d bytes, %v", len(got), info.Size, err)
	}
	if n := asked.Load(); n < 6 {
		t.Errorf("asked %d times only", n)
	}
}

// breaking breaks a connection off after so many bytes.
type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	n, err := b.ResponseWriter.Write(p[:min(len(p), b.left)])
	if b.left -= n; b.left == 0 {
		_ = http.NewResponseController(b.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func (b *breaking) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{b}, r) }

func TestOpenSays(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ place, endpoint, want string }{
		{"s3://", "", "like s3://BUCKET"},
		{"http://x/y", "", "like s3://BUCKET"},
		{"s3://key:secret@bucket", "", "not like s3://***@bucket"},
		{"s3://bucket", "ftp://x", "it must be like"},
		{"s3://bucket", "http://key:secret@127.0.0.1:1", "http://***@127.0.0.1:1"},
		{"s3://bucket", "127.0.0.1:1", "it must be like"},
	} {
		_, err := Open(t.Context(), test.place, Options{Endpoint: test.endpoint})
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s at %q: %v, want %q in it", test.place, test.endpoint, err, test.want)
		}
	}
}
