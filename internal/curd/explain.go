package curd

import (
	"cmp"
	"context"
	"slices"

	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/record"
)

// Explained is a build, and why it is there.
type Explained struct {
	*record.Record
	At string // the cache server that has it, "" the own cache
	// Misfit is why this interpreter and machine would not use it; "": it is used.
	Misfit string
	// Earlier is the build of the same version before it, nil where there is none; Changed is what is another
	// than with that one, which is why it was built again.
	Earlier *record.Record
	Changed []string
}

// ExplainBuilds tells of the builds of a project that the own cache and the cache servers have, by version, the newest first.
func ExplainBuilds(ctx context.Context, o Options, name dist.Name) ([]Explained, error) {
	s, env, err := newSessionFor(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	src := s.newSource(env.Python, nil)
	var all []Explained
	seen := make(map[string]bool) // by sha256 of the wheel
	add := func(r *record.Record, at string) {
		f, err := dist.ParseFilename(r.Wheel.Filename, name)
		if err != nil || seen[r.Wheel.SHA256] {
			return
		}
		seen[r.Wheel.SHA256] = true
		f.BuiltFrom, f.BuildKey = r.From.SHA256, r.Key
		all = append(all, Explained{Record: r, At: at, Misfit: cmp.Or(src.otherwise(f), s.misfit(r, src.python))})
	}
	for _, b := range s.own.AllBuilds() {
		if r, err := record.Parse(b.Record); err == nil {
			add(r, "")
		}
	}
	for _, c := range s.caches {
		page, err := s.page(ctx, c, name)
		if err != nil {
			return nil, err
		}
		if page == nil {
			page = &index.Project{}
		}
		for _, f := range page.Files {
			if f.BuildKey == "" || seen[f.SHA256] {
				continue
			}
			r, _, err := s.recordOf(ctx, f)
			if err != nil {
				s.warn("%s: %v", c.shown, err)
				continue
			}
			add(r, c.shown)
		}
	}
	version := func(e Explained) dist.File {
		f, _ := dist.ParseFilename(e.Wheel.Filename, name) // add saw that it can be read
		return f
	}
	slices.SortStableFunc(all, func(a, b Explained) int {
		return cmp.Or(version(a).Version.Compare(version(b).Version), a.Cost.Built.Compare(b.Cost.Built))
	})
	for i := 1; i < len(all); i++ {
		if version(all[i]).Version.Equal(version(all[i-1]).Version) {
			all[i].Earlier = all[i-1].Record
			all[i].Changed = record.Differences(all[i-1].Record, all[i].Record)
		}
	}
	slices.Reverse(all)
	return all, nil
}
