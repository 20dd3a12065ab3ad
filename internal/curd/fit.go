package curd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"curdling/internal/build"
	"curdling/internal/dist"
	"curdling/internal/fit"
	"curdling/internal/python"
	"curdling/internal/record"
	"curdling/internal/tag"
	"curdling/internal/wheel"
)

// importBuilt moves a wheel that was built of a recipe into the own cache, under the name that suits it, and
// gives its record; nil where the build is nobody else's business.
func (s *session) importBuilt(ctx context.Context, r *recipe, result *build.Result, used *used) (f dist.File, text []byte, err error) {
	old := result.Wheel.File
	recorded := !r.ours && !s.NoBuildIsolation
	path := result.Path
	if recorded || strings.HasPrefix(old.Tags[0].Platform, "linux_") {
		if path, text, err = s.rename(ctx, r, result, used, recorded); err != nil {
			return f, nil, err
		}
	}
	if f, err = dist.ParseFilename(filepath.Base(path), ""); err != nil {
		return f, nil, err
	}
	_, f.SHA256, err = s.own.Import(path, f)
	return f, text, err
}

// rename writes a built wheel anew, beside the old one. One that is to be recorded gets the build tag of its
// record. One for linux_ARCH gets the platform that its machine code asks for, such as manylinux_2_17_ARCH, so
// that no machine takes it that cannot load it; one that needs more than the policies allow keeps it.
func (s *session) rename(ctx context.Context, r *recipe, result *build.Result, used *used, recorded bool) (path string, text []byte, err error) {
	f, err := os.Open(result.Path)
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	old := result.Wheel.File
	w, err := wheel.Open(f, result.Size, old.Filename)
	if err != nil {
		return "", nil, err
	}
	dir := filepath.Dir(result.Path)
	needs, why := builtNeeds(ctx, w, filepath.Join(dir, "tree"))
	tags, why := s.retagged(old, r.python, needs, why)
	if why != nil {
		s.log("build").Info("keeps its platform", "wheel", old.Filename, "why", strings.Join(why, "; "))
	}
	buildTag := old.Build
	var rec *record.Record
	if recorded {
		if rec, err = newRecord(r, result, used, needs); err != nil {
			return "", nil, err
		}
		s.keepSystems(r.python, rec.Needs.Needs)
		buildTag = rec.BuildTag()
	}
	filename := dist.WheelFilename(old.Name, old.Version, buildTag, tags)
	if filename == old.Filename {
		return result.Path, nil, nil
	}
	path = filepath.Join(dir, filename)
	out, err := os.Create(path)
	if err != nil {
		return "", nil, err
	}
	defer out.Close()
	sum := sha256.New()
	if _, err := w.Retag(io.MultiWriter(out, sum), result.Size, buildTag, tags); err != nil {
		return "", nil, err
	}
	if recorded {
		rec.Wheel = record.Wheel{Filename: filename, Size: fileSize(path), SHA256: hex.EncodeToString(sum.Sum(nil))}
		if text, err = rec.Encode(); err != nil {
			return "", nil, err
		}
	}
	return path, text, out.Close()
}

// builtNeeds unpacks a wheel into dir and reads what it needs; why is what could not be read.
func builtNeeds(ctx context.Context, w *wheel.Wheel, dir string) (needs fit.Needs, why []string) {
	tree, err := w.Unpack(ctx, dir)
	if err == nil {
		needs, err = needsOf(tree)
	}
	if err != nil {
		return fit.Needs{}, []string{err.Error()}
	}
	return needs, nil
}

// retagged gives the tags of a built wheel with the platforms that its machine code asks for, or its own and why.
func (s *session) retagged(old dist.File, py *python.Interpreter, needs fit.Needs, why []string) ([]tag.Tag, []string) {
	if !strings.HasPrefix(old.Tags[0].Platform, "linux_") {
		return old.Tags, nil
	}
	var platforms []string
	if why == nil {
		musl := ""
		if m := py.Target.Musl; m != nil {
			musl = fmt.Sprintf("%d.%d", m[0], m[1])
		}
		platforms, why = needs.Platforms(musl)
	}
	var tags []tag.Tag
	for _, t := range old.Tags {
		for _, p := range platforms {
			if strings.HasSuffix(p, strings.TrimPrefix(t.Platform, "linux")) {
				tags = append(tags, tag.Tag{Python: t.Python, ABI: t.ABI, Platform: p})
			}
		}
	}
	if _, ok := tag.Rank(tag.Supported(py.Target)).Best(tags); !ok {
		return old.Tags, append(why, "no other platform suits this Python")
	}
	return tags, nil
}

