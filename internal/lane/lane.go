// Package lane is a fast lane before net/http: it answers plain requests of
// plain-text HTTP/1.1 connections with a third of net/http's cost, by the same handler.
//
// A [Listener] reads each connection first. A request is plain where it is a GET
// or HEAD of version 1.1 with a path of this server, whose head came whole in one
// read and fits [MaxHead], with one Host, no field twice, and none that says
// anything of a body or of the connection but keep-alive and close. The lane parses
// no more than that, and strictly: what is not plain, and what [Config.Takes] does not
// want, goes with the connection and all bytes from that request on to the
// http.Server that accepts from the Listener, for good. So there is one server that
// judges odd requests, and none is judged twice.
//
// The handler's answer is the one that net/http would send, but that the length of more
// than 2 kB without Content-Length may be found, that no Content-Type is guessed, and that
// informational answers (1xx) are not sent. The request's context is never done.
//
// An answer is one write, header and body together; the parsed head is kept for
// the next request of the connection, which often has the same fields. Files go by the
// kernel, where [io.Copy] would have them.
package lane

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// MaxHead is how many bytes the head of a plain request may have.
const MaxHead = 4 << 10

// Config says what the lane does. No field may be zero.
type Config struct {
	// Handler answers, as an http.Server's would. It neither changes the request nor keeps it after its answer: the
	// connection's next one is made of it.
	Handler http.Handler
	// Takes tells whether a plain request is answered in the lane. It changes nothing, and does not wait.
	Takes func(*http.Request) bool

	HeadTimeout  time.Duration // until the first request of a connection
	IdleTimeout  time.Duration // between requests
	WriteTimeout time.Duration // from a request to the end of its answer, less up to a sixteenth; the handler may put it off

	ErrorLog *log.Logger // is told of panics
}

// Listener is what an http.Server accepts connections from that the lane does not answer. Make one with [New].
type Listener struct {
	net.Listener
	config Config
	others chan accepted
	start  sync.Once

	closing atomic.Bool
	closed  chan struct{}

	mu    sync.Mutex
	conns map[*conn]struct{}
	gone  chan struct{} // closed when the listener is closing and there are no conns
}

type accepted struct {
	conn net.Conn
	err  error
}

// New puts a lane before what listens.
func New(l net.Listener, config Config) *Listener {
	return &Listener{Listener: l, config: config, others: make(chan accepted), closed: make(chan struct{}),
		conns: make(map[*conn]struct{}), gone: make(chan struct{})}
}

// Accept gives the next connection that is not the lane's, or any more.
func (l *Listener) Accept() (net.Conn, error) {
	l.start.Do(func() { go l.accept() })
	select {
	case a := <-l.others:
		return a.conn, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *Listener) accept() {
	for {
		plain, err := l.Listener.Accept()
		if err != nil {
			// The next try waits for whoever is told of this one.
			if l.give(accepted{err: err}); l.closing.Load() || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		t, ok := plain.(transport)
		if !ok {
			l.give(accepted{conn: plain})
			continue
		}
		c := &conn{transport: t, l: l}
		if !l.enter(c) {
			plain.Close()
			return
		}
		go c.serve()
	}
}

// give hands over what the lane does not answer.
func (l *Listener) give(a accepted) {
	select {
	case l.others <- a:
	case <-l.closed:
		if a.conn != nil {
			a.conn.Close()
		}
	}
}

func (l *Listener) enter(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing.Load() {
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *Listener) leave(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	if l.closing.Load() && len(l.conns) == 0 {
		close(l.gone)
	}
}

// Close takes no more connections and ends those that wait for a request; what is
// being answered goes on, see [Listener.Wait].
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing.Swap(true) {
		return nil
	}
	close(l.closed)
	for c := range l.conns {
		if c.state.CompareAndSwap(idle, ended) {
			c.Close()
		}
	}
	if len(l.conns) == 0 {
		close(l.gone)
	}
	return l.Listener.Close()
}

// Wait waits, after Close, for what is being answered. Where ctx is done before, it cuts these connections off.
func (l *Listener) Wait(ctx context.Context) error {
	select {
	case <-l.gone:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Close()
	}
	return ctx.Err()
}

// transport is what net/http asks of a connection: that it can send files as the kernel does
// it, and end what it sends while it reads on.
type transport interface {
	net.Conn
	io.ReaderFrom
	CloseWrite() error
}

// What a connection does. An idle one may be closed by others.
const (
	idle = iota
	busy
	ended
)

// conn is a connection in the lane.
type conn struct {
	transport
	l     *Listener
	state atomic.Int32

	head    head
	request http.Request
	remote  string
	answer  answer

	readBy, writeBy time.Time // the deadlines that are set
}

// serve answers until the connection is closed or handed over.
func (c *conn) serve() {
	defer func() {
		problem := recover()
		if err, ok := problem.(error); problem != nil && (!ok || !errors.Is(err, http.ErrAbortHandler)) {
			stack := make([]byte, 64<<10)
			c.l.config.ErrorLog.Printf("lane: panic serving %v: %v\n%s", c.remote, problem, stack[:runtime.Stack(stack, false)])
		}
	}()
	var rest []byte
	defer func() { // before it is closed or given away: the lane is done with it
		c.l.leave(c)
		if rest == nil {
			c.Close()
			return
		}
		_ = c.SetDeadline(time.Time{})
		c.l.give(accepted{conn: &replayed{c.transport, rest}})
	}()
	c.remote = c.RemoteAddr().String()
	c.answer.c = c
	c.answer.header = make(http.Header)
	buffer := make([]byte, MaxHead)
	for patience := c.l.config.HeadTimeout; ; patience = c.l.config.IdleTimeout {
		c.await(time.Now(), patience)
		n, err := c.Read(buffer)
		if err != nil || !c.state.CompareAndSwap(idle, busy) {
			return
		}
		for unread := buffer[:n]; len(unread) > 0; {
			length := c.head.parse(unread)
			if length == 0 || !c.takes() {
				rest = unread
				return
			}
			unread = unread[length:]
			if !c.reply() {
				return
			}
		}
		c.state.Store(idle)
		if c.l.closing.Load() {
			return
		}
	}
}

// takes prepares the request, and asks whether it is the lane's.
func (c *conn) takes() bool {
	h := &c.head
	c.request = http.Request{
		Method: h.method, URL: h.url, RequestURI: h.target, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h.fields, Host: h.host, Close: h.close, Body: http.NoBody, RemoteAddr: c.remote,
	}
	return c.l.config.Takes(&c.request)
}

// reply answers the request, and tells whether the connection can have another.
func (c *conn) reply() bool {
	now, patience := time.Now(), c.l.config.WriteTimeout
	if c.writeBy.Sub(now) < patience-patience/16 {
		_ = c.answer.SetWriteDeadline(now.Add(patience))
	}
	c.answer.begin()
	c.l.config.Handler.ServeHTTP(&c.answer, &c.request)
	return c.answer.finish()
}

// await gives the client time to send, without setting a new deadline for each request.
func (c *conn) await(now time.Time, patience time.Duration) {
	if left := c.readBy.Sub(now); left < patience-patience/16 || left > patience {
		c.readBy = now.Add(patience)
		_ = c.SetReadDeadline(c.readBy)
	}
}

// replayed is a connection of which some was read before.
type replayed struct {
	transport
	before []byte
}

func (c *replayed) Read(p []byte) (int, error) {
	if len(c.before) == 0 {
		return c.transport.Read(p)
	}
	n := copy(p, c.before)
	c.before = c.before[n:]
	return n, nil
}
