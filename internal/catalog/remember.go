package catalog

import (
	"runtime"
	"slices"
	"strings"
	"sync"

	"curdling/internal/dist"
	"curdling/internal/store"
	"curdling/internal/tag"
	"curdling/internal/version"
)

// remember makes Files of what is known of those that are there, and gives those of which nothing is.
func remember(infos []store.Info, known map[string]string) (files []*File, fresh []store.Info) {
	var (
		made    = make([]*File, len(infos))
		workers sync.WaitGroup
		share   = len(infos)/runtime.GOMAXPROCS(0) + 1
	)
	for start := 0; start < len(infos); start += share {
		workers.Go(func() {
			all := newCommon()
			for i, info := range infos[start:min(start+share, len(infos))] {
				if x, ok := parseFacts(known[info.Key]); ok {
					made[start+i] = x.file(info, all)
				}
			}
		})
	}
	workers.Wait()
	for i, f := range made {
		if f == nil {
			fresh = append(fresh, infos[i])
		}
	}
	return slices.DeleteFunc(made, func(f *File) bool { return f == nil }), fresh
}

// common keeps what many files have in common once.
type common struct {
	texts      map[string]string
	tagSets    map[string][]tag.Tag
	specifiers map[string]version.Specifiers
}

func newCommon() *common {
	return &common{make(map[string]string), make(map[string][]tag.Tag), make(map[string]version.Specifiers)}
}

func (c *common) text(s string) string {
	kept, ok := c.texts[s]
	if !ok {
		kept = strings.Clone(s)
		c.texts[kept] = kept
	}
	return kept
}

// tags gives a wheel's tags by the end of its name, which spells them.
func (c *common) tags(f dist.File) []tag.Tag {
	end := len(f.Filename)
	for range 3 {
		end = max(0, strings.LastIndexByte(f.Filename[:end], '-'))
	}
	kept, ok := c.tagSets[f.Filename[end:]]
	if !ok {
		kept = slices.Clone(f.Tags)
		for i, t := range kept { // they are parts of the file's name
			kept[i] = tag.Tag{Python: c.text(t.Python), ABI: c.text(t.ABI), Platform: c.text(t.Platform)}
		}
		c.tagSets[strings.Clone(f.Filename[end:])] = kept
	}
	return kept
}

func (c *common) requires(s string) (version.Specifiers, error) {
	kept, ok := c.specifiers[s]
	if ok {
		return kept, nil
	}
	parsed, err := version.ParseSpecifiers(s)
	if err == nil {
		c.specifiers[strings.Clone(s)] = parsed
	}
	return parsed, err
}
