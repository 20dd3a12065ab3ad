// Command mirror loads a curd-server that mirrors: 50 clients for one missing
// file while its upstream is well, dies in the middle, or lies; and 1,000 idle
// connections beside 100 slow uploads. Everything is on loopback, and takes
// about a minute.
//
//	make build && go run ./bench/mirror
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"curdling/internal/index"
	"curdling/internal/wheel/wheeltest"
)

func main() {
	program := flag.String("server", "bin/curd-server", "the program")
	megabytes := flag.Int("megabytes", 100, "size of the missing file")
	clients := flag.Int("clients", 50, "how many want it")
	flag.Parse()
	dir, err := os.MkdirTemp("", "curdling-bench-mirror-")
	if err == nil {
		err = run(*program, dir, *megabytes<<20, *clients)
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mirror:", err)
		os.Exit(1)
	}
}

func run(program, dir string, size, clients int) error {
	up, err := newUpstream(size)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "%d clients for one missing file of %d bytes\n", clients, len(up.content))
	for _, mode := range []string{"well", "dies at half, back after 3 s", "one byte is wrong"} {
		if err := up.missing(program, filepath.Join(dir, strconv.Itoa(len(mode))), mode, clients); err != nil {
			return fmt.Errorf("%s: %w", mode, err)
		}
	}
	return crowd(program, filepath.Join(dir, "crowd"))
}

// upstream is an index with one project of one file.
type upstream struct {
	filename, sha256 string
	content, wrong   []byte
	address          string
	mode             string
	asked            atomic.Int32
}

func newUpstream(size int) (*upstream, error) {
	noise := make([]byte, size)
	random := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	w := wheeltest.Wheel{Name: "big", Version: "1.0", Files: map[string]string{"big.bin": string(noise)}}
	members := w.Members()
	for i := range members {
		members[i].Stored = true
	}
	up := &upstream{filename: w.Filename(), content: wheeltest.Zip(members)}
	sum := sha256.Sum256(up.content)
	up.sha256 = hex.EncodeToString(sum[:])
	up.wrong = bytes.Clone(up.content)
	up.wrong[len(up.wrong)/2] ^= 1
	l, err := listen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	up.address = l.Addr().String()
	return up, l.Close()
}

func listen(address string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(context.Background(), "tcp", address)
}

// serve listens until the returned function is called.
func (up *upstream) serve() (stop func(), err error) {
	l, err := listen(up.address)
	if err != nil {
		return nil, err
	}
	h := &http.Server{Handler: up, ReadHeaderTimeout: time.Minute}
	go func() { _ = h.Serve(l) }()
	return func() { h.Close() }, nil
}

func (up *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/simple/big/" {
		w.Header().Set("Content-Type", index.TypeJSON)
		fmt.Fprintf(w, `{"meta": {"api-version": "1.4"}, "name": "big", "files": [{"filename": %q, "url": "/f", "size": %d, "hashes": {"sha256": %q}}]}`,
			up.filename, len(up.content), up.sha256)
		return
	}
	if r.URL.Path != "/f" {
		http.NotFound(w, r)
		return
	}
	first, content := up.asked.Add(1) == 1, up.content
	switch {
	case up.mode == "one byte is wrong":
		content = up.wrong
	case first && strings.HasPrefix(up.mode, "dies"):
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content[:len(content)/2])
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Etag", `"x"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// missing has clients ask for the file, and tells what they got.
func (up *upstream) missing(program, dir, mode string, clients int) error {
	up.mode = mode
	up.asked.Store(0)
	stop, err := up.serve()
	if err != nil {
		return err
	}
	var outage sync.WaitGroup
	defer func() { outage.Wait(); stop() }()
	if strings.HasPrefix(mode, "dies") {
		outage.Go(func() {
			for up.asked.Load() == 0 {
				time.Sleep(time.Millisecond)
			}
			stop()
			time.Sleep(3 * time.Second)
			if stop, err = up.serve(); err != nil {
				fmt.Fprintln(os.Stderr, "mirror:", err)
				stop = func() {}
			}
		})
	}
	s, err := start(program, "--upstream", "up=http://"+up.address+"/simple/", dir)
	if err != nil {
		return err
	}
	defer s.stop()
	idle := s.memory("VmRSS")
	began := time.Now()
	var whole, right, cut atomic.Int32
	var g sync.WaitGroup
	for range clients {
		g.Go(func() {
			h := sha256.New()
			n, err := get(s.url+"/p/"+up.filename, h)
			switch {
			case err != nil:
				cut.Add(1)
			case n == int64(len(up.content)) && hex.EncodeToString(h.Sum(nil)) == up.sha256:
				right.Add(1)
				fallthrough
			default:
				whole.Add(1)
			}
		})
	}
	g.Wait()
	took := time.Since(began)
	kept, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "  %-30s whole %d, right %d, refused or cut %d, upstream asked %d, kept %d; %.1f s; server's memory %d MB idle, %d MB at most\n",
		mode, whole.Load(), right.Load(), cut.Load(), up.asked.Load(), len(kept), took.Seconds(), idle, s.memory("VmHWM"))
	return nil
}

