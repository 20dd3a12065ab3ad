package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// delay is a long way to a server: what goes through it arrives half a round trip later, in both
// directions, and what is sent first waits for the round trip that opens a connection. How much
// goes through at once is not limited, so that it is kinder than a real way (no slow start).
func delay(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("delay", flag.ContinueOnError)
	port := flags.Int("port", 0, "on 127.0.0.1")
	to := flags.String("to", "", "HOST:PORT of the server")
	rtt := flags.Duration("rtt", 40*time.Millisecond, "the round trip")
	if err := parse(flags, args); err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	for {
		near, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer near.Close()
			opened := time.Now().Add(*rtt)
			far, err := new(net.Dialer).DialContext(ctx, "tcp", *to)
			if err != nil {
				return
			}
			defer far.Close()
			var both sync.WaitGroup
			both.Go(func() { convey(far, near, *rtt/2, opened) })
			both.Go(func() { convey(near, far, *rtt/2, opened) })
			both.Wait()
		}()
	}
}

// parcel is what was read at once; without data it is the end.
type parcel struct {
	data []byte
	due  time.Time
}

var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// convey writes to dst what it reads from src, each part half a round trip after it was read or the connection opened.
func convey(dst io.Writer, src io.Reader, half time.Duration, opened time.Time) {
	way := make(chan parcel, 2048)
	go func() {
		defer close(way)
		for {
			buffer := buffers.Get().(*[64 << 10]byte)
			n, err := src.Read(buffer[:])
			due := time.Now()
			if due.Before(opened) {
				due = opened
			}
			way <- parcel{buffer[:n], due.Add(half)}
			if err != nil {
				return
			}
		}
	}()
	var err error
	for p := range way { // to its end, so that the reader can leave
		if err == nil {
			time.Sleep(time.Until(p.due))
			_, err = dst.Write(p.data)
		}
		buffers.Put((*[64 << 10]byte)(p.data[:cap(p.data)]))
	}
	if c, ok := dst.(*net.TCPConn); ok {
		_ = c.CloseWrite()
	}
}
