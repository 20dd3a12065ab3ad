package catalog

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"curdling/internal/wheel"
)

// Metadata gives the METADATA of a wheel that is held, and what is known of the
// wheel. Where there is none the error wraps fs.ErrNotExist.
func (c *Catalog) Metadata(ctx context.Context, filename string) ([]byte, *File, error) {
	f, err := c.Offered(filename)
	if err != nil {
		return nil, nil, err
	}
	if !f.HasMetadata {
		return nil, nil, fmt.Errorf("%s has no metadata: %w", filename, fs.ErrNotExist)
	}
	kept := c.metadataPath(f.SHA256)
	if kept != "" {
		if b, err := os.ReadFile(kept); err == nil && sum(b) == f.MetadataSHA256 {
			return b, f, nil
		}
	}
	if c.far != nil {
		if b := c.far.derivedFile(ctx, metadataKey(f.SHA256)); b != nil && sum(b) == f.MetadataSHA256 {
			c.keepMetadata(kept, b)
			return b, f, nil
		}
	}
	r, f, err := c.Open(ctx, filename)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	w, err := wheel.Open(readerAt(r), f.Size, filename)
	if err != nil {
		return nil, nil, err
	}
	if sum(w.RawMetadata) != f.MetadataSHA256 {
		return nil, nil, fmt.Errorf("%s: its METADATA is not what it was when it came; was the file changed by hand?", filename)
	}
	c.keepMetadata(kept, w.RawMetadata)
	if c.far != nil {
		if err := c.far.derive(ctx, metadataKey(f.SHA256), w.RawMetadata); err != nil {
			c.log.Debug("metadata cannot be shared", "file", filename, "err", err)
		}
	}
	return w.RawMetadata, f, nil
}

// keepMetadata keeps METADATA at a path of [Catalog.metadataPath].
func (c *Catalog) keepMetadata(path string, text []byte) {
	if path == "" {
		return
	}
	if err := writeWhole(path, text); err != nil {
		c.log.Debug("metadata cannot be kept", "path", path, "err", err)
	}
}

// metadataPath is where the METADATA of the wheel with that hash is kept, "" for nowhere.
func (c *Catalog) metadataPath(sha256 string) string {
	if c.state == "" {
		return ""
	}
	return filepath.Join(c.state, "metadata", sha256[:2], sha256)
}

// mostMetadata is how many bytes of METADATA are kept of what is far away.
const mostMetadata = 512 << 20

// boundMetadata removes what was kept first of METADATA, where there is too much.
func (c *Catalog) boundMetadata(ctx context.Context, most int64) {
	if c.state == "" {
		return
	}
	type kept struct {
		path string
		size int64
		at   time.Time
	}
	var all []kept
	_ = filepath.WalkDir(filepath.Join(c.state, "metadata"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			if info, err := entry.Info(); err == nil {
				all = append(all, kept{path, info.Size(), info.ModTime()})
			}
		}
		return ctx.Err()
	})
	slices.SortFunc(all, func(a, b kept) int { return b.at.Compare(a.at) })
	for _, x := range all {
		if most -= x.size; most < 0 && ctx.Err() == nil {
			_ = os.Remove(x.path) // next time, then
		}
	}
}

// pruneMetadata removes the METADATA of wheels that are not held any more.
func (c *Catalog) pruneMetadata(ctx context.Context) {
	if c.state == "" {
		return
	}
	held := make(map[string]bool)
	c.mu.RLock()
	for _, f := range c.files {
		held[f.SHA256] = true
	}
	c.mu.RUnlock()
	_ = filepath.WalkDir(filepath.Join(c.state, "metadata"), func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !held[entry.Name()] {
			_ = os.Remove(name) // next time, then
		}
		return ctx.Err()
	})
}
