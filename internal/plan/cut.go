package plan

import (
	"strings"

	"curdling/internal/dist"
	"curdling/internal/index"
)

// use is of what use a file is to a client.
type use uint8

const (
	perhaps use = iota // a source distribution, a build, what is yanked: the client judges
	foreign            // a wheel for other machines
	sure               // a wheel that the client takes before all that is not sure
)

// isOwn tells of a platform that no policy stands for: whether such a wheel works, only a try shows.
func isOwn(platform string) bool { return strings.HasPrefix(platform, "linux_") }

// cut leaves out what a client cannot come to choose, nor learn anything from. Of a version with a wheel that is
// sure, that are its source distributions, which no wheel would be left for, and wheels for other machines. Of any
// other, those for other machines but the last one, whose metadata stands for that of the source. No version goes: that there is one, and
// why it will not do, is a fact, too.
func cut(page *index.Project, of func(*dist.File) use) *index.Project {
	certain := make(map[string]bool)
	last := make(map[string]int)
	uses := make([]use, len(page.Files))
	for i := range page.Files {
		f := &page.Files[i]
		uses[i] = of(f)
		switch key := f.Version.Key(); uses[i] {
		case sure:
			certain[key] = true
		case foreign:
			last[key] = i
		}
	}
	less := *page
	less.Files = make([]dist.File, 0, len(page.Files))
	for i, f := range page.Files {
		key := f.Version.Key()
		switch {
		case certain[key] && (uses[i] == foreign || f.Kind == dist.Sdist):
		case uses[i] == foreign && last[key] != i:
		default:
			less.Files = append(less.Files, f)
		}
	}
	return &less
}
