package curd

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"curdling/internal/build"
	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/install"
	"curdling/internal/requirement"
	"curdling/internal/resolve"
)

// direct is what the URL of a requirement gave, and what direct_url.json (PEP 610) says of it.
type direct struct {
	dist.File
	from install.DirectURL
}

// pinURLs makes what each URL gives the only candidate of its project. The result has the names of all
// requirements, also of folders, whose names only a build tells.
func (s *source) pinURLs(ctx context.Context, reqs []requirement.Requirement) ([]requirement.Requirement, error) {
	named := slices.Clone(reqs)
	for i, r := range reqs {
		if r.URL == "" {
			continue
		}
		if ok, err := r.Marker.Holds(s.python.Markers, ""); r.Name != "" && (err != nil || !ok && !strings.Contains(r.Marker.String(), "extra")) {
			continue
		}
		d, err := s.fileAt(ctx, r.Name, r.URL)
		if err != nil {
			return nil, err
		}
		if r.Name != "" && d.Name != r.Name {
			return nil, fmt.Errorf("%s @ %s: what is there is %s", r.Name, index.Redact(r.URL), d.Name)
		}
		named[i].Name = d.Name
		if err := s.pin(d); err != nil {
			return nil, err
		}
	}
	return named, nil
}

// pin makes a file the only candidate of its project.
func (s *source) pin(d direct) error {
	s.mu.Lock()
	other, found := s.direct[d.Name]
	s.direct[d.Name] = d
	s.mu.Unlock()
	if found && other.URL != d.URL {
		return fmt.Errorf("%s is required at two URLs: %s and %s", d.Name, index.Redact(other.URL), index.Redact(d.URL))
	}
	p := s.project(d.Name)
	p.mu.Lock()
	defer p.mu.Unlock()
	_, barred := s.judge(d.File)
	p.candidates = []resolve.Candidate{{File: d.File, Barred: barred}}
	if i, ok := s.installed[d.Name]; ok && cameFrom(i, d.File) {
		p.candidates = []resolve.Candidate{{File: installedFile(i), Admitted: true}}
	}
	p.asked, p.known = 2+len(s.caches), true
	return nil
}

// cameFrom tells whether what is installed was made of just this file.
func cameFrom(i install.Installed, f dist.File) bool {
	return i.DirectURL != nil && i.DirectURL.Archive != nil &&
		i.DirectURL.URL == f.URL && i.DirectURL.Archive.Hashes["sha256"] == f.SHA256
}

// fileAt gives what the URL of a requirement points at: an archive, which is fetched, or a folder of
// this machine, of which a wheel is built. name is "" where only the source knows it.
func (s *source) fileAt(ctx context.Context, name dist.Name, at string) (direct, error) {
	return s.urls.get(ctx, at, func() (direct, error) {
		u, err := url.Parse(at)
		if err != nil || u.Path == "" {
			return direct{}, fmt.Errorf("%s: not a URL of a file", index.Redact(at))
		}
		if u.Scheme == "file" {
			if info, err := os.Stat(filepath.FromSlash(u.Path)); err == nil && info.IsDir() {
				return s.folder(ctx, u)
			}
		}
		return s.archive(ctx, name, u)
	})
}

// archive fetches a wheel or source distribution.
func (s *source) archive(ctx context.Context, name dist.Name, u *url.URL) (direct, error) {
	shown := index.Redact(u.String())
	f, err := dist.ParseFilename(path.Base(u.Path), name)
	if err != nil {
		return direct{}, fmt.Errorf("%s: %w; name a wheel or a source distribution", shown, err)
	}
	for _, part := range strings.Split(u.Fragment, "&") {
		switch what, value, _ := strings.Cut(part, "="); what {
		case "", "egg":
		case "sha256":
			f.SHA256 = strings.ToLower(value)
		default:
			return direct{}, fmt.Errorf("%s: #%s= is not supported; of hashes, sha256 is", shown, what)
		}
	}
	u.Fragment = ""
	f.URL = u.String()
	var h held
	switch u.Scheme {
	case "http", "https":
		h, err = s.fetch(ctx, f)
	case "file":
		h.path, h.sha256, err = s.own.Import(filepath.FromSlash(u.Path), f)
	default:
		err = fmt.Errorf("%s: %s URLs are not known; name one with https, http or file", shown, u.Scheme)
	}
	f.SHA256 = h.sha256
	from := install.DirectURL{URL: f.URL, Archive: &install.ArchiveInfo{Hashes: map[string]string{"sha256": h.sha256}}}
	return direct{f, from}, err
}

// folder builds a wheel of a project's folder, anew in each run: nobody knows what changed in it.
func (s *source) folder(ctx context.Context, u *url.URL) (d direct, err error) {
	ctx, _ = withBuild(ctx, u.String())
	editable := s.Editable[u.String()]
	err = s.work(ctx, filepath.Base(u.Path), s.python, func(b *build.Builder, out string) error {
		hook := b.Wheel
		if editable {
			hook = b.Editable
		}
		result, err := hook(ctx, build.Source{Dir: filepath.FromSlash(u.Path)}, out)
		if err != nil {
			return err
		}
		if d.File, err = dist.ParseFilename(filepath.Base(result.Path), ""); err != nil {
			return err
		}
		_, d.SHA256, err = s.own.Import(result.Path, d.File)
		return err
	})
	d.URL = u.String()
	d.from = install.DirectURL{URL: d.URL, Dir: &install.DirInfo{Editable: editable}}
	return d, err
}
