package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"curdling/internal/catalog"
	"curdling/internal/store/bucket"
	"curdling/internal/store/filecache"
	"curdling/internal/store/s3"
)

// bucketOptions say what there is of a bucket that is served in the place of a folder.
type bucketOptions struct {
	bucketAddress
	second    string // s3://BUCKET/PREFIX behind a folder; "" is none
	cacheDir  string // "" is one for each bucket below the user's caches
	cacheSize sizeOrNone
	redirect  bool
}

// bucketAddress says how a bucket is reached.
type bucketAddress struct {
	s3Endpoint string // "" is that of AWS_ENDPOINT_URL_S3 and the like
	s3Region   string
}

func (a *bucketAddress) options() s3.Options {
	return s3.Options{Endpoint: a.s3Endpoint, Region: a.s3Region}
}

func (a *bucketAddress) add(flags *pflag.FlagSet) {
	flags.StringVar(&a.s3Endpoint, "s3-endpoint", "", "`URL` of the object store of s3://BUCKET (default $AWS_ENDPOINT_URL_S3, $AWS_ENDPOINT_URL, else Amazon's)")
	flags.StringVar(&a.s3Region, "s3-region", "", "`REGION` of s3://BUCKET (default $AWS_REGION, $AWS_DEFAULT_REGION, else us-east-1)")
}

func (o *bucketOptions) add(flags *pflag.FlagSet) {
	o.bucketAddress.add(flags)
	o.cacheSize = 10 << 30
	flags.StringVar(&o.second, "bucket", "", "a second level behind DIRECTORY, `s3://BUCKET/PREFIX`, which servers with folders of their own may have in common:\nwhat comes into DIRECTORY is copied there, and what is there is served; while it is away DIRECTORY goes on")
	flags.StringVar(&o.cacheDir, "cache-dir", "", "folder `DIR` of a server's own over s3://BUCKET, for files that are asked for often, uploads on their way and what it learnt;\nit may be deleted while the server does not run (default one for each bucket in the user's caches; with --bucket DIRECTORY/.curdling/bucket)")
	flags.Var(&o.cacheSize, "cache-size", "how much of s3://BUCKET is kept in --cache-dir, a `SIZE`: what was not asked for longest goes; 0 keeps nothing")
	flags.BoolVar(&o.redirect, "redirect", false, "send who asks for a file of 1 MiB or more to s3://BUCKET itself, by a URL that is good for ten minutes:\nclients must reach the object store, by https where this server speaks it")
}

// isBucket tells whether what is to be served is a bucket.
func isBucket(directory string) bool { return strings.HasPrefix(directory, s3.Scheme) }

// checkBucket refuses what does not go with what is served.
func (o *options) checkBucket() error {
	if o.second != "" {
		return o.checkSecond()
	}
	if !isBucket(o.directory) {
		for _, option := range []struct{ value, flag string }{{o.s3Endpoint, "--s3-endpoint"}, {o.s3Region, "--s3-region"}, {o.cacheDir, "--cache-dir"}} {
			if option.value != "" {
				return usageError{fmt.Errorf("%s is for s3://BUCKET/PREFIX in the place of DIRECTORY, or behind it (--bucket)", option.flag)}
			}
		}
		if o.redirect {
			return usageError{errors.New("--redirect is for s3://BUCKET/PREFIX in the place of DIRECTORY, or behind it (--bucket)")}
		}
		return nil
	}
	for _, option := range []struct {
		given     bool
		flag, why string
	}{
		{o.curds, "--curds", "a machine's own cache is a folder"},
		{o.verifyEvery > 0, "--verify-every", "the object store looks after its disks, and each file is held against its hash when it is read"},
		{o.scopeMaxSize > 0, "--scope-max-size", "nobody counts what a scope in a bucket holds"},
	} {
		if option.given {
			return usageError{fmt.Errorf("%s does not go with %s: %s", option.flag, o.directory, option.why)}
		}
	}
	return nil
}

// holdBucket opens the bucket that is served.
func (o *options) holdBucket(ctx context.Context, log *slog.Logger) (h holding, err error) {
	own, err := o.own()
	if err != nil {
		return h, err
	}
	return o.openBucket(ctx, o.directory, own, false, log)
}

// openBucket opens a bucket with a folder for what a server has of it; mayBeAway is that the bucket need not answer yet.
func (o *options) openBucket(ctx context.Context, place, own string, mayBeAway bool, log *slog.Logger) (h holding, err error) {
	h.state = own
	spool := filepath.Join(h.state, "spool")
	if err := os.MkdirAll(spool, 0o700); err != nil {
		return h, fmt.Errorf("there is no place for uploads on their way: %w; --cache-dir names a folder that can be written to", err)
	}
	sweepSpool(spool)
	address := o.options()
	address.Log, address.MayBeAway = log, mayBeAway
	if h.bucket, err = s3.Open(ctx, place, address); err != nil {
		return h, err
	}
	h.fleet = newFleet(h.bucket, log)
	h.hot = filecache.New(filecache.Options{Dir: filepath.Join(h.state, "files"), MaxBytes: int64(o.cacheSize), Log: log})
	files := bucket.Options{Cache: h.hot, Temp: spool}
	h.store, h.scopes = bucket.New(h.bucket, files), catalog.NewBucketScopes(h.bucket, files)
	return h, nil
}

// sweepSpool removes what a crash left of uploads. The folder may be another server's, too.
func sweepSpool(dir string) {
	entries, _ := os.ReadDir(dir) // next time, then
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			_ = os.Remove(filepath.Join(dir, entry.Name()))
		}
	}
}

// own is the folder for the server's own files: DIRECTORY where that is a folder of wheels, else --cache-dir, or one
// below the folder of the user's caches for each cache or bucket, which may be deleted at any time.
func (o *options) own() (string, error) {
	if !o.curds && !isBucket(o.directory) {
		return o.directory, nil
	}
	own := o.cacheDir
	if own == "" {
		var err error
		if own, err = o.ownBelowCaches(); err != nil {
			return "", err
		}
	}
	if err := os.MkdirAll(own, 0o700); err != nil {
		return "", fmt.Errorf("what the server learns cannot be kept: %w; set XDG_CACHE_HOME to a folder that can be written to", err)
	}
	return own, nil
}

func (o *options) ownBelowCaches() (string, error) {
	what := strings.TrimRight(o.directory, "/") + " " + o.s3Endpoint
	if o.curds {
		dir, err := filepath.Abs(o.directory)
		if err != nil {
			return "", err
		}
		what = dir
	}
	caches, err := os.UserCacheDir()
	if err != nil {
		return "", errors.New("there is no folder for what the server learns (HOME is not set): set XDG_CACHE_HOME to one")
	}
	sum := sha256.Sum256([]byte(what))
	return filepath.Join(caches, "curd-server", hex.EncodeToString(sum[:8])), nil
}
