//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	faultServers = 3
	killEvery    = 4 * time.Second
	frozenFor    = 20 * time.Second
	failingOf100 = 10
	clockOff     = 5 * time.Minute
)

// fault is something that goes wrong during a morning.
type fault struct {
	name, title string
	bucket      bool // befalls servers over a bucket only
	root        bool // needs root, to mount a disk
	// edit changes how a server is started; nil does not.
	edit func(t *trial, i int, so *serverOptions) error
	// act goes on until ctx is done, and says what it did; nil does nothing.
	act func(t *trial, ctx context.Context) string
}

// trial is a morning with a fault.
type trial struct {
	*storage
	o       *options
	dir     string
	fleet   *fleet
	cleanup []func() error
	failed  error // what was to be done to the servers could not be done
}

var allFaults = []fault{
	{name: "none", title: "nothing"},
	{name: "kill", title: "kill -9 of a server every few seconds", act: (*trial).kill},
	{name: "freeze", title: "the store is frozen", bucket: true, act: (*trial).freeze},
	{name: "tenth", title: "every tenth request to the store fails", bucket: true, act: (*trial).fail},
	{name: "clock", title: "a server's clock is five minutes ahead", edit: (*trial).skew},
	{name: "disk", title: "the disk of a server's cache is full", bucket: true, root: true, edit: (*trial).full},
	{name: "all", title: "all of these at once", bucket: true, root: true, edit: func(t *trial, i int, so *serverOptions) error {
		return errors.Join(t.skew(i, so), t.full(i, so))
	}, act: (*trial).everything},
}

// faults runs a morning with each fault, over one store.
func faults(ctx context.Context, o *options, dir string) error {
	r := newReport(o, "curd-servers over one bucket, when things go wrong")
	s, w, held, err := prepare(ctx, o, filepath.Join(dir, "store"))
	if err != nil {
		return err
	}
	defer s.close()
	all, err := s.trials(ctx, o, dir, w, held, allFaults)
	r.trials("what went wrong", all)
	return errors.Join(err, r.write(), failed(all))
}

// trials runs a morning with each of some faults. With an error come the outcomes of those before it.
func (s *storage) trials(ctx context.Context, o *options, dir string, w *world, held *ledger, faults []fault) (all []*outcome, err error) {
	for _, f := range faults {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), f.name) || f.bucket && s.gateway == nil {
			continue
		}
		if f.root && os.Geteuid() != 0 {
			say("%s: left out, as it takes root", f.title)
			continue
		}
		if ctx.Err() != nil {
			return all, context.Cause(ctx)
		}
		say("%s", f.title)
		one, err := f.run(ctx, s, o, filepath.Join(dir, f.name), w, held)
		if err != nil {
			return all, fmt.Errorf("%s: %w", f.title, err)
		}
		all = append(all, one)
	}
	return all, nil
}

func (f *fault) run(ctx context.Context, s *storage, o *options, dir string, w *world, held *ledger) (one *outcome, err error) {
	t := &trial{storage: s, o: o, dir: dir}
	defer func() {
		for _, clean := range t.cleanup {
			err = errors.Join(err, clean())
		}
	}()
	t.fleet, err = s.start(ctx, o, dir, faultServers, func(i int, so *serverOptions) error {
		if f.edit == nil {
			return nil
		}
		return f.edit(t, i, so)
	})
	if err != nil {
		return nil, err
	}
	acting, stop := context.WithCancel(ctx)
	did := make(chan string, 1)
	go func() {
		text := ""
		if f.act != nil {
			text = f.act(t, acting)
		}
		did <- text
	}()
	one, m := s.morning(ctx, o, dir, t.fleet, w, f.name)
	stop()
	one.name, one.did = f.title, <-did
	if err := errors.Join(t.failed, t.fleet.stop()); err != nil {
		return nil, err
	}
	one.verdict, err = s.check(ctx, o, dir, held, &m.ledger)
	return one, err
}

// kill kills a server again and again, and starts it at once; one that then cannot reach the store is started again each second.
func (t *trial) kill(ctx context.Context) string {
	r := rand.New(rand.NewPCG(t.o.seed, 4))
	pause := func() <-chan time.Time { return time.After(killEvery/2 + time.Duration(r.Int64N(int64(killEvery)))) }
	next, second := pause(), time.NewTicker(time.Second)
	defer second.Stop()
	for kills := 0; ; {
		select {
		case <-ctx.Done():
			vain := 0
			for _, p := range t.fleet.servers {
				vain += p.vainStarts()
			}
			return fmt.Sprintf("%d kills, %d starts in vain", kills, vain)
		case <-second.C:
			for _, p := range t.fleet.servers {
				if err := p.revive(); err != nil {
					return err.Error()
				}
			}
		case <-next:
			p := t.fleet.servers[r.IntN(len(t.fleet.servers))]
			p.end(syscall.SIGKILL)
			if err := p.start(); err != nil {
				return err.Error()
			}
			kills++
			next = pause()
		}
	}
}

