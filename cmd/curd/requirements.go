package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"curdling/internal/curd"
	"curdling/internal/dist"
	"curdling/internal/requirement"
	"curdling/internal/resolve"
)

// requirements reads the command line's requirements and those of -r files.
func (f *installFlags) requirements(o *curd.Options, args []string) error {
	for _, arg := range args {
		line, err := requirement.ParseArgument(arg, false)
		if err != nil {
			return usageError{err}
		}
		line.Where = "the command line"
		if err := addLine(o, line); err != nil {
			return err
		}
	}
	for _, arg := range f.editable {
		line, err := requirement.ParseArgument(arg, true)
		if err != nil {
			return usageError{err}
		}
		line.Where = "-e"
		if err := addLine(o, line); err != nil {
			return err
		}
	}
	for _, path := range f.files {
		file, err := readFile(path)
		if err == nil {
			err = addFile(o, file)
		}
		if err != nil {
			return err
		}
	}
	for _, path := range f.constraints {
		file, err := requirement.ReadFile(path, openRequirements)
		if err != nil {
			return err
		}
		if err := addConstraints(o, slices.Concat(file.Requirements, file.Constraints)); err != nil {
			return err
		}
	}
	if err := addGroups(o, f.groups); err != nil {
		return err
	}
	if len(o.Requirements)+len(f.files)+len(f.groups) == 0 {
		return usageError{errors.New("nothing to install: name a requirement, or a file with -r")}
	}
	return nil
}

// readFile reads a requirements file, or what a pyproject.toml requires.
func readFile(path string) (requirement.File, error) {
	if filepath.Base(path) != pyproject {
		return requirement.ReadFile(path, openRequirements)
	}
	p, err := requirement.ReadPyproject(path)
	if err != nil {
		return requirement.File{}, err
	}
	lines, err := p.Requirements(nil)
	return requirement.File{Requirements: lines}, err
}

const pyproject = "pyproject.toml"

// addGroups adds dependency groups (PEP 735) of the pyproject.toml here.
func addGroups(o *curd.Options, groups []string) error {
	if len(groups) == 0 {
		return nil
	}
	p, err := requirement.ReadPyproject(pyproject)
	if err != nil {
		return fmt.Errorf("--group reads the dependency groups of the pyproject.toml here: %w", err)
	}
	for _, name := range groups {
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

// addLine adds a requirement.
func addLine(o *curd.Options, l requirement.Line) error {
	w, err := wanted(l)
	if err != nil {
		return err
	}
	if l.Editable {
		o.Editable[w.URL] = true
	}
	o.Requirements = append(o.Requirements, w)
	return nil
}

func addConstraints(o *curd.Options, lines []requirement.Line) error {
	for _, l := range lines {
		w, err := wanted(l)
		if err != nil {
			return err
		}
		o.Constraints = append(o.Constraints, w)
	}
	return nil
}

func fileURL(path string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()
}

func openRequirements(path string) (io.ReadCloser, error) {
	switch {
	case path == "-":
		return io.NopCloser(os.Stdin), nil
	case strings.Contains(path, "://"):
		return nil, errors.New("requirements files are read from this machine only: download it first")
	}
	return os.Open(path)
}

// addFile adds what a requirements file asks for.
func addFile(o *curd.Options, file requirement.File) error {
	if option := unsupported(file); option != "" {
		return fmt.Errorf("a requirements file says %s, which is not supported", option)
	}
	hashed := file.RequireHashes
	for _, l := range file.Requirements {
		if err := addLine(o, l); err != nil {
			return err
		}
		w := o.Requirements[len(o.Requirements)-1]
		for _, h := range l.Hashes {
			if sum, ok := strings.CutPrefix(h, "sha256:"); ok {
				o.Hashes[w.Name] = append(o.Hashes[w.Name], sum)
			}
		}
		if len(l.Hashes) > 0 && len(o.Hashes[w.Name]) == 0 {
			return fmt.Errorf("%s: none of the hashes is a sha256, which is what curd checks", l.Where)
		}
		hashed = hashed || len(l.Hashes) > 0 && !file.NoRequireHashes
	}
	if err := addConstraints(o, file.Constraints); err != nil {
		return err
	}
	if file.IndexURL != "" || len(file.ExtraIndexURLs) > 0 {
		if file.IndexURL == "" {
			file.IndexURL = defaultIndex
		}
		o.Indexes = slices.DeleteFunc(append([]string{file.IndexURL}, file.ExtraIndexURLs...), func(u string) bool { return u == "" })
	}
	o.NoIndex = o.NoIndex || file.NoIndex
	o.RequireHashes = o.RequireHashes || hashed
	o.Prereleases = o.Prereleases || file.Pre || file.AllReleases.All
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

// unsupported names an option of a requirements file that must not be passed over.
func unsupported(file requirement.File) string {
	switch {
	case len(file.FindLinks) > 0:
		return "--find-links"
	case len(file.TrustedHosts) > 0:
		return "--trusted-host"
	case len(file.AllReleases.Of) > 0:
		return "--all-releases NAME"
	case file.OnlyFinal.All || len(file.OnlyFinal.Of) > 0:
		return "--only-final"
	}
	if slices.ContainsFunc(file.Requirements, func(l requirement.Line) bool { return len(l.ConfigSettings) > 0 }) {
		return "--config-settings"
	}
	return ""
}

// wanted makes of a line what the solver is asked for: a file, here or at a URL, becomes "name @ URL".
func wanted(l requirement.Line) (resolve.Wanted, error) {
	w := resolve.Wanted{Requirement: l.Requirement, Where: l.Where}
	filename := ""
	switch l.Source.Kind {
	case requirement.Named:
	case requirement.LocalFile:
		abs, err := filepath.Abs(l.Source.Path)
		if err != nil {
			return w, err
		}
		w.URL = fileURL(abs)
		if l.Source.Hash != "" {
			w.URL += "#" + strings.Replace(l.Source.Hash, ":", "=", 1)
		}
		filename = filepath.Base(abs)
	case requirement.Archive:
		u, err := url.Parse(l.Source.URL)
		if err != nil {
			return w, fmt.Errorf("%s: not a URL", l)
		}
		filename = path.Base(u.Path)
	case requirement.Directory:
		abs, err := filepath.Abs(l.Source.Path)
		w.URL = fileURL(abs)
		return w, err
	case requirement.Repository:
		return w, fmt.Errorf("%s: repositories are not supported; clone it, and name the folder", l)
	}
	if l.Source.Subdirectory != "" {
		return w, fmt.Errorf("%s: a subdirectory of an archive cannot be installed; build a wheel of it and name that", l)
	}
	if w.Name == "" {
		f, err := dist.ParseFilename(filename, "")
		if err != nil {
			return w, fmt.Errorf("%s: %w", l, err)
		}
		w.Name = f.Name
	}
	return w, nil
}
