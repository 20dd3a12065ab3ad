package curds

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"curdling/internal/dist"
	"curdling/internal/store"
)

// File gives the path of the distribution file with that hash, false where it is not held.
func (c *Curds) File(sha256 string) (path string, ok bool) {
	dir := c.fileDir(sha256)
	if dir == "" {
		return "", false
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		return "", false
	}
	return filepath.Join(dir, entries[0].Name()), true
}

func (c *Curds) fileDir(sha256 string) string {
	if !store.IsSHA256(sha256) {
		return ""
	}
	return filepath.Join(c.dir, "files", sha256[:2], sha256)
}

// Fetch gives the path of f, calling download for what is not held yet.
// download writes the file and tells the SHA-256 of what it wrote; where
// f.SHA256 is known, anything else is an error. Two processes that want one
// file of known hash download it once.
func (c *Curds) Fetch(ctx context.Context, f dist.File, download func(w *os.File) (sha256 string, err error)) (path, sha256 string, err error) {
	if path, ok := c.File(f.SHA256); ok {
		return path, f.SHA256, nil
	}
	if f.SHA256 != "" {
		unlock, err := c.Lock(ctx, "file "+f.SHA256)
		if err != nil {
			return "", "", err
		}
		defer unlock()
		if path, ok := c.File(f.SHA256); ok {
			return path, f.SHA256, nil
		}
	}
	return c.keep(f, download)
}

// keep writes a file under a temporary name and moves it to its place.
func (c *Curds) keep(f dist.File, write func(w *os.File) (sha256 string, err error)) (path, sha256 string, err error) {
	tmp, err := os.MkdirTemp(c.Temp(), "file-")
	if err != nil {
		return "", "", c.failed(err)
	}
	defer os.RemoveAll(tmp)
	w, err := os.OpenFile(filepath.Join(tmp, f.Filename), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", "", c.failed(err)
	}
	defer w.Close()
	sha256, err = write(w)
	if err != nil {
		return "", "", c.full(err)
	}
	if f.SHA256 != "" && sha256 != f.SHA256 {
		return "", "", fmt.Errorf("%s: its sha256 is %s, expected was %s", f.Filename, sha256, f.SHA256)
	}
	if err := w.Sync(); err != nil {
		return "", "", c.failed(err)
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", "", c.failed(err)
	}
	if err := c.place(tmp, c.fileDir(sha256)); err != nil {
		return "", "", err
	}
	path, ok := c.File(sha256)
	if !ok {
		return "", "", fmt.Errorf("own cache: %s vanished from %s", f.Filename, c.fileDir(sha256))
	}
	return path, sha256, nil
}

// place renames a finished folder to its final name. Where another process was
// first, what it put there is as good, and dir is left to be removed.
func (c *Curds) place(dir, final string) error {
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return c.failed(err)
	}
	if err := os.Rename(dir, final); err != nil {
		if _, serr := os.Stat(final); serr == nil {
			return nil
		}
		return c.failed(err)
	}
	return nil
}

// Import keeps a copy of a local file.
func (c *Curds) Import(path string, f dist.File) (kept, sha string, err error) {
	return c.keep(f, func(w *os.File) (string, error) {
		r, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer r.Close()
		h := sha256.New()
		if _, err := io.Copy(io.MultiWriter(w, h), r); err != nil {
			return "", err
		}
		return hex.EncodeToString(h.Sum(nil)), nil
	})
}
