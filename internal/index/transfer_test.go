package index

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
)

func tempFile(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "x-1.0-py3-none-any.whl"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{})
	_, _ = r.Read(b)
	return b
}

// zipMember is a name and a size; METADATA gets its own text.
type zipMember struct {
	name string
	size int
}

const metadataText = "Metadata-Version: 2.1\nName: x\nVersion: 1.0\n"

func makeZip(t testing.TB, members ...zipMember) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range members {
		method := zip.Store
		text := noise(m.size)
		if strings.HasSuffix(m.name, "METADATA") {
			method, text = zip.Deflate, []byte(metadataText)
		}
		w, err := z.CreateHeader(&zip.FileHeader{Name: m.name, Method: method})
		if err != nil {
			t.Fatal(err)
		}
		send(w, text)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func manyMembers(n int) []zipMember {
	var all []zipMember
	for i := range n {
		all = append(all, zipMember{fmt.Sprintf("x/a_rather_long_name_of_a_module_%06d.py", i), 10})
	}
	return all
}

func TestMetadata(t *testing.T) {
	const info = "x-1.0.dist-info/METADATA"
	big := zipMember{"x/big.so", 1 << 20}
	tests := []struct {
		name     string
		zip      []byte
		requests int    // 0: ErrNoRanges
		hide     string // what the server lacks: "size" in the file, "ranges"
	}{
		{"small", makeZip(t, zipMember{"x.py", 10}, zipMember{info, 0}), 1, ""},
		{"at the end", makeZip(t, big, zipMember{info, 0}, zipMember{"x-1.0.dist-info/RECORD", 100}), 1, ""},
		{"size unknown", makeZip(t, big, zipMember{info, 0}), 1, "size"},
		{"at the start", makeZip(t, zipMember{info, 0}, big), 2, ""},
		{"many members", makeZip(t, append(manyMembers(2000), zipMember{info, 0})...), 2, ""},
		{"many members, at the start", makeZip(t, append([]zipMember{{info, 0}, big}, manyMembers(2000)...)...), 3, ""},
		{"vendored too", makeZip(t, zipMember{"x/_vendor/y-1.0.dist-info/METADATA", 0}, zipMember{info, 0}), 1, ""},
		{"none", makeZip(t, zipMember{"x.py", 10}), 0, ""},
		{"two", makeZip(t, zipMember{info, 0}, zipMember{"y-1.0.dist-info/METADATA", 0}), 0, ""},
		{"not a zip", noise(100_000), 0, ""},
		{"empty", nil, 0, ""},
		{"no ranges", makeZip(t, zipMember{info, 0}), 0, "ranges"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			requests := 0
			base := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, ".metadata") {
					http.NotFound(w, r)
					return
				}
				requests++
				if tt.hide == "ranges" {
					r.Header.Del("Range")
				}
				w.Header().Set("ETag", `"1"`)
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(tt.zip))
			})
			f := dist.File{Filename: "x-1.0-py3-none-any.whl", Kind: dist.Wheel, URL: base + "/x-1.0-py3-none-any.whl", Size: int64(len(tt.zip))}
			if tt.hide == "size" {
				f.Size = 0
			}
			text, err := testClient(t, Options{}).Metadata(t.Context(), f)
			if tt.requests == 0 {
				if !errors.Is(err, ErrNoRanges) || !strings.Contains(err.Error(), f.Filename) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil || string(text) != metadataText || requests != tt.requests {
				t.Errorf("%q, %v after %d requests, want %d", text, err, requests, tt.requests)
			}
		})
	}
}

