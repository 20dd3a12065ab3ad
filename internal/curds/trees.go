package curds

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"curdling/internal/metadata"
	"curdling/internal/smallfile"
	"curdling/internal/store"
	"curdling/internal/wheel"
)

// durable stands in a manifest's first line in the place of a boot's id, for a
// tree that is known to have reached the disk.
const durable = "durable"

const maxManifest = 256 << 20 // bytes

// Tree gives the unpacked wheel whose file is held under that hash, unpacking it where that was
// not done yet. Two processes that want one tree unpack it once.
func (c *Curds) Tree(ctx context.Context, sha256 string) (wheel.Tree, error) {
	if !store.IsSHA256(sha256) {
		return wheel.Tree{}, fmt.Errorf("own cache: %q is no sha256", sha256)
	}
	dir := filepath.Join(c.dir, "trees", sha256[:2], sha256)
	if t, ok := c.readTree(dir); ok {
		return t, nil
	}
	unlock, err := c.Lock(ctx, "tree "+sha256)
	if err != nil {
		return wheel.Tree{}, err
	}
	defer unlock()
	if t, ok := c.readTree(dir); ok {
		return t, nil
	}
	return c.unpack(dir, func(dir string) (wheel.Tree, error) {
		w, err := c.openWheel(sha256)
		if err != nil {
			return wheel.Tree{}, err
		}
		defer w.Close()
		return w.Unpack(ctx, dir)
	})
}

// Tarball gives the tree of the tarball with that hash, which receive unpacks into the folder that it is given where
// that was not done yet. Such a tree is what a server called a wheel, and is never one that Tree gives: nobody here saw
// the wheel. Two processes that want one tree receive it once.
func (c *Curds) Tarball(ctx context.Context, sha256 string, receive func(dir string) (wheel.Tree, error)) (wheel.Tree, error) {
	if !store.IsSHA256(sha256) {
		return wheel.Tree{}, fmt.Errorf("own cache: %q is no sha256", sha256)
	}
	dir := filepath.Join(c.dir, string(Tarballs), sha256[:2], sha256)
	if t, ok := c.readTree(dir); ok {
		return t, nil
	}
	unlock, err := c.Lock(ctx, lockNames[Tarballs]+sha256)
	if err != nil {
		return wheel.Tree{}, err
	}
	defer unlock()
	if t, ok := c.readTree(dir); ok {
		return t, nil
	}
	return c.unpack(dir, receive)
}

// readTree reads a tree's manifest; false where there is no tree that can be trusted.
func (c *Curds) readTree(dir string) (wheel.Tree, bool) {
	b, err := smallfile.Read(filepath.Join(dir, "manifest"), maxManifest)
	if err != nil {
		return wheel.Tree{}, false
	}
	boot, rest, ok := bytes.Cut(b, []byte("\n"))
	if !ok {
		return wheel.Tree{}, false
	}
	t := wheel.Tree{Dir: filepath.Join(dir, "tree")}
	if t.Manifest.UnmarshalBinary(rest) != nil {
		return wheel.Tree{}, false
	}
	if string(boot) != durable && string(boot) != c.boot {
		if !intact(t) {
			return wheel.Tree{}, false
		}
		_ = writeAtomic(filepath.Join(dir, "manifest"), append([]byte(durable+"\n"), rest...))
	}
	return t, true
}

// intact reads every file of a tree and tells whether each is what the manifest says.
func intact(t wheel.Tree) bool {
	for _, f := range t.Manifest.Files {
		if sum, err := hashFile(filepath.Join(t.Dir, filepath.FromSlash(f.Path))); err != nil || sum != f.SHA256 {
			return false
		}
	}
	return true
}

// hashFile gives a file's SHA-256 as RECORD writes it.
func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)), nil
}

// unpack has the tree made under a temporary name and moves it to dir, in the place of one that is broken.
func (c *Curds) unpack(dir string, fill func(dir string) (wheel.Tree, error)) (wheel.Tree, error) {
	tmp, err := os.MkdirTemp(c.Temp(), "tree-")
	if err != nil {
		return wheel.Tree{}, c.failed(err)
	}
	defer os.RemoveAll(tmp)
	t, err := fill(filepath.Join(tmp, "tree"))
	if err != nil {
		return wheel.Tree{}, c.full(err)
	}
	manifest, err := t.Manifest.MarshalBinary()
	if err != nil {
		return wheel.Tree{}, err
	}
	if err := os.WriteFile(filepath.Join(tmp, "manifest"), append([]byte(c.boot+"\n"), manifest...), 0o644); err != nil {
		return wheel.Tree{}, c.failed(err)
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return wheel.Tree{}, c.failed(err)
	}
	if t, ok := c.readTree(dir); ok { // where there are no locks
		return t, nil
	}
	if _, err := os.Stat(dir); err == nil { // broken: out of the way
		if err := os.Rename(dir, filepath.Join(tmp, "broken")); err != nil {
			return wheel.Tree{}, c.failed(err)
		}
	}
	if err := c.place(tmp, dir); err != nil {
		return wheel.Tree{}, err
	}
	t.Dir = filepath.Join(dir, "tree")
	return t, nil
}

// Metadata gives the core metadata of the wheel whose file is held under that hash.
func (c *Curds) Metadata(sha256 string) (*metadata.Metadata, error) {
	w, err := c.openWheel(sha256)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	return w.Metadata, nil
}

// openFile is a wheel with the file that it is read from.
type openFile struct {
	*wheel.Wheel
	io.Closer
}

func (c *Curds) openWheel(sha256 string) (w openFile, err error) {
	path, ok := c.File(sha256)
	if !ok {
		return w, fmt.Errorf("own cache: no file with sha256 %s", sha256)
	}
	f, err := os.Open(path)
	if err != nil {
		return w, c.failed(err)
	}
	w.Closer = f
	info, err := f.Stat()
	if err == nil {
		w.Wheel, err = wheel.Open(f, info.Size(), filepath.Base(path))
	}
	if err != nil {
		f.Close()
	}
	return w, err
}