// keepSystems takes out of a record's needs the libraries that this machine, which built the wheel, has not: they come with other
// wheels, whatever machine installs it. No wheel brings another C library.
func (s *session) keepSystems(py *python.Interpreter, needs fit.Needs) {
	for _, f := range needs.Files {
		for _, lack := range s.host.Lacks(needs, fit.Place{Arch: f.Machine, Python: py.Executable}) {
			if lack.Version == "" && !lack.Libc {
				delete(f.Libraries, lack.Library)
			}
		}
	}
}

func needsOf(tree wheel.Tree) (fit.Needs, error) {
	paths := make([]string, len(tree.Manifest.Files))
	for i, f := range tree.Manifest.Files {
		paths[i] = f.Path
	}
	return fit.Read(tree.Dir, paths)
}

// checkFit sees whether this machine has what the wheels need that other machines built. What does not
// fit is not chosen again: something else is, in its place. What was required by its URL is the user's choice.
func (s *source) checkFit(all []prepared) error {
	beside := sync.OnceValue(func() map[string]bool { return s.filesBeside(all) })
	var errs []error
	for _, p := range all {
		f := p.choice.File
		if f.Kind != dist.Wheel || p.origin == URL || !isBuild(f) {
			continue
		}
		needs, err := needsOf(p.item.Tree)
		if err != nil {
			s.log("build").Info("what it needs cannot be seen", "wheel", f.Filename, "err", err)
			continue
		}
		for _, arch := range s.python.Target.Archs() {
			lacks := s.host.Lacks(needs, fit.Place{Arch: arch, Python: s.python.Executable, Beside: func(library string) bool { return beside()[library] }})
			if len(lacks) > 0 {
				errs = append(errs, s.barred(f, lacking(lacks[0])))
				break
			}
		}
	}
	return failures(errs)
}

// symbolsLack tells which symbol of a fetched build is not to be had here, "" if none. Of the libraries its record has told.
func (s *session) symbolsLack(ctx context.Context, sha256 string, py *python.Interpreter) (why string, err error) {
	tree, err := s.own.Tree(ctx, sha256)
	if err != nil {
		return "", err
	}
	needs, err := needsOf(tree)
	if err != nil {
		return "what it needs cannot be seen: " + err.Error(), nil
	}
	for _, arch := range py.Target.Archs() {
		for _, lack := range s.host.Lacks(needs, fit.Place{Arch: arch, Python: py.Executable}) {
			if lack.Symbol != "" {
				return lacking(lack), nil
			}
		}
	}
	return "", nil
}

// lacking says why a wheel is of no use here.
func lacking(lack fit.Lack) string {
	return "its wheel does not work on this machine: " + lack.String()
}

// isBuild tells of a wheel that some machine built for itself: there is a record of it, or no policy stands for it.
func isBuild(f dist.File) bool {
	return f.BuildKey != "" || strings.HasPrefix(f.Tags[0].Platform, "linux_")
}

// filesBeside gives the names of the files of all that is to be installed, and of what is in the environment: the
// libraries of other wheels are among them, which a wheel may find there, or which Python has loaded before.
func (s *source) filesBeside(all []prepared) map[string]bool {
	names := map[string]bool{}
	for _, p := range all {
		for _, f := range p.item.Tree.Manifest.Files {
			names[filepath.Base(f.Path)] = true
		}
	}
	for _, folder := range s.python.SysPath {
		// What cannot be read has nothing.
		_ = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
			if err == nil && strings.Contains(entry.Name(), ".so") {
				names[entry.Name()] = true
			}
			return nil
		})
	}
	return names
}
