package curd

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"curdling/internal/dist"
	"curdling/internal/lock"
	"curdling/internal/marker"
	"curdling/internal/requirement"
	"curdling/internal/resolve"
	"curdling/internal/version"
)

// Follow prefers the versions of a lock.
func (o *Options) Follow(l *lock.Lock) {
	o.Preferred = map[dist.Name]version.Version{}
	for _, p := range l.Packages {
		if !p.Version.IsZero() {
			o.Preferred[p.Name] = p.Version
		}
	}
}

// MakeLock resolves what Options require, and gives a lock with all files that the indexes have of
// the versions chosen. It says for which environments it is right: those in which every marker that was looked at
// comes out as here. dir is the folder that the lock will lie in. Cache servers are not asked: a lock
// names places that anybody can reach.
func MakeLock(ctx context.Context, o Options, dir string) (*lock.Lock, error) {
	o.Caches = nil
	s, env, err := newSessionFor(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	src := s.newSource(env.Python, nil)
	solution, err := src.solve(ctx, s.problem())
	if err != nil {
		return nil, err
	}
	l := &lock.Lock{Version: version.MustParse("1.0"), CreatedBy: "curd"}
	var markers []marker.Marker
	for _, w := range slices.Concat(s.Requirements, s.Constraints) {
		markers = append(markers, w.Marker)
	}
	for _, c := range solution.Chosen {
		p, err := src.lockPackage(ctx, c, dir)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", c.File.Name, c.File.Version, err)
		}
		l.Packages = append(l.Packages, p)
		md, err := src.describe(ctx, c.File)
		if err != nil {
			return nil, err
		}
		markers = append(markers, regarded(md.RequiresDist, c.Extras)...)
	}
	if agreed := marker.Agree(env.Python.Markers, markers); !agreed.IsZero() && !s.NoDeps {
		l.Environments = []marker.Marker{agreed}
	}
	return l, nil
}

// regarded gives the markers that count with the extras; others belong to extras that nobody asks for.
func regarded(reqs []requirement.Requirement, extras []dist.Name) (all []marker.Marker) {
	for _, r := range reqs {
		text := r.Marker.String()
		if !strings.Contains(text, "extra") || slices.ContainsFunc(extras, func(e dist.Name) bool { return strings.Contains(text, string(e)) }) {
			all = append(all, r.Marker)
		}
	}
	return all
}

// lockPackage writes down one choice.
func (s *source) lockPackage(ctx context.Context, c resolve.Choice, dir string) (p lock.Package, err error) {
	f := c.File
	p = lock.Package{Name: f.Name, Version: f.Version, RequiresPython: f.RequiresPython}
	for _, n := range c.Needs {
		p.Dependencies = append(p.Dependencies, map[string]any{"name": string(n)})
	}
	if d, ok := s.direct[f.Name]; ok && d.URL == f.URL {
		return p, lockDirect(&p, d, dir)
	}
	files, from, err := s.lockFiles(ctx, f)
	if err != nil {
		return p, err
	}
	p.Index = from
	for _, f := range files {
		file := lock.File{URL: f.URL, Size: f.Size, UploadTime: f.UploadTime, Hashes: map[string]string{"sha256": f.SHA256}}
		if local, err := requirement.PathOfURL(f.URL); strings.HasPrefix(f.URL, "file:") && err == nil {
			file.URL, file.Path = "", relative(dir, local)
		}
		if path.Base(f.URL) != f.Filename && path.Base(file.Path) != f.Filename {
			file.Name = f.Filename
		}
		if f.Kind == dist.Wheel {
			p.Wheels = append(p.Wheels, file)
		} else if p.Sdist == nil {
			p.Sdist = &file
		}
	}
	return p, nil
}

// lockFiles gives all files of the version of f, and the index that has them ("" for --find-links).
func (s *source) lockFiles(ctx context.Context, f dist.File) (files []dist.File, from string, err error) {
	pages, _, err := s.indexed(ctx, f.Name)
	if err != nil {
		return nil, "", err
	}
	for _, page := range pages {
		if !slices.ContainsFunc(page.Files, func(g dist.File) bool { return g.URL == f.URL }) {
			continue
		}
		for _, g := range page.Files {
			if g.Version.Compare(f.Version) != 0 || s.tooNew(g) != "" || g.SHA256 == "" && g.URL != f.URL {
				continue
			}
			if g.SHA256 == "" {
				h, err := s.fetch(ctx, g)
				if err != nil {
					return nil, "", err
				}
				g.SHA256 = h.sha256
			}
			files = append(files, g)
		}
		break
	}
	for _, i := range s.indexes {
		if page, err := s.page(ctx, i, f.Name); err == nil && page != nil && slices.ContainsFunc(page.Files, func(g dist.File) bool { return g.URL == f.URL }) {
			return files, i.shown, nil
		}
	}
	return files, "", nil
}

// lockDirect writes down what came from a URL.
func lockDirect(p *lock.Package, d direct, dir string) error {
	from := d.from
	switch {
	case from.VCS != nil:
		p.VCS = &lock.VCS{
			Type: from.VCS.VCS, URL: from.URL, CommitID: from.VCS.CommitID,
			RequestedRevision: from.VCS.RequestedRevision, Subdirectory: from.Subdirectory,
		}
	case from.Dir != nil:
		local, err := requirement.PathOfURL(from.URL)
		if err != nil {
			return err
		}
		p.Directory = &lock.Directory{Path: relative(dir, local), Editable: from.Dir.Editable, Subdirectory: from.Subdirectory}
		p.Version = version.Version{} // a folder's may change
	default:
		p.Archive = &lock.File{URL: from.URL, Hashes: maps.Clone(from.Archive.Hashes), Subdirectory: from.Subdirectory}
		if u, err := url.Parse(from.URL); err == nil && u.Scheme == "file" {
			local, err := requirement.PathOfURL(from.URL)
			if err != nil {
				return err
			}
			p.Archive.URL, p.Archive.Path = "", relative(dir, local)
		}
	}
	return nil
}

// relative gives a path from the folder dir, slash-separated; where there is none, it stays absolute.
func relative(dir, path string) string {
	if rel, err := filepath.Rel(dir, path); err == nil {
		path = rel
	}
	return filepath.ToSlash(path)
}
