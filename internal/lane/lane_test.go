package lane

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a connection whose client sends some pieces and then no more.
type script struct {
	mu     sync.Mutex
	pieces [][]byte
	got    bytes.Buffer
	closed chan struct{}
	once   sync.Once
}

func (s *script) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.pieces[0])
	if s.pieces[0] = s.pieces[0][n:]; len(s.pieces[0]) == 0 {
		s.pieces = s.pieces[1:]
	}
	return n, nil
}

func (s *script) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.Write(p)
}

func (s *script) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *script) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{s}, r) }
func (s *script) CloseWrite() error                   { return nil }
func (s *script) LocalAddr() net.Addr                 { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }
func (s *script) RemoteAddr() net.Addr                { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 81} }
func (s *script) SetDeadline(time.Time) error         { return nil }
func (s *script) SetReadDeadline(time.Time) error     { return nil }
func (s *script) SetWriteDeadline(time.Time) error    { return nil }

// scripts is a listener for them.
type scripts struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newScripts() *scripts { return &scripts{conns: make(chan net.Conn), done: make(chan struct{})} }

func (l *scripts) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *scripts) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *scripts) Addr() net.Addr { return new(net.TCPAddr) }

// play gives what a server answers to some pieces.
func (l *scripts) play(pieces ...[]byte) []byte {
	s := &script{closed: make(chan struct{})}
	for _, piece := range pieces {
		if len(piece) > 0 {
			s.pieces = append(s.pieces, bytes.Clone(piece))
		}
	}
	l.conns <- s
	<-s.closed
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.got.Bytes())
}

