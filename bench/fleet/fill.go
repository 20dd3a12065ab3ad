//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"

	"curdling/internal/catalog"
	"curdling/internal/store/bucket"
	"curdling/internal/store/storetest"
	"curdling/internal/wheel/wheeltest"
)

const (
	perProject = 5
	batch      = 20 // projects that are made in memory at a time
)

// pageProject is the name of a project of a bucket that is filled for pages.
func pageProject(i int) string { return fmt.Sprintf("page-%06d", i) }

// fillDirect puts tiny wheels into the S3 server's folder, where an object is a file, in the time that it takes to make them. What lies
// there is what uploads leave: the catalog's and the bucket's own code puts it into a store in memory first.
func fillDirect(ctx context.Context, folder, temp string, wheels int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	projects := wheels / perProject
	for first := 0; first < projects; first += batch {
		g.Go(func() error { return fillBatch(ctx, folder, temp, first, min(first+batch, projects)) })
	}
	return g.Wait()
}

func fillBatch(ctx context.Context, folder, temp string, first, end int) (err error) {
	objects := storetest.NewMemory(0, 0)
	c, err := catalog.Open(ctx, catalog.Config{Store: bucket.New(objects, bucket.Options{Temp: temp}), Derived: objects})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for i := first; i < end; i++ {
		for v := range perProject {
			w := newWheel(wheeltest.Wheel{Name: pageProject(i), Version: fmt.Sprintf("1.%d", v), Summary: "One of many", RequiresPython: ">=3.8"}, 100, "")
			if err := keep(ctx, c, &w); err != nil {
				return err
			}
		}
	}
	for _, key := range objects.Keys() {
		if err := dump(ctx, objects, key, filepath.Join(folder, key)); err != nil {
			return err
		}
	}
	return nil
}

func keep(ctx context.Context, c *catalog.Catalog, f *file) error {
	u, err := c.Receive(f.name, bytes.NewReader(f.content))
	if err != nil {
		return err
	}
	defer u.Discard()
	_, err = u.Keep(ctx, catalog.From{})
	return err
}

func dump(ctx context.Context, objects *storetest.Memory, key, path string) error {
	r, _, err := objects.Open(ctx, key)
	if err != nil {
		return err
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, content, 0o666))
}
