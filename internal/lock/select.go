package lock

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"curdling/internal/dist"
	"curdling/internal/lazyregexp"
	"curdling/internal/marker"
	"curdling/internal/requirement"
	"curdling/internal/tag"
	"curdling/internal/version"
)

// Target is what a lock is to be installed for.
type Target struct {
	Environment marker.Environment
	Python      version.Version
	Tags        tag.Ranking
	Extras      []string
	Groups      []string // nil: the lock's DefaultGroups, which are not asked for otherwise

	// NoWheels tells that a project's sdist is to be taken where there is one,
	// and NoSdists that none may be taken. Both may be nil.
	NoWheels, NoSdists func(dist.Name) bool

	// Location is the lock file's path or URL, where relative paths begin. A
	// lock that came by http or https names no path outside of its host.
	Location string
}

// Chosen is a package to install and the one source to install it from.
type Chosen struct {
	Package *Package // of the lock
	// Source is a LocalFile, a Directory, an Archive or a Repository, whose
	// Revision is the locked commit. Paths are resolved.
	Source   requirement.Source
	Editable bool
	// File tells of the wheel or sdist what the lock does: Name, Version, Kind,
	// Filename, Build, Tags, URL (where Source has one, without credentials), Size,
	// SHA256, UploadTime. It is zero for other sources, whose version
	// only they themselves know.
	File dist.File
	// Hashes are what the file must have, all of them: "sha256:...", at least
	// one of sha256, sha384 and sha512; none for directories and repositories.
	Hashes []string
}

// Select gives what to install for a target, as PEP 751 says: in the order of
// the file, each package once, wheels by the target's tags (of equal ones the
// highest build, then the first), else the sdist.
//
// An error tells what does not fit: the Python, the environment, an extra or
// group that the lock does not have, two packages of one name, or a package
// that has nothing for the target.
func (l *Lock) Select(t Target) ([]Chosen, error) {
	if t.Groups == nil {
		t.Groups = l.DefaultGroups
	}
	if err := l.suits(t); err != nil {
		return nil, fmt.Errorf("this lock is not for this target: %w", err)
	}
	var chosen []Chosen
	seen := map[dist.Name]bool{}
	for i := range l.Packages {
		p := &l.Packages[i]
		holds, err := p.Marker.HoldsInLock(t.Environment, t.Extras, t.Groups)
		if err == nil && !holds {
			continue
		}
		if err == nil && seen[p.Name] {
			err = errors.New("is locked more than once for this target; lock again")
		}
		seen[p.Name] = true
		var c Chosen
		if err == nil {
			c, err = p.choose(t)
		}
		if err != nil {
			return nil, fmt.Errorf("lock file: packages[%d] (%s): %w", i, p.Name, err)
		}
		chosen = append(chosen, c)
	}
	return chosen, nil
}

// suits tells whether the lock as a whole is for the target.
func (l *Lock) suits(t Target) error {
	if !l.RequiresPython.Contains(t.Python) {
		return fmt.Errorf("it is for Python %s, not %s", l.RequiresPython, t.Python)
	}
	if err := checkAsked("extra", t.Extras, texts(l.Extras)); err != nil {
		return err
	}
	if err := checkAsked("group", t.Groups, slices.Concat(l.DependencyGroups, l.DefaultGroups)); err != nil {
		return err
	}
	for _, m := range l.Environments {
		if holds, err := m.Holds(t.Environment, ""); err != nil || holds {
			return err
		}
	}
	if len(l.Environments) > 0 {
		return fmt.Errorf("it is for other environments: %s", shorten(l.Environments))
	}
	return nil
}

// checkAsked sees that what is asked for is there.
func checkAsked(what string, asked, there []string) error {
	known := map[string]bool{}
	for _, name := range there {
		known[normalise(name)] = true
	}
	for _, name := range asked {
		if !known[normalise(name)] {
			return fmt.Errorf("it has no %s %q; it has: %s", what, name, cmp.Or(strings.Join(there, ", "), "none"))
		}
	}
	return nil
}

var separators = lazyregexp.New(`[-_.]+`)

func normalise(name string) string { return strings.ToLower(separators.ReplaceAllString(name, "-")) }

func texts(names []dist.Name) (all []string) {
	for _, n := range names {
		all = append(all, string(n))
	}
	return all
}

// shorten gives the first few markers, for a message.
func shorten(markers []marker.Marker) string {
	var parts []string
	for _, m := range markers[:min(len(markers), 3)] {
		parts = append(parts, m.String())
	}
	if len(markers) > len(parts) {
		parts = append(parts, fmt.Sprintf("and %d more", len(markers)-len(parts)))
	}
	return strings.Join(parts, "; ")
}

// choose gives the package's source for a target.
func (p *Package) choose(t Target) (c Chosen, err error) {
	c.Package = p
	switch {
	case !p.RequiresPython.Contains(t.Python):
		return c, fmt.Errorf("needs Python %s, not %s", p.RequiresPython, t.Python)
	case p.VCS != nil:
		c.Source, err = p.VCS.source(t.Location)
		return c, err
	case p.Directory != nil:
		c.Source, err = p.Directory.source(t.Location)
		c.Editable = p.Directory.Editable
		return c, err
	}
	f := p.Archive
	if f == nil {
		if f, err = p.file(t); err != nil {
			return c, err
		}
		if c.File, err = f.parseName(p.Name); err != nil {
			return c, err
		}
	}
	if c.Hashes, err = f.hashes(); err != nil {
		return c, err
	}
	if c.Source, err = locate(t.Location, f.Path, f.URL); err != nil {
		return c, err
	}
	c.Source.Subdirectory = f.Subdirectory
	if p.Archive == nil {
		c.File.URL, c.File.Size, c.File.SHA256, c.File.UploadTime = withoutUser(c.Source.URL), f.Size, f.Hashes["sha256"], f.UploadTime
	}
	return c, nil
}

