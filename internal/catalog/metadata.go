package catalog

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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
	if kept != "" {
		if err := writeWhole(kept, w.RawMetadata); err != nil {
			c.log.Debug("metadata cannot be kept", "file", filename, "err", err)
		}
	}
	return w.RawMetadata, f, nil
}

// metadataPath is where the METADATA of the wheel with that hash is kept, "" for nowhere.
func (c *Catalog) metadataPath(sha256 string) string {
	if c.journal.dir == "" {
		return ""
	}
	return filepath.Join(c.journal.dir, "metadata", sha256[:2], sha256)
}

// pruneMetadata removes the METADATA of wheels that are not held any more.
func (c *Catalog) pruneMetadata(ctx context.Context) {
	if c.journal.dir == "" {
		return
	}
	held := make(map[string]bool)
	c.mu.RLock()
	for _, f := range c.files {
		held[f.SHA256] = true
	}
	c.mu.RUnlock()
	_ = filepath.WalkDir(filepath.Join(c.journal.dir, "metadata"), func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !held[entry.Name()] {
			_ = os.Remove(name) // next time, then
		}
		return ctx.Err()
	})
}
