package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"curdling/internal/lease"
	"curdling/internal/server"
	"curdling/internal/store/disk"
)

const (
	keepPrepared = 90 * 24 * time.Hour // METADATA of sources; then it is prepared again
	pruneEvery   = 24 * time.Hour
)

// shareBuilds has builds under way, and the METADATA of sources, kept with what is served. upkeep cleans them until its
// context is done.
func (h holding) shareBuilds(log *slog.Logger) (builds server.Builds, upkeep func(context.Context)) {
	if h.fleet != nil {
		return h.fleet.builds(log)
	}
	return shareInFolder(h.folder, log)
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
			prune(ctx, log, func() ([]*lease.Folder, error) {
				all := []*lease.Folder{prepared}
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

// prune removes old metadata of sources from folders at the start and each day, until ctx is done.
func prune(ctx context.Context, log *slog.Logger, folders func() ([]*lease.Folder, error)) {
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		all, err := folders()
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
