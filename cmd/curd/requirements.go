package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"curdling/internal/curd"
	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/lock"
	"curdling/internal/requirement"
	"curdling/internal/resolve"
)

// requirements reads the command line's requirements and those of -r files.
func (f *runFlags) requirements(ctx context.Context, o *curd.Options, args []string) error {
	open := opener(ctx, *o)
	for _, arg := range args {
		if err := addArgument(o, arg, false); err != nil {
			return err
		}
	}
	for _, arg := range f.editable {
		if err := addArgument(o, arg, true); err != nil {
			return err
		}
	}
	lockFile := slices.IndexFunc(f.files, lock.IsFilename)
	if lockFile >= 0 {
		if len(o.Requirements)+len(f.files)+len(f.constraints) > 1 {
			return usageError{fmt.Errorf("%s is a lock file, which is installed alone: leave out other requirements, files and constraints", f.files[lockFile])}
		}
		return f.readLock(o, f.files[lockFile], open)
	}
	for _, path := range f.files {
		file, err := f.readFile(path, open)
		if err == nil {
			err = addFile(o, file)
		}
		if err != nil {
			return err
		}
		f.warnings = append(f.warnings, file.Ignored...)
	}
	if err := readConstraints(&o.Constraints, f.constraints, open); err != nil {
		return err
	}
	if err := readConstraints(&o.BuildConstraints, f.buildConstraints, open); err != nil {
		return err
	}
	if err := addGroups(o, f.groups); err != nil {
		return err
	}
	if len(o.Requirements)+len(f.files)+len(f.groups) == 0 {
		return usageError{errors.New("nothing is required: name a requirement, or a file with -r")}
	}
	return nil
}

// addArgument adds what the command line asks for.
func addArgument(o *curd.Options, arg string, editable bool) error {
	line, err := requirement.ParseArgument(arg, editable)
	if err != nil {
		return usageError{err}
	}
	line.Where = "the command line"
	if ext := filepath.Ext(arg); line.Source.Kind == requirement.Named && (ext == ".txt" || ext == ".toml" || ext == ".in") {
		return usageError{fmt.Errorf("%s would be a project of that name; a file goes with -r: -r %s", arg, arg)}
	}
	return addLine(o, line)
}

// readLock reads a lock file (PEP 751).
func (f *runFlags) readLock(o *curd.Options, path string, open openFunc) error {
	r, err := open(path)
	if err != nil {
		return err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxLock+1))
	if err != nil {
		return fmt.Errorf("%s: %w", index.Redact(path), err)
	}
	l, err := lock.Parse(text) // which refuses what is too long
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	o.Lock = &curd.Lock{Lock: l, Location: path, Extras: f.extras, Groups: f.groups}
	return nil
}

const maxLock = 16 << 20 // bytes; package lock's own limit

// readFile reads a requirements file, or what a pyproject.toml or a script requires.
func (f *runFlags) readFile(path string, open openFunc) (file requirement.File, err error) {
	switch {
	case filepath.Base(path) == pyproject:
		p, err := requirement.ReadPyproject(path)
		if err != nil {
			return file, err
		}
		file.Requirements, err = p.Requirements(f.extras)
		return file, err
	case strings.HasSuffix(path, ".py"):
		file.Requirements, err = requirement.ReadScript(path)
		return file, err
	}
	return requirement.ReadFile(path, open)
}

const pyproject = "pyproject.toml"

// addGroups adds dependency groups (PEP 735): NAME of the pyproject.toml here, PATH:NAME of another one.
func addGroups(o *curd.Options, groups []string) error {
	for _, group := range groups {
		path, name, ok := cutLast(group, ":")
		switch {
		case !ok:
			path, name = pyproject, group
		case filepath.Base(path) != pyproject:
			return usageError{fmt.Errorf("--group %s: write NAME, or PATH:NAME with the path of a pyproject.toml", group)}
		}
		p, err := requirement.ReadPyproject(path)
		if !ok && errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("--group %s: there is no pyproject.toml here; PATH:%s takes it from the one of that path", group, group)
		}
		if err != nil {
			return fmt.Errorf("--group %s: %w", group, err)
		}
		lines, err := p.Group(name)
		if err != nil {
			return err
		}
		for _, l := range lines {
			if err := addLine(o, l); err != nil {
				return err
			}
		}
	}
	return nil
}

func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}

