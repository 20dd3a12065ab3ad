package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"curdling/internal/catalog"
	"curdling/internal/server"
	"curdling/internal/store/disk"
)

// secondLevel is the bucket behind the folder that is served.
type secondLevel struct {
	holding
	held *catalog.Catalog
	back *catalog.WriteBack
	log  *slog.Logger
}

// checkSecond refuses what does not go with a second level.
func (o *options) checkSecond() error {
	for _, option := range []struct {
		given     bool
		flag, why string
	}{
		{!isBucket(o.second), o.second, "a second level is named like s3://BUCKET/PREFIX"},
		{isBucket(o.directory), o.directory, "it is a bucket itself, and needs none"},
		{o.curds, "--curds", "nothing is uploaded to a machine's own cache"},
		{len(o.upstreams) > 0, "--upstream", "which names are an upstream's would have to be decided with the bucket, which may be away; serve " + o.second + " itself with --upstream"},
	} {
		if option.given {
			return usageError{fmt.Errorf("--bucket does not go with %s: %s", option.flag, option.why)}
		}
	}
	return nil
}

// openSecond opens the second level of a folder, be it away or not; nil is of a folder without.
func (o *options) openSecond(ctx context.Context, folder holding, held *catalog.Catalog, log *slog.Logger) (*secondLevel, error) {
	if o.second == "" {
		return nil, nil
	}
	state := o.cacheDir
	if state == "" {
		state = filepath.Join(folder.folder.Dir(), disk.StateDir, "bucket")
	}
	log = log.With("bucket", o.second)
	in, err := o.openBucket(ctx, o.second, state, true, log)
	if err != nil {
		return nil, fmt.Errorf("--bucket: %w", err)
	}
	s := &secondLevel{holding: in, log: log}
	s.held, err = catalog.Open(ctx, in.together(catalog.Config{
		Store: in.store, State: state, Derived: in.derived(), Log: log, Tarballs: !o.noTarballs,
	}))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("--bucket: %w", err), in.close())
	}
	s.back = catalog.NewWriteBack(held, s.held, log)
	return s, nil
}

func (s *secondLevel) close() error { return errors.Join(s.held.Close(), s.holding.close()) }

// run copies to the bucket what the folder holds, and does for it what servers over it do, until ctx is done.
func (s *secondLevel) run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { s.back.Run(ctx) })
	running.Go(func() { s.fleet.turn.Run(ctx) })
	if err := s.held.Run(ctx); err != nil {
		s.log.Error("the bucket is not looked after", "err", err)
	}
	running.Wait()
}

// share has builds under way be those of all servers over the bucket; those of scopes below main stay the folder's.
func (s *secondLevel) share(builds server.Builds) (shared server.Builds, upkeep func(context.Context)) {
	shared, upkeep = s.fleet.builds(s.log)
	shared.Below = builds.Below
	return shared, upkeep
}

// check is what /readyz says of the second level. Without it what the folder holds is served all the same.
func (s *secondLevel) check() server.Check {
	return server.Check{Name: "bucket", Ask: func(ctx context.Context) (string, error) {
		answer, _ := answers(ctx, s.bucket)
		if waiting := s.back.Stats().Waiting; waiting > 0 {
			answer += fmt.Sprintf("; %d projects wait to be copied to it", waiting)
		}
		return answer, nil
	}}
}

// metrics are those of the bucket, and of what is copied to it.
func (s *secondLevel) metrics() []prometheus.Collector {
	gauge := func(name, help string, value func(catalog.WriteBackStats) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "curd_server_write_back_" + name, Help: help},
			func() float64 { return value(s.back.Stats()) })
	}
	counter := func(name, help string, value func(catalog.WriteBackStats) float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "curd_server_write_back_" + name, Help: help},
			func() float64 { return value(s.back.Stats()) })
	}
	return append(append(s.bucket.Metrics(), s.hot.Metrics()...),
		gauge("waiting_projects", "Projects of which something may have to be copied to the bucket.",
			func(w catalog.WriteBackStats) float64 { return float64(w.Waiting) }),
		gauge("left_files", "Files that are not copied to the bucket, as others lie there under their names, or they cannot lie there.",
			func(w catalog.WriteBackStats) float64 { return float64(w.Left) }),
		counter("files_total", "Files that were copied to the bucket.", func(w catalog.WriteBackStats) float64 { return float64(w.Files) }),
		counter("bytes_total", "Bytes of files that were copied to the bucket.", func(w catalog.WriteBackStats) float64 { return float64(w.Bytes) }),
	)
}
