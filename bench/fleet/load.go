//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// outcome is what a morning came to.
type outcome struct {
	name      string
	stats     *stats
	store     counts
	took      time.Duration
	cpu       time.Duration // of all servers
	gateway   time.Duration // of the S3 server
	ours      time.Duration // of clients, load balancer and proxy
	peak      int64         // bytes, of the largest server
	installed string        // what real clients did
	verdict   *verdict
	did       string // what went wrong on purpose
}

const worldVersions = 5

// loads measures fleets of each size over one store, and then pages in stores of each size.
func loads(ctx context.Context, o *options, dir string) error {
	r := newReport(o, "curd-servers over one bucket")
	all, err := mornings(ctx, o, dir)
	if err != nil {
		return err
	}
	if len(all) > 0 {
		r.loads(all)
	}
	if err := r.pages(ctx, o, dir); err != nil {
		return err
	}
	return errors.Join(r.write(), failed(all))
}

// mornings runs one with fleets of each size.
func mornings(ctx context.Context, o *options, dir string) (all []*outcome, err error) {
	if len(o.servers) == 0 {
		return nil, nil
	}
	s, w, held, err := prepare(ctx, o, filepath.Join(dir, "morning"))
	if err != nil {
		return nil, err
	}
	defer func() {
		s.close()
		err = errors.Join(err, os.RemoveAll(s.dir))
	}()
	for _, n := range o.servers {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		say("a morning with %d servers", n)
		one, err := s.load(ctx, o, filepath.Join(dir, "fleet-"+strconv.Itoa(n)), n, w, held)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// failed is an error where something is not as it must be.
func failed(all []*outcome) (err error) {
	for _, o := range all {
		for _, line := range o.stats.wrong[:min(len(o.stats.wrong), 10)] {
			say("  wrong: %s", line)
		}
		if !o.verdict.holds() || len(o.stats.wrong) > 0 || o.overtime() > 0 {
			o.verdict.print(os.Stderr)
			err = errors.Join(err, fmt.Errorf("%s: %d missing, %d changed, %d wrong, %d requests over their deadline", o.name,
				len(o.verdict.missing), len(o.verdict.changed), len(o.verdict.wrong)+len(o.stats.wrong), o.overtime()))
		}
	}
	return err
}

// prepare makes a store that holds a world.
func prepare(ctx context.Context, o *options, dir string) (*storage, *world, *ledger, error) {
	s, err := newStorage(ctx, o, dir)
	if err != nil {
		return nil, nil, nil, err
	}
	w, held := newWorld(o.seed, o.projects, worldVersions), &ledger{}
	f, err := s.start(ctx, o, filepath.Join(dir, "filler"), 1, nil)
	if err == nil {
		began := time.Now()
		err = f.fill(ctx, w, held)
		say("%d wheels uploaded in %.1f s", len(held.files), time.Since(began).Seconds())
		err = errors.Join(err, f.stop())
	}
	if err != nil {
		s.close()
	}
	return s, w, held, err
}

// load runs one morning with n servers, and checks what it left.
func (s *storage) load(ctx context.Context, o *options, dir string, n int, w *world, held *ledger) (*outcome, error) {
	f, err := s.start(ctx, o, dir, n, nil)
	if err != nil {
		return nil, err
	}
	one, m := s.morning(ctx, o, dir, f, w, "n"+strconv.Itoa(n))
	one.name = strconv.Itoa(n) + " servers"
	if n == 1 {
		one.name = "1 server"
	}
	one.installed = install(ctx, o, dir, f.balancer.url(), w)
	if err := f.stop(); err != nil {
		return nil, err
	}
	one.verdict, err = s.check(ctx, o, dir, held, &m.ledger)
	return one, err
}

// morning runs one before a fleet that has started.
func (s *storage) morning(ctx context.Context, o *options, dir string, f *fleet, w *world, mark string) (*outcome, *morning) {
	m := &morning{world: w, base: f.balancer.url(), servers: f.urls, dir: dir, seed: o.seed, mark: mark,
		sessions: o.sessions, length: o.length, build: o.build, later: o.upgrade, stats: stats{verbose: o.verbose}}
	store, began := s.proxy.seen(), time.Now()
	cpu, _ := f.cost()
	gateway, ours := s.gatewayCPU(), ourCPU()
	m.run(ctx)
	after, peak := f.cost()
	return &outcome{stats: &m.stats, store: s.proxy.seen().since(store), took: time.Since(began), cpu: after - cpu, peak: peak,
		gateway: s.gatewayCPU() - gateway, ours: ourCPU() - ours}, m
}

// ourCPU is the processor time of this very program.
func ourCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (s *storage) gatewayCPU() time.Duration {
	if s.gateway == nil {
		return 0
	}
	used, _ := s.gateway.cost()
	return used
}

// check has a server that knows nothing show what the store holds, and compares.
func (s *storage) check(ctx context.Context, o *options, dir string, ledgers ...*ledger) (*verdict, error) {
	p, url, err := s.newServer(o, filepath.Join(dir, "checker"), serverOptions{program: o.server, endpoint: s.direct})
	if err != nil {
		return nil, err
	}
	if err := p.start(); err != nil {
		return nil, err
	}
	f := &fleet{servers: []*process{p}}
	if err := p.answers(ctx, url+"/healthz"); err != nil {
		return nil, errors.Join(err, f.stop())
	}
	var all ledger
	for _, l := range ledgers {
		for name, acknowledged := range l.files {
			if all.files == nil {
				all.files = map[string][]kept{}
			}
			all.files[name] = append(all.files[name], acknowledged...)
		}
	}
	v, err := check(ctx, url, &all)
	return v, errors.Join(err, f.stop())
}

const realClients = 3

// install has real clients install through the fleet at once, and tells how many did.
func install(ctx context.Context, o *options, dir, url string, w *world) string {
	var g errgroup.Group
	results := make([]string, realClients)
	done := 0
	for i := range realClients {
		g.Go(func() error {
			home := filepath.Join(dir, "client-"+strconv.Itoa(i))
			target := filepath.Join(home, "target")
			if err := os.MkdirAll(home, 0o777); err != nil {
				return err
			}
			c := exec.CommandContext(ctx, o.curd, "install", "-q", "--no-index", "-c", url, "-t", target, w.projects[len(w.projects)-1-i].name, w.projects[i].name)
			c.Dir, c.Env = home, append(os.Environ(), "HOME="+home, "CURD_CACHE="+filepath.Join(home, "curds"), "XDG_CACHE_HOME=", "VIRTUAL_ENV=")
			if out, err := c.CombinedOutput(); err != nil {
				results[i] = fmt.Sprintf("%v: %s", err, bytes.TrimSpace(out))
			} else if _, err := os.Stat(filepath.Join(target, w.projects[i].name, "data.bin")); err != nil {
				results[i] = err.Error()
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err.Error()
	}
	text := ""
	for _, r := range results {
		if r == "" {
			done++
		} else {
			text = "; " + r
		}
	}
	return fmt.Sprintf("%d of %d%s", done, realClients, text)
}
