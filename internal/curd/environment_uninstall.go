package curd

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"curdling/internal/dist"
	"curdling/internal/install"
	"curdling/internal/python"
	"curdling/internal/version"
	"curdling/internal/wheel"
)

// Removal is what an Uninstall takes away.
type Removal struct {
	Environment string // sys.prefix
	Removed     []Removed
	Done        bool          // false: a dry run, or the user said no
	Elapsed     time.Duration // without the question
}

// Removed is one distribution that goes. Its paths are absolute; one that ends
// in "*" stands for what lies in a folder, except Stays.
type Removed struct {
	Name    dist.Name
	Version version.Version
	Goes    []string
	Stays   []string // files in the same folders that nobody lists, perhaps put there by hand
}

// Uninstall takes the projects of Options.Requirements out of the environment,
// all or, if one of them cannot be removed, none; versions and extras do not
// count. What is not there is warned of. confirm is asked before anything is
// touched, with the environment locked; nil says yes.
func Uninstall(ctx context.Context, o Options, confirm func(*Removal) (bool, error)) (*Removal, error) {
	env, err := findPython(ctx, o.Python, o.memory())
	if err != nil {
		return nil, err
	}
	if err := o.mayRemove(env.Python); err != nil {
		return nil, err
	}
	unlock, err := install.Lock(ctx, env)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := install.Recover(env); err != nil {
		return nil, err
	}
	e := &Environment{Python: env.Python, warn: o.warn}
	if err := e.list(); err != nil {
		return nil, err
	}
	r := &Removal{Environment: env.Python.Prefix}
	plan, err := e.removal(o, r)
	if err != nil || len(plan.Remove) == 0 {
		return r, err
	}
	if confirm != nil {
		if yes, err := confirm(r); err != nil || !yes {
			return r, err
		}
	}
	if o.DryRun {
		return r, nil
	}
	start := time.Now()
	if err := install.Apply(ctx, env, plan, install.Options{Warn: func(m string) { o.warn("%s", m) }}); err != nil {
		return nil, err
	}
	r.Done, r.Elapsed = true, time.Since(start)
	return r, nil
}

// mayRemove refuses an externally managed environment (PEP 668).
func (o Options) mayRemove(py *python.Interpreter) error {
	if py.ExternallyManaged == "" || o.BreakSystemPackages {
		return nil
	}
	return fmt.Errorf("%s is managed by the system's own package manager (PEP 668), which alone should remove packages; --break-system-packages overrides\n%s",
		py.Executable, strings.TrimSpace(py.ExternallyManaged))
}

