package storetest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"testing"

	"curdling/internal/store"
)

func testSpool(t *testing.T, s store.Store) {
	spooler, ok := s.(store.Spooler)
	if !ok {
		t.Skip("lends no temporary files")
	}
	f, err := spooler.Spool()
	if err != nil {
		t.Fatal(err)
	}
	if keys := list(t, s, ""); len(keys) != 0 {
		t.Errorf("a temporary file is held as %q", keys)
	}
	f.Close()
	removeSpooled(t, f.Name())
	if err := createSpooled(t, s, spooler, "dir/a", "abc"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, "dir/a"); got != "abc" {
		t.Errorf("content %q", got)
	}
	if err := createSpooled(t, s, spooler, "dir/a", "abc"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("again: %v, want fs.ErrExist", err)
	}
}

func testSpoolRace(t *testing.T, s store.Store) {
	spooler, ok := s.(store.Spooler)
	if !ok {
		t.Skip("lends no temporary files")
	}
	race(t, s, func(_ int, content string) error { return createSpooled(t, s, spooler, "raced", content) })
}

// createSpooled writes a temporary file of the store and hands it over.
func createSpooled(t *testing.T, s store.Store, spooler store.Spooler, key, content string) error {
	f, err := spooler.Spool()
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		removeSpooled(t, f.Name())
	}()
	if _, err := io.Copy(f, bytes.NewReader([]byte(content))); err != nil {
		return err
	}
	return s.Create(t.Context(), key, f, int64(len(content)))
}

// removeSpooled removes a temporary file as its borrower must; it may be gone.
func removeSpooled(t *testing.T, name string) {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removing a temporary file: %v", err)
	}
}
