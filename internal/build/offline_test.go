package build

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"curdling/internal/process"
)

// TestOffline has builds ask for this machine's loopback, which is not theirs, and for their own, which works.
func TestOffline(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var reached atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			c.Close()
		}
	}()
	ask := project(fmt.Sprintf("import socket\nsocket.create_connection((%q, %d), 5).recv(1)\n", "127.0.0.1", l.Addr().(*net.TCPAddr).Port))
	own := project(`
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname(), 5).close()
assert not any("_proxy" in name for name in os.environ), os.environ
`)
	b := newBuilder(t)
	b.Environ = []string{"https_proxy=http://proxy.invalid"}
	if _, err := b.Wheel(t.Context(), source(writeTree(t, ask)), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	online := reached.Load() // of several hooks
	if online == 0 {
		t.Fatal("a build does not reach this machine with a network either")
	}

	b.Offline = true
	_, err = b.Wheel(t.Context(), source(writeTree(t, own)), t.TempDir())
	var impossible *process.OfflineError
	if errors.As(err, &impossible) {
		if !strings.Contains(err.Error(), "this system lets nothing run without a network") {
			t.Error(err)
		}
		t.Skip(err)
	}
	if err != nil {
		t.Errorf("a build that needs its own loopback: %v", err)
	}
	_, err = b.Wheel(t.Context(), source(writeTree(t, ask)), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "ConnectionRefusedError") {
		t.Errorf("a build that asks for the network: %v", err)
	}
	if reached.Load() != online {
		t.Error("it got there")
	}
}