// kinds is a handler that does what a path says, and otherwise tells what it was asked.
var kinds = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Of", r.Method)
	h.Set("Content-Type", "text/plain")
	large := strings.Repeat("0123456789", 3000)
	switch r.URL.Path {
	case "/none":
	case "/status":
		w.WriteHeader(http.StatusTeapot)
	case "/unchanged":
		h.Set("Content-Length", "7")
		h.Set("Etag", `"x"`)
		w.WriteHeader(http.StatusNotModified)
		fmt.Fprint(w, "nothing")
	case "/nothing":
		w.WriteHeader(http.StatusNoContent)
		fmt.Fprint(w, "nothing")
	case "/known":
		h.Set("Content-Length", strconv.Itoa(len(large)))
		fmt.Fprint(w, large)
	case "/unknown":
		if r.Method == http.MethodHead {
			h.Set("Content-Length", strconv.Itoa(len(large)))
		}
		fmt.Fprint(w, large)
	case "/chunks":
		for i := range 40 {
			fmt.Fprint(w, large[:i*200])
		}
	case "/parts":
		h.Set("Content-Length", "6")
		fmt.Fprint(w, "one")
		fmt.Fprint(w, "two")
		_, err := fmt.Fprint(w, "three")
		if !errors.Is(err, http.ErrContentLength) && r.Method != http.MethodHead {
			panic(err)
		}
	case "/early":
		h.Set("Content-Length", "600")
		fmt.Fprint(w, "one")
	case "/copied":
		h.Set("Content-Length", strconv.Itoa(len(large)))
		if r.Method != http.MethodHead {
			_, _ = io.Copy(w, strings.NewReader(large))
		}
	case "/broken":
		h.Set("Content-Length", "60")
		_, _ = io.Copy(w, io.MultiReader(strings.NewReader("some"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	case "/split":
		h.Set("Split", "a\r\nb: c\nd")
	case "/last":
		h.Set("Connection", "close")
	case "/dated":
		h.Set("Date", "once")
	case "/late":
		w.WriteHeader(http.StatusOK)
		h.Set("Late", "too late")
	case "/abort":
		panic(http.ErrAbortHandler)
	default:
		body, _ := io.ReadAll(r.Body)
		b, err := json.Marshal(map[string]any{"method": r.Method, "url": r.URL, "header": r.Header, "host": r.Host, "uri": r.RequestURI, "proto": r.Proto,
			"close": r.Close, "length": r.ContentLength, "encoding": r.TransferEncoding, "body": body, "remote": r.RemoteAddr, "query": r.URL.Query()})
		if err != nil {
			panic(err)
		}
		_, _ = w.Write(b)
	}
})

// pair is a server with a lane, and one without.
type pair struct{ with, without *scripts }

func newPair(t testing.TB) pair {
	silent := log.New(io.Discard, "", 0)
	p := pair{newScripts(), newScripts()}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	fast := New(p.with, Config{Handler: kinds, Takes: func(r *http.Request) bool { return r.URL.Path != "/other" }, ErrorLog: silent,
		HeadTimeout: time.Minute, IdleTimeout: time.Minute, WriteTimeout: time.Minute})
	var running sync.WaitGroup
	for _, l := range []net.Listener{fast, p.without} {
		s := &http.Server{Handler: kinds, Protocols: protocols, ErrorLog: silent, MaxHeaderBytes: 8 << 10}
		running.Go(func() { _ = s.Serve(l) })
		t.Cleanup(func() { _ = s.Close() })
	}
	t.Cleanup(func() {
		_, _ = fast.Close(), p.without.Close()
		if err := fast.Wait(context.Background()); err != nil {
			t.Error(err)
		}
		running.Wait()
	})
	return p
}

// reply is an answer as a client understands it.
type reply struct {
	Status string
	Header textproto.MIMEHeader
	Body   string
}

// replies reads all that a server sent on a connection.
func replies(b []byte) (all []reply, err error) {
	r := textproto.NewReader(bufio.NewReader(bytes.NewReader(b)))
	for {
		status, err := r.ReadLine()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		h, err := r.ReadMIMEHeader()
		if err != nil {
			return all, fmt.Errorf("%s: %w", status, err)
		}
		if h.Get("Date") != "once" && strings.HasSuffix(h.Get("Date"), " GMT") {
			h.Del("Date")
		}
		chunked := h.Get("Transfer-Encoding") != ""
		var body io.Reader = r.R
		length, _ := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
		switch {
		case h.Get("Of") == http.MethodHead, strings.Contains(status, " 304 "), strings.Contains(status, " 204 "), strings.Contains(status, " 100 "):
			body = strings.NewReader("")
		case chunked:
			body = httputil.NewChunkedReader(r.R)
			h.Del("Transfer-Encoding")
		case h.Get("Content-Length") != "":
			body = io.LimitReader(r.R, length)
		}
		content, err := io.ReadAll(body)
		if h.Get("Of") != http.MethodHead || length > 2048 { // when net/http no more looks for the length
			h.Del("Content-Length")
		}
		all = append(all, reply{status, h, string(content)})
		if err != nil {
			return all, err
		}
		if chunked {
			_, _ = r.ReadLine() // where trailers would end
		}
	}
}

// check compares both servers' answers to the same bytes, that come in two pieces.
func (p pair) check(t *testing.T, stream []byte, cut int) {
	t.Helper()
	first, second := stream[:cut], stream[cut:]
	with, without := p.with.play(first, second), p.without.play(first, second)
	if bytes.HasPrefix(stream, []byte("PRI ")) || bytes.Contains(without, []byte("HTTP/1.1 101 ")) {
		return // frames of HTTP/2, whose order is chance
	}
	got, err := replies(with)
	want, wantErr := replies(without)
	// Of fewer bytes than that net/http says nothing, but where the connection is new to it.
	if end := bytes.LastIndex(stream, []byte("\r\n\r\n")); end >= 0 && len(stream)-end-4 < 4 && len(got) == len(want)+1 {
		got = slices.DeleteFunc(got, func(r reply) bool { return r.Status == "HTTP/1.1 400 Bad Request" })
	}
	if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (wantErr == nil) {
		t.Errorf("%q cut at %d: without the lane, with it:\n%s%v, %v", stream, cut, diff, wantErr, err)
	}
}

const ask = " HTTP/1.1\r\nHost: x\r\n\r\n"

// streams are what clients send; HOST stands for the field.
var streams = []string{
	"GET /" + ask,
	"HEAD /" + ask,
	"GET /other" + ask + "GET /a" + ask,
	"GET /a" + ask + "GET /b" + ask + "GET /c" + ask,
	"GET /a" + ask + "POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /c" + ask,
	"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /b" + ask,
	"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\nGET /b" + ask,
	"GET /a HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, close\r\n\r\nGET /b" + ask,
	"GET /a HTTP/1.1\r\nHost: x\r\nAccept: a, b;q=0.5\r\nuser-agent:  c d\t \r\nX-Empty:\r\nAUTHORIZATION: Basic eDp5\r\n\r\nGET /b" + ask,
	"GET /last" + ask + "GET /b" + ask,
	"GET /early" + ask + "GET /b" + ask,
	"GET /broken" + ask + "GET /b" + ask,
	"GET /abort" + ask + "GET /b" + ask,

	// What is not plain.
	"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
	"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /b" + ask,
	"DELETE /a" + ask, "OPTIONS *" + ask, "CONNECT x:80" + ask, "get /a" + ask, "GET\t/a" + ask, "G" + ask,
	"GET /a HTTP/1.0\r\n\r\n", "GET /a HTTP/1.0\r\nConnection: keep-alive\r\nHost: x\r\n\r\nGET /b" + ask, "GET /a HTTP/0.9\r\n\r\n", "GET /a\r\n\r\n", "GET /a HTTP/2.0\r\nHost: x\r\n\r\n",
	"GET /a HTTP/1.1\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "GET /a HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", "GET /a HTTP/1.1\r\nHost:\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x y\r\n\r\n", "GET /a HTTP/1.1\r\nHost: x/y\r\n\r\n", "GET /a HTTP/1.1\r\nHost: \xff\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET /a HTTP/1.1\r\nHost: X.example:80\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x\r\nAccept: a\r\nAccept: b\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x\r\nAccept: a\r\n b\r\n\r\n", "GET /a HTTP/1.1\r\nHost: x\r\nAccept: a\r\n\tb\r\nC: d\r\n\r\n", "GET /a HTTP/1.1\r\n Host: x\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost : x\r\n\r\n", "GET /a HTTP/1.1\r\nHost: x\r\nA B: c\r\n\r\n", "GET /a HTTP/1.1\r\nHost: x\r\n: c\r\n\r\n", "GET /a HTTP/1.1\r\nHost: x\r\nA\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n", "GET /a HTTP/1.1\r\nHost: x\r\nA: \xc3\xa4\r\n\r\n", "GET /a HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
	"GET /a HTTP/1.1\nHost: x\n\nGET /b" + ask, "GET /a HTTP/1.1\r\nHost: x\n\nGET /b HTTP/1.1\r\nA: b\r\n\r\n", "GET /a HTTP/1.1\r\nHost: x\r\n\nGET /b" + ask,
	"GET /a\r\nHost: x\r\n\r\n HTTP/1.1\r\n", "\r\nGET /a" + ask, "GET  /a" + ask, "GET /a  HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a HTTP/1.1 \r\nHost: x\r\n\r\n", "GET /a b" + ask,
	"GET http://y/a" + ask, "GET //y/a" + ask, "GET /a#b" + ask, "GET /a?b=c&d" + ask, "GET /a%2Bb+c%2f" + ask, "GET /a%zz" + ask, "GET /\xff" + ask, "GET /\x7f" + ask, "GET /\\" + ask,
	"GET /../a" + ask, "GET /a//b" + ask, "GET /a;b" + ask, "GET /:a" + ask, "GET /" + strings.Repeat("a", 5000) + ask, "GET /?" + ask,
	"GET /a HTTP/1.1\r\nHost: x\r\nPragma: no-cache\r\n\r\n", "GET /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n", "GET /a HTTP/1.1\r\nHost: x\r\nExpect: more\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x\r\nB: " + strings.Repeat("c", 5000) + "\r\n\r\n", "GET /a HTTP/1.1\r\nHost: x\r\nB: " + strings.Repeat("c", 15000) + "\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", 40) + "\r\n", "GET /a HTTP/1.1\r\nHost: x\r\nA: b", "GET /a" + ask + "GET /b HTT",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
	"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "",

	// What hides a request in another.
	"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nGET /b" + ask + "GET /c" + ask,
	"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\nGET /b" + ask,
	"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcdGET /b" + ask,
	"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /b" + ask,
	"GET /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\nGET /b" + ask,
	"GET /a HTTP/1.1\r\nHost: x\r\ntransfer-encoding:\tchunked\r\n\r\n0\r\n\r\nGET /b" + ask,
	"GET /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /b" + ask,
	"GET /a HTTP/1.1\r\nHost: x\r\nA: b\r\n\tTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /b" + ask,
	"GET /a HTTP/1.1\r\nHost: x\r\nA: b\nContent-Length: 20\r\n\r\nGET /b" + ask + "GET /c" + ask,
	"GET /a HTTP/1.1\r\nHost: x\r\nA: b\rContent-Length: 20\r\n\r\nGET /b" + ask,
	"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabcGET /b" + ask,
	"HEAD /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /b" + ask,
	"GET /a HTTP/1.1\r\nHost: x\r\nTrailer: A\r\n\r\nGET /b" + ask,
	"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Content-Length\r\n\r\nGET /b" + ask,
}

