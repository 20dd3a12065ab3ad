//go:build unix

package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestPipe(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	if err := syscall.Mkfifo(filepath.Join(s.Dir(), "pipe.whl"), 0o666); err != nil {
		t.Skip(err)
	}
	if _, _, err := s.Open(t.Context(), "pipe.whl"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of a pipe: %v, want fs.ErrNotExist", err)
	}
	for info := range s.List(t.Context(), "") {
		t.Errorf("List shows %q", info.Key)
	}
}

func TestReadOnly(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("x"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	r, _, err := s.Open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	if err := s.Create(t.Context(), "b", strings.NewReader("x"), 1); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Create in a read-only folder: %v, want fs.ErrPermission", err)
	}
}
