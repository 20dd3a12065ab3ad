package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"curdling/internal/store"
)

// Swap renames a whole file over the one that is there, while no other process swaps.
func (s *Store) Swap(ctx context.Context, key string, old, content []byte) error {
	name, err := s.path(key)
	if err != nil {
		return err
	}
	lock := flock.New(filepath.Join(s.root, StateDir, "swap.lock"))
	defer lock.Close()
	return s.rename(content, name, func() error {
		if _, err := lock.TryLockContext(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("%s cannot be changed: %s: %w", key, lock.Path(), err)
		}
		held, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err != nil || !bytes.Equal(held, old) {
			return &fs.PathError{Op: "swap", Path: name, Err: store.ErrChanged}
		}
		return nil
	})
}
