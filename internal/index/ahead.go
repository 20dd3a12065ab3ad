package index

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// freshFor is how long a connection that nobody used is good for: servers close what says nothing for some seconds.
const freshFor = 3 * time.Second

// Connect makes n connections to a server in the background. The first requests then need not wait for the round trip
// with which a connection begins. One that cannot be made fails the request that would have had it; what nobody
// needed for 3 s is not used any more. Where the way leads through a proxy, and when offline, nothing is done.
func (c *Client) Connect(ctx context.Context, server string, n int) {
	root, err := c.root(server)
	if err != nil || c.offline {
		return
	}
	t := c.http.Transport.(*transport)
	if proxy, err := t.trusted.Proxy(&http.Request{URL: root}); proxy != nil || err != nil {
		return
	}
	t.ahead.connect(ctx, net.JoinHostPort(root.Hostname(), port(root)), n)
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// ahead are connections that are made before somebody needs them.
type ahead struct {
	dial dialer
	mu   sync.Mutex
	made map[string][]chan dialed // by address
}

// dialed is a connection, or why there is none.
type dialed struct {
	conn net.Conn
	err  error
	at   time.Time
}

func (a *ahead) connect(ctx context.Context, address string, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for range n {
		made := make(chan dialed, 1)
		a.made[address] = append(a.made[address], made)
		go func() {
			conn, err := a.dial(ctx, "tcp", address)
			made <- dialed{conn, err, time.Now()}
		}()
	}
}

// DialContext gives a connection that was made, or is being made, or a new one.
func (a *ahead) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	for {
		made := a.take(address)
		if made == nil {
			return a.dial(ctx, network, address)
		}
		select {
		case d := <-made:
			if time.Since(d.at) < freshFor {
				return d.conn, d.err
			}
			d.close()
		case <-ctx.Done():
			go drop(made)
			return nil, ctx.Err()
		}
	}
}

func (a *ahead) take(address string) chan dialed {
	a.mu.Lock()
	defer a.mu.Unlock()
	made := a.made[address]
	if len(made) == 0 {
		return nil
	}
	a.made[address] = made[1:]
	return made[0]
}

// close closes what nobody took.
func (a *ahead) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, all := range a.made {
		for _, made := range all {
			go drop(made)
		}
	}
	clear(a.made)
}

func drop(made chan dialed) { (<-made).close() }

func (d dialed) close() {
	if d.err == nil {
		_ = d.conn.Close()
	}
}
