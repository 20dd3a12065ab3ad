package main

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/spf13/pflag"

	"curdling/internal/server"
)

// limitOptions are what clients may do. Zeros are no limits.
type limitOptions struct {
	maxConnections           int
	maxConnectionsPerAddress int
	maxHeader                byteSize
	maxUploads               int
	uploadTimeout            time.Duration
	rate                     float64
	burst                    int
}

func (o *limitOptions) add(flags *pflag.FlagSet) {
	o.maxHeader = server.DefaultMaxHeader
	flags.IntVar(&o.maxConnections, "max-connections", 10_000, "how many connections there may be at once, a `NUMBER`; 0 is any")
	flags.IntVar(&o.maxConnectionsPerAddress, "max-connections-per-address", 0, "the same of one address, a `NUMBER`; 0 is any")
	flags.Var(&o.maxHeader, "max-header", "largest header of a request, a `SIZE`")
	flags.IntVar(&o.maxUploads, "max-uploads", 0, "how many uploads there may be at once, a `NUMBER`; 0 is any")
	flags.DurationVar(&o.uploadTimeout, "upload-timeout", time.Hour, "how long an upload may take, a `DURATION` like 90s or 1h; 0 is any")
	flags.Float64Var(&o.rate, "rate", 0, "how many requests a second one address may make in the long run, a `NUMBER`; 0 is any")
	flags.IntVar(&o.burst, "burst", 0, "how many requests one address may make at once under --rate, a `NUMBER` (default those of two seconds)")
}

// limits are what the server keeps to.
func (o *limitOptions) limits() (server.Limits, error) {
	for name, n := range map[string]int{"--max-connections": o.maxConnections, "--max-connections-per-address": o.maxConnectionsPerAddress,
		"--max-uploads": o.maxUploads, "--burst": o.burst, "--upload-timeout": int(o.uploadTimeout)} {
		if n < 0 {
			return server.Limits{}, usageError{fmt.Errorf("%s is below zero", name)}
		}
	}
	switch {
	case o.rate < 0, math.IsNaN(o.rate), math.IsInf(o.rate, 0):
		return server.Limits{}, usageError{fmt.Errorf("--rate %g is no number of requests", o.rate)}
	case o.maxUploads > 1<<20:
		return server.Limits{}, usageError{errors.New("--max-uploads is more than any machine can do; 0 is any number")}
	case o.maxHeader > 16<<20:
		return server.Limits{}, usageError{errors.New("--max-header is larger than 16MiB, which each connection might take")}
	}
	return server.Limits{Header: int(o.maxHeader), Rate: o.rate, Burst: o.burst, Uploads: o.maxUploads, UploadTimeout: o.uploadTimeout}, nil
}
