package bucket

import (
	"context"
	"encoding/hex"
	"io"
	"iter"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"curdling/internal/store"
	"curdling/internal/store/filecache"
	"curdling/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestStore: files of any bytes pass the suite, under names that a distribution file may have.
func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		return named{New(storetest.NewMemory(3, 0), Options{Temp: t.TempDir()})}
	})
}

func TestCached(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		cache := filecache.New(filecache.Options{Dir: t.TempDir(), MaxBytes: 1 << 20})
		t.Cleanup(cache.Close)
		return named{New(storetest.NewMemory(3, 0), Options{Cache: cache, Temp: t.TempDir()})}
	})
}

// named is a store of the suite's keys over one of distribution files: k<hex of the key>-1.tar.gz. What is swapped in
// the suite is a sidecar.
type named struct{ *Store }

func (n named) key(key string) string {
	switch {
	case store.CheckKey(key) != nil:
		return key
	case key == "sig":
		return "k-1.tar.gz.build.sig"
	}
	return "k" + hex.EncodeToString([]byte(key)) + "-1.tar.gz"
}

func (n named) info(info store.Info) store.Info {
	text, ok := strings.CutSuffix(info.Key, "-1.tar.gz")
	if key, err := hex.DecodeString(text[min(1, len(text)):]); ok && err == nil {
		info.Key = string(key)
	} else {
		info.Key = "sig"
	}
	return info
}

func (n named) Open(ctx context.Context, key string) (io.ReadSeekCloser, store.Info, error) {
	r, info, err := n.Store.Open(ctx, n.key(key))
	return r, n.info(info), err
}

func (n named) Stat(ctx context.Context, key string) (store.Info, error) {
	info, err := n.Store.Stat(ctx, n.key(key))
	return n.info(info), err
}

func (n named) Create(ctx context.Context, key string, r io.Reader, size int64) error {
	return n.Store.Create(ctx, n.key(key), r, size)
}

func (n named) Remove(ctx context.Context, key string) error {
	return n.Store.Remove(ctx, n.key(key))
}

func (n named) Swap(ctx context.Context, key string, old, content []byte) error {
	return n.Store.Swap(ctx, n.key(key), old, content)
}

func (n named) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	under := "k" + hex.EncodeToString([]byte(prefix))
	if prefix == "" || store.CheckKey(strings.TrimSuffix(prefix, "/")) != nil {
		under = prefix
	}
	return func(yield func(store.Info, error) bool) {
		for info, err := range n.Store.List(ctx, under) {
			if !yield(n.info(info), err) {
				return
			}
		}
	}
}
