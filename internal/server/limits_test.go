package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPace(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	p := newPace(Limits{Rate: 2, Burst: 3})
	for _, step := range []struct {
		after  time.Duration
		client netip.Addr
		wait   time.Duration
	}{
		{0, a, 0}, {0, a, 0}, {0, a, 0},
		{0, a, 500 * time.Millisecond},
		{0, b, 0},
		{400 * time.Millisecond, a, 100 * time.Millisecond},
		{500 * time.Millisecond, a, 0},
		{500 * time.Millisecond, a, 500 * time.Millisecond},
		{time.Hour, a, 0}, {time.Hour, a, 0}, {time.Hour, a, 0},
		{time.Hour, a, 500 * time.Millisecond},
	} {
		if got := p.take(step.client, start.Add(step.after)); got != step.wait {
			t.Errorf("%s after %v: wait %v, want %v", step.client, step.after, got, step.wait)
		}
	}
}

// TestPaceIsSmall: whoever has many addresses makes no memory grow.
func TestPaceIsSmall(t *testing.T) {
	t.Parallel()
	p := newPace(Limits{Rate: 1, Burst: 1})
	p.most = 100
	now := time.Unix(1_800_000_000, 0)
	for i := range 100_000 {
		p.take(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now)
		if len(p.due) > p.most {
			t.Fatalf("%d addresses are remembered", len(p.due))
		}
		now = now.Add(time.Millisecond)
	}
}

func TestPaceOfOddRates(t *testing.T) {
	t.Parallel()
	if newPace(Limits{}) != nil {
		t.Error("no rate is no limit")
	}
	for _, rate := range []float64{1e-300, 1e-9, 0.5, 1, 1e9, 1e300} {
		p := newPace(Limits{Rate: rate})
		client, now := netip.MustParseAddr("::1"), time.Unix(1_800_000_000, 0)
		if p.interval <= 0 || p.slack < 0 || p.take(client, now) != 0 {
			t.Errorf("rate %g: interval %v, slack %v", rate, p.interval, p.slack)
		}
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "fe80::1%eth0": "fe80::",
	} {
		if got := network(netip.MustParseAddr(address)); got.String() != want {
			t.Errorf("%s counts as %s, want %s", address, got, want)
		}
	}
	if network(netip.Addr{}).IsValid() {
		t.Error("no address is one")
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{configure: func(c *Config) { c.Limits = Limits{Rate: 0.001, Burst: 2} }}, flask)
	var got []int
	for range 3 {
		got = append(got, s.get("/simple/flask/").StatusCode)
	}
	if diff := cmp.Diff([]int{200, 200, 429}, got); diff != "" {
		t.Error(diff)
	}
	r := s.get("/no/such/page", "Accept", "application/json")
	if r.StatusCode != http.StatusTooManyRequests || r.Header.Get("Retry-After") == "" || !strings.Contains(text(t, r), "too many requests from this address; try again in ") {
		t.Errorf("%d, %v", r.StatusCode, r.Header)
	}
	for _, path := range unlimited { // those who watch are not clients
		if r := s.get(path); r.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
}

// TestUploadsAtOnce: one too many is refused before anything of it is read.
func TestUploadsAtOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{configure: func(c *Config) { c.Limits = Limits{Uploads: 1} }})
	address := s.start(t)
	first := s.dial(t, address)
	if _, err := fmt.Fprintf(first, "PUT /p/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", flaskFile, len(flaskBytes)); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the first upload is under way", func() bool { return len(s.uploads) == 1 })

	second := s.dial(t, address)
	if _, err := fmt.Fprintf(second, "PUT /p/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", flaskFile, len(flaskBytes)); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(second), nil)
	if err != nil {
		t.Fatal(err)
	}
	if said := text(t, r); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" || !strings.Contains(said, "1 uploads at once") {
		t.Errorf("%d %q", r.StatusCode, said)
	}

	if _, err := first.Write(flaskBytes); err != nil {
		t.Fatal(err)
	}
	if r, err := http.ReadResponse(bufio.NewReader(first), nil); err != nil || r.StatusCode != http.StatusCreated {
		t.Errorf("the first: %v, %v", r, err)
	}
	waitUntil(t, "its place is free", func() bool { return len(s.uploads) == 0 })
	if got := metric(t, s, `curd_server_refused_total{limit="uploads"}`); got != "1" {
		t.Errorf("refused: %q", got)
	}
}

// TestUploadTimeout: a client that goes on sending, but a little at a time, is cut off.
func TestUploadTimeout(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{configure: func(c *Config) { c.Limits = Limits{UploadTimeout: time.Second} }})
	conn := s.dial(t, s.start(t))
	if _, err := fmt.Fprintf(conn, "PUT /p/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", flaskFile, len(flaskBytes)); err != nil {
		t.Fatal(err)
	}
	go func() {
		for i := range flaskBytes {
			if _, err := conn.Write(flaskBytes[i : i+1]); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if said := text(t, r); r.StatusCode != http.StatusRequestTimeout || !strings.Contains(said, "longer than this server allows") {
		t.Errorf("%d %q", r.StatusCode, said)
	}
	conn.Close()
	s.checkNothingLeft(t)
}

func TestHeaderTooLarge(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{configure: func(c *Config) { c.Limits = Limits{Header: 8 << 10} }}, flask)
	conn := s.dial(t, s.start(t))
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: %s\r\n\r\n", strings.Repeat("x", 16<<10)); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%v, %v", r, err)
	}
}

// TestConnections: one too many is told so at once; when one goes there is room again.
func TestConnections(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		limits Connections
		want   string // of what the third connection is told
	}{
		{"in all", Connections{Total: 2}, "the server has as many connections as it may"},
		{"of one address", Connections{Total: 100, PerAddress: 2}, "one address may have 2 connections at once"},
		{"silent", Connections{Total: 2, Silent: true}, ""},
		{"exempt", Connections{PerAddress: 2, Exempt: netip.Addr.IsLoopback}, "HTTP/1.1 200 OK"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, options{connections: test.limits}, flask)
			address := s.start(t)
			ask := func(conn net.Conn) string {
				t.Helper()
				if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
					return ""
				}
				b := make([]byte, 512)
				n, _ := conn.Read(b)
				return string(b[:n])
			}
			held := []net.Conn{s.dial(t, address), s.dial(t, address)}
			for _, conn := range held {
				if said := ask(conn); !strings.HasPrefix(said, "HTTP/1.1 200 OK") {
					t.Fatalf("%q", said)
				}
			}
			said := ask(s.dial(t, address))
			if strings.HasPrefix(test.want, "HTTP") || test.want == "" {
				if !strings.HasPrefix(said, test.want) || test.want == "" && said != "" {
					t.Errorf("%q, want %q", said, test.want)
				}
			} else if !strings.HasPrefix(said, "HTTP/1.1 503 Service Unavailable\r\n") || !strings.Contains(said, test.want) || !strings.Contains(said, "Retry-After") {
				t.Errorf("%q, want %q", said, test.want)
			}
			held[0].Close()
			waitUntil(t, "there is room again", func() bool {
				return strings.HasPrefix(ask(s.dial(t, address)), "HTTP/1.1 200 OK")
			})
		})
	}
}