func TestMetadataFile(t *testing.T) {
	var asked []string
	var code int
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path+r.Header.Get("Range"))
		if code != 0 && strings.HasSuffix(r.URL.Path, ".metadata") {
			w.WriteHeader(code)
			return
		}
		send(w, metadataText)
	})
	file := dist.File{Filename: "x-1.0+a-py3-none-any.whl", Kind: dist.Wheel, URL: base + "/x-1.0%2Ba-py3-none-any.whl", Size: 1000}
	beside, range_ := "GET /x-1.0+a-py3-none-any.whl.metadata", "GET /x-1.0+a-py3-none-any.whlbytes=0-999"
	sum := sum256(metadataText)
	tests := []struct {
		name        string
		hasMetadata bool
		sum         string
		code        int
		asked       []string
		want        string // part of the error
	}{
		{"announced", true, sum, 0, []string{beside}, ""},
		{"without hash", true, "", 0, []string{beside}, ""},
		{"another hash", true, sumA, 0, []string{beside}, "sha256 is " + sum + ", the index says " + sumA},
		{"announced but missing", true, sum, 404, []string{beside, range_}, ErrNoRanges.Error()},
		{"announced but forbidden", true, sum, 403, []string{beside, range_}, ErrNoRanges.Error()},
		{"server down", true, sum, 500, []string{beside}, "500"},
		{"not announced", false, "", 0, []string{range_, beside}, ""},
		{"not there", false, "", 404, []string{range_, beside}, ErrNoRanges.Error()},
	}
	for _, tt := range tests {
		asked, code = nil, tt.code
		f := file
		f.HasMetadata, f.MetadataSHA256 = tt.hasMetadata, tt.sum
		c := testClient(t, Options{Retries: -1})
		text, err := c.Metadata(t.Context(), f)
		if tt.want == "" && (err != nil || string(text) != metadataText) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %q, %v, want %s", tt.name, text, err, tt.want)
		}
		if diff := cmp.Diff(tt.asked, asked); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		if len(tt.asked) > 1 { // that there are no ranges is remembered
			asked = nil
			if _, err := c.Metadata(t.Context(), f); len(asked) != 1 || asked[0] != beside {
				t.Errorf("%s: asked again %v, %v", tt.name, asked, err)
			}
		}
	}
	if _, err := testClient(t, Options{}).Metadata(t.Context(), dist.File{Kind: dist.Sdist, URL: base}); !errors.Is(err, ErrNoRanges) {
		t.Errorf("of a source distribution: %v", err)
	}
	if _, err := testClient(t, Options{}).Metadata(t.Context(), dist.File{Kind: dist.Wheel, URL: "file:///x"}); err == nil {
		t.Error("of a file: URL")
	}
}

func TestMetadataIsKeptForEverByFolder(t *testing.T) {
	var requests atomic.Int32
	handler := func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		send(w, metadataText)
	}
	one, two := serve(t, handler), serve(t, handler)
	cache := &memory{}
	for i, address := range []string{one + "/a/x.whl", one + "/a/y.whl", one + "/b/x.whl", two + "/a/x.whl"} {
		c := testClient(t, Options{Cache: cache})
		c.now = func() time.Time { return time.Now().AddDate(10, 0, 0) }
		f := dist.File{Kind: dist.Wheel, URL: address, HasMetadata: true, SHA256: sumA}
		if text, err := c.Metadata(t.Context(), f); err != nil || string(text) != metadataText {
			t.Fatal(err)
		}
		if want := []int32{1, 1, 2, 3}[i]; requests.Load() != want {
			t.Errorf("%s: %d requests, want %d", address, requests.Load(), want)
		}
	}
}

func TestRangesThatLie(t *testing.T) {
	wheel := makeZip(t, zipMember{"x/big.so", 1 << 20}, zipMember{"x-1.0.dist-info/METADATA", 0})
	for _, header := range []string{
		"", "bytes", "bytes 0-1/*", "bytes 0-1/2 x", "bytes -1-5/10", "bytes 5-1/10", "bytes 0-49151/10",
		"bytes 0-49151/1000000000", "bytes 0-9999999999/99999999999", "bytes 1000-50151/1049000",
	} {
		base := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, ".metadata") {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Range", header)
			w.WriteHeader(http.StatusPartialContent)
			send(w, wheel[len(wheel)-firstTail:])
		})
		f := dist.File{Kind: dist.Wheel, URL: base + "/x.whl", Size: int64(len(wheel))}
		if text, err := testClient(t, Options{}).Metadata(t.Context(), f); !errors.Is(err, ErrNoRanges) {
			t.Errorf("%q: %q, %v", header, text, err)
		}
	}
}

