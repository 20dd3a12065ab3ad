package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"
)

// Document is one small file of a store, which any number of machines read and change.
type Document struct {
	Store Versioned
	Key   string
}

// Read is [Versioned.Get].
func (d Document) Read(ctx context.Context, known string) (content []byte, version string, err error) {
	return d.Store.Get(ctx, d.Key, known)
}

// changes is how often a document may have been changed by others before a change of it is given up.
const changes = 32

// Change has the document hold what edit makes of what it held; nil is of one that is not there. Where others change it at the same
// time edit is called again. After an error of the store nothing is known but that.
func (d Document) Change(ctx context.Context, edit func(old []byte) ([]byte, error)) error {
	for range changes {
		old, version, err := d.Read(ctx, "")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		content, err := edit(old)
		if err != nil {
			return err
		}
		if _, err = d.Store.Put(ctx, d.Key, version, content); !errors.Is(err, ErrChanged) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(rand.N(50 * time.Millisecond)):
		}
	}
	return fmt.Errorf("%s: %w, time after time", d, ErrChanged)
}

// String is the document's URL, where the store has one.
func (d Document) String() string {
	if s, ok := d.Store.(fmt.Stringer); ok {
		return s.String() + "/" + d.Key
	}
	return d.Key
}
