package filecache

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"time"

	"curdling/internal/store"
)

// abandoned is the age of a temporary file that nobody writes any more.
const abandoned = time.Hour

// list takes what earlier processes left, those first to be evicted that were touched first, and sweeps what they broke off.
func (c *Cache) list() {
	now := time.Now()
	for name, fi := range c.files(c.temps()) {
		if now.Sub(fi.ModTime()) > abandoned {
			_ = os.Remove(filepath.Join(c.temps(), name))
		}
	}
	var found []*entry
	folders, _ := os.ReadDir(c.dir) // what cannot be read is fetched anew
	for _, folder := range folders {
		if len(folder.Name()) != 2 {
			continue
		}
		for name, fi := range c.files(filepath.Join(c.dir, folder.Name())) {
			if store.IsSHA256(name) && name[:2] == folder.Name() {
				found = append(found, &entry{sum: name, size: fi.Size(), touched: fi.ModTime()})
			}
		}
	}
	slices.SortFunc(found, func(a, b *entry) int { return cmp.Or(b.touched.Compare(a.touched), cmp.Compare(a.sum, b.sum)) })
	c.mu.Lock()
	for _, e := range found {
		if c.entries[e.sum] == nil {
			c.put(e, c.order.PushBack)
		}
	}
	gone := c.evict(c.max - c.reserved)
	c.mu.Unlock()
	c.remove(gone...)
}

// files gives the regular files of a folder until the cache is closed.
func (c *Cache) files(dir string) func(yield func(string, os.FileInfo) bool) {
	return func(yield func(string, os.FileInfo) bool) {
		all, _ := os.ReadDir(dir)
		for _, f := range all {
			if c.ctx.Err() != nil {
				return
			}
			if fi, err := f.Info(); err == nil && fi.Mode().IsRegular() && !yield(f.Name(), fi) {
				return
			}
		}
	}
}
