package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"curdling/internal/wheel/wheeltest"
)

// stallSite serves with little patience.
func stallSite(t *testing.T, patience time.Duration) (s *site, conn net.Conn) {
	s = newSite(t, options{})
	s.stall = patience
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.start(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.(*net.TCPConn).SetReadBuffer(256 << 10); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return s, conn
}

// TestSlowDownload: a client that goes on reading gets everything, however long it
// takes, and one that stands still is cut off.
func TestSlowDownload(t *testing.T) {
	t.Parallel()
	// More than any socket's buffers hold.
	large := wheeltest.Wheel{Name: "large", Version: "1.0", Files: map[string]string{"large.py": strings.Repeat("x", 16<<20)}}
	members := large.Members()
	for i := range members {
		members[i].Stored = true
	}
	content := wheeltest.Zip(members)
	for _, stands := range []bool{false, true} {
		t.Run(fmt.Sprintf("stands still %v", stands), func(t *testing.T) {
			t.Parallel()
			patience, pause := 3*time.Second, 250*time.Millisecond
			if stands {
				patience, pause = time.Second, 0
			}
			s, conn := stallSite(t, patience)
			if r := s.do(http.MethodPut, "/p/"+large.Filename(), bytes.NewReader(content)); r.StatusCode != http.StatusCreated {
				t.Fatalf("%d %s", r.StatusCode, text(t, r))
			}
			if _, err := fmt.Fprintf(conn, "GET /p/%s HTTP/1.1\r\nHost: x\r\n\r\n", large.Filename()); err != nil {
				t.Fatal(err)
			}
			r, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if stands {
				time.Sleep(5 * patience)
			}
			n := int64(0)
			for err == nil {
				var part int64
				part, err = io.CopyN(io.Discard, r.Body, 1<<20)
				n += part
				time.Sleep(pause)
			}
			if whole := n == int64(len(content)); whole == stands {
				t.Errorf("a client that stands still: %v; it got %d of %d bytes, %v", stands, n, len(content), err)
			}
		})
	}
}

// TestSlowUpload: the same for a client that sends.
func TestSlowUpload(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		patience, pause time.Duration
		want            int
	}{
		{3 * time.Second, 500 * time.Millisecond, http.StatusCreated},
		{time.Second, 3 * time.Second, http.StatusRequestTimeout},
	} {
		t.Run(test.pause.String(), func(t *testing.T) {
			t.Parallel()
			s, conn := stallSite(t, test.patience)
			if _, err := fmt.Fprintf(conn, "PUT /p/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", flaskFile, len(flaskBytes)); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			var sending sync.WaitGroup
			sending.Go(func() {
				for i := range 8 {
					select {
					case <-time.After(test.pause):
					case <-ctx.Done():
						return
					}
					if _, err := conn.Write(flaskBytes[i*len(flaskBytes)/8 : (i+1)*len(flaskBytes)/8]); err != nil {
						return
					}
				}
			})
			r, err := http.ReadResponse(bufio.NewReader(conn), nil)
			stop()
			sending.Wait()
			if err != nil || r.StatusCode != test.want {
				t.Errorf("a part every %v: %v, %v; want %d", test.pause, r, err, test.want)
			}
			s.checkNothingLeft(t)
		})
	}
}

// TestSlowClients: clients that stand still take nothing from the others.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	big := wheeltest.Wheel{Name: "big", Version: "1.0", Files: map[string]string{"big.py": noise(8 << 20)}}
	s := newSite(t, options{}, flask, big)
	address := s.start(t)
	var conns []net.Conn
	defer func() {
		for _, conn := range conns {
			conn.Close()
		}
	}()
	for i := range 150 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		request := []string{
			"GET /p/" + big.Filename() + " HTTP/1.1\r\nHost: x\r\n\r\n",                              // never read
			"PUT /p/" + zope.Filename() + " HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nhalf", // never finished
			"GET / HTTP/1.1\r\nHo", // not even a header
		}[i%3]
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
	}
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	start := time.Now()
	for range 20 {
		resp, err := client.Get("http://" + address + "/p/" + flaskFile)
		if err != nil {
			t.Fatal(err)
		}
		if text(t, resp) != string(flaskBytes) {
			t.Error("other bytes")
		}
		resp.Body.Close()
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("20 files beside 150 slow clients took %v", took)
	}
}
