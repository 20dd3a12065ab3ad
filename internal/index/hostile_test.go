package index

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"curdling/internal/dist"
)

// serveRaw lets each connection be answered byte by byte, once its request is there.
func serveRaw(t testing.TB, answer func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				if n, err := conn.Read(make([]byte, 64<<10)); n > 0 && err == nil {
					answer(conn)
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return "http://" + l.Addr().String()
}

// Parts of answers.
const (
	okHTML     = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
	htmlChunks = okHTML + "Transfer-Encoding: chunked\r\n\r\n"
)

// raw answers with a text.
func raw(text string) func(net.Conn) {
	return func(c net.Conn) { send(c, text) }
}

// flood sends a beginning, and then the same for as long as somebody listens.
func flood(begin, more string, pause time.Duration) func(net.Conn) {
	return func(c net.Conn) {
		_, err := c.Write([]byte(begin))
		for err == nil {
			time.Sleep(pause)
			_, err = c.Write([]byte(more))
		}
	}
}

// hang sends a beginning, and then nothing.
func hang(begin string) func(net.Conn) {
	return func(c net.Conn) {
		send(c, begin)
		_, _ = io.Copy(io.Discard, c)
	}
}

// page answers with a body of a content type, encoded as told.
func page(contentType, encoding string, body []byte) func(net.Conn) {
	return raw(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s",
		contentType, encoding, len(body), body))
}

