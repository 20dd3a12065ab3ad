package install

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"curdling/internal/smallfile"
	"curdling/internal/wheel"
)

// remove marks what the plan removes, and what it replaces.
func (t *transaction) remove(p Plan) error {
	installed, err := List(t.env)
	if err != nil {
		return err
	}
	going := map[string]Installed{} // by DistInfo
	for _, i := range p.Remove {
		if !slices.ContainsFunc(installed, func(k Installed) bool { return k.DistInfo == i.DistInfo }) {
			return fmt.Errorf("removing %s: %s is not in the environment", i.Name, i.DistInfo)
		}
		going[i.DistInfo] = i
	}
	for _, i := range installed {
		if slices.ContainsFunc(p.Install, func(item Item) bool { return item.Tree.Manifest.Name == string(i.Name) }) {
			going[i.DistInfo] = i
		}
	}
	if len(going) == 0 {
		return nil
	}
	r := remover{transaction: t, listed: map[string]bool{}}
	for _, i := range going {
		if err := r.add(i); err != nil {
			return fmt.Errorf("removing %s %s: %w", i.Name, i.Version, err)
		}
	}
	for _, i := range installed {
		if _, ok := going[i.DistInfo]; !ok && i.HasRecord() {
			r.keep(i)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(r.listed)) {
		if err := r.move(path); err != nil {
			return err
		}
	}
	return r.moveBytecode()
}

// A remover collects the files of the distributions that go.
type remover struct {
	*transaction
	listed  map[string]bool // paths as RECORD files name them, made absolute
	sources []string        // .py files among what is moved
}

// add lists a distribution's files. Its .dist-info folder goes as a whole.
func (r *remover) add(i Installed) error {
	paths, err := i.Files()
	if err != nil {
		return err
	}
	site, err := r.site.folder(filepath.Dir(i.DistInfo))
	if err != nil {
		return err
	}
	r.site.moved[filepath.Join(site.path, filepath.Base(i.DistInfo))] = true
	for _, path := range paths {
		if !within(path, i.DistInfo) {
			r.listed[path] = true
		}
		if source, ok := strings.CutSuffix(path, ".py"); ok {
			r.listed[source+".pyc"] = true
		}
	}
	return nil
}

// keep takes off the list what another distribution lists too.
func (r *remover) keep(i Installed) {
	paths, err := i.Files()
	if err != nil {
		r.options.Warn(fmt.Sprintf("%s: %v", i.Name, err))
	}
	for _, path := range paths {
		delete(r.listed, path)
	}
}

// move marks one path, if there is a file. What does not belong to the
// environment, by its path or because a link leads out, stays with a warning.
func (r *remover) move(path string) error {
	f, err := r.site.folder(filepath.Dir(path))
	if err != nil {
		return nil // its folder is a file, or a link to nothing: so it is gone
	}
	kind, there, err := f.entry(filepath.Base(path))
	if err != nil {
		return err
	}
	if !there || kind.IsDir() {
		return nil
	}
	if !r.site.owns(f) {
		r.options.Warn(fmt.Sprintf("%s is outside of the environment and stays", path))
		return nil
	}
	if reserved := r.checkReserved(f, path, filepath.Base(path)); reserved != nil {
		r.options.Warn(fmt.Sprintf("%v: it stays", reserved))
		return nil
	}
	real := filepath.Join(f.path, filepath.Base(path))
	r.site.moved[real] = true
	if strings.HasSuffix(real, ".py") {
		r.sources = append(r.sources, real)
	}
	return nil
}

// moveBytecode marks what interpreters have made of the sources, in __pycache__.
func (r *remover) moveBytecode() error {
	sources := map[string]map[string]bool{} // by folder: names without .py
	for _, path := range r.sources {
		dir := filepath.Dir(path)
		if sources[dir] == nil {
			sources[dir] = map[string]bool{}
		}
		sources[dir][strings.TrimSuffix(filepath.Base(path), ".py")] = true
	}
	for dir, names := range sources {
		f := r.site.byReal[dir]
		if kind, _, err := f.entry("__pycache__"); err != nil || !kind.IsDir() {
			continue
		}
		cache, err := r.site.folder(filepath.Join(dir, "__pycache__"))
		if err != nil {
			return err
		}
		if _, _, err := cache.entry(""); err != nil {
			return err
		}
		for name, kind := range cache.entries {
			stem, _, _ := strings.Cut(name, ".")
			if ext := filepath.Ext(name); names[stem] && !kind.IsDir() && (ext == ".pyc" || ext == ".pyo") {
				r.site.moved[filepath.Join(cache.path, name)] = true
			}
		}
	}
	return nil
}

// Files gives the paths in the distribution's RECORD, absolute and clean, in
// its order. Whether there are such files, and whether they lie in the
// environment, is not looked at. Without RECORD it is an error that says why
// nobody knows the files.
func (i Installed) Files() ([]string, error) {
	if !i.HasRecord() {
		by := ""
		if installer := i.Installer(); installer != "" {
			by = " by " + installer
		}
		return nil, fmt.Errorf("%s has no RECORD: it was installed%s in a way that only the tool that did it can undo", i.DistInfo, by)
	}
	text, err := smallfile.Read(filepath.Join(i.DistInfo, "RECORD"), wheel.MaxRecord)
	if err != nil {
		return nil, err
	}
	paths, err := wheel.RecordPaths(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", i.DistInfo, err)
	}
	site := filepath.Dir(i.DistInfo)
	for n, path := range paths {
		if strings.ContainsRune(path, 0) {
			return nil, errors.New("RECORD holds a NUL")
		}
		if path = filepath.FromSlash(path); filepath.IsAbs(path) {
			paths[n] = filepath.Clean(path)
		} else {
			paths[n] = filepath.Join(site, path)
		}
	}
	return paths, nil
}

// settle turns what was found out into the journal.
func (t *transaction) settle() {
	jr := &t.journal
	for path := range t.site.moved {
		if !t.belowMoved(path) {
			jr.Moves = append(jr.Moves, path)
		}
	}
	// .dist-info goes first, so that what is half removed does not look whole.
	slices.SortFunc(jr.Moves, func(a, b string) int {
		if x, y := strings.HasSuffix(a, ".dist-info"), strings.HasSuffix(b, ".dist-info"); x != y {
			if x {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	for _, j := range t.jobs {
		for _, f := range append(slices.Clone(j.folders), j.info) {
			if f.parent != nil && f.parent.exists && !t.site.moved[f.path] {
				jr.Made = append(jr.Made, f.path)
			}
		}
	}
	prune := map[string]bool{}
	for _, path := range jr.Moves {
		for dir := filepath.Dir(path); !prune[dir] && t.prunable(dir); dir = filepath.Dir(dir) {
			prune[dir] = true
			jr.Prune = append(jr.Prune, dir)
		}
	}
	slices.SortFunc(jr.Prune, func(a, b string) int { return strings.Compare(b, a) }) // deepest first
	slices.Sort(jr.Files)
	jr.Files = slices.Compact(jr.Files)
}

func (t *transaction) belowMoved(path string) bool {
	for dir := filepath.Dir(path); t.prunable(dir); dir = filepath.Dir(dir) {
		if t.site.moved[dir] {
			return true
		}
	}
	return false
}

// prunable tells whether dir lies below the interpreter's folders, and is none
// of them that an empty environment has: in a Target there is no folder for scripts.
func (t *transaction) prunable(dir string) bool {
	p := t.env.Python
	for _, keep := range []string{p.Purelib, p.Platlib, p.Scripts, p.Data} {
		if f := t.site.byPath[filepath.Clean(keep)]; f != nil && f.path == dir && !within(dir, t.base.path) {
			return false
		}
	}
	return slices.ContainsFunc(t.site.roots, func(root string) bool { return within(dir, root) })
}
