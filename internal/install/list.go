package install

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"curdling/internal/dist"
	"curdling/internal/metadata"
	"curdling/internal/smallfile"
	"curdling/internal/version"
	"curdling/internal/wheel"
)

// Installed is one distribution of an environment. What its folder holds is read when it is asked for.
type Installed struct {
	Name     dist.Name
	Version  version.Version // zero where neither the folder nor its metadata tell a valid one
	DistInfo string          // absolute path of its .dist-info folder (or .egg-info folder or file)
}

// buffers hold a METADATA while it is parsed. Most have less.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

// Metadata reads what counts for a solver in the distribution's METADATA, or PKG-INFO with the requirements
// of requires.txt where it has none itself; errors are those of metadata.Parse.
func (i Installed) Metadata() (*metadata.Metadata, error) {
	path := filepath.Join(i.DistInfo, "METADATA")
	if i.isEgg() {
		path = filepath.Join(i.DistInfo, "PKG-INFO")
		if info, err := os.Stat(i.DistInfo); err == nil && info.Mode().IsRegular() {
			path = i.DistInfo
		}
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	b, err := smallfile.ReadInto(*buffer, path, wheel.MaxMetadata)
	if err != nil {
		return nil, fmt.Errorf("metadata of %s: %w", i.Name, err)
	}
	b, _, _ = bytes.Cut(b, []byte("\n\n")) // the description is most of it, and nobody asks for it
	m, err := metadata.ParseForSolving(b)
	if m != nil && len(m.RequiresDist) == 0 && filepath.Base(path) == "PKG-INFO" {
		err = errors.Join(err, addRequires(m, i.DistInfo))
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", i.DistInfo, err)
	}
	return m, err
}

// Installer gives the first line of INSTALLER, "" where there is none.
func (i Installed) Installer() string {
	b, _ := smallfile.Read(filepath.Join(i.DistInfo, "INSTALLER"), 1<<10)
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}

// HasRecord tells whether there is a RECORD, without which it cannot be removed.
func (i Installed) HasRecord() bool { return !i.isEgg() && exists(filepath.Join(i.DistInfo, "RECORD")) }

// DirectURL reads direct_url.json; nil: it came from an index.
func (i Installed) DirectURL() *DirectURL {
	b, err := smallfile.Read(filepath.Join(i.DistInfo, "direct_url.json"), maxDirectURL)
	if err != nil || i.isEgg() {
		return nil
	}
	u, _ := ParseDirectURL(b)
	return u
}

func (i Installed) isEgg() bool { return strings.HasSuffix(i.DistInfo, ".egg-info") }

// List gives what is installed, ordered by name. A project that was installed
// twice, by an accident, is listed twice. Leftovers of pip ("~lask-3.0.dist-info")
// and what has no valid name are passed over.
func List(env Env) ([]Installed, error) {
	var all []Installed
	for _, dir := range env.siteDirs() {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("listing what is installed: %w", err)
		}
		for _, e := range entries {
			if i, ok := identify(filepath.Join(dir, e.Name())); ok {
				all = append(all, i)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Installed) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return all, nil
}

// siteDirs are the folders that hold .dist-info folders, each once.
func (e Env) siteDirs() []string {
	dirs := []string{e.Python.Purelib}
	if other := e.Python.Platlib; other != "" && !sameFile(other, e.Python.Purelib) {
		dirs = append(dirs, other)
	}
	return dirs
}

// sameFile tells whether two paths lead to one folder, as lib64 and lib do.
func sameFile(a, b string) bool {
	if a == b {
		return true
	}
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// identify reads one entry of a site folder.
func identify(path string) (Installed, bool) {
	base := filepath.Base(path)
	stem, ok := strings.CutSuffix(base, ".dist-info")
	if !ok {
		return identifyEgg(path)
	}
	at := strings.LastIndexByte(stem, '-')
	name, err := dist.ParseName(stem[:max(at, 0)])
	if err != nil {
		return Installed{}, false
	}
	i := Installed{Name: name, DistInfo: path}
	if i.Version, err = version.Parse(stem[at+1:]); err != nil {
		i.versionFromMetadata()
	}
	return i, true
}

// identifyEgg reads what distutils and old setuptools left: a folder or file
// "foo_bar-1.0-py3.11.egg-info" or "foo_bar.egg-info".
func identifyEgg(path string) (Installed, bool) {
	stem, ok := strings.CutSuffix(filepath.Base(path), ".egg-info")
	if !ok {
		return Installed{}, false
	}
	parts := strings.Split(stem, "-")
	name, err := dist.ParseName(parts[0])
	if err != nil {
		return Installed{}, false
	}
	i := Installed{Name: name, DistInfo: path}
	if len(parts) > 1 {
		i.Version, err = version.Parse(parts[1])
	}
	if len(parts) == 1 || err != nil {
		i.versionFromMetadata()
	}
	return i, true
}

func (i *Installed) versionFromMetadata() {
	if m, _ := i.Metadata(); m != nil {
		i.Version = m.Version
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