func get(url string, to io.Writer) (int64, error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	n, err := io.Copy(to, resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return n, err
}

// process is a server that runs.
type process struct {
	cmd *exec.Cmd
	url string
}

func start(program string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(context.Background(), program, append([]string{"-H", "127.0.0.1", "-p", "0"}, args...)...)}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	_, rest, ok := strings.Cut(line, "http://")
	if err != nil || !ok {
		p.stop()
		return nil, fmt.Errorf("the server said %q: %w", line, err)
	}
	address, _, _ := strings.Cut(rest, ",")
	p.url = "http://" + address
	return p, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}

// memory gives a line of /proc/PID/status, in megabytes.
func (p *process) memory(what string) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return -1
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, what+":"); ok {
			kb, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kb >> 10
		}
	}
	return -1
}

const (
	idleConnections = 1000
	slowUploads     = 100
)

// crowd measures pages while others hold connections and upload slowly.
func crowd(program, dir string) error {
	s, err := start(program, dir)
	if err != nil {
		return err
	}
	defer s.stop()
	if err := put(s.url, "small", bytes.NewReader(smallWheel("small"))); err != nil {
		return err
	}
	alone, err := pages(s.url)
	if err != nil {
		return err
	}
	before := s.memory("VmRSS")
	address := strings.TrimPrefix(s.url, "http://")
	for range idleConnections {
		c, err := new(net.Dialer).DialContext(context.Background(), "tcp", address)
		if err != nil {
			return err
		}
		defer c.Close()
		// It said something once, as a client's kept connection did.
		if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return err
		}
		if _, err := c.Read(make([]byte, 4096)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var g sync.WaitGroup
	var done atomic.Int32
	for i := range slowUploads {
		g.Go(func() {
			if put(s.url, fmt.Sprintf("slow%d", i), &slow{ctx, bytes.NewReader(smallWheel(fmt.Sprintf("slow%d", i)))}) == nil {
				done.Add(1)
			}
		})
	}
	time.Sleep(time.Second)
	crowded, err := pages(s.url)
	if err != nil {
		cancel()
		return err
	}
	during := s.memory("VmRSS")
	cancel()
	g.Wait()
	fmt.Fprintf(os.Stdout, "%d idle connections and %d slow uploads\n  a page alone: median %v, p99 %v; beside them: median %v, p99 %v; server's memory %d MB before, %d MB during; uploads kept %d\n",
		idleConnections, slowUploads, alone[0], alone[1], crowded[0], crowded[1], before, during, done.Load())
	return nil
}

func smallWheel(name string) []byte {
	return wheeltest.Build(wheeltest.Wheel{Name: name, Version: "1.0"})
}

// put uploads a wheel.
func put(url, name string, content io.Reader) error {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPut, url+"/p/"+name+"-1.0-py3-none-any.whl", content)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return errors.New(resp.Status)
	}
	return nil
}

// slow gives ten bytes a second, until its context is done.
type slow struct {
	ctx context.Context
	r   io.Reader
}

func (s *slow) Read(p []byte) (int, error) {
	select {
	case <-s.ctx.Done():
	case <-time.After(time.Second):
		p = p[:min(len(p), 10)]
	}
	return s.r.Read(p)
}

// pages gets a page 1,000 times over one connection, and gives the median and the 99th percentile.
func pages(url string) ([2]time.Duration, error) {
	var client http.Client
	var times []time.Duration
	for range 1000 {
		began := time.Now()
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url+"/simple/small/", nil)
		if err != nil {
			return [2]time.Duration{}, err
		}
		resp, err := client.Do(r)
		if err != nil {
			return [2]time.Duration{}, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil {
			return [2]time.Duration{}, err
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	return [2]time.Duration{times[500].Round(time.Microsecond), times[990].Round(time.Microsecond)}, nil
}
