package server

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

// DefaultMaxHeader is how many bytes a request's header may have, where nothing else is said.
const DefaultMaxHeader = 64 << 10

// Limits is what a client may do. What goes beyond is answered with a status of its own and a sentence.
type Limits struct {
	Header        int           // bytes of a request's header; 0 is DefaultMaxHeader (431)
	Rate          float64       // requests a second of one address, in the long run; 0 is no limit (429)
	Burst         int           // requests that may come at once; 0 is those of two seconds
	Uploads       int           // at once; 0 is no limit (503)
	UploadTimeout time.Duration // of one upload, whole; 0 is no limit (408)
}

// Connections is how many there may be at once. The zero value has no limit.
type Connections struct {
	Total      int
	PerAddress int // an IPv6 network of 64 bits is one address
	// Exempt are addresses that PerAddress is not for: proxies, which speak for many. nil is nobody.
	Exempt func(netip.Addr) bool
	Silent bool // is for TLS: no sentence, which the client could not read
}

// turnedAway is the answer to a connection too many.
const turnedAway = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n" +
	"Retry-After: 5\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"

// Trusts tells whether an address is a trusted proxy's.
func (c *Config) Trusts(a netip.Addr) bool { return (&proxies{trusted: c.TrustedProxies}).trusts(a) }

// maxParting is how many connections at once are given time to read why they are closed.
const maxParting = 64

// Listener counts the connections of another, and turns away those that are too many.
type Listener struct {
	net.Listener
	limits  Connections
	parting chan struct{}

	mu        sync.Mutex
	open      int
	refused   int64
	byAddress map[netip.Addr]int
}

// Limit has a listener keep to limits.
func Limit(l net.Listener, limits Connections) *Listener {
	return &Listener{Listener: l, limits: limits, parting: make(chan struct{}, maxParting), byAddress: make(map[netip.Addr]int)}
}

// counted is a connection that counts. It can send files as the kernel does it.
type counted struct {
	*net.TCPConn
	leave func()
}

func (c *counted) Close() error {
	c.leave()
	return c.TCPConn.Close()
}

// Accept gives the next connection that is not too many.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := conn.(*net.TCPConn)
		if !ok {
			return conn, nil
		}
		address := tcp.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
		client := network(address)
		reason := l.enter(client, l.limits.PerAddress == 0 || l.limits.Exempt != nil && l.limits.Exempt(address))
		if reason == "" {
			return &counted{tcp, sync.OnceFunc(func() { l.leave(client) })}, nil
		}
		l.turnAway(tcp, reason)
	}
}

// Open is how many connections there are, and how many were turned away.
func (l *Listener) Open() (open int, refused int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open, l.refused
}

// enter counts a connection, or tells why it may not be.
func (l *Listener) enter(client netip.Addr, exempt bool) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.limits.Total > 0 && l.open >= l.limits.Total:
		l.refused++
		return "the server has as many connections as it may; try again in a moment"
	case !exempt && l.byAddress[client] >= l.limits.PerAddress:
		l.refused++
		return fmt.Sprintf("one address may have %d connections at once on this server", l.limits.PerAddress)
	}
	l.open++
	l.byAddress[client]++
	return ""
}

func (l *Listener) leave(client netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.byAddress[client]--; l.byAddress[client] == 0 {
		delete(l.byAddress, client)
	}
}

// turnAway says why, and closes. What the client sent is read, for a moment: else
// the answer may be lost with the connection (RFC 9112, 9.6).
func (l *Listener) turnAway(conn *net.TCPConn, reason string) {
	select {
	case l.parting <- struct{}{}:
	default:
		conn.Close()
		return
	}
	go func() {
		defer func() { <-l.parting }()
		defer conn.Close()
		if l.limits.Silent {
			return
		}
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		if _, err := fmt.Fprintf(conn, turnedAway, len(reason)+1, reason+"\n"); err == nil && conn.CloseWrite() == nil {
			_, _ = io.CopyN(io.Discard, conn, 64<<10)
		}
	}()
}