// removal finds what is to be removed and describes it in r.
func (e *Environment) removal(o Options, r *Removal) (plan install.Plan, err error) {
	wanted := map[dist.Name]bool{}
	for _, w := range o.Requirements {
		wanted[w.Name] = true
	}
	var errs []error
	var going, staying []Distribution
	there := map[dist.Name]bool{}
	for _, d := range slices.Concat(e.Distributions, e.Repeated) {
		switch {
		case !wanted[d.Name]:
			staying = append(staying, d)
			continue
		case !d.Own:
			e.warn("skipping %s: it is installed in %s, outside of the environment %s", d.Name, filepath.Dir(d.DistInfo), e.Python.Prefix)
		default:
			errs = append(errs, e.unremovable(d))
			going = append(going, d)
		}
		there[d.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if !there[name] {
			e.warn("skipping %s: it is not installed in %s", name, e.Python.Prefix)
		}
	}
	if err := failures(errs); err != nil {
		return plan, err
	}
	owners := owners(staying)
	for _, d := range going {
		removed, err := e.describeRemoval(d, owners)
		if err != nil {
			return plan, err
		}
		r.Removed = append(r.Removed, removed)
		plan.Remove = append(plan.Remove, d.Installed)
	}
	return plan, nil
}

// unremovable tells why a distribution cannot be removed, nil where it can.
func (e *Environment) unremovable(d Distribution) error {
	folder := filepath.Dir(d.DistInfo)
	reason := ""
	switch {
	case d.Editable && d.DirectURL == nil:
		reason = fmt.Sprintf("`setup.py develop` installed it; delete its .egg-link file and the line of easy-install.pth that names %s", d.Project)
	case strings.HasSuffix(d.DistInfo, ".egg-info"):
		reason = fmt.Sprintf("it was installed in the old way of distutils, and %s does not list its files; remove it with what installed it, perhaps the system's package manager", d.DistInfo)
	case !d.HasRecord() && d.Installer() != "":
		reason = fmt.Sprintf("%s has no RECORD that lists its files; it was installed by %s, which can remove it", d.DistInfo, d.Installer())
	case !d.HasRecord():
		reason = fmt.Sprintf("%s has no RECORD that lists its files; only what installed it can remove it", d.DistInfo)
	case folder != e.Python.Purelib && folder != e.Python.Platlib:
		reason = fmt.Sprintf("it lies in %s, which is not where %s has packages installed", folder, e.Python.Executable)
	default:
		return nil
	}
	return fmt.Errorf("cannot remove %s %s: %s", d.Name, d.RawVersion, reason)
}

// owners tells who lists which file.
func owners(all []Distribution) map[string]dist.Name {
	by := map[string]dist.Name{}
	for _, d := range all {
		if !d.HasRecord() {
			continue
		}
		files, _ := recordedFiles(d.DistInfo) // one that can't be read is warned of when the plan is applied
		for _, f := range files {
			by[f] = d.Name
		}
	}
	return by
}

// recordedFiles gives the files that RECORD lists, absolute and clean.
func recordedFiles(info string) ([]string, error) {
	f, err := os.Open(filepath.Join(info, "RECORD"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, wheel.MaxRecord))
	if err != nil {
		return nil, err
	}
	paths, err := wheel.RecordPaths(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", info, err)
	}
	for i, path := range paths {
		if path = filepath.FromSlash(path); filepath.IsAbs(path) {
			paths[i] = filepath.Clean(path)
		} else {
			paths[i] = filepath.Join(filepath.Dir(info), path)
		}
	}
	return paths, nil
}

// describeRemoval tells what goes with a distribution and what stays: for
// people, since it is the plan's business to find each file.
func (e *Environment) describeRemoval(d Distribution, owners map[string]dist.Name) (Removed, error) {
	r := Removed{Name: d.Name, Version: d.Version}
	paths, err := recordedFiles(d.DistInfo)
	if err != nil {
		return r, err
	}
	files, folders := map[string]bool{}, map[string]bool{}
	for _, path := range paths {
		info, err := os.Lstat(path)
		if err != nil || info.IsDir() || strings.HasSuffix(path, ".pyc") || !isBelow(path, e.Python.Prefix) {
			continue
		}
		if by, shared := owners[path]; shared {
			e.warn("%s belongs to %s too and stays", path, by)
			continue
		}
		files[path] = true
		if dir := filepath.Dir(path); filepath.Base(path) == "__init__.py" && isBelow(dir, filepath.Dir(d.DistInfo)) {
			folders[dir] = true
		}
	}
	for dir := range folders {
		if !covered(dir, folders) {
			r.Goes = append(r.Goes, filepath.Join(dir, "*"))
			r.Stays = append(r.Stays, unlisted(dir, files, owners)...)
		}
	}
	r.Goes = append(r.Goes, filepath.Join(d.DistInfo, "*")) // whatever is in it
	folders[d.DistInfo] = true
	for path := range files {
		if !covered(path, folders) {
			r.Goes = append(r.Goes, path)
		}
	}
	slices.Sort(r.Goes)
	slices.Sort(r.Stays)
	return r, nil
}

// covered tells whether a path lies below one of the folders.
func covered(path string, folders map[string]bool) bool {
	for dir := filepath.Dir(path); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if folders[dir] {
			return true
		}
	}
	return false
}

// unlisted finds files below dir that nobody lists, bytecode aside.
func unlisted(dir string, listed map[string]bool, owners map[string]dist.Name) (found []string) {
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !listed[path] && owners[path] == "" && !strings.HasSuffix(path, ".pyc") {
			found = append(found, path)
		}
		return nil
	})
	return found
}
