package smallfile

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	buffer := make([]byte, 0, 4096)
	for _, size := range []int{0, 1, 511, 4096, 100_000} {
		path, want := filepath.Join(dir, "file"), bytes.Repeat([]byte("x"), size)
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(path, 100_000); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d, %v", size, len(got), err)
		}
		if got, err := ReadInto(buffer, path, 100_000); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes into a buffer: %d, %v", size, len(got), err)
		}
		if _, err := Read(path, int64(size)-1); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%d bytes with a lower limit: %v", size, err)
		}
	}
	if _, err := Read(filepath.Join(dir, "none"), 1); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Read(dir, 1<<20); err == nil {
		t.Error("a folder was read")
	}
}

// TestSpecial: files whose size the system does not know are read, too.
func TestSpecial(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("/proc/version")
	if err != nil {
		t.Skip(err)
	}
	if got, err := Read("/proc/version", 1<<20); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
}
