package index

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"curdling/internal/dist"
)

// TestConnect: the first requests take the connections that were made, no other is made, and what nobody took is closed.
func TestConnect(t *testing.T) {
	t.Parallel()
	var open atomic.Int64
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	server.Start()
	defer server.Close()
	var dials atomic.Int64
	c := NewClient(Options{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}})
	c.Connect(t.Context(), "http://user:secret@"+server.Listener.Addr().String()+"/root", 3)
	for range 3 {
		_, _ = c.Project(t.Context(), server.URL, dist.Name("flask"))
	}
	c.Close()
	for dials.Load() < 3 { // the last may still be on its way
		time.Sleep(time.Millisecond)
	}
	if n := dials.Load(); n != 3 {
		t.Errorf("%d connections were made", n)
	}
	for open.Load() > 0 {
		time.Sleep(time.Millisecond)
	}
}

// TestConnectInVain: a server that does not answer fails the request as it would have done, and no later.
func TestConnectInVain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := NewClient(Options{Retries: 1, Connect: 2 * time.Second, Hasty: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		start := time.Now()
		c.Connect(t.Context(), "http://silent.invalid", 2)
		time.Sleep(time.Second)
		_, err := c.Project(t.Context(), "http://silent.invalid", "flask")
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 3*time.Second {
			t.Errorf("after %v: %v", took, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		c.Connect(t.Context(), "http://other.invalid", 1)
		if _, err := c.Project(ctx, "http://other.invalid", "flask"); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		c.Close()
	})
}

// TestConnectTooEarly: a connection that nobody needed for long, which its server may have closed, is not used.
func TestConnectTooEarly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var all []net.Conn
		a := &ahead{made: map[string][]chan dialed{}, dial: func(context.Context, string, string) (net.Conn, error) {
			ours, _ := net.Pipe()
			all = append(all, ours)
			return ours, nil
		}}
		for range 2 {
			a.connect(t.Context(), "server:80", 1)
			synctest.Wait()
		}
		time.Sleep(freshFor - time.Millisecond)
		if c, err := a.DialContext(t.Context(), "tcp", "server:80"); err != nil || c != all[0] {
			t.Errorf("a fresh one was not used: %v", err)
		}
		time.Sleep(time.Millisecond)
		c, err := a.DialContext(t.Context(), "tcp", "server:80")
		if err != nil || len(all) != 3 || c != all[2] {
			t.Errorf("%d connections, %v", len(all), err)
		}
		if _, err := all[1].Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("an old one is open: %v", err)
		}
	})
}