func redirect(to string) func(net.Conn) {
	return raw("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + to + "\r\n\r\n")
}

// bomb is n zero bytes, compressed.
func bomb(t testing.TB, encoding string, n int64) []byte {
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if encoding == "zstd" {
		z, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		w = z
	}
	_, err := io.CopyN(w, zeros{}, n)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// What the client is asked for; each gives the path that its errors must name.
type asking func(context.Context, *Client, string) (path string, err error)

func askProject(ctx context.Context, c *Client, base string) (string, error) {
	_, err := c.Project(ctx, base, "x")
	return "/x/", err
}

func askLinks(ctx context.Context, c *Client, base string) (string, error) {
	_, err := c.Links(ctx, base+"/links.html?token=hunter2")
	return "/links.html", err
}

const hostileWheel = "/x-1.0-py3-none-any.whl"

func askMetadata(ctx context.Context, c *Client, base string) (string, error) {
	f := dist.File{Filename: hostileWheel[1:], Kind: dist.Wheel, URL: base + hostileWheel + "?token=hunter2", HasMetadata: true, MetadataSHA256: sumA}
	_, err := c.Metadata(ctx, f)
	return hostileWheel + ".metadata", err
}

// askFile downloads a file of so many bytes, 0: nobody knows how many.
func askFile(size int64) asking {
	return func(ctx context.Context, c *Client, base string) (string, error) {
		w, err := os.CreateTemp("", "hostile")
		if err != nil {
			return "", err
		}
		defer os.Remove(w.Name())
		defer w.Close()
		f := dist.File{Filename: hostileWheel[1:], URL: base + hostileWheel + "?token=hunter2", Size: size, SHA256: sumA}
		_, err = c.Download(ctx, f, w, nil)
		return hostileWheel, err
	}
}

// TestHostileServers: whatever a server does, we end soon, with an error that
// names the URL without its secrets, and the cause.
func TestHostileServers(t *testing.T) {
	const files = 1_000_000
	manyJSON := []byte(`{"files": [` + strings.Repeat(`{},`, files) + `{}]}`)
	manyHTML := []byte(strings.Repeat(`<a href=x>`, files))
	tests := []struct {
		name   string
		answer func(net.Conn)
		ask    asking
		cause  string
	}{
		// Sizes.
		{"endless page in chunks", flood(htmlChunks, "100000\r\n"+strings.Repeat(" ", 1<<20)+"\r\n", 0), askProject, "more than 67108864 bytes"},
		{"endless page without a length", flood(okHTML+"\r\n", strings.Repeat(" ", 1<<20), 0), askProject, "more than 67108864 bytes"},
		{"page of 100 MB", hang(okHTML + "Content-Length: 104857600\r\n\r\n"), askProject, "104857600 bytes, more than 67108864"},
		{"page of links of 100 MB", hang(okHTML + "Content-Length: 104857600\r\n\r\n"), askLinks, "104857600 bytes, more than 67108864"},
		{"page of 2^63 bytes", raw(okHTML + "Content-Length: 9223372036854775808\r\n\r\n"), askProject, "bad Content-Length"},
		{"gzip bomb", page(TypeHTML, "gzip", bomb(t, "gzip", MaxPage+1)), askProject, "more than 67108864 bytes"},
		{"gzip bomb of links", page(TypeHTML, "gzip", bomb(t, "gzip", MaxPage+1)), askLinks, "more than 67108864 bytes"},
		{"zstd bomb", page(TypeJSON, "zstd", bomb(t, "zstd", MaxPage+1)), askProject, "more than 67108864 bytes"},
		{"zstd window of 2 GiB", page(TypeJSON, "zstd", []byte("\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00")), askProject, "window size exceeded"},
		{"gzip in gzip", page(TypeHTML, "gzip, gzip", bomb(t, "gzip", 10)), askProject, `content encoding "gzip, gzip" was not asked for`},
		{"no gzip", page(TypeHTML, "gzip", []byte("<a>")), askProject, "unexpected EOF"},
		{"metadata bomb", page("text/plain", "gzip", bomb(t, "gzip", MaxMetadata+1)), askMetadata, "more than 16777216 bytes"},
		{"a million files in JSON", page(TypeJSON, "", manyJSON), askProject, "more than 100000 files"},
		{"a million files in HTML", page(TypeHTML, "", manyHTML), askProject, "more than 100000 files"},
		{"a million links", page(TypeHTML, "", manyHTML), askLinks, "more than 100000 files"},
		{"tag of 2 MB", page(TypeHTML, "", []byte("<a href='"+strings.Repeat("x", 2<<20)+"'>")), askProject, "HTML: max buffer exceeded"},
		{"deep JSON", page(TypeJSON, "", []byte(strings.Repeat("[", 1<<20))), askProject, "nested too deep"},
		{"deep JSON in a list", page(TypeJSON, "", []byte(`{"files": `+strings.Repeat("[", 1<<20))), askProject, "nested too deep"},
		{"endless header", flood("HTTP/1.1 200 OK\r\nX: ", strings.Repeat("x", 1<<10), 0), askProject, "headers exceeded 262144 bytes"},
		{"endless headers", flood("HTTP/1.1 200 OK\r\n", strings.Repeat("X: y\r\n", 1<<10), 0), askProject, "headers exceeded 262144 bytes"},
		{"endless informational answers", flood("", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 100), 0), askProject, "headers exceeded 262144 bytes"},
		{"endless chunk extension", flood(htmlChunks+"1;", strings.Repeat("x", 1<<10), 0), askProject, "header line too long"},
		{"endless chunks of a byte", flood(htmlChunks, strings.Repeat("1;"+strings.Repeat("x", 1000)+"\r\n \r\n", 100), 0), askProject, "too much non-data"},
		{"endless trailer", flood(htmlChunks+"0\r\n", strings.Repeat("X: y\r\n", 1<<10), 0), askProject, "trailer"},
		{"endless error", flood("HTTP/1.1 500 No\r\nContent-Type: text/plain\r\n\r\n", strings.Repeat("no ", 1<<10), 0), askLinks, "500 Internal Server Error"},

		// Lengths and hashes that lie.
		{"length too long", raw(okHTML + "Content-Length: 100\r\n\r\n<a href=x>"), askProject, "unexpected EOF"},
		{"length too short", raw("HTTP/1.1 200 OK\r\nContent-Type: " + TypeJSON + "\r\nContent-Length: 20\r\n\r\n" + jsonPage), askProject, "JSON: no"},
		{"two lengths", raw(okHTML + "Content-Length: 3\r\nContent-Length: 4\r\n\r\n<a>"), askProject, "Content-Length"},
		{"negative length", raw(okHTML + "Content-Length: -1\r\n\r\n"), askProject, "bad Content-Length"},
		{"chunk of a wrong size", raw(htmlChunks + "zz\r\n"), askProject, "invalid byte in chunk length"},
		{"cut chunks", raw(htmlChunks + "3\r\n<a>\r\n"), askProject, "unexpected EOF"},
		{"file too long", flood("HTTP/1.1 200 OK\r\n\r\n", "xxxxx", 0), askFile(100), "more than 100 bytes"},
		{"file that says that it is too long", hang("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"), askFile(100), "101 bytes, the index says 100"},
		{"file too short", raw("HTTP/1.1 200 OK\r\n\r\nxxxxx"), askFile(100), "unexpected EOF"},
		{"another hash", page("", "", []byte("xxxxx")), askFile(5), "the index says " + sumA},
		{"another hash of metadata", page("", "", []byte("xxxxx")), askMetadata, "the index says " + sumA},
		{"part of a file that nobody asked for", raw("HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\nxxxxx"), askFile(10), "got 5 to 9 of 10"},

		// Content types that lie.
		{"JSON said to be HTML", page(TypeHTML, "", []byte(jsonPage)), askProject, "HTML: no tag in it"},
		{"HTML said to be JSON", page(TypeJSON, "", []byte(linksPage)), askProject, "JSON: no value"},
		{"a wheel said to be HTML", page(TypeHTML, "", []byte("PK\x03\x04"+strings.Repeat("\x00", 100))), askLinks, "HTML: no tag in it"},
		{"a wheel", page("application/zip", "", []byte("PK\x03\x04")), askProject, `content type "application/zip"`},
		{"no content type", page("", "", []byte("<a>")), askLinks, `content type ""`},
		{"escape sequences in the content type", page("\x1b[31m", "", nil), askProject, "malformed MIME header"},

		// Time.
		{"silent", hang(""), askProject, "the server is silent for 500ms"},
		{"silent after the header", hang(okHTML + "Content-Length: 9\r\n\r\n"), askProject, "the server is silent for 500ms"},
		{"silent after the header of a file", hang("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), askFile(0), "the server is silent for 500ms"},
		{"header that drips", flood("HTTP/1.1 200 OK\r\nX: ", "x", 20*time.Millisecond), askProject, "the server is silent for 500ms"},
		{"informational answers that drip", flood("", "HTTP/1.1 102 Processing\r\n\r\n", 20*time.Millisecond), askProject, "the server is silent for 500ms"},
		{"page that drips", flood(okHTML+"\r\n", "x", 20*time.Millisecond), askProject, "too slow"},
		{"links that drip", flood(okHTML+"\r\n", "x", 20*time.Millisecond), askLinks, "too slow"},
		{"file that drips", flood("HTTP/1.1 200 OK\r\n\r\n", "x", 20*time.Millisecond), askFile(0), "too slow"},
		{"metadata that drips", flood("HTTP/1.1 200 OK\r\n\r\n", "x", 20*time.Millisecond), askMetadata, "too slow"},

		// Redirects.
		{"redirect in a circle", redirect("?hunter2"), askProject, "more than 10 redirects"},
		{"redirect to a file", redirect("file:///etc/passwd"), askProject, "redirect from http to file:///etc/passwd refused"},
		{"redirect of links to a file", redirect("file:///etc/passwd"), askLinks, "redirect from http to file:///etc/passwd refused"},
		{"redirect of a file to a file", redirect("file:///etc/passwd"), askFile(0), "redirect from http to file:///etc/passwd refused"},
		{"redirect to data", redirect("data:text/html,hunter2"), askProject, "redirect from http to data: refused"},
		{"redirect to FTP", redirect("ftp://u:hunter2@h.test/x"), askProject, "redirect from http to ftp://h.test/x refused"},
		{"redirect to nowhere", redirect("http://u:hunter2@"), askProject, "no Host"},
		{"redirect that is no URL", redirect("http://u:hunter2@h test/"), askProject, "302 leads to what is no URL"},
		{"redirect without a place", raw("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), askProject, "302 Found"},

		// Answers to what nobody asked.
		{"not modified", raw("HTTP/1.1 304 Not Modified\r\n\r\n"), askProject, "304, but nothing was asked"},
		{"no content", raw("HTTP/1.1 204 No Content\r\n\r\n"), askProject, "unexpected answer 204"},
		{"a part", raw("HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-2/9\r\nContent-Length: 3\r\n\r\n<a>"), askProject, "unexpected answer 206"},
		{"another protocol", raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), askProject, "101 Switching Protocols"},
		{"no HTTP", raw("SSH-2.0-x\r\n"), askProject, "malformed HTTP response"},
		{"nothing", raw(""), askProject, "EOF"},
		{"status of four digits", raw("HTTP/1.1 2000 OK\r\n\r\n"), askProject, "malformed HTTP status code"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base := serveRaw(t, tt.answer)
			timeout := 20 * time.Second
			switch {
			case strings.Contains(tt.cause, "500ms"):
				timeout = 500 * time.Millisecond
			case strings.Contains(tt.cause, "slow"):
				timeout = 2 * time.Second // in which something comes, however busy the machine is
			}
			c := testClient(t, Options{Retries: -1, Timeout: timeout})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			path, err := tt.ask(ctx, c, withUser(base, "u", "hunter2"))
			if err == nil || !strings.Contains(err.Error(), tt.cause) || !strings.Contains(err.Error(), base+path) {
				t.Errorf("error %v, want %q of %s", err, tt.cause, base+path)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || len(err.Error()) > 2000) {
				t.Errorf("too much is told: %v", err)
			}
			if ctx.Err() != nil || len(c.slots) != 0 {
				t.Errorf("%v, %d slots are not given back", ctx.Err(), len(c.slots))
			}
		})
	}
}

// TestPagesAreInTime: what brings just enough to go on may not take any time it
// likes, where it is a page or metadata.
func TestPagesAreInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, bounded := range []bool{true, false} {
			w := newWatch(t.Context(), time.Second)
			w.end = func() {}
			resp := &http.Response{Body: &body{ReadCloser: io.NopCloser(zeros{}), watch: w}}
			if bounded {
				hurry(resp)
			}
			n := 0
			for ; w.ctx.Err() == nil && n < 100; n++ {
				time.Sleep(999 * time.Millisecond)
				_, _ = resp.Body.Read(make([]byte, leastProgress))
			}
			err := w.cause(nil)
			w.stop()
			if bounded && (n != pageTimeouts+1 || !strings.Contains(err.Error(), "not whole after 20s") || passing(failed("GET", "", err))) || !bounded && n < 100 {
				t.Errorf("ended after %d reads: %v", n, err)
			}
		}
	})
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(metadataText))
	})
	c := testClient(t, Options{})
	for name, read := range map[string]func(*http.Response) error{
		"page":  func(resp *http.Response) error { _, err := readBody(resp, MaxPage); return err },
		"range": func(resp *http.Response) error { _, err := (&remoteZip{}).receive(resp, 0, 5); return err },
	} {
		build := func() (*http.Request, error) {
			h := http.Header{}
			if name == "range" {
				h.Set("Range", "bytes=0-4")
			}
			return get(mustURL(t, base), h), nil
		}
		err := c.do(t.Context(), build, func(resp *http.Response) error {
			err := read(resp)
			if resp.Body.(*body).watch.last == nil {
				t.Errorf("a %s may take any time", name)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRedirectFromHTTPS: down to http only where the host is trusted.
func TestRedirectFromHTTPS(t *testing.T) {
	plain := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); ok {
			t.Error("credentials went to another server")
		}
		sendPage(w, r)
	})
	secure := serveTLS(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, plain+r.URL.Path, http.StatusFound) }, nil)
	ca := pemFile(t, secure.Certificate())
	for _, tt := range []struct {
		hosts []string
		ok    bool
	}{
		{nil, false},
		{[]string{"h.test", secure.Listener.Addr().String()}, false},
		{[]string{strings.TrimPrefix(plain, "http://")}, true},
	} {
		c := testClient(t, Options{CABundle: ca, TrustedHosts: tt.hosts, Retries: -1})
		_, err := c.Project(t.Context(), withUser(secure.URL, "u", "secret"), "x")
		if tt.ok != (err == nil) || err != nil && !strings.Contains(err.Error(), "redirect from https to "+plain+"/x/ refused") {
			t.Errorf("%v: %v", tt.hosts, err)
		}
	}
}