// addLine adds a requirement.
func addLine(o *curd.Options, l requirement.Line) error {
	w, err := wanted(l)
	if err != nil {
		return err
	}
	if l.Editable {
		o.Editable[w.URL] = true
	}
	if len(l.ConfigSettings) > 0 {
		o.SettingsOf[cmp.Or(w.URL, string(w.Name))] = l.ConfigSettings
	}
	if len(l.Hashes) > 0 && w.Name == "" {
		return fmt.Errorf("%s: %s: a --hash needs the project's name in front: NAME @ URL", l.Where, l)
	}
	if len(l.Hashes) > 0 {
		o.Hashes[w.Name] = append(o.Hashes[w.Name], l.Hashes...)
	}
	o.Requirements = append(o.Requirements, w)
	return nil
}

// readConstraints adds what constraints files list.
func readConstraints(into *[]resolve.Wanted, paths []string, open openFunc) error {
	for _, path := range paths {
		file, err := requirement.ReadFile(path, open)
		if err != nil {
			return err
		}
		if err := addConstraints(into, slices.Concat(file.Requirements, file.Constraints)); err != nil {
			return err
		}
	}
	return nil
}

func addConstraints(into *[]resolve.Wanted, lines []requirement.Line) error {
	for _, l := range lines {
		w, err := wanted(l)
		if err != nil {
			return err
		}
		*into = append(*into, w)
	}
	return nil
}

// openFunc opens a file that the command line names, or one that such a file names.
type openFunc func(path string) (io.ReadCloser, error)

// opener opens paths, URLs and standard input.
func opener(ctx context.Context, o curd.Options) openFunc {
	return func(path string) (io.ReadCloser, error) {
		switch {
		case path == "-":
			return io.NopCloser(os.Stdin), nil
		case strings.Contains(path, "://"):
			text, err := curd.Text(ctx, o, path, maxLock)
			return io.NopCloser(bytes.NewReader(text)), err
		}
		return os.Open(path)
	}
}

// addFile adds what a requirements file asks for.
func addFile(o *curd.Options, file requirement.File) error {
	hashed := file.RequireHashes
	for _, l := range file.Requirements {
		if err := addLine(o, l); err != nil {
			return err
		}
		hashed = hashed || len(l.Hashes) > 0 && !file.NoRequireHashes
	}
	if err := addConstraints(&o.Constraints, file.Constraints); err != nil {
		return err
	}
	if file.IndexURL != "" || len(file.ExtraIndexURLs) > 0 {
		if file.IndexURL == "" {
			file.IndexURL = defaultIndex
		}
		o.Indexes = nil
		for _, u := range append([]string{file.IndexURL}, file.ExtraIndexURLs...) {
			if u != "" {
				o.Indexes = append(o.Indexes, curd.NamedIndex{URL: u})
			}
		}
	}
	o.NoIndex = o.NoIndex || file.NoIndex
	o.FindLinks = append(o.FindLinks, file.FindLinks...)
	o.Network.TrustedHosts = append(o.Network.TrustedHosts, file.TrustedHosts...)
	o.RequireHashes = o.RequireHashes || hashed
	o.Prereleases = o.Prereleases || file.Pre || file.AllReleases.All
	merge(&o.PrereleasesOf, file.AllReleases)
	merge(&o.OnlyFinal, file.OnlyFinal)
	merge(&o.NoBinary, file.NoBinary)
	merge(&o.OnlyBinary, file.OnlyBinary)
	return nil
}

func merge(into *requirement.Names, from requirement.Names) {
	into.All = into.All || from.All
	for name := range from.Of {
		if into.Of == nil {
			into.Of = map[dist.Name]bool{}
		}
		into.Of[name] = true
	}
}

// wanted makes of a line what the solver is asked for: a file or folder of this machine becomes "name @ file:URL".
func wanted(l requirement.Line) (resolve.Wanted, error) {
	w := resolve.Wanted{Requirement: l.Requirement, Where: l.Where}
	if l.Source.Kind != requirement.LocalFile && l.Source.Kind != requirement.Directory {
		return w, nil
	}
	abs, err := filepath.Abs(l.Source.Path)
	if err != nil {
		return w, err
	}
	w.URL = (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}).String()
	separator := "#"
	for _, part := range [][2]string{{"subdirectory", url.PathEscape(l.Source.Subdirectory)}, hashPart(l.Source.Hash)} {
		if part[1] != "" {
			w.URL += separator + part[0] + "=" + part[1]
			separator = "&"
		}
	}
	return w, nil
}

// hashPart makes of "sha256:..." what stands in a URL's fragment.
func hashPart(hash string) [2]string {
	algorithm, digest, _ := strings.Cut(hash, ":")
	return [2]string{algorithm, digest}
}
