package catalog

import (
	"cmp"
	"slices"
	"strings"
)

// mostNewest is how many files are noted as new.
const mostNewest = 256

// noteNewest notes a file if it came later than others. The caller holds mu.
func (c *Catalog) noteNewest(f *File) {
	later := func(a, b *File) int {
		return cmp.Or(b.ModTime.Compare(a.ModTime), strings.Compare(a.Filename, b.Filename))
	}
	i, _ := slices.BinarySearchFunc(c.newest, f, later)
	if i < mostNewest {
		c.newest = slices.Insert(c.newest[:min(len(c.newest), mostNewest-1)], i, f)
	}
}

// Newest gives projects of which a file came lately, the last first, at most limit
// of them. Those of the last 256 files are known; some less after files were removed.
func (c *Catalog) Newest(limit int) []*Project {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var found []*Project
	for _, f := range c.newest {
		if p := c.projects[f.Name]; len(found) < limit && !slices.Contains(found, p) {
			found = append(found, p)
		}
	}
	return found
}
