package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"
)

// limit does what no installation can do without, and nothing else: it unpacks tarballs, which lie there, into
// trees, unless it finds them unpacked, and links their files into a folder. It verifies, records and resolves nothing.
func limit(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("limit", flag.ContinueOnError)
	from := flags.String("tarballs", "", "the folder that they lie below")
	trees := flags.String("trees", "", "where they are unpacked")
	to := flags.String("to", "", "the folder that is linked into")
	if err := parse(flags, args); err != nil {
		return err
	}
	var tarballs []string
	size := map[string]int64{}
	err := filepath.WalkDir(*from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			tarballs = append(tarballs, path)
			size[path] = info.Size()
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.SortFunc(tarballs, func(a, b string) int { return int(size[b] - size[a]) }) // large ones first
	group, _ := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	lists := make([]string, len(tarballs)) // of the files of each, a line for each
	for i, path := range tarballs {
		group.Go(func() (err error) {
			tree := filepath.Join(*trees, filepath.Base(path))
			list, err := os.ReadFile(tree + ".files")
			if lists[i] = string(list); errors.Is(err, fs.ErrNotExist) {
				lists[i], err = unpack(path, tree)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	made := folders{}
	group, _ = errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, path := range tarballs {
		for file := range strings.Lines(lists[i]) {
			if err := made.need(*to, filepath.Dir(strings.TrimSpace(file))); err != nil {
				return err
			}
		}
		group.Go(func() error {
			tree := filepath.Join(*trees, filepath.Base(path))
			for file := range strings.Lines(lists[i]) {
				file = strings.TrimSpace(file)
				if err := os.Link(tree+"/"+file, *to+"/"+file); err != nil && !errors.Is(err, fs.ErrExist) {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

var decoders = sync.Pool{New: func() any {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		panic(err) // the options are right
	}
	return z
}}

// unpack writes a tarball's files below dir, and their list beside it.
func unpack(path, dir string) (string, error) {
	packed, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	z := decoders.Get().(*zstd.Decoder)
	defer decoders.Put(z)
	if err := z.Reset(bytes.NewReader(packed)); err != nil {
		return "", err
	}
	buffer := buffers.Get().(*[64 << 10]byte)
	defer buffers.Put(buffer)
	made, t := folders{}, tar.NewReader(z)
	var list strings.Builder
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return list.String(), os.WriteFile(dir+".files", []byte(list.String()), 0o666)
		}
		if err != nil {
			return "", err
		}
		if err := made.need(dir, filepath.Dir(h.Name)); err != nil {
			return "", err
		}
		f, err := os.OpenFile(dir+"/"+h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, h.FileInfo().Mode())
		if err != nil {
			return "", err
		}
		_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{t}, buffer[:])
		if err = errors.Join(err, f.Close()); err != nil {
			return "", err
		}
		list.WriteString(h.Name + "\n")
	}
}

// folders are those that were made.
type folders map[string]bool

// need makes a folder below root, and those above it.
func (f folders) need(root, path string) error {
	if f[path] {
		return nil
	}
	if path == "." {
		f[path] = true
		return os.MkdirAll(root, 0o777)
	}
	if err := f.need(root, filepath.Dir(path)); err != nil {
		return err
	}
	f[path] = true
	if err := os.Mkdir(root+"/"+path, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