// freeze stops the S3 server for a while.
func (t *trial) freeze(ctx context.Context) string {
	select {
	case <-ctx.Done():
		return "too late"
	case <-time.After(t.o.length / 4):
	}
	if err := t.gateway.signal(syscall.SIGSTOP); err != nil {
		return err.Error()
	}
	began := time.Now()
	select {
	case <-ctx.Done():
	case <-time.After(min(frozenFor, t.o.length/2)):
	}
	took := time.Since(began)
	if err := t.gateway.signal(syscall.SIGCONT); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("frozen for %.0f s", took.Seconds())
}

// fail lets every tenth request to the store fail.
func (t *trial) fail(ctx context.Context) string {
	before := t.proxy.broken()
	t.proxy.failing.Store(failingOf100)
	<-ctx.Done()
	t.proxy.failing.Store(0)
	return fmt.Sprintf("%d requests to the store failed", t.proxy.broken()-before)
}

func (t *trial) everything(ctx context.Context) string {
	said := make(chan string, 3)
	for _, act := range []func(context.Context) string{t.kill, t.freeze, t.fail} {
		go func() { said <- act(ctx) }()
	}
	return <-said + ", " + <-said + ", " + <-said
}

// skew has the first server's clock go wrong: it is the same program, compiled with a time.Now of the standard
// library that is ahead. What counts durations (the monotonic clock) is as ever.
func (t *trial) skew(i int, so *serverOptions) error {
	if i > 0 {
		return nil
	}
	so.program = filepath.Join(t.storage.dir, "skewed-server")
	if _, err := os.Stat(so.program); err == nil {
		return nil
	}
	return buildSkewed(so.program, clockOff)
}

// buildSkewed builds curd-server with another clock.
func buildSkewed(program string, by time.Duration) error {
	original, text, err := clock()
	if err != nil {
		return err
	}
	changed, err := ahead(text, by)
	if err != nil {
		return fmt.Errorf("%s: %w", original, err)
	}
	say("building a server whose clock is %v ahead", by)
	return buildChanged(program, map[string]string{original: changed})
}

// buildChanged builds curd-server with other texts in the place of some files.
func buildChanged(program string, texts map[string]string) error {
	replace := map[string]string{}
	for path, text := range texts {
		replacement := fmt.Sprintf("%s.%d.go", program, len(replace))
		if err := os.WriteFile(replacement, []byte(text), 0o666); err != nil {
			return err
		}
		replace[path] = replacement
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		return err
	}
	overlay := program + ".json"
	if err := os.WriteFile(overlay, text, 0o666); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-trimpath", "-overlay", overlay, "-o", program, "./cmd/curd-server") //nolint:noctx // it ends
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// clock gives the file of the standard library that reads it.
func clock() (path, text string, err error) {
	root, err := exec.Command("go", "env", "GOROOT").Output() //nolint:noctx // it ends
	if err != nil {
		return "", "", err
	}
	path = filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	b, err := os.ReadFile(path)
	return path, string(b), err
}

// ahead changes time.Now in the text of time/time.go.
func ahead(text string, by time.Duration) (string, error) {
	const reads = "\nfunc Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(text, reads) != 1 {
		return "", errors.New("time.Now is not as it was: have a look, and change func ahead of bench/fleet")
	}
	return strings.Replace(text, reads, fmt.Sprintf("%s\tsec += %d\n", reads, int(by.Seconds())), 1), nil
}

// full gives the second server a cache on a small disk on which nothing is left.
func (t *trial) full(i int, so *serverOptions) error {
	if i != 1 {
		return nil
	}
	so.cache = filepath.Join(t.dir, "full")
	if err := os.MkdirAll(so.cache, 0o777); err != nil {
		return err
	}
	unmount, err := mount(so.cache, "1m")
	if err != nil {
		return fmt.Errorf("a small disk: %w", err)
	}
	t.cleanup = append(t.cleanup, unmount)
	f, err := os.Create(filepath.Join(so.cache, "filler"))
	if err != nil {
		return err
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}
