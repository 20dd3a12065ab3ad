// Package vectortest reads the vectors that a package is held against: what
// Python's packaging and pip made of generated input. Each package's
// testdata/vectors.py makes them and tells the form of its lines.
package vectortest

import (
	"bufio"
	"compress/gzip"
	"iter"
	"os"
	"path/filepath"
	"testing"
)

// maxLine is the longest line in bytes.
const maxLine = 4 << 20

// Lines gives the lines of testdata/vectors.jsonl.gz, or, where the variable
// CURDLING_VECTORS names a folder, of NAME.gz in it. A line is valid until the next.
func Lines(t testing.TB, name string) iter.Seq[[]byte] {
	t.Helper()
	path := filepath.Join("testdata", "vectors.jsonl.gz")
	if dir := os.Getenv("CURDLING_VECTORS"); dir != "" {
		path = filepath.Join(dir, name+".gz")
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, maxLine)
	return func(yield func([]byte) bool) {
		for lines.Scan() {
			if !yield(lines.Bytes()) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
}
