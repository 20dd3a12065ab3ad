package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"curdling/internal/audit"
	"curdling/internal/catalog"
	"curdling/internal/store/bucket"
	"curdling/internal/store/disk"
	"curdling/internal/store/s3"
)

// place is a folder or a bucket that a command works on, while servers may be serving it.
type place struct {
	name   string
	notes  *audit.Log
	folder *disk.Store   // nil: it is a bucket
	raw    *s3.Store     // of a bucket, as it is
	bucket *bucket.Store // of a bucket, its files
}

// placeFlags are the flags of a command that works on a place.
type placeFlags struct {
	files   accessFiles
	address bucketAddress
}

func (f *placeFlags) add(flags *pflag.FlagSet) {
	f.files.addAudit(flags)
	f.address.add(flags)
}

// open opens the place that the command's argument names, or else the server's; same is as [placeOf] takes it.
func (f *placeFlags) open(cmd *cobra.Command, args []string, same ...string) (*place, error) {
	name, err := placeOf(cmd, args, append(same, "audit-log", "s3-endpoint", "s3-region")...)
	if err != nil {
		return nil, err
	}
	return openPlace(cmd.Context(), name, f.address, f.files)
}

// openPlace opens a folder, which must be there, or a bucket.
func openPlace(ctx context.Context, name string, address bucketAddress, files accessFiles) (p *place, err error) {
	p = &place{name: name, notes: files.auditLog(name)}
	if isBucket(name) {
		if p.raw, err = s3.Open(ctx, name, address.options()); err != nil {
			return nil, err
		}
		p.notes.Share(p.raw, newServerName())
		p.bucket = bucket.New(p.raw, bucket.Options{})
		return p, nil
	}
	if _, err = os.Stat(name); err == nil {
		p.folder, err = disk.Open(name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be opened: %w", name, err)
	}
	return p, nil
}

func (p *place) close() error {
	err := p.notes.Close()
	if p.folder != nil {
		return errors.Join(err, p.folder.Close())
	}
	p.raw.Close()
	return err
}

// scopes are those below it.
func (p *place) scopes() catalog.ScopePlace {
	if p.folder != nil {
		return catalog.FolderScopes{Folder: p.folder}
	}
	return catalog.NewBucketScopes(p.raw, bucket.Options{})
}

// visit has a catalog of a place. Files of a folder of which nothing is known yet are read for as
// long as patience lasts, below zero not at all.
func (p *place) visit(ctx context.Context, patience time.Duration, stderr io.Writer) (*catalog.Catalog, error) {
	config := catalog.Config{
		Patience: patience, Guest: true, Tarballs: true, Removed: noteRemovals(p.notes, systemUser(), slog.New(slog.NewTextHandler(stderr, nil))),
	}
	if p.folder != nil {
		config.Store, config.State = p.folder, filepath.Join(p.folder.Dir(), disk.StateDir)
	} else {
		config.Store, config.Derived, config.Shared = p.bucket, p.raw, p.raw
	}
	held, err := catalog.Open(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be opened: %w", p.name, err)
	}
	return held, nil
}
