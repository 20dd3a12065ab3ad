package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"

	"curdling/internal/wheel/wheeltest"
)

// newWheel makes a whole wheel of about size bytes that nothing compresses.
// The same name and version give the same bytes.
func newWheel(name, version string, size int) (filename string, content []byte) {
	seed := sha256.Sum256([]byte(name + "-" + version))
	source := rand.NewChaCha8(seed)
	w := wheeltest.Wheel{
		Name: name, Version: version, Summary: "What benchmarks install", RequiresPython: ">=3.8",
		Requires: []string{"requests >=2.0", "numpy ; extra == 'fast'"}, ProvidesExtra: []string{"fast"},
		Files: map[string]string{},
	}
	const frame, largest = 1000, 32 << 20 // what the zip, METADATA and RECORD take; the largest file inside
	for left, i := size-frame, 0; left > 0; i++ {
		b := make([]byte, min(left, largest))
		_, _ = source.Read(b) // never fails
		w.Files[fmt.Sprintf("%s/data%d.bin", name, i)] = string(b)
		left -= len(b)
	}
	members := w.Members()
	for i := range members {
		members[i].Stored = true
	}
	return w.Filename(), wheeltest.Zip(members)
}

// wheels fills a folder.
func wheels(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("wheels", flag.ContinueOnError)
	dir := flags.String("dir", "", "folder, made where missing")
	count := flags.Int("count", 1, "how many")
	versions := flags.Int("versions", 10, "of each project")
	size := flags.Int("size", 20_000, "bytes of each")
	prefix := flags.String("name", "project", "how the names begin")
	if err := parse(flags, args); err != nil {
		return err
	}
	if err := os.MkdirAll(*dir, 0o777); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range *count {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			name, content := newWheel(fmt.Sprintf("%s%d", *prefix, i / *versions), fmt.Sprintf("1.%d", i%*versions), *size)
			if *count == 1 {
				sum := sha256.Sum256(content)
				if err := report(map[string]any{"file": name, "sha256": hex.EncodeToString(sum[:]), "size": len(content)}); err != nil {
					return err
				}
			}
			return os.WriteFile(filepath.Join(*dir, name), content, 0o666)
		})
	}
	return g.Wait()
}
