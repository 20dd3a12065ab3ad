package main

import (
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"curdling/internal/audit"
	"curdling/internal/catalog"
)

// upkeepOptions say how a server stays well.
type upkeepOptions struct {
	maxSize     byteSize      // 0 is no bound
	sweep       time.Duration // 0 is never
	verifyEvery time.Duration // 0 is never
	noTarballs  bool
}

func (o *upkeepOptions) add(flags *pflag.FlagSet) {
	o.sweep = 15 * time.Minute
	flags.Var(&o.maxSize, "max-size", "hold at most a `SIZE` like 200GB: tarballs go for new files, then files of upstreams, then builds; uploads and files put there by hand never go")
	flags.DurationVar(&o.sweep, "sweep", o.sweep, "list DIRECTORY every `DURATION` for changes that the system did not tell of; 0 never does. Of the servers over a bucket\none counts then what lies in it, removes what crashes left, and evicts for --max-size")
	flags.BoolVar(&o.noTarballs, "no-tarballs", false, "keep no wheels as tar.zst besides, which curd unpacks several times as fast; those that were made are removed")
	flags.DurationVar(&o.verifyEvery, "verify-every", 0, "read all files anew every `DURATION`, like 168h, slowly, and put damaged ones aside; 0 never does")
}

// noteRemovals writes to the audit log what was evicted or put aside, by a user or by the server itself, "".
func noteRemovals(to *audit.Log, user string, log *slog.Logger) func(catalog.Removal) {
	return func(r catalog.Removal) {
		err := to.Write(audit.Entry{Action: r.Action, User: user, Scope: r.Scope, File: r.Filename, SHA256: r.SHA256, Size: r.Size, Remote: "local", Detail: r.Why})
		if err != nil {
			log.Error("a removal cannot be noted in the audit log", "file", r.Filename, "action", r.Action, "err", err)
		}
	}
}
