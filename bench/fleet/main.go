//go:build linux

// Command fleet loads several curd-servers over one bucket with a morning of CI: a real S3 server behind a proxy that
// counts and lets requests fail, a load balancer, and hundreds of clients that ask, download, build under leases and
// upload as curd does. It prints what requests take and cost for 1, 2 and 4 servers, and what a page costs in a bucket of
// 2,000 and of 200,000 wheels.
//
//	make build .tools/versitygw && go run ./bench/fleet
//	go run ./bench/fleet -faults
//	go run ./bench/fleet -upgrade -old DIR
//
// With -faults servers are killed, the store is frozen, its requests fail, a clock is off and a disk is full, under the
// same load. Then a server that knows nothing shows what it finds in the bucket, and a checker compares that with
// all that was acknowledged. It ends with 1 where something is missing, changed, wrong or took too long. With -upgrade
// the servers are replaced one after the other by those of another version, and nothing may fail at all.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	server, curd, gateway string
	folder                bool
	redirect              bool
	servers               []int
	wheels                []int
	sessions              int
	length, build         time.Duration
	projects              int
	seed                  uint64
	faults                bool
	upgrade               bool
	old                   string // folder of the old version's programs; "": there is none
	only                  string
	results               string
	verbose               bool
}

func main() {
	log.SetOutput(io.Discard) // versitygw does not read the bodies of puts that fail their condition; net/http complains of what it then answers to them
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/fleet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var o options
	flag.StringVar(&o.server, "server", "bin/curd-server", "the program")
	flag.StringVar(&o.curd, "curd", "bin/curd", "the client, of which a few install at the end")
	flag.StringVar(&o.gateway, "gateway", ".tools/versitygw", "the S3 server")
	flag.BoolVar(&o.folder, "folder", false, "servers over one folder rather than a bucket, to compare")
	flag.BoolVar(&o.redirect, "redirect", false, "servers send clients to the store for files")
	servers := flag.String("servers", "1,2,4", "fleets, by their numbers of servers")
	wheels := flag.String("wheels", "2000,200000", "buckets in which a page's cost is measured, by their numbers of wheels; empty for none")
	flag.IntVar(&o.sessions, "sessions", 1000, "jobs of a morning")
	flag.DurationVar(&o.length, "length", 2*time.Minute, "in which they come")
	flag.DurationVar(&o.build, "build", 8*time.Second, "what a build takes")
	flag.IntVar(&o.projects, "projects", 300, "that the servers hold in the morning, with 5 wheels each")
	flag.Uint64Var(&o.seed, "seed", 1, "of all that is by chance")
	minutes := flag.Float64("minutes", 30, "after which all ends")
	quick := flag.Bool("quick", false, "a look: few sessions, seconds")
	flag.BoolVar(&o.faults, "faults", false, "the same load with what goes wrong, and a check of all that was acknowledged")
	flag.BoolVar(&o.upgrade, "upgrade", false, "the same load while servers are replaced one by one: by this version, then by one whose formats are a step further, and back")
	flag.StringVar(&o.old, "old", "", "folder with the programs of the version that -upgrade begins with (default this one)")
	flag.StringVar(&o.only, "only", "", "faults or upgrades by their names, parted by commas; empty for all")
	flag.StringVar(&o.results, "results", "", "file that the tables go into (default bench/results/fleet-DATE.md)")
	flag.BoolVar(&o.verbose, "v", false, "tell of each request that fails")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("what is %q?", flag.Arg(0))
	}
	var err error
	if *quick {
		err = smaller(map[string]string{"sessions": "120", "length": "12s", "build": "3s", "projects": "60", "wheels": "2000"})
	}
	if err != nil {
		return err
	}
	if o.servers, err = numbers(*servers); err != nil {
		return err
	}
	if o.wheels, err = numbers(*wheels); err != nil {
		return err
	}
	for _, path := range []*string{&o.server, &o.curd, &o.gateway, &o.old} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	if o.results == "" {
		o.results = resultsFile(&o, *quick)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(*minutes*float64(time.Minute)), errors.New("the time was up; -minutes gives more"))
	defer cancel()
	return inScratch(func(dir string) error {
		switch {
		case o.upgrade:
			return upgrades(ctx, &o, dir)
		case o.faults:
			return faults(ctx, &o, dir)
		}
		return loads(ctx, &o, dir)
	})
}

// smaller sets flags that were not set.
func smaller(values map[string]string) (err error) {
	flag.Visit(func(f *flag.Flag) { delete(values, f.Name) })
	for name, value := range values {
		err = errors.Join(err, flag.Set(name, value))
	}
	return err
}

func resultsFile(o *options, quick bool) string {
	name, day := "fleet", time.Now().Format(time.DateOnly)
	switch {
	case o.upgrade:
		name = "fleet-upgrade"
	case o.faults:
		name = "fleet-faults"
	}
	if quick {
		day = "quick"
	}
	return filepath.Join("bench", "results", name+"-"+day+".md")
}

func inScratch(do func(dir string) error) error {
	dir, remove, err := scratch()
	if err != nil {
		return err
	}
	return errors.Join(do(dir), remove())
}

func numbers(list string) (all []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
