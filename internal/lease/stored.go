package lease

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"time"

	"curdling/internal/store"
)

// Stored keeps documents in a store, for any number of servers: a/b/c is the file PREFIXa.b.c.json, and its version the store's.
type Stored struct {
	store  store.Versioned
	prefix string
}

// NewStored gives the documents below prefix, which is "" or ends with a slash.
func NewStored(s store.Versioned, prefix string) *Stored { return &Stored{s, prefix} }

// key gives the key of a document.
func (s *Stored) key(name string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	return s.prefix + strings.ReplaceAll(name, "/", ".") + suffix, nil
}

// Get is Documents'.
func (s *Stored) Get(ctx context.Context, name, known string) (value []byte, version string, err error) {
	key, err := s.key(name)
	if err != nil {
		return nil, "", err
	}
	value, version, err = s.store.Get(ctx, key, known)
	if err == nil && len(value) > maxValue {
		return nil, "", fmt.Errorf("%s: longer than %d bytes", key, maxValue)
	}
	return value, version, err
}

// Swap is Documents'.
func (s *Stored) Swap(ctx context.Context, name, version string, value []byte) (newVersion string, err error) {
	key, err := s.key(name)
	if err != nil {
		return "", err
	}
	return s.store.Put(ctx, key, version, value)
}

// Delete is Documents'.
func (s *Stored) Delete(ctx context.Context, name, version string) error {
	key, err := s.key(name)
	if err != nil {
		return err
	}
	return s.store.Delete(ctx, key, version)
}

// List is Documents'.
func (s *Stored) List(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for info, err := range s.store.List(ctx, s.prefix) {
			if err != nil {
				yield("", err)
				return
			}
			if name, ok := s.name(info.Key); ok && !yield(name, nil) {
				return
			}
		}
	}
}

// name gives the document that a key is of.
func (s *Stored) name(key string) (name string, ok bool) {
	stem, ok := strings.CutSuffix(strings.TrimPrefix(key, s.prefix), suffix)
	name = strings.ReplaceAll(stem, ".", "/")
	return name, ok && CheckName(name) == nil
}

// Prune removes the documents that were not changed for so long. What somebody changes in the very moment may go with them.
func (s *Stored) Prune(ctx context.Context, age time.Duration) error {
	var failures []error
	for info, err := range s.store.List(ctx, s.prefix) {
		if err != nil {
			return errors.Join(append(failures, err)...)
		}
		if _, ok := s.name(info.Key); !ok || time.Since(info.ModTime) <= age {
			continue
		}
		if err := s.store.Remove(ctx, info.Key); err != nil && !errors.Is(err, fs.ErrNotExist) && len(failures) < 10 {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}