// TestStreams: with the lane answers are what they are without it, however the bytes come.
func TestStreams(t *testing.T) {
	p := newPair(t)
	all := streams
	for _, kind := range []string{"none", "status", "unchanged", "nothing", "known", "unknown", "chunks", "parts", "early", "copied", "broken", "split", "last", "dated", "late", "abort"} {
		for _, method := range []string{"GET", "HEAD"} {
			all = append(all, method+" /"+kind+ask+method+" /"+kind+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		}
	}
	var checks sync.WaitGroup // at once, as net/http waits half a second after some errors
	for _, stream := range all {
		cuts := []int{0, len(stream) / 3, len(stream) / 2, max(0, len(stream)-1)}
		if i := strings.Index(stream, "\r\n\r\n"); i >= 0 {
			cuts = append(cuts, i+2, i+4)
		}
		for _, cut := range cuts {
			checks.Go(func() { p.check(t, []byte(stream), cut) })
		}
	}
	checks.Wait()
}

func FuzzStream(f *testing.F) {
	for _, stream := range streams {
		f.Add([]byte(stream), uint16(0))
		f.Add([]byte(stream), uint16(len(stream)/2))
	}
	p := newPair(f)
	f.Fuzz(func(t *testing.T, stream []byte, cut uint16) {
		if len(stream) > 32<<10 {
			return
		}
		p.check(t, stream, min(int(cut), len(stream)))
	})
}
