package lease

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	rememberFor   = time.Minute
	maxRemembered = 16 << 20 // bytes of documents
)

// Remembered are documents that stay as they are once they are there, as METADATA of sources does, and for which many ask: of
// all who ask at once one or two do, and a document is believed for a minute. That there is none is known as of now. Make it with [Remember].
type Remembered struct {
	Documents
	flight singleflight.Group

	mu    sync.Mutex
	known map[string]remembered
	bytes int
}

type remembered struct {
	value   []byte
	version string    // "": there was none
	began   time.Time // to be asked for
}

// Remember remembers what docs have.
func Remember(docs Documents) *Remembered {
	return &Remembered{Documents: docs, known: make(map[string]remembered)}
}

// Get is Documents'. Its values are not to be changed.
func (r *Remembered) Get(ctx context.Context, name, known string) (value []byte, version string, err error) {
	r.mu.Lock()
	k, ok := r.known[name]
	r.mu.Unlock()
	called := time.Now()
	for ok = ok && called.Sub(k.began) < rememberFor; !ok; {
		select {
		case result := <-r.flight.DoChan(name, func() (any, error) { return r.ask(context.WithoutCancel(ctx), name) }):
			if result.Err != nil {
				return nil, "", result.Err
			}
			k = result.Val.(remembered)
			ok = k.version != "" || !k.began.Before(called) // else another had asked before
		case <-ctx.Done():
			return nil, "", context.Cause(ctx)
		}
	}
	switch k.version {
	case "":
		return nil, "", &fs.PathError{Op: "get", Path: name, Err: fs.ErrNotExist}
	case known:
		return nil, known, nil
	}
	return k.value, k.version, nil
}

func (r *Remembered) ask(ctx context.Context, name string) (k remembered, err error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	k.began = time.Now()
	k.value, k.version, err = r.Documents.Get(ctx, name, "")
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return k, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(name)
	cost := len(name) + len(k.value)
	if r.bytes+cost > maxRemembered {
		clear(r.known)
		r.bytes = 0
	}
	r.known[name] = k
	r.bytes += cost
	return k, nil
}

// drop forgets a document. The caller holds mu.
func (r *Remembered) drop(name string) {
	if k, ok := r.known[name]; ok {
		delete(r.known, name)
		r.bytes -= len(name) + len(k.value)
	}
}

// Swap is Documents'.
func (r *Remembered) Swap(ctx context.Context, name, version string, value []byte) (newVersion string, err error) {
	newVersion, err = r.Documents.Swap(ctx, name, version, value)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(name)
	return newVersion, err
}
