package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"curdling/internal/auth"
	"curdling/internal/catalog"
	"curdling/internal/lease"
	"curdling/internal/livefile"
	"curdling/internal/server"
	"curdling/internal/store"
	"curdling/internal/store/bucket"
	"curdling/internal/store/s3"
)

const (
	turnTTL   = 2 * time.Minute  // of one server among several to do what one alone should
	lookEvery = 10 * time.Minute // whether it is time for something
)

// fleet is what all servers over a bucket have in common, as one of them sees it.
type fleet struct {
	store  *s3.Store
	server string      // this one's name, another for each run
	turn   *lease.Turn // to do what one alone should, at which two do no harm
}

func newFleet(in *s3.Store, log *slog.Logger) *fleet {
	turns := lease.New(lease.NewStored(in, "upkeep/"), lease.Options{TTL: turnTTL, Log: log})
	return &fleet{store: in, server: newServerName(), turn: turns.Turn("upkeep", thisServer())}
}

// newServerName makes a name for a run of this program.
func newServerName() string { return strings.ToLower(rand.Text()) }

// thisServer is how people find a server among several.
func thisServer() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s, process %d", host, os.Getpid())
}

// tokensIn are the tokens of all servers over a bucket.
func tokensIn(in *s3.Store) livefile.Document { return store.Document{Store: in, Key: auth.TokensKey} }

// share has a server know and note what all of them do. Run goes on with it.
func (f *fleet) share(ctx context.Context, config *server.Config, files accessFiles, log *slog.Logger) (err error) {
	log.Info("one of the servers over a bucket", "bucket", f.store.String(), "server", f.server)
	config.Audit.Share(f.store, f.server)
	if files.tokens == "" {
		if config.Policy.Tokens, err = auth.OpenSharedTokens(ctx, tokensIn(f.store), false, log); err != nil {
			return fmt.Errorf("the tokens cannot be used: %w", err)
		}
	}
	return nil
}

// together has a catalog count, sweep and evict together with those of other servers over a bucket.
func (h holding) together(c catalog.Config) catalog.Config {
	if h.fleet != nil {
		c.Shared, c.Turn, c.Server = h.fleet.store, h.fleet.turn.Mine, h.fleet.server
	}
	return c
}

// run is what is to be done for all servers, until ctx is done.
func (f *fleet) run(ctx context.Context, config server.Config, log *slog.Logger) {
	var running sync.WaitGroup
	running.Go(func() { f.turn.Run(ctx) })
	running.Go(func() { config.Audit.Run(ctx, log) })
	config.Policy.Tokens.Run(ctx)
	running.Wait()
}

// builds has builds under way, and the METADATA of sources, kept in the bucket. upkeep cleans them until its context is done.
func (f *fleet) builds(log *slog.Logger) (builds server.Builds, upkeep func(context.Context)) {
	prepared := lease.NewStored(f.store, "prepared/")
	leases := lease.New(lease.NewStored(f.store, "leases/"), lease.Options{Sweeper: f.turn.Mine, Log: log})
	below := func(scope string) (leases, prepared lease.Documents) {
		in := bucket.Below(f.store, catalog.ScopePrefix(scope))
		return lease.NewStored(in, "leases/"), lease.NewStored(in, "prepared/")
	}
	return server.Builds{Leases: leases, Prepared: lease.Remember(prepared), Below: below}, func(ctx context.Context) {
		var upkeep sync.WaitGroup
		upkeep.Go(func() {
			f.daily(ctx, func() {
				if err := prepared.Prune(ctx, keepPrepared); err != nil && ctx.Err() == nil {
					log.Warn("old metadata of sources cannot be removed", "err", err)
				}
			})
		})
		leases.Run(ctx)
		upkeep.Wait()
	}
}

// daily does something once a day where it is this server's turn, until ctx is done.
func (f *fleet) daily(ctx context.Context, do func()) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for last := (time.Time{}); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if f.turn.Mine() && (last.IsZero() || time.Since(last) >= pruneEvery) {
			do()
			last = time.Now()
		}
	}
}
