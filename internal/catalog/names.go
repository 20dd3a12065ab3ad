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
	c.names = merge(c.names, slices.Sorted(maps.Keys(c.renamed)), c.projects)
	clear(c.renamed)
	return c.names, c.generation
}

// merge gives the names that there are now, of the old ones and those that came or went; all are sorted.
func merge(old, renamed []dist.Name, projects map[dist.Name]*Project) []dist.Name {
	names := make([]dist.Name, 0, len(projects))
	for _, name := range renamed {
		at, was := slices.BinarySearch(old, name)
		names = append(names, old[:at]...)
		old = old[at:]
		if was {
			old = old[1:]
		}
		if projects[name] != nil {
			names = append(names, name)
		}
	}
	return append(names, old...)
}
