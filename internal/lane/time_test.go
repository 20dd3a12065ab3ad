package lane

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipe is one end of a connection in memory, that keeps deadlines.
type pipe struct{ net.Conn }

func (p pipe) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{p}, r) }
func (p pipe) CloseWrite() error                   { return nil }
func (p pipe) RemoteAddr() net.Addr                { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 81} }

// dialed gives a client's end of a connection to a lane with this handler.
func dialed(t *testing.T, handler http.HandlerFunc) (net.Conn, *Listener) {
	listener := newScripts()
	l := New(listener, Config{Handler: handler, Takes: func(r *http.Request) bool { return true }, ErrorLog: log.New(t.Output(), "", 0),
		HeadTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, WriteTimeout: time.Minute})
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}()
	client, server := net.Pipe()
	listener.conns <- pipe{server}
	t.Cleanup(func() { client.Close(); l.Close() })
	return client, l
}

// gone tells that a connection is closed after some seconds, as its deadlines need be kept to a sixteenth only.
func gone(t *testing.T, conn net.Conn, since time.Time, limit time.Duration) {
	t.Helper()
	b, err := io.ReadAll(conn)
	if took := time.Since(since); err != nil || took < limit-limit/16 || took > limit {
		t.Errorf("closed after %v with %v, %q; want %v", took, err, b, limit)
	}
}

func TestTimeouts(t *testing.T) {
	const request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	ask := func(t *testing.T, conn net.Conn) {
		t.Helper()
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1024)
		if n, err := conn.Read(b); err != nil || !strings.HasSuffix(string(b[:n]), "\r\n\r\nhello") {
			t.Fatalf("%q, %v", b[:n], err)
		}
	}
	hello := func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") }
	for name, test := range map[string]func(t *testing.T){
		"no request": func(t *testing.T) {
			conn, _ := dialed(t, hello)
			gone(t, conn, time.Now(), 10*time.Second)
		},
		"no other request": func(t *testing.T) {
			conn, _ := dialed(t, hello)
			for range 5 {
				ask(t, conn)
				time.Sleep(100 * time.Second)
			}
			ask(t, conn)
			gone(t, conn, time.Now(), 2*time.Minute)
		},
		"nothing read": func(t *testing.T) {
			var failed error
			done := make(chan time.Time)
			conn, _ := dialed(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", "100000")
				_, failed = w.Write(make([]byte, 100000))
				done <- time.Now()
			})
			began := time.Now()
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			if took := (<-done).Sub(began); failed == nil || took > time.Minute || took < 56*time.Second {
				t.Errorf("%v after %v", failed, took)
			}
		},
		"a long answer": func(t *testing.T) {
			conn, _ := dialed(t, func(w http.ResponseWriter, r *http.Request) {
				control := http.NewResponseController(w)
				w.Header().Set("Content-Length", "200")
				for range 200 {
					time.Sleep(50 * time.Second)
					_ = control.SetWriteDeadline(time.Now().Add(time.Minute))
					_, _ = io.Copy(w, strings.NewReader("x"))
				}
			})
			for range 2 { // the time to wait for the second request does not run during the first
				if _, err := io.WriteString(conn, request); err != nil {
					t.Fatal(err)
				}
				r, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(r.Body); len(b) != 200 || err != nil {
					t.Errorf("%d bytes, %v", len(b), err)
				}
				time.Sleep(time.Minute)
			}
		},
		"the end": func(t *testing.T) {
			conn, l := dialed(t, hello)
			ask(t, conn)
			synctest.Wait()
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			gone(t, conn, time.Now(), 0)
			if err := l.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		},
		"the end in an answer": func(t *testing.T) {
			conn, l := dialed(t, func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(20 * time.Second)
				fmt.Fprint(w, "hello")
			})
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			l.Close()
			soon, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			waited := make(chan error, 1)
			go func() { waited <- l.Wait(soon) }()
			b, err := io.ReadAll(conn)
			if !strings.Contains(string(b), "\r\nConnection: close\r\n") || !strings.HasSuffix(string(b), "hello") || err != nil {
				t.Errorf("%q, %v", b, err)
			}
			if err := <-waited; err != nil {
				t.Error(err)
			}
		},
		"no end": func(t *testing.T) {
			conn, l := dialed(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", "100000")
				_, _ = w.Write(make([]byte, 100000))
			})
			if _, err := io.WriteString(conn, request); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			l.Close()
			soon, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err := l.Wait(soon); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			synctest.Wait()
			if _, err := io.WriteString(conn, request); !errors.Is(err, io.ErrClosedPipe) {
				t.Error("the connection was not cut off:", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
	}
}

// failing is a listener that fails twice, and then is closed.
type failing struct {
	*scripts
	errors []error
}

func (l *failing) Accept() (net.Conn, error) {
	if len(l.errors) == 0 {
		return l.scripts.Accept()
	}
	err := l.errors[0]
	l.errors = l.errors[1:]
	return nil, err
}

// TestAcceptErrors: who accepts learns of errors, each once, and decides whether to go on.
func TestAcceptErrors(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	l := New(&failing{newScripts(), []error{first, second}}, Config{})
	for _, want := range []error{first, second} {
		if _, err := l.Accept(); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if err := l.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}
