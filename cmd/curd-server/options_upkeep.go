package main

import (
	"time"

	"github.com/spf13/pflag"
)

// upkeepOptions say how a server stays well.
type upkeepOptions struct {
	maxSize     byteSize      // 0 is no bound
	sweep       time.Duration // 0 is never
	verifyEvery time.Duration // 0 is never
}

func (o *upkeepOptions) add(flags *pflag.FlagSet) {
	o.sweep = 15 * time.Minute
	flags.Var(&o.maxSize, "max-size", "hold at most a `SIZE` like 200GB: files of upstreams go for new ones, then builds; uploads and files put there by hand never go")
	flags.DurationVar(&o.sweep, "sweep", o.sweep, "list DIRECTORY every `DURATION` for changes that the system did not tell of; 0 never does")
	flags.DurationVar(&o.verifyEvery, "verify-every", 0, "read all files anew every `DURATION`, like 168h, slowly, and put damaged ones aside; 0 never does")
}