// file gives the wheel or sdist for a target.
func (p *Package) file(t Target) (*File, error) {
	says := func(f func(dist.Name) bool) bool { return f != nil && f(p.Name) }
	if p.Sdist != nil && says(t.NoWheels) && !says(t.NoSdists) {
		return p.Sdist, nil
	}
	if best := p.bestWheel(t.Tags); best != nil {
		return best, nil
	}
	switch {
	case p.Sdist == nil:
		return nil, errors.New("has no wheel for this target, and no source distribution; lock for this target, too")
	case says(t.NoSdists):
		return nil, errors.New("has no wheel for this target, and its source distribution must not be built")
	}
	return p.Sdist, nil
}

// bestWheel gives the wheel that the tags like best, nil where they like none.
func (p *Package) bestWheel(tags tag.Ranking) *File {
	var best *File
	var bestRank int
	var bestBuild dist.BuildTag
	for i := range p.Wheels {
		f, err := p.Wheels[i].parseName(p.Name)
		rank, ok := tags.Best(f.Tags)
		if err != nil || !ok {
			continue
		}
		if best == nil || rank < bestRank || rank == bestRank && f.Build.Compare(bestBuild) > 0 {
			best, bestRank, bestBuild = &p.Wheels[i], rank, f.Build
		}
	}
	return best
}

// hashes gives the digests, strongest first, of the algorithms that are checked.
func (f *File) hashes() (all []string, err error) {
	for _, algorithm := range []string{"sha512", "sha384", "sha256"} {
		if digest := f.Hashes[algorithm]; digest != "" {
			all = append(all, algorithm+":"+digest)
		}
	}
	if all == nil {
		return nil, fmt.Errorf("its hashes are none that prove anything (%s); sha256 would be", strings.Join(slices.Sorted(maps.Keys(f.Hashes)), ", "))
	}
	return all, nil
}

func (v *VCS) source(lockFile string) (requirement.Source, error) {
	s := requirement.Source{Kind: requirement.Repository, VCS: v.Type, URL: v.URL, Revision: v.CommitID, Subdirectory: v.Subdirectory}
	if v.Path == "" {
		if isRemote(lockFile) && isFileURL(s.URL) {
			return s, errLocal
		}
		return s, nil
	}
	place, err := locate(lockFile, v.Path, "")
	if s.URL = place.URL; err == nil && s.URL == "" {
		s.URL, err = urlOfPath(place.Path)
	}
	return s, err
}

func (d *Directory) source(lockFile string) (requirement.Source, error) {
	s, err := locate(lockFile, d.Path, "")
	if err == nil && s.Kind != requirement.LocalFile {
		err = errLocal
	}
	s.Kind, s.Subdirectory = requirement.Directory, d.Subdirectory
	return s, err
}

var errLocal = errors.New("a lock that came from the network must not name a place of this machine")

func isRemote(lockFile string) bool {
	return strings.HasPrefix(lockFile, "http://") || strings.HasPrefix(lockFile, "https://")
}

// locate gives where a file lies: at path, if there is one, else at link. The
// kind is LocalFile or Archive.
func locate(lockFile, path, link string) (requirement.Source, error) {
	switch {
	case isRemote(lockFile):
		return locateRemote(lockFile, path, link)
	case path == "" && isFileURL(link):
		p, err := requirement.PathOfURL(link)
		return localFile(p), err
	case path == "":
		return requirement.Source{Kind: requirement.Archive, URL: link}, nil
	}
	path = filepath.FromSlash(path)
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(lockFile), path)
	}
	return localFile(path), nil
}

func localFile(path string) requirement.Source {
	if strings.HasPrefix(path, "-") { // programs would take it for an option
		path = "." + string(filepath.Separator) + path
	}
	return requirement.Source{Kind: requirement.LocalFile, Path: path}
}

func locateRemote(lockFile, path, link string) (requirement.Source, error) {
	if path == "" {
		if isFileURL(link) {
			return requirement.Source{}, errLocal
		}
		return requirement.Source{Kind: requirement.Archive, URL: link}, nil
	}
	base, err := url.Parse(lockFile)
	if err != nil {
		return requirement.Source{}, errors.New("the location of the lock file is not a URL")
	}
	u, err := base.Parse((&url.URL{Path: path}).String())
	if err != nil || strings.HasPrefix(path, "/") || strings.Contains(path, `\`) || u.Host != base.Host || u.Scheme != base.Scheme {
		return requirement.Source{}, errLocal
	}
	return requirement.Source{Kind: requirement.Archive, URL: u.String()}, nil
}

func isFileURL(s string) bool { return strings.HasPrefix(strings.ToLower(s), "file:") }

// withoutUser gives a URL without its credentials.
func withoutUser(link string) string {
	u, err := url.Parse(link)
	if err != nil || u.User == nil {
		return link
	}
	u.User = nil
	return u.String()
}

func urlOfPath(p string) (string, error) {
	p, err := filepath.Abs(p)
	if err != nil {
		return "", err
	}
	p = filepath.ToSlash(p)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	return (&url.URL{Scheme: "file", Path: p}).String(), nil
}
