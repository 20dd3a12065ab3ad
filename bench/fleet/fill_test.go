//go:build linux

package main

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestFillDirect: what is filled in has a claim, bytes and metadata for each wheel.
func TestFillDirect(t *testing.T) {
	folder := t.TempDir()
	if err := fillDirect(t.Context(), folder, t.TempDir(), 10); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rest, err := filepath.Rel(folder, path)
			if err != nil {
				return err
			}
			parts := strings.Split(rest, "/")
			counts[parts[0]+" "+strings.Repeat("/", len(parts)-2)]++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if counts["wheels /"] != 10 || counts["wheels ///"] != 10 || counts["metadata /"] != 10 || len(counts) != 3 {
		t.Errorf("%v", counts)
	}
}
