package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// QuarantineDir is the folder within the store's where damaged files are put
// aside, each in a folder of its own with the reason beside it. Nothing is served
// from it, and nothing of ours removes anything there.
const QuarantineDir = ".quarantine"

// Quarantine moves the file to .quarantine/TIME-NUMBER/, beside a reason.txt.
func (s *Store) Quarantine(_ context.Context, key, reason string) error {
	name, err := s.path(key)
	if err != nil {
		return err
	}
	if fi, err := os.Stat(name); err != nil {
		return err
	} else if !fi.Mode().IsRegular() {
		return &fs.PathError{Op: "quarantine", Path: name, Err: fs.ErrNotExist}
	}
	aside := filepath.Join(s.root, QuarantineDir)
	if err := os.MkdirAll(aside, 0o777); err != nil {
		return err
	}
	folder, err := os.MkdirTemp(aside, time.Now().UTC().Format("20060102-150405-"))
	if err != nil {
		return err
	}
	err = os.WriteFile(filepath.Join(folder, "reason.txt"), []byte(key+": "+reason+"\n"), 0o666)
	if err == nil {
		err = os.Rename(name, filepath.Join(folder, filepath.Base(name)))
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(folder)) // the file is still in its place
	}
	return errors.Join(syncDir(folder), syncDir(aside), syncDir(filepath.Dir(name)), syncDir(s.root))
}
