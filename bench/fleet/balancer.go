//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// balancer gives each connection to the next server, or, where that does not take it, to the one after. It looks at
// nothing that goes through.
type balancer struct {
	listener net.Listener
	servers  []string // addresses
	next     atomic.Uint64
	lost     atomic.Int64 // connections that no server took
}

func newBalancer(servers []string) (*balancer, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &balancer{listener: l, servers: servers}
	go b.run()
	return b, nil
}

func (b *balancer) url() string { return "http://" + b.listener.Addr().String() }

func (b *balancer) close() { _ = b.listener.Close() }

func (b *balancer) run() {
	for {
		client, err := b.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no file descriptors are left, say
			time.Sleep(10 * time.Millisecond)
			continue
		}
		go b.connect(client.(*net.TCPConn))
	}
}

func (b *balancer) connect(client *net.TCPConn) {
	defer client.Close()
	dialer := net.Dialer{Timeout: time.Second}
	first := b.next.Add(1)
	for i := range uint64(len(b.servers)) {
		c, err := dialer.DialContext(context.Background(), "tcp", b.servers[(first+i)%uint64(len(b.servers))])
		if err != nil {
			continue
		}
		server := c.(*net.TCPConn)
		var both sync.WaitGroup
		both.Go(func() { convey(server, client) })
		both.Go(func() { convey(client, server) })
		both.Wait()
		_ = server.Close()
		return
	}
	b.lost.Add(1)
}

// convey copies to the end, which it passes on; what breaks off breaks the other side off, too.
func convey(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		_ = to.SetLinger(0)
		_ = to.Close()
		_ = from.Close()
		return
	}
	_ = to.CloseWrite()
}