func TestDownload(t *testing.T) {
	const name = "x-1.0-py3-none-any.whl"
	content := noise(3 << 20)
	sum := sum256(string(content))
	serveFile := func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
	// cut sends what the request asks for, and breaks off at the given byte of the file.
	cut := func(w http.ResponseWriter, r *http.Request, at int) {
		serveFile(&cutWriter{ResponseWriter: w, left: at}, r)
	}
	ignoreRange := func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range")
		serveFile(w, r)
	}
	chunked := func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		send(w, content)
	}
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			send(w, content)
		}
	}
	etag := func(value string, h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.Header().Set("ETag", value); h(w, r) }
	}
	cutAt := func(at int) http.HandlerFunc { return func(w http.ResponseWriter, r *http.Request) { cut(w, r, at) } }
	type steps []http.HandlerFunc
	good := dist.File{SHA256: sum, Size: int64(len(content))}
	tests := []struct {
		name   string
		steps  steps // handlers of the requests; the last of all further ones
		file   dist.File
		ranges []string // asked, with If-Range
		want   string   // part of the error
	}{
		{"whole", steps{serveFile}, good, []string{""}, ""},
		{"nothing known", steps{chunked}, dist.File{}, []string{""}, ""},
		{"cut, resumed", steps{etag(`"1"`, cutAt(2<<20)), etag(`"1"`, serveFile)}, good, []string{"", `bytes=2097152- "1"`}, ""},
		{"cut, weak etag", steps{etag(`W/"1"`, cutAt(2<<20)), serveFile}, good, []string{"", "bytes=2097152- "}, ""},
		{"cut, has changed", steps{etag(`"0"`, cutAt(2<<20)), etag(`"1"`, serveFile)}, good, []string{"", `bytes=2097152- "0"`}, ""},
		{"cut, no ranges", steps{cutAt(2 << 20), ignoreRange}, good, []string{"", "bytes=2097152- "}, ""},
		{"cut at each byte of progress", steps{cutAt(1 << 20), cutAt(1 << 20), serveFile}, good, []string{"", "bytes=1048576- ", "bytes=2097152- "}, ""},
		{"cut without progress", steps{cutAt(10)}, dist.File{SHA256: sum, Size: 100}, nil, "the index says 100"},
		{"always cut", steps{cutAt(0)}, good, []string{"", "", ""}, "unexpected EOF"},
		{"another hash", steps{serveFile}, dist.File{SHA256: sumA}, []string{""}, "is " + sum + ", the index says " + sumA},
		{"another size", steps{serveFile}, dist.File{Size: 5}, []string{""}, "3145728 bytes, the index says 5"},
		{"too short", steps{chunked}, dist.File{Size: 9 << 20}, nil, "unexpected EOF"},
		{"endless", steps{endless}, good, []string{""}, "more than 3145728 bytes"},
		{"gone", steps{http.NotFound}, good, []string{""}, "404"},
		{"wrong part", steps{cutAt(2 << 20), func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Range", "bytes=5-")
			serveFile(w, r)
		}}, good, []string{"", "bytes=2097152- "}, "asked for what follows byte 2097152"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var ranges []string
			base := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Accept-Encoding") != "identity" {
					t.Error("a wheel may come compressed")
				}
				asked := r.Header.Get("Range")
				if asked != "" {
					asked += " " + r.Header.Get("If-Range")
				}
				step := tt.steps[min(len(ranges), len(tt.steps)-1)]
				ranges = append(ranges, asked)
				step(w, r)
			})
			f := tt.file
			f.Filename, f.URL = name, base+"/"+name
			w := tempFile(t)
			send(w, "rubbish")
			var last int64
			got, err := testClient(t, Options{Retries: 2}).Download(t.Context(), f, w, func(n int64) { last = n })
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), name) {
					t.Errorf("error %v, want %s", err, tt.want)
				}
			} else if held, _ := os.ReadFile(w.Name()); err != nil || got != sum || !bytes.Equal(held, content) || last != int64(len(content)) {
				t.Errorf("%v: %s, %d bytes, %d told", err, got, len(held), last)
			}
			if diff := cmp.Diff(tt.ranges, ranges); tt.ranges != nil && diff != "" {
				t.Errorf("ranges: %s", diff)
			}
		})
	}
}

// cutWriter breaks the connection off after so many bytes.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if len(p) <= c.left {
		c.left -= len(p)
		return c.ResponseWriter.Write(p)
	}
	send(c.ResponseWriter, p[:c.left])
	c.ResponseWriter.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func TestDownloadToFullDiskIsNotTriedAgain(t *testing.T) {
	requests := 0
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) { requests++; send(w, "x") })
	w, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	d := &download{url: mustURL(t, base), w: w, progress: func(int64) {}}
	c := testClient(t, Options{})
	err = c.do(t.Context(), d.request, d.receive)
	var path *fs.PathError
	if !errors.As(err, &path) || requests != 1 {
		t.Errorf("%v after %d requests", err, requests)
	}
}

