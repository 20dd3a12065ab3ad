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
	paths := make([]string, len(tree.Manifest.Files))
	for i, f := range tree.Manifest.Files {
		paths[i] = f.Path
	}
	needs, err := fit.Read(tree.Dir, paths)
	if err != nil {
		return nil, []string{err.Error()}
	}
	musl := ""
	if m := py.Target.Musl; m != nil {
		musl = fmt.Sprintf("%d.%d", m[0], m[1])
	}
	return needs.Platforms(musl)
}
