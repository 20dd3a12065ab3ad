package disk

import (
	"context"
	"errors"
	"os"
	"path/filepath"
)

// Replace keeps content under a key whether it is held or not, the one or the
// other whole at any time. It is for what is no distribution file: these never change.
func (s *Store) Replace(_ context.Context, key string, content []byte) error {
	name, err := s.path(key)
	if err != nil {
		return err
	}
	return s.rename(content, name, func() error { return nil })
}

// rename puts a whole new file in the place of the one at name, where allow has nothing against it at the last moment.
func (s *Store) rename(content []byte, name string, allow func() error) error {
	f, err := s.Spool()
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing there after success
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := allow(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}
