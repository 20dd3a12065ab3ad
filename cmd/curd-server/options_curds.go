package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"curdling/internal/catalog"
	"curdling/internal/config"
	"curdling/internal/curds"
	"curdling/internal/server"
	"curdling/internal/store"
	"curdling/internal/store/disk"
	"curdling/internal/store/filecache"
	"curdling/internal/store/s3"
)

// curdsOptions say that what is served is a machine's own cache.
type curdsOptions struct{ curds bool }

func (o *curdsOptions) add(flags *pflag.FlagSet) {
	flags.BoolVar(&o.curds, "curds", false, "serve the cache that curd has on this machine, as it is and while it is used: DIRECTORY,\n"+
		"else $CURD_CACHE, else ~/.curds; nothing is uploaded to it or written into it")
}

// chooseCurds finds the cache to serve, and refuses what does not go with one.
func (o *options) chooseCurds() error {
	if !o.curds {
		if isCurds(o.directory) {
			return usageError{fmt.Errorf("%s is a machine's own cache, which curd looks after: --curds serves it", o.directory)}
		}
		return nil
	}
	for _, option := range []struct {
		given     bool
		flag, why string
	}{
		{o.maxSize > 0, "--max-size", "what is in it is removed by curd cache prune alone"},
		{len(o.upstreams) > 0, "--upstream", "what it lacks is fetched by curd alone"},
		{len(o.private)+len(o.public) > 0, "--private and --public", "no upstream is asked"},
		{o.excludeNewer != "", "--exclude-newer", "no upstream is asked"},
		{o.uploaders != nil, "--uploaders", "nobody uploads to it"},
	} {
		if option.given {
			return usageError{fmt.Errorf("%s does not go with --curds, which serves a machine's own cache: %s", option.flag, option.why)}
		}
	}
	if o.directory == "" {
		settings, err := config.Load(config.Options{})
		if err != nil {
			return err
		}
		if o.directory, err = settings.CacheDir(); err != nil {
			return usageError{err}
		}
	}
	return nil
}

// isCurds tells whether a folder is a machine's own cache.
func isCurds(dir string) bool {
	for _, name := range []string{"CACHEDIR.TAG", "files", "trees", "locks"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// holding is what is served.
type holding struct {
	store  store.Store
	folder *disk.Store        // the same; nil with --curds, and over a bucket
	bucket *s3.Store          // below store; nil elsewhere
	hot    *filecache.Cache   // of the bucket
	fleet  *fleet             // of the bucket
	scopes catalog.ScopePlace // in the bucket
	state  string             // folder of what the server derives
}

// hold opens what is served.
func (o *options) hold(ctx context.Context, log *slog.Logger) (h holding, err error) {
	if isBucket(o.directory) {
		return o.holdBucket(ctx, log)
	}
	if !o.curds {
		if h.folder, err = disk.Open(o.directory); err != nil {
			return h, fmt.Errorf("%s cannot be served: %w; DIRECTORY must be a folder that this user may read", o.directory, err)
		}
		h.store, h.state = h.folder, filepath.Join(h.folder.Dir(), disk.StateDir)
		return h, nil
	}
	cache, err := curds.Open(o.directory)
	if err != nil {
		return h, err
	}
	h.store = cache.Shared(log)
	h.state, err = o.own()
	return h, err
}

func (h holding) close() error {
	if h.bucket != nil {
		h.hot.Close()
		h.bucket.Close()
	}
	if h.folder == nil {
		return nil
	}
	return h.folder.Close()
}

// counters count, with those of other servers over the bucket, or over the runs of this one.
func (h holding) counters(log *slog.Logger) *server.Counters {
	if h.fleet != nil {
		return server.ShareCounters(h.fleet.store, h.fleet.server, h.fleet.turn.Mine, log)
	}
	return server.OpenCounters(filepath.Join(h.state, "counters.json"), log)
}

// derived is where servers of one bucket share what is derived.
func (h holding) derived() store.Store {
	if h.bucket == nil {
		return nil
	}
	return h.bucket
}
