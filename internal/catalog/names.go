package catalog

import (
	"maps"
	"slices"

	"curdling/internal/dist"
)

// Names gives the names of all projects, sorted, and a number that changes when they do. Read them only.
func (c *Catalog) Names() (names []dist.Name, generation uint64) {
	c.mu.RLock()
	names, generation = c.names, c.generation
	fresh := len(c.renamed) == 0
	c.mu.RUnlock()
	if fresh {
		return names, generation
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.namesNow(), c.generation
}

// namesNow is Names for who holds mu.
func (c *Catalog) namesNow() []dist.Name {
	if len(c.renamed) > 0 {
		c.names = merge(c.names, c.renamed)
		clear(c.renamed)
	}
	return c.names
}

// listed notes whether there is a project of a name. The caller holds mu.
func (c *Catalog) listed(name dist.Name, held bool) {
	was, known := c.renamed[name]
	if !known {
		_, was = slices.BinarySearch(c.names, name)
	}
	if was != held {
		c.renamed[name] = held
		c.generation++
	}
}

// merge gives the names that there are now, of the old ones, which are sorted, and those that came or went.
func merge(old []dist.Name, renamed map[dist.Name]bool) []dist.Name {
	names := make([]dist.Name, 0, len(old)+len(renamed))
	for _, name := range slices.Sorted(maps.Keys(renamed)) {
		at, was := slices.BinarySearch(old, name)
		names = append(names, old[:at]...)
		old = old[at:]
		if was {
			old = old[1:]
		}
		if renamed[name] {
			names = append(names, name)
		}
	}
	return append(names, old...)
}
