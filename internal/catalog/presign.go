package catalog

import (
	"context"
	"errors"
	"fmt"
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
	s, ok := c.store.(store.Presigner)
	if !ok {
		return "", fmt.Errorf("%s: no URL of the store's: %w", filename, errors.ErrUnsupported)
	}
	if f.expendable() != "" {
		c.used(filename)
	}
	return s.Presign(ctx, filename, ttl)
}

// Presign is [Catalog.Presign].
func (v *View) Presign(ctx context.Context, filename string, ttl time.Duration) (string, error) {
	if c := v.holder(filename); c != nil {
		return v.nearest(c, filename).Presign(ctx, filename, ttl)
	}
	return "", v.refused(filename)
}
