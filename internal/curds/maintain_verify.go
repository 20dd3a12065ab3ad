package curds

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"curdling/internal/wheel"
)

// Damage is an entry that is not what its name or its manifest says.
type Damage struct {
	Kind Kind
	Path string
	Err  error // what is wrong
}

// Verify reads every file and every tree, holds them against their hashes, and
// removes what is damaged, telling found, which may be nil, of each. It gives
// how much it has read. What vanishes meanwhile is not damaged.
func (c *Curds) Verify(ctx context.Context, found func(Damage)) ([]Usage, error) {
	done, err := c.Use(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	b, err := c.newBin(ctx)
	if err != nil {
		return nil, err
	}
	v := verifier{bin: b, found: found}
	var read []Usage
	for _, kind := range []Kind{Files, Trees, Tarballs} {
		u, verr := v.verify(kind)
		read, err = append(read, u), errors.Join(err, verr)
	}
	_, derr := b.empty()
	return read, errors.Join(err, derr)
}

type verifier struct {
	*bin
	mu    sync.Mutex
	found func(Damage)
}

func (v *verifier) verify(kind Kind) (Usage, error) {
	u := Usage{Kind: kind}
	items, err := v.items(kind)
	if err != nil {
		return u, err
	}
	group, ctx := errgroup.WithContext(v.ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, path := range items {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			n, err := v.item(kind, path)
			v.mu.Lock()
			defer v.mu.Unlock()
			u.Bytes += n
			if n > 0 {
				u.Count++
			}
			return err
		})
	}
	return u, group.Wait()
}

// item verifies one entry and removes it where it is damaged.
func (v *verifier) item(kind Kind, path string) (read int64, err error) {
	read, wrong := v.inspect(kind, path)
	if wrong == nil || errors.Is(wrong, fs.ErrNotExist) && gone(path) {
		return read, nil
	}
	// Somebody may just have put a whole one in its place.
	unlock, err := v.Lock(v.ctx, lockNames[kind]+filepath.Base(path))
	if err != nil {
		return read, err
	}
	defer unlock()
	if _, wrong = v.inspect(kind, path); wrong == nil || gone(path) {
		return read, nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.take(kind, path); err != nil {
		return read, err
	}
	if v.found != nil {
		v.found(Damage{kind, path, wrong})
	}
	return read, nil
}

// lockNames begin the names of the locks under which Fetch and Tree make an item.
var lockNames = map[Kind]string{Files: "file ", Trees: "tree ", Tarballs: "tarball "}

func gone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// inspect reads an item and tells what is wrong with it.
func (v *verifier) inspect(kind Kind, path string) (read int64, wrong error) {
	if kind != Files {
		return inspectTree(path)
	}
	sum := filepath.Base(path)
	file, ok := v.File(sum)
	if !ok {
		return 0, errors.New("does not hold one file")
	}
	err := unnoticed(file, func() error {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if read, err = io.Copy(h, f); err != nil {
			return err
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != sum {
			return fmt.Errorf("%s: its sha256 is %s", filepath.Base(file), got)
		}
		return nil
	})
	return read, err
}

// readManifest reads that of a tree, whatever boot it is of.
func readManifest(path string) (m wheel.Manifest, err error) {
	manifest := filepath.Join(path, "manifest")
	err = unnoticed(manifest, func() error {
		b, err := os.ReadFile(manifest)
		if err != nil {
			return err
		}
		_, rest, _ := bytes.Cut(b, []byte("\n"))
		return m.UnmarshalBinary(rest)
	})
	return m, err
}

// inspectTree holds a tree against its manifest, and its bytecode against its lists, whatever boot they are of.
func inspectTree(path string) (read int64, err error) {
	t := wheel.Tree{Dir: filepath.Join(path, "tree")}
	if t.Manifest, err = readManifest(path); err != nil {
		return 0, err
	}
	for _, f := range t.Manifest.Files {
		read += f.Size
	}
	if !intact(t) {
		return read, fmt.Errorf("%s %s: its files are not those of the wheel any more", t.Manifest.Name, t.Manifest.Version)
	}
	compiled, _ := fs.Glob(os.DirFS(path), "bytecode-*") // the pattern is right
	for _, name := range compiled {
		read += bytesOf(filepath.Join(path, name))
		b, _, err := openBytecode(filepath.Join(path, name))
		if err == nil {
			err = b.check()
		}
		if err != nil {
			return read, fmt.Errorf("%s %s: %w", t.Manifest.Name, t.Manifest.Version, err)
		}
	}
	return read, nil
}