// network is what counts as one client: an IPv4 address, or 64 bits of an IPv6 one.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// maxClients is how many addresses a pace remembers at once.
const maxClients = 1 << 16

// pace is how fast each client may ask (GCRA, the leaky bucket as a meter): of
// each address it remembers when its requests until now would be done, had they
// come evenly. An address whose time is past is as good as none.
type pace struct {
	interval time.Duration // of a request
	slack    time.Duration // that a client may be ahead of its time

	mu   sync.Mutex
	due  map[netip.Addr]int64 // Unix nanoseconds
	most int
}

// newPace gives nil, which lets everything pass, for no rate.
func newPace(l Limits) *pace {
	if l.Rate <= 0 {
		return nil
	}
	burst := cmp.Or(l.Burst, int(math.Ceil(min(2*l.Rate, 1<<30))))
	interval := time.Duration(float64(time.Second) / max(l.Rate, 1e-6))
	slack := min(float64(interval)*float64(max(burst-1, 0)), float64(24*time.Hour))
	return &pace{interval: max(interval, 1), slack: time.Duration(slack), due: make(map[netip.Addr]int64), most: maxClients}
}

// take lets a request pass, or tells how long the client has to wait.
func (p *pace) take(client netip.Addr, now time.Time) (wait time.Duration) {
	t := now.UnixNano()
	p.mu.Lock()
	defer p.mu.Unlock()
	due, known := p.due[client]
	due = max(due, t)
	if ahead := time.Duration(due - t); ahead > p.slack {
		return ahead - p.slack
	}
	if !known && len(p.due) >= p.most {
		p.forget(t)
	}
	p.due[client] = due + int64(p.interval)
	return 0
}

// forget makes room: for those whose time is past, and where that is not half of
// them, for all.
func (p *pace) forget(t int64) {
	for client, due := range p.due {
		if due <= t {
			delete(p.due, client)
		}
	}
	if len(p.due) > p.most/2 {
		clear(p.due)
	}
}

// unlimited are the paths that are asked by those who watch the server.
var unlimited = []string{"/healthz", "/readyz", "/metrics"}

// admit refuses a client that asks too fast.
func (s *Server) admit(w *response, r *http.Request) error {
	if slices.Contains(unlimited, r.URL.Path) {
		return nil
	}
	wait := s.pace.take(network(remoteAddr(r)), time.Now())
	if wait == 0 {
		return nil
	}
	s.metrics.refused.WithLabelValues("rate").Inc()
	seconds := strconv.FormatInt(int64(math.Ceil(wait.Seconds())), 10)
	w.Header().Set("Retry-After", seconds)
	return refuse(http.StatusTooManyRequests, "too many requests from this address; try again in "+seconds+" s")
}

// bounded bounds how many uploads there are at once and how long one takes, and counts them.
func (s *Server) bounded(h shelved) shelved {
	return func(x *shelf, w *response, r *http.Request) (err error) {
		if s.uploads != nil {
			select {
			case s.uploads <- struct{}{}:
				defer func() { <-s.uploads }()
			default:
				s.metrics.refused.WithLabelValues("uploads").Inc()
				w.Header().Set("Retry-After", "5")
				return refuse(http.StatusServiceUnavailable, fmt.Sprintf("%d uploads at once are as many as this server takes; try again in a moment", cap(s.uploads)))
			}
		}
		if s.uploadTimeout > 0 {
			w.until = time.Now().Add(s.uploadTimeout)
		}
		err = h(x, w, r)
		result := "created"
		switch status := w.status; {
		case err != nil && classify(err).Status == http.StatusConflict:
			result = "conflict"
		case err != nil && classify(err).Status < http.StatusInternalServerError:
			result = "refused"
		case err != nil:
			result = "failed"
		case status == http.StatusCreated:
			s.counters.uploads.Add(1)
		default:
			result = "held"
		}
		s.metrics.uploads.WithLabelValues(result).Inc()
		return err
	}
}