func TestCancelledDownload(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		send(w, noise(1000))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	_, err := testClient(t, Options{}).Download(ctx, dist.File{URL: base}, tempFile(t), func(n int64) {
		if n > 0 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestUpload(t *testing.T) {
	content := noise(1 << 20)
	path := tempFile(t).Name()
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
	var requests, bodies int
	tests := []struct {
		name    string
		codes   []int // of the requests
		created bool
		want    string // part of the error
	}{
		{"new", []int{201}, true, ""},
		{"known", []int{200}, false, ""},
		{"second attempt", []int{503, 201}, true, ""},
		{"moved", []int{307, 201}, true, ""},
		{"moved the other way", []int{302}, false, "302"},
		{"other bytes", []int{409}, false, "409 Conflict: other bytes are held under this name"},
		{"forbidden", []int{403}, false, "403"},
	}
	for _, tt := range tests {
		requests, bodies = 0, 0
		base := serve(t, func(w http.ResponseWriter, r *http.Request) {
			code := tt.codes[min(requests, len(tt.codes)-1)]
			requests++
			user, password, _ := r.BasicAuth()
			if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "/p/x-1.0-py3-none-any.whl") || user+password != "usecret" ||
				r.ContentLength != int64(len(content)) {
				t.Errorf("%s: %s %s %d %v", tt.name, r.Method, r.URL, r.ContentLength, r.Header)
			}
			if code/100 == 2 || code == 503 {
				if body, err := io.ReadAll(r.Body); err != nil || !bytes.Equal(body, content) {
					t.Errorf("%s: %d bytes, %v", tt.name, len(body), err)
				}
				bodies++
			}
			if code/100 == 3 {
				w.Header().Set("Location", "/moved"+r.URL.Path)
			}
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(code)
			send(w, `{"title": "Conflict", "detail": "other bytes are held under this name"}`)
		})
		created, err := testClient(t, Options{}).Upload(t.Context(), withUser(base+"/", "u", "secret"), path)
		if created != tt.created || tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, %v; want %v, %q", tt.name, created, err, tt.created, tt.want)
		}
		if requests != len(tt.codes) {
			t.Errorf("%s: %d requests", tt.name, requests)
		}
	}
	if _, err := testClient(t, Options{}).Upload(t.Context(), "http://127.0.0.1:1", filepath.Join(t.TempDir(), "x.whl")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestRefusalWhileSending: a server that answers in the middle of an upload and
// closes, with bytes unread, which resets the connection, is heard.
func TestRefusalWhileSending(t *testing.T) {
	const words = "no room for x 1.0"
	path := tempFile(t).Name()
	if err := os.WriteFile(path, noise(8<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var requests atomic.Int32
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r, err := http.ReadRequest(bufio.NewReader(conn))
			if err == nil {
				requests.Add(1)
				_, err = io.CopyN(io.Discard, r.Body, 1<<20)
			}
			if err != nil {
				t.Error(err)
			}
			fmt.Fprintf(conn, "HTTP/1.1 507 Insufficient Storage\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(words), words)
			conn.Close()
		}
	}()
	c := testClient(t, Options{})
	const rounds = 20
	for range rounds {
		_, err := c.Upload(t.Context(), "http://"+l.Addr().String(), path)
		var status *StatusError
		if !errors.As(err, &status) || status.Code != http.StatusInsufficientStorage || status.Message != words {
			t.Error(err)
		}
	}
	if n := requests.Load(); n != rounds {
		t.Errorf("%d requests for %d uploads", n, rounds)
	}
}

func FuzzDirectory(f *testing.F) {
	f.Add(makeZip(f, zipMember{"x.py", 10}, zipMember{"x-1.0.dist-info/METADATA", 0}))
	f.Add(makeZip(f, zipMember{"x-1.0.dist-info/METADATA", 0}, zipMember{"x.py", 10}))
	f.Fuzz(func(t *testing.T, archive []byte) {
		start, length, err := findDirectory(archive, int64(len(archive)))
		if err != nil {
			return
		}
		m, err := findMetadata(archive[start : start+length])
		if err != nil || m.offset > start {
			return
		}
		text, err := m.extract(archive[m.offset:])
		if err != nil {
			return
		}
		if int64(len(text)) != m.size || len(text) > MaxMetadata {
			t.Fatalf("%d bytes of %d", len(text), m.size)
		}
		z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
		if err != nil {
			return // the standard library looks at more than we need
		}
		if r, err := z.Open(m.name); err == nil {
			defer r.Close()
			if same, err := io.ReadAll(r); err == nil && !bytes.Equal(same, text) {
				t.Fatalf("%q, the standard library reads %q", text, same)
			}
		}
	})
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-9/10")
	f.Fuzz(func(t *testing.T, s string) {
		if r, err := parseContentRange(s); err == nil && (r.first < 0 || r.last < r.first || r.last >= r.size) {
			t.Fatalf("%q is %+v", s, r)
		}
	})
}

func FuzzPolicy(f *testing.F) {
	f.Add("max-age=60, no-cache", "Thu, 01 Jan 1970 00:00:00 GMT", "30")
	f.Fuzz(func(t *testing.T, control, expires, age string) {
		h := http.Header{"Cache-Control": {control}, "Expires": {expires}, "Age": {age}}
		if p := policyOf(h, time.Now()); p.lifetime < 0 || p.lifetime > 0 && !p.known {
			t.Fatalf("%+v", p)
		}
	})
}
