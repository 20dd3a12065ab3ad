package catalog

import (
	"os"
	"path/filepath"
	"testing"

	"curdling/internal/store/disk"
)

// BenchmarkOpen opens the folder CURDLING_BENCH, which was opened before (bench/catalog makes such folders).
func BenchmarkOpen(b *testing.B) {
	dir := os.Getenv("CURDLING_BENCH")
	if dir == "" {
		b.Skip("CURDLING_BENCH is not set")
	}
	s, err := disk.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		c, err := Open(b.Context(), Config{Store: s, State: filepath.Join(dir, disk.StateDir)})
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

// BenchmarkFresh asks for a project that is known, and was listed a moment ago.
func BenchmarkFresh(b *testing.B) {
	s := newRemote()
	c, err := Open(b.Context(), Config{Store: s})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for b.Loop() {
		if err := c.Fresh(b.Context(), "flask"); err != nil {
			b.Fatal(err)
		}
	}
}
