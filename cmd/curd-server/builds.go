package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"curdling/internal/lease"
	"curdling/internal/server"
)

const (
	keepPrepared = 90 * 24 * time.Hour // METADATA of sources; then it is prepared again
	pruneEvery   = 24 * time.Hour
)

// shareBuilds has builds under way, and the METADATA of sources, kept in a folder, which upkeep
// cleans until its context is done.
func shareBuilds(state string, log *slog.Logger) (builds server.Builds, upkeep func(context.Context)) {
	leases := lease.New(lease.NewFolder(filepath.Join(state, "leases")), lease.Options{Log: log})
	prepared := lease.NewFolder(filepath.Join(state, "prepared"))
	return server.Builds{Leases: leases, Prepared: prepared}, func(ctx context.Context) {
		var pruning sync.WaitGroup
		pruning.Go(func() { prune(ctx, prepared, log) })
		leases.Run(ctx)
		pruning.Wait()
	}
}

// prune removes old metadata of sources at the start and each day, until ctx is done.
func prune(ctx context.Context, prepared *lease.Folder, log *slog.Logger) {
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		if err := prepared.Prune(ctx, keepPrepared); err != nil && ctx.Err() == nil {
			log.Warn("old metadata of sources cannot be removed", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
