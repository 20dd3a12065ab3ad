//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a program that is started, and perhaps killed and started again. It ends with us.
type process struct {
	name    string // of its log
	command []string
	env     []string // besides ours
	dir     string   // where it works, and its log lies

	mu      sync.Mutex
	cmd     *exec.Cmd
	ended   chan struct{} // closed when cmd has
	told    bool          // to end
	used    time.Duration // of the processor, by those that have ended
	peak    int64         // bytes, of those
	crashes int           // ends that nobody asked for
	vain    int           // starts that ended as the store did not answer
}

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	defer log.Close()
	p.cmd = exec.Command(p.command[0], p.command[1:]...) //nolint:noctx // it is stopped by signals
	p.cmd.Dir, p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = p.dir, append(os.Environ(), p.env...), log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true} // what ends us is not for it
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.ended, p.told = make(chan struct{}), false
	go p.wait(p.cmd, p.ended)
	return nil
}

// storeAway stands in what a server says that does not start, as it cannot reach its store.
const storeAway = "cannot be used"

// revive starts a process again that ended by itself, as a supervisor would.
func (p *process) revive() error {
	select {
	case <-p.ended:
		return p.start()
	default:
		return nil
	}
}

func (p *process) wait(cmd *exec.Cmd, ended chan struct{}) {
	_ = cmd.Wait() // how it ended does not matter, but who wanted it
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		p.peak = max(p.peak, usage.Maxrss<<10)
	}
	switch {
	case p.told:
	case strings.Contains(p.last(), storeAway):
		p.vain++
	default:
		p.crashes++
	}
	close(ended)
}

func (p *process) log() string { return filepath.Join(p.dir, p.name+".log") }

func (p *process) signal(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s == syscall.SIGTERM || s == syscall.SIGKILL {
		p.told = true
	}
	return p.cmd.Process.Signal(s)
}

// end sends a signal that ends it, and waits for that; after 40 s, which is longer than a server may finish, it is killed.
func (p *process) end(s syscall.Signal) {
	if p.cmd == nil {
		return
	}
	_ = p.signal(s) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(40 * time.Second):
		_ = p.signal(syscall.SIGKILL)
		<-p.ended
	}
}

func (p *process) vainStarts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.vain
}

// cost is the processor time that it has taken so far, and its most memory in bytes.
func (p *process) cost() (used time.Duration, peak int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	used, peak = p.used, p.peak
	select {
	case <-p.ended:
		return used, peak
	default:
	}
	folder := "/proc/" + strconv.Itoa(p.cmd.Process.Pid)
	stat, _ := os.ReadFile(folder + "/stat")
	if fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]); len(fields) > 12 {
		user, _ := strconv.ParseInt(string(fields[11]), 10, 64)
		system, _ := strconv.ParseInt(string(fields[12]), 10, 64)
		used += time.Duration(user+system) * 10 * time.Millisecond // ticks are of 10 ms wherever Linux runs
	}
	status, _ := os.ReadFile(folder + "/status")
	for line := range bytes.Lines(status) {
		if fields := bytes.Fields(line); len(fields) > 1 && string(fields[0]) == "VmHWM:" {
			kb, _ := strconv.ParseInt(string(fields[1]), 10, 64)
			peak = max(peak, kb<<10)
		}
	}
	return used, peak
}

// last gives the end of its log.
func (p *process) last() string {
	text, err := os.ReadFile(p.log())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// answers waits until a GET of the URL is answered with less than 500.
func (p *process) answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := once.Do(r)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode < http.StatusInternalServerError {
				return nil
			}
			err = errors.New(resp.Status)
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended: %s", p.name, p.last())
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w\n%s", p.name, err, p.last())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// once makes a connection for each request.
var once = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}

// freeAddress is one of loopback that nobody listens on now.
func freeAddress() (string, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
