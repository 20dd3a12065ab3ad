package curd

import (
	"fmt"
	"strings"
	"time"

	"curdling/internal/dist"
	"curdling/internal/version"
)

// Hint implements resolve.Hinter: what may help where no candidate in want can be used.
func (s *source) Hint(name dist.Name, want version.Set) string {
	p := s.project(name)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.known:
		return ""
	case s.onlyBinary(name) && p.hasSdist(want):
		return fmt.Sprintf("source distributions of %s that fit are there: --no-binary %s admits to build them", name, name)
	case !s.ExcludeNewer.IsZero() && !p.oldest(want).IsZero():
		return fmt.Sprintf("the oldest version of %s that fits is of %s, later than --exclude-newer", name, p.oldest(want).UTC().Format(time.DateOnly))
	case len(p.skipped) > 0 && len(p.candidates) == 0:
		return fmt.Sprintf("the page of %s lists nothing but files that are no distribution files of it, such as %q", name, p.skipped[0])
	}
	if others := s.unasked(name, p); len(others) > 0 {
		return fmt.Sprintf("%s may have other versions of %s, but is not asked, since %s knows the name: --index-strategy unsafe-best-match asks all",
			strings.Join(others, " and "), name, p.from)
	}
	return ""
}

func (p *project) hasSdist(want version.Set) bool {
	for _, c := range p.candidates {
		if c.Kind == dist.Sdist && want.Contains(c.Version) {
			return true
		}
	}
	return false
}

// oldest gives the earliest time at which a candidate in want was uploaded; the zero value where none tells.
func (p *project) oldest(want version.Set) (t time.Time) {
	for _, c := range p.candidates {
		if want.Contains(c.Version) && !c.UploadTime.IsZero() && (t.IsZero() || c.UploadTime.Before(t)) {
			t = c.UploadTime
		}
	}
	return t
}

// unasked gives the indexes behind the one that knows a name.
func (s *source) unasked(name dist.Name, p *project) (others []string) {
	if s.BestMatch || p.from == "" {
		return nil
	}
	behind := false
	for _, i := range s.indexes {
		if behind && s.asks(i, name) {
			others = append(others, i.shown)
		}
		behind = behind || i.shown == p.from
	}
	return others
}
