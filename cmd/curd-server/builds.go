package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"curdling/internal/lease"
	"curdling/internal/server"
	"curdling/internal/store/disk"
	"curdling/internal/store/s3"
)

const (
	keepPrepared = 90 * 24 * time.Hour // METADATA of sources; then it is prepared again
	pruneEvery   = 24 * time.Hour
	turnTTL      = 2 * time.Minute // of one server among several to do what one alone should
)

// shareBuilds has builds under way, and the METADATA of sources, kept with what is served. upkeep cleans them until its
// context is done.
func (h holding) shareBuilds(log *slog.Logger) (builds server.Builds, upkeep func(context.Context)) {
	if h.bucket != nil {
		return shareInBucket(h.bucket, log)
	}
	return shareInFolder(h.folder, log)
}

// shareInBucket is shareBuilds for any number of servers.
func shareInBucket(in *s3.Store, log *slog.Logger) (builds server.Builds, upkeep func(context.Context)) {
	prepared := lease.NewStored(in, "prepared/")
	turns := lease.New(lease.NewStored(in, "upkeep/"), lease.Options{TTL: turnTTL, Log: log})
	turn := turns.Turn("builds", thisServer())
	leases := lease.New(lease.NewStored(in, "leases/"), lease.Options{Sweeper: turn.Mine, Log: log})
	builds = server.Builds{Leases: leases, Prepared: prepared}
	return builds, func(ctx context.Context) {
		var upkeep sync.WaitGroup
		upkeep.Go(func() { turn.Run(ctx) })
		upkeep.Go(func() {
			prune(ctx, log, func() (all []pruner, err error) {
				if turn.Mine() {
					all = append(all, prepared)
				}
				return all, nil
			})
		})
		leases.Run(ctx)
		upkeep.Wait()
	}
}

// thisServer is how people find a server among several.
func thisServer() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s, process %d", host, os.Getpid())
}

// shareInFolder is shareBuilds for a folder; what scopes have is in theirs.
func shareInFolder(folder *disk.Store, log *slog.Logger) (builds server.Builds, upkeep func(context.Context)) {
	in := func(dir string) (leases, prepared *lease.Folder) {
		return lease.NewFolder(filepath.Join(dir, disk.StateDir, "leases")), lease.NewFolder(filepath.Join(dir, disk.StateDir, "prepared"))
	}
	below := func(scope string) (leases, prepared *lease.Folder) {
		return in(filepath.Join(folder.Dir(), disk.ScopesDir, scope))
	}
	mains, prepared := in(folder.Dir())
	leases := lease.New(mains, lease.Options{Log: log})
	builds = server.Builds{
		Leases: leases, Prepared: prepared,
		Below: func(scope string) (leases, prepared lease.Documents) { return below(scope) },
	}
	return builds, func(ctx context.Context) {
		var pruning sync.WaitGroup
		pruning.Go(func() {
			prune(ctx, log, func() ([]pruner, error) {
				all := []pruner{prepared}
				scopes, err := folder.Scopes()
				for _, scope := range scopes {
					_, its := below(scope.Name)
					all = append(all, its)
				}
				return all, err
			})
		})
		leases.Run(ctx)
		pruning.Wait()
	}
}

// pruner has what is removed when nobody changed it for long.
type pruner interface {
	Prune(ctx context.Context, age time.Duration) error
}

// prune removes old metadata of sources at the start and each day, until ctx is done.
func prune(ctx context.Context, log *slog.Logger, places func() ([]pruner, error)) {
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		all, err := places()
		for _, prepared := range all {
			err = errors.Join(err, prepared.Prune(ctx, keepPrepared))
		}
		if err != nil && ctx.Err() == nil {
			log.Warn("old metadata of sources cannot be removed", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
