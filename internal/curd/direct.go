package curd

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"curdling/internal/build"
	"curdling/internal/curds"
	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/install"
	"curdling/internal/lazyregexp"
	"curdling/internal/record"
	"curdling/internal/requirement"
	"curdling/internal/resolve"
)

// direct is what the URL of a requirement gave, and what direct_url.json (PEP 610) says of it.
type direct struct {
	dist.File // a wheel, perhaps built of what the URL gave
	from      install.DirectURL
	archive   string // sha256 of what the URL gave; "" where that was no archive
	built     bool
	record    []byte // of the build, nil where there is none
}

// pinURLs makes what each URL gives the only candidate of its project. The result has the names of all
// requirements, also of folders, whose names only a build tells.
func (s *source) pinURLs(ctx context.Context, reqs []requirement.Requirement) ([]requirement.Requirement, error) {
	named := slices.Clone(reqs)
	counts := func(r requirement.Requirement) bool {
		ok, err := r.Marker.Holds(s.python.Markers, "")
		return r.URL != "" && (r.Name == "" || err == nil && (ok || strings.Contains(r.Marker.String(), "extra")))
	}
	for _, r := range reqs {
		if counts(r) && !s.inFolder(r.URL) {
			s.ahead.Go(func() { _, _ = s.fileAt(ctx, r.Name, r.URL) }) // who asks again in its turn hears of an error
		}
	}
	for i, r := range reqs {
		if !counts(r) {
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
	p.candidates = []resolve.Candidate{{File: d.File, Barred: s.judgeDirect(d)}}
	if i, ok := s.installed[d.Name]; ok && cameFrom(i, d) {
		p.candidates = []resolve.Candidate{{File: installedFile(i), Admitted: true}}
	}
	p.asked, p.known = 2+len(s.caches), true
	return nil
}

// judgeDirect tells why what a URL gave cannot be used, "" where it can.
func (s *source) judgeDirect(d direct) string {
	if _, ok := s.ranks.Best(d.Tags); !ok {
		return fmt.Sprintf("its wheel is not for %s", describePython(s.python))
	}
	given := d.File
	given.SHA256 = d.archive
	return s.wrongHash(given)
}

// cameFrom tells whether what is installed was made of just this. A folder may have changed.
func cameFrom(i install.Installed, d direct) bool {
	u := i.DirectURL()
	return u != nil && d.from.Dir == nil && reflect.DeepEqual(*u, d.from)
}

// fileAt gives what the URL of a requirement points at: a wheel, or one that is built of what is
// there. name is "" where only the source knows it.
func (s *source) fileAt(ctx context.Context, name dist.Name, at string) (direct, error) {
	return s.urls.get(ctx, at, func() (direct, error) {
		line, err := requirement.ParseArgument(at, false)
		if err != nil {
			return direct{}, err
		}
		src := line.Source
		shown := cmp.Or(string(name), path.Base(strings.TrimSuffix(src.URL+filepath.ToSlash(src.Path), "/")))
		var d direct
		switch {
		case src.Kind == requirement.Repository:
			d, err = s.repository(ctx, shown, at, src)
		case src.Path != "" && isFolder(src.Path):
			d, err = s.folder(ctx, at, src)
		case src.Path != "" && !isThere(src.Path):
			err = fmt.Errorf("%s: there is no such file or folder", src.Path)
		case src.Path != "" || src.Kind == requirement.Archive:
			d, err = s.archive(ctx, shown, at, src)
		default:
			err = fmt.Errorf("%s: no wheel, source distribution, folder or repository", index.Redact(at))
		}
		d.URL = withoutFragment(at)
		return d, err
	})
}

// inFolder tells whether a URL names a folder, or a repository that is to lie in one. Those are built one after the
// other, since one may lie in the other and builds may leave files there.
func (s *source) inFolder(at string) bool {
	line, err := requirement.ParseArgument(at, false)
	return err != nil || s.Editable[at] || line.Source.Path != "" && isFolder(line.Source.Path)
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// withoutFragment cuts also the credentials off a URL.
func withoutFragment(at string) string {
	u, err := url.Parse(at)
	if err != nil {
		return index.Redact(at)
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	return u.String()
}

func fileURL(path string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()
}

var archiveSuffix = lazyregexp.New(`(?i)\.(whl|zip|tar\.gz|tgz|tar\.bz2|tbz|tar)$`)

// archive fetches a wheel, or builds one of an archive.
func (s *source) archive(ctx context.Context, name, at string, src requirement.Source) (d direct, err error) {
	shown := index.Redact(at)
	file := dist.File{URL: src.URL, Filename: path.Base(filepath.ToSlash(src.Path))}
	if u, err := url.Parse(src.URL); err == nil && src.Kind == requirement.Archive {
		file.Filename = path.Base(u.Path)
	}
	suffix := archiveSuffix.FindString(file.Filename)
	wheel := strings.EqualFold(suffix, ".whl")
	switch {
	case suffix == "":
		return d, fmt.Errorf("%s: its name does not end as that of a wheel or an archive does (.whl, .tar.gz, .zip, .tar.bz2)", shown)
	case wheel:
		if d.File, err = dist.ParseFilename(file.Filename, ""); err != nil {
			return d, fmt.Errorf("%s: %w", shown, err)
		}
	default:
		file.Filename = "source" + strings.ToLower(suffix)
	}
	h, err := s.fetchDirect(ctx, file, src)
	if err != nil {
		return d, err
	}
	if src.Hash != "" {
		ok, err := hasHash(h, []string{src.Hash})
		if err != nil {
			return d, err
		}
		if !ok {
			return d, fmt.Errorf("%s: what is there does not have the hash that its URL names (%s)", shown, src.Hash)
		}
	}
	if wheel {
		d.SHA256 = h.sha256
	} else if d, err = s.builtDirect(ctx, &recipe{
		source: recipeOfPart(h.sha256, src.Subdirectory), name: name, python: s.python, settings: s.settings(at), variables: s.variables(),
		from: record.From{Subdirectory: src.Subdirectory},
		lay: func(context.Context, string) (build.Source, error) {
			return build.Source{Archive: h.path, SHA256: h.sha256, Subdirectory: src.Subdirectory}, nil
		},
	}); err != nil {
		return d, err
	}
	d.archive = h.sha256
	d.from = install.DirectURL{
		URL: withoutFragment(at), Subdirectory: src.Subdirectory,
		Archive: &install.ArchiveInfo{Hashes: map[string]string{"sha256": h.sha256}},
	}
	return d, nil
}

// recipeOfPart names the subdirectory of an archive.
func recipeOfPart(sha256, subdirectory string) string {
	if subdirectory == "" {
		return sha256
	}
	return hashText(sha256 + "#" + subdirectory)
}

// fetchDirect gives the archive at a URL or path.
func (s *source) fetchDirect(ctx context.Context, file dist.File, src requirement.Source) (h held, err error) {
	if digest, ok := strings.CutPrefix(src.Hash, "sha256:"); ok {
		file.SHA256 = digest
	}
	if src.Kind == requirement.Archive {
		s.client.Login(src.URL)
		file.URL = withoutFragment(src.URL)
		return s.fetch(ctx, file)
	}
	h.path, h.sha256, err = s.own.Import(src.Path, file)
	return h, err
}

// builtDirect builds the wheel of a recipe whose project only the build tells.
func (s *source) builtDirect(ctx context.Context, r *recipe) (direct, error) {
	b, err := s.built(ctx, r)
	if err != nil {
		return direct{}, err
	}
	return builtFile(b)
}

func builtFile(b curds.Build) (direct, error) {
	f, err := dist.ParseFilename(b.Filename, "")
	f.SHA256 = b.Wheel
	return direct{File: f, built: true, record: b.Record}, err
}

// folder builds a wheel of a project's folder, anew in each run: nobody knows what changed in it.
func (s *source) folder(ctx context.Context, at string, src requirement.Source) (d direct, err error) {
	dir, err := filepath.Abs(src.Path)
	if err != nil {
		return d, err
	}
	d, err = s.builtFolder(ctx, dir, at, src.Subdirectory)
	d.from = install.DirectURL{URL: fileURL(dir), Subdirectory: src.Subdirectory, Dir: &install.DirInfo{Editable: s.Editable[at]}}
	return d, err
}

// builtFolder builds a wheel of a folder, an editable one where at is to be installed so.
func (s *source) builtFolder(ctx context.Context, dir, at, subdirectory string) (d direct, err error) {
	ctx, _ = withBuild(ctx, at)
	r := &recipe{name: filepath.Base(dir), ours: true, python: s.python, settings: s.settings(at), lay: func(context.Context, string) (build.Source, error) {
		return build.Source{Dir: dir, Subdirectory: subdirectory}, nil
	}}
	err = s.work(ctx, &s.builders, r, nil, func(b *build.Builder, src build.Source, out string, used *used) error {
		hook := b.Wheel
		if s.Editable[at] {
			hook = b.Editable
		}
		result, err := hook(ctx, src, out)
		if err != nil {
			return err
		}
		d.File, _, err = s.importBuilt(ctx, r, result, used)
		return err
	})
	d.built = true
	return d, err
}
