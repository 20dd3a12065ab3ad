package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"curdling/internal/store"
)

// Presign gives a URL at which a file that is held and may be had can be fetched from the store itself until ttl is over. Where
// the store knows none the error wraps [errors.ErrUnsupported].
func (c *Catalog) Presign(ctx context.Context, filename string, ttl time.Duration) (string, error) {
	f, err := c.Offered(filename)
	if err != nil {
		return "", err
	}
	return c.presign(ctx, f, filename, ttl)
}

// PresignTarball is Presign for the tarball of a wheel.
func (c *Catalog) PresignTarball(ctx context.Context, filename string, ttl time.Duration) (string, error) {
	f, err := c.Offered(filename)
	switch {
	case err != nil:
		return "", err
	case f.Tarball.SHA256 == "":
		return "", fmt.Errorf("%s has no tarball: %w", filename, fs.ErrNotExist)
	case c.far == nil:
		return "", fmt.Errorf("%s: its tarball lies on this machine: %w", filename, errors.ErrUnsupported)
	}
	return c.presign(ctx, f, tarballKey(f, f.Tarball), ttl)
}

func (c *Catalog) presign(ctx context.Context, f *File, key string, ttl time.Duration) (string, error) {
	s, ok := c.store.(store.Presigner)
	if !ok {
		return "", fmt.Errorf("%s: no URL of the store's: %w", key, errors.ErrUnsupported)
	}
	if f.expendable() != "" {
		c.used(f.Filename)
	}
	return s.Presign(ctx, key, ttl)
}

// Presign is [Catalog.Presign].
func (v *View) Presign(ctx context.Context, filename string, ttl time.Duration) (string, error) {
	if c := v.holder(filename); c != nil {
		return v.nearest(c, filename).Presign(ctx, filename, ttl)
	}
	return "", v.refused(filename)
}

// PresignTarball is [Catalog.PresignTarball].
func (v *View) PresignTarball(ctx context.Context, filename string, ttl time.Duration) (string, error) {
	if c := v.holder(filename); c != nil {
		return c.PresignTarball(ctx, filename, ttl)
	}
	return "", v.refused(filename)
}
