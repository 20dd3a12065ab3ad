package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"curdling/internal/store"
)

// below is what lies in a raw store below a prefix.
type below struct {
	raw    Raw
	prefix string
}

var _ store.Presigner = below{}

// Below gives what lies in raw below prefix, which ends with a slash.
func Below(raw Raw, prefix string) Raw { return below{raw, prefix} }

func (b below) own(info store.Info) store.Info {
	info.Key = strings.TrimPrefix(info.Key, b.prefix)
	return info
}

func (b below) Open(ctx context.Context, key string) (io.ReadSeekCloser, store.Info, error) {
	r, info, err := b.raw.Open(ctx, b.prefix+key)
	return r, b.own(info), err
}

func (b below) Create(ctx context.Context, key string, r io.Reader, size int64) error {
	return b.raw.Create(ctx, b.prefix+key, r, size)
}

func (b below) Remove(ctx context.Context, key string) error { return b.raw.Remove(ctx, b.prefix+key) }

func (b below) Stat(ctx context.Context, key string) (store.Info, error) {
	info, err := b.raw.Stat(ctx, b.prefix+key)
	return b.own(info), err
}

func (b below) Swap(ctx context.Context, key string, old, content []byte) error {
	return b.raw.Swap(ctx, b.prefix+key, old, content)
}

func (b below) Get(ctx context.Context, key, known string) (content []byte, version string, err error) {
	return b.raw.Get(ctx, b.prefix+key, known)
}

func (b below) Put(ctx context.Context, key, version string, content []byte) (newVersion string, err error) {
	return b.raw.Put(ctx, b.prefix+key, version, content)
}

func (b below) Delete(ctx context.Context, key, version string) error {
	return b.raw.Delete(ctx, b.prefix+key, version)
}

func (b below) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for info, err := range b.raw.List(ctx, b.prefix+prefix) {
			if !yield(b.own(info), err) {
				return
			}
		}
	}
}

func (b below) ListFolders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return b.raw.ListFolders(ctx, b.prefix+prefix)
}

func (b below) Presign(ctx context.Context, key string, ttl time.Duration) (string, error) {
	signer, ok := b.raw.(store.Presigner)
	if !ok {
		return "", fmt.Errorf("%s: no URL: %w", key, errors.ErrUnsupported)
	}
	return signer.Presign(ctx, b.prefix+key, ttl)
}
