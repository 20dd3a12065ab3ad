package curd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"curdling/internal/build"
	"curdling/internal/dist"
	"curdling/internal/fit"
	"curdling/internal/python"
	"curdling/internal/tag"
	"curdling/internal/wheel"
)

// importBuilt moves a wheel that was built for py into the own cache, under the name that suits it.
func (s *session) importBuilt(ctx context.Context, py *python.Interpreter, result *build.Result) (f dist.File, err error) {
	path, err := s.retag(ctx, py, result)
	if err != nil {
		return f, err
	}
	if f, err = dist.ParseFilename(filepath.Base(path), ""); err != nil {
		return f, err
	}
	_, f.SHA256, err = s.own.Import(path, f)
	return f, err
}

// retag gives a wheel that was built for linux_ARCH the platform that its machine code asks for, such as
// manylinux_2_17_ARCH, so that no machine takes it that cannot load it. A wheel that needs more than
// the policies allow keeps its name. The new wheel lies beside the old one.
func (s *session) retag(ctx context.Context, py *python.Interpreter, result *build.Result) (path string, err error) {
	old := result.Wheel.File
	if !strings.HasPrefix(old.Tags[0].Platform, "linux_") {
		return result.Path, nil
	}
	f, err := os.Open(result.Path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	w, err := wheel.Open(f, result.Size, old.Filename)
	if err != nil {
		return "", err
	}
	platforms, why := s.platforms(ctx, py, w, filepath.Join(filepath.Dir(result.Path), "tree"))
	var tags []tag.Tag
	for _, t := range old.Tags {
		for _, p := range platforms {
			if strings.HasSuffix(p, strings.TrimPrefix(t.Platform, "linux")) {
				tags = append(tags, tag.Tag{Python: t.Python, ABI: t.ABI, Platform: p})
			}
		}
	}
	if _, ok := tag.Rank(tag.Supported(py.Target)).Best(tags); !ok {
		s.log("build").Info("keeps its platform", "wheel", old.Filename, "why", strings.Join(why, "; "))
		return result.Path, nil
	}
	path = filepath.Join(filepath.Dir(result.Path), dist.WheelFilename(old.Name, old.Version, old.Build, tags))
	out, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer out.Close()
	if _, err := w.Retag(out, result.Size, old.Build, tags); err != nil {
		return "", err
	}
	return path, out.Close()
}

// platforms unpacks a wheel into dir and tells for which platforms its machine code is.
func (s *session) platforms(ctx context.Context, py *python.Interpreter, w *wheel.Wheel, dir string) (platforms, why []string) {
	tree, err := w.Unpack(ctx, dir)
	if err != nil {
		return nil, []string{err.Error()}
	}
	needs, err := needsOf(tree)
	if err != nil {
		return nil, []string{err.Error()}
	}
	musl := ""
	if m := py.Target.Musl; m != nil {
		musl = fmt.Sprintf("%d.%d", m[0], m[1])
	}
	return needs.Platforms(musl)
}

func needsOf(tree wheel.Tree) (fit.Needs, error) {
	paths := make([]string, len(tree.Manifest.Files))
	for i, f := range tree.Manifest.Files {
		paths[i] = f.Path
	}
	return fit.Read(tree.Dir, paths)
}

// checkFit sees whether this machine has what a wheel for linux_ARCH needs, which another machine
// built: no policy stands for it. If not, something else is chosen in its place. What was required by its URL is the user's choice.
func (s *source) checkFit(p *prepared, tree wheel.Tree) error {
	f := p.choice.File
	if f.Kind != dist.Wheel || p.origin == URL {
		return nil
	}
	arch, ok := strings.CutPrefix(f.Tags[0].Platform, "linux_")
	if !ok {
		return nil
	}
	needs, err := needsOf(tree)
	if err != nil {
		s.log("build").Info("what it needs cannot be seen", "wheel", f.Filename, "err", err)
		return nil
	}
	lacks := s.host.Lacks(needs, arch)
	if len(lacks) == 0 {
		return nil
	}
	why := lacks[0].String()
	if s.Lock != nil {
		return fmt.Errorf("%s does not work on this machine: %s", f.Filename, why)
	}
	s.log("build").Info("does not work on this machine", "wheel", f.Filename, "file", lacks[0].File, "why", why)
	s.unfit.Store(f.URL, "its wheel does not work on this machine: "+why)
	return fmt.Errorf("%w: %s does not fit", errAgain, f.Filename)
}
