package curd

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"curdling/internal/dist"
	"curdling/internal/lock"
	"curdling/internal/requirement"
)

// Lock is a lock file to install from, and what of it.
type Lock struct {
	*lock.Lock
	Location string   // path or URL of the file
	Extras   []string // of those that it has
	Groups   []string // nil: its default ones
}

// locked gives what the lock has for this environment: what is to be installed, unprepared, and what
// is there already.
func (s *source) locked(ctx context.Context) (all []prepared, kept []dist.Name, err error) {
	chosen, err := s.Lock.Select(lock.Target{
		Environment: s.python.Markers, Python: s.python.Version, Tags: s.ranks,
		Extras: s.Lock.Extras, Groups: s.Lock.Groups,
		NoWheels: s.noBinary, NoSdists: s.onlyBinary, Location: s.Lock.Location,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.Lock.Location, err)
	}
	for _, c := range chosen {
		if dir, err := filepath.Abs(c.Source.Path); c.Editable && err == nil {
			s.Editable[fileURL(dir)] = true
		}
	}
	prepared := make([]prepared, len(chosen))
	group, groupCtx := errgroup.WithContext(ctx)
	defer s.ahead.Wait()
	group.SetLimit(16)
	for i, c := range chosen {
		p := &prepared[i]
		p.choice.Requested = true // as pip and uv have it
		p.hashes = c.Hashes
		group.Go(func() error {
			if err := s.lockedOne(groupCtx, c, p); err != nil {
				return fmt.Errorf("%s: %s: %w", s.Lock.Location, c.Package.Name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	for _, p := range prepared {
		if isInstalled(p.choice.File) {
			kept = append(kept, p.choice.File.Name)
		} else {
			all = append(all, p)
		}
	}
	return all, kept, nil
}

// lockedOne finds where one package of a lock is to be had.
func (s *source) lockedOne(ctx context.Context, c lock.Chosen, p *prepared) error {
	there, installed := s.installed[c.Package.Name]
	if c.File.Filename != "" {
		p.choice.File = c.File
		if installed && there.Version.Compare(c.File.Version) == 0 && there.DirectURL() == nil {
			p.choice.File = installedFile(there)
			return nil
		}
		return s.nearest(ctx, c, p)
	}
	d, err := s.lockedDirect(ctx, c)
	if err != nil {
		return err
	}
	if d.Name != c.Package.Name {
		return fmt.Errorf("what is there is %s", d.Name)
	}
	if !c.Package.Version.IsZero() && d.Version.Compare(c.Package.Version) != 0 {
		return fmt.Errorf("what is there is version %s, the lock has %s", d.Version, c.Package.Version)
	}
	p.choice.File, p.direct, p.origin = d.File, &d.from, URL
	p.hashes = nil // they are of the archive, and were compared
	if installed && cameFrom(there, d) {
		p.choice.File = installedFile(there)
	}
	return nil
}

// nearest finds a locked file where it is had soonest: in the own cache, on this machine, on a cache
// server that has the same bytes, or where the lock says.
func (s *source) nearest(ctx context.Context, c lock.Chosen, p *prepared) error {
	f := &p.choice.File
	if _, ok := s.own.File(f.SHA256); ok {
		return nil
	}
	if c.Source.Kind == requirement.LocalFile {
		h := held{path: c.Source.Path}
		var err error
		if h.path, h.sha256, err = s.own.Import(c.Source.Path, *f); err != nil {
			return err
		}
		f.SHA256 = h.sha256
		return nil
	}
	s.client.Login(c.Source.URL)
	s.askCaches(ctx, f.Name)
	for _, cache := range s.caches {
		page, err := s.page(ctx, cache, f.Name)
		if err != nil {
			return err
		}
		if page == nil || f.SHA256 == "" {
			continue
		}
		if i := slices.IndexFunc(page.Files, func(g dist.File) bool { return g.SHA256 == f.SHA256 && s.mayFetch(cache, g) }); i >= 0 {
			f.URL = page.Files[i].URL
			return nil
		}
	}
	return nil
}

// lockedDirect gives the wheel of an archive, a folder or a repository that a lock names.
func (s *source) lockedDirect(ctx context.Context, c lock.Chosen) (d direct, err error) {
	src, name := c.Source, string(c.Package.Name)
	if len(c.Hashes) > 0 {
		src.Hash = c.Hashes[0]
	}
	switch src.Kind {
	case requirement.Repository:
		d, err = s.repository(ctx, name, src.URL, src)
		if err == nil && d.from.VCS != nil {
			d.from.VCS.RequestedRevision = c.Package.VCS.RequestedRevision
		}
		d.URL = d.from.URL
	case requirement.Directory:
		dir, err := filepath.Abs(src.Path)
		if err != nil {
			return d, err
		}
		at := fileURL(dir)
		if d, err = s.folder(ctx, at, src); err != nil {
			return d, err
		}
		d.URL = at
	default:
		at := src.URL
		if src.Path != "" {
			at = fileURL(src.Path)
		}
		d, err = s.archive(ctx, name, at, src)
		d.URL = withoutFragment(at)
	}
	return d, err
}
