package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"

	"golang.org/x/sync/errgroup"

	"curdling/internal/store"
)

// verifyAll is [Catalog.Verify] for what lies in a bucket: a file is damaged where its bytes have not the hash that its claim says, or are
// not there. How many there are is known by the last census alone. Where the store does not answer it ends with an error.
func (r *far) verifyAll(ctx context.Context, o VerifyOptions) (Verified, error) {
	if r.shared != nil {
		_ = r.readCensus(ctx) // it is for the progress
	}
	stats := r.c.Stats()
	var (
		t          = &tally{options: o, v: Verified{TotalFiles: stats.Files, TotalBytes: stats.Bytes}}
		pace       = &pacer{rate: o.Rate}
		g, reading = errgroup.WithContext(ctx)
		err        error
	)
	g.SetLimit(cmp.Or(o.Parallel, runtime.GOMAXPROCS(0)))
	judge := func(key string) error {
		size, damage, err := r.verifyOne(reading, key, pace)
		if err == nil && size >= 0 {
			t.add(key, size, damage)
		}
		return err
	}
	for p, failed := range r.walked.Walk(reading, "") {
		if err = failed; err != nil {
			break
		}
		for _, f := range p.Files {
			g.Go(func() error { return judge(f.Key) })
		}
		for _, key := range p.Broken {
			g.Go(func() error { return judge(key) })
		}
	}
	err = cmp.Or(g.Wait(), err, ctx.Err())
	return t.v, err
}

// verifyOne reads a file, twice if it seems to be damaged; its size is below zero where it is gone.
func (r *far) verifyOne(ctx context.Context, key string, pace *pacer) (size int64, damage, err error) {
	for range 2 {
		claim, err := r.walked.Claim(ctx, key)
		if errors.Is(err, fs.ErrNotExist) {
			return -1, nil, nil
		}
		if err != nil {
			return 0, nil, err
		}
		var unavailable *store.UnavailableError
		switch damage = r.readWhole(ctx, key, pace); {
		case ctx.Err() != nil:
			return 0, nil, ctx.Err()
		case errors.As(damage, &unavailable):
			return 0, nil, damage
		case damage == nil:
			return claim.Size, nil, nil
		}
		size = claim.Size
	}
	if !errors.Is(damage, fs.ErrNotExist) {
		return size, fmt.Errorf("cannot be read: %w", damage), nil
	}
	switch _, err := r.walked.Claim(ctx, key); {
	case errors.Is(err, fs.ErrNotExist): // it was removed meanwhile
		return -1, nil, nil
	case err != nil:
		return 0, nil, err
	}
	return size, errors.New("its bytes are lost"), nil
}

// readWhole reads a file, which its store holds against its hash.
func (r *far) readWhole(ctx context.Context, key string, pace *pacer) error {
	content, info, err := r.store.Open(ctx, key)
	if err != nil {
		return err
	}
	defer content.Close()
	n, err := io.Copy(io.Discard, paced{ctx, pace, content})
	if err == nil && n != info.Size {
		err = fmt.Errorf("%d bytes can be read of %d", n, info.Size)
	}
	return err
}
