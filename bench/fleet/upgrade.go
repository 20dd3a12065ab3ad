//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// upgradeDrain is for how long a server goes on when it is told to stop, as docs/server.md advises behind a load balancer.
const upgradeDrain = 2 * time.Second

// upgrades runs a morning for each version that comes to the servers, one after the other, over one store, in which more and more
// versions have written.
func upgrades(ctx context.Context, o *options, dir string) error {
	if o.folder {
		return errors.New("-upgrade is of servers over a bucket; leave -folder out")
	}
	r := newReport(o, "curd-servers over one bucket, replaced one by one under load")
	later := filepath.Join(dir, "later-server")
	texts, err := laterFormats()
	if err != nil {
		return err
	}
	say("building a server whose formats are a step further")
	if err := buildChanged(later, texts); err != nil {
		return err
	}
	all := []fault{
		replacement("later", "this version by one with later formats", o.server, later),
		replacement("back", "that one by this version again", later, o.server),
	}
	filler := *o
	if o.old != "" {
		filler.server = filepath.Join(o.old, "curd-server")
		all = append([]fault{replacement("old", versionOf(filler.server)+" by "+versionOf(o.server), filler.server, o.server)}, all...)
	}
	s, w, held, err := prepare(ctx, &filler, filepath.Join(dir, "store"))
	if err != nil {
		return err
	}
	defer s.close()
	outcomes, err := s.trials(ctx, o, dir, w, held, all)
	r.trials("what was replaced", outcomes)
	return errors.Join(err, r.write(), failed(outcomes), broken(outcomes))
}

// broken is an error where a job or an upload failed.
func broken(all []*outcome) (err error) {
	for _, o := range all {
		for _, line := range append(o.stats.broken, o.stats.refused...) {
			err = errors.Join(err, fmt.Errorf("%s: %s", o.name, line))
		}
	}
	return err
}

// replacement is a morning in which a program takes the place of another.
func replacement(name, title, from, to string) fault {
	return fault{name: name, title: title, bucket: true,
		edit: func(_ *trial, _ int, so *serverOptions) error {
			so.program, so.drain = from, upgradeDrain
			return nil
		},
		act: func(t *trial, ctx context.Context) string { return t.replace(ctx, to) },
	}
}

// replace has each server finish, and starts the other program in its place, spread over the morning.
func (t *trial) replace(ctx context.Context, by string) string {
	all, slowest := t.fleet.servers, time.Duration(0)
	began := time.Now()
	for i, p := range all {
		select {
		case <-ctx.Done():
			t.failed = fmt.Errorf("the morning was over when %d servers were replaced", i)
			return ""
		case <-time.After(time.Until(began.Add(t.o.length * time.Duration(i+1) / time.Duration(len(all)+1)))):
		}
		stopped := time.Now()
		p.end(syscall.SIGTERM)
		p.command[0] = by
		if t.failed = p.start(); t.failed == nil {
			t.failed = p.answers(ctx, t.fleet.urls[i]+"/readyz")
		}
		if t.failed != nil {
			return ""
		}
		slowest = max(slowest, time.Since(stopped))
	}
	return fmt.Sprintf("%d servers, %.1f s each at the most", len(all), slowest.Seconds())
}

func versionOf(server string) string {
	out, err := exec.Command(server, "--version").Output() //nolint:noctx // it ends
	if err != nil {
		return "a version"
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "curd-server ")
}

// formatsLater is what a later program may change: claims and records have a higher number, and claims and notes a member more.
var formatsLater = []struct{ file, from, to string }{
	{"internal/store/bucket/claim.go", "\tformat   = 1\n", "\tformat   = 2\n"},
	{"internal/store/bucket/claim.go", "\tSize   int64  `json:\"size\"`\n", "\tSize   int64  `json:\"size\"`\n\tLater  string `json:\"later\"`\n"},
	{"internal/catalog/facts.go", "\tFile           string    `json:\"file\"`\n", "\tFile           string    `json:\"file\"`\n\tLater string `json:\"later\"`\n"},
	{"internal/record/record.go", "\tSchema = 1\n", "\tSchema = 2\n"},
}

// laterFormats gives the files of this source as a later program may have them, by their paths.
func laterFormats() (map[string]string, error) {
	texts := map[string]string{}
	for _, change := range formatsLater {
		path, err := filepath.Abs(change.file)
		if err != nil {
			return nil, err
		}
		if texts[path] == "" {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			texts[path] = string(text)
		}
		if strings.Count(texts[path], change.from) != 1 {
			return nil, fmt.Errorf("%s is not as it was: have a look, and change formatsLater of bench/fleet", change.file)
		}
		texts[path] = strings.Replace(texts[path], change.from, change.to, 1)
	}
	return texts, nil
}
