package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"curdling/internal/wheel/wheeltest"
)

const wheels, filesOfEach = 40, 25

// counter passes requests on to a server, and counts them and what comes back.
type counter struct {
	requests, bytes atomic.Int64
	url             string
}

func count(ctx context.Context, server string) (*counter, error) {
	target, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &counter{url: "http://" + listener.Addr().String()}
	proxy := httputil.NewSingleHostReverseProxy(target)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.requests.Add(1)
		proxy.ServeHTTP(&counted{w, c}, r)
	})
	go func() { _ = (&http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}).Serve(listener) }()
	return c, nil
}

// counted adds up the bodies.
type counted struct {
	http.ResponseWriter
	c *counter
}

func (w *counted) Write(p []byte) (int, error) {
	w.c.bytes.Add(int64(len(p)))
	return w.ResponseWriter.Write(p)
}

func (w *counted) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// machine is a home, a virtualenv, and what is installed into it.
type machine struct {
	dir, curd, cache string
	strace           bool
}

// installations measures a cold installation, a warm one, and one that has nothing to do.
func installations(ctx context.Context, curd, server string, measured map[string]int64) error {
	dir, err := os.MkdirTemp("", "curdling-guard-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if curd, err = filepath.Abs(curd); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	at, err := serve(ctx, server, filepath.Join(dir, "served"))
	if err != nil {
		return err
	}
	c, err := count(ctx, at)
	if err != nil {
		return err
	}
	m := machine{dir: dir, curd: curd, cache: c.url}
	for _, step := range []struct {
		name            string
		newVenv, strace bool
	}{{"cold", true, false}, {"warm", true, true}, {"nothing", false, true}} {
		if step.newVenv {
			if err := m.venv(ctx); err != nil {
				return err
			}
		}
		_, err := exec.LookPath("strace")
		m.strace = step.strace && err == nil
		if step.strace && err != nil {
			fmt.Fprintln(os.Stderr, "system calls are not counted: there is no strace here")
		}
		requests, bytes := c.requests.Load(), c.bytes.Load()
		calls, err := m.install(ctx)
		if err != nil {
			return err
		}
		measured["requests "+step.name] = c.requests.Load() - requests
		measured["bytes "+step.name] = c.bytes.Load() - bytes
		if m.strace {
			measured["system calls on files "+step.name] = calls
		}
	}
	return nil
}

// serve makes a folder of wheels, each of which needs the next, and starts a server of it.
func serve(ctx context.Context, program, folder string) (string, error) {
	if err := os.Mkdir(folder, 0o777); err != nil {
		return "", err
	}
	for i := range wheels {
		w := wheeltest.Wheel{Name: fmt.Sprintf("guard%d", i), Version: "1.0", Files: map[string]string{}}
		for j := range filesOfEach {
			w.Files[fmt.Sprintf("guard%d/part%d/module%d.py", i, j%5, j)] = strings.Repeat(fmt.Sprintf("x%d = %d\n", j, i), 20)
		}
		if i+1 < wheels {
			w.Requires = []string{fmt.Sprintf("guard%d", i+1)}
		}
		if err := os.WriteFile(filepath.Join(folder, w.Filename()), wheeltest.Build(w), 0o666); err != nil {
			return "", err
		}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0") // for a port that is free
	if err != nil {
		return "", err
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	listener.Close()
	cmd := exec.CommandContext(ctx, program, "-H", "127.0.0.1", "-p", port, folder)
	if err := cmd.Start(); err != nil {
		return "", err
	}
	go func() { _ = cmd.Wait() }() // it is killed with the context
	at := "http://127.0.0.1:" + port
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/simple/guard%d/", at, wheels-1), nil); err == nil {
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					return at, nil
				}
			}
		}
	}
	return "", errors.New("curd-server did not show its wheels within a minute")
}

func (m *machine) venv(ctx context.Context) error {
	if err := os.RemoveAll(filepath.Join(m.dir, "venv")); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "python3", "-m", "venv", "--without-pip", filepath.Join(m.dir, "venv")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("python3 -m venv: %w\n%s", err, out)
	}
	return nil
}

var total = regexp.MustCompile(`(?m)^\s*\S+\s+\S+\s+\S+\s+(\d+)\s.*total$`)

// install runs curd, and gives the system calls on files where they are counted.
func (m *machine) install(ctx context.Context) (calls int64, err error) {
	args := []string{m.curd, "install", "-q", "--python", filepath.Join(m.dir, "venv"), "--link-mode", "hardlink", "--no-index", "-c", m.cache, "guard0"}
	counts := filepath.Join(m.dir, "calls")
	if m.strace {
		args = append([]string{"strace", "-f", "-c", "-o", counts, "-e", "trace=%file,fstat,getdents64,fcntl"}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = m.dir
	cmd.Env = []string{"HOME=" + m.dir, "PATH=" + os.Getenv("PATH"), "PIP_CONFIG_FILE=" + os.DevNull}
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("curd install: %w\n%s", err, out)
	}
	if !m.strace {
		return 0, nil
	}
	text, err := os.ReadFile(counts)
	if err != nil {
		return 0, err
	}
	found := total.FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("strace counted nothing:\n%s", text)
	}
	return strconv.ParseInt(string(found[1]), 10, 64)
}
