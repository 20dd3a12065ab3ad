package curd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"curdling/internal/build"
	"curdling/internal/curds"
	"curdling/internal/dist"
	"curdling/internal/install"
	"curdling/internal/metadata"
	"curdling/internal/python"
	"curdling/internal/requirement"
	"curdling/internal/resolve"
	"curdling/internal/tag"
)

// buildKey says for which interpreter, ABI and system a wheel was built.
func buildKey(py *python.Interpreter) string {
	return tag.Supported(py.Target)[0].String()
}

// buildID names the build of one source for one interpreter.
func buildID(src held, py *python.Interpreter) string { return src.sha256 + " " + buildKey(py) }

// built gives the wheel of a source distribution: one that this machine built of the same bytes before, else
// a new one.
func (s *session) built(ctx context.Context, f dist.File, src held, py *python.Interpreter) (curds.Build, error) {
	id := buildID(src, py)
	leave, err := s.waits.enter(ctx, id, fmt.Sprintf("%s %s", f.Name, f.Version))
	if err != nil {
		return curds.Build{}, err
	}
	defer leave()
	return s.builds.get(ctx, id, func() (curds.Build, error) {
		ctx, nested := withBuild(ctx, id)
		unlock, err := s.lockBuild(ctx, id, nested)
		if err != nil {
			return curds.Build{}, err
		}
		defer unlock()
		if b, ok := s.own.Build(src.sha256, buildKey(py)); ok {
			return b, nil
		}
		return s.build(ctx, f, src, py)
	})
}

// lockBuild keeps other processes from building the same. A nested build does not wait: two
// processes, each waiting for a requirement that the other builds, would wait for ever.
func (s *session) lockBuild(ctx context.Context, id string, nested bool) (unlock func(), err error) {
	if !nested {
		return s.own.Lock(ctx, "build "+id)
	}
	if unlock, ok := s.own.TryLock("build " + id); ok {
		return unlock, nil
	}
	return func() {}, nil
}

// preparedMetadata asks the build backend what the wheel's metadata will be. A backend that cannot tell
// builds the wheel for it, which is kept.
func (s *session) preparedMetadata(ctx context.Context, f dist.File, src held, py *python.Interpreter) (md *metadata.Metadata, err error) {
	ctx, _ = withBuild(ctx, buildID(src, py))
	err = s.work(ctx, fmt.Sprintf("%s %s", f.Name, f.Version), py, func(b *build.Builder, out string) error {
		var result *build.Result
		md, result, err = b.Metadata(ctx, buildSource(f, src), out)
		if err == nil && result != nil {
			_, err = s.keepBuild(f, src, py, result)
		}
		return err
	})
	return md, err
}

func (s *session) build(ctx context.Context, f dist.File, src held, py *python.Interpreter) (kept curds.Build, err error) {
	err = s.work(ctx, fmt.Sprintf("%s %s", f.Name, f.Version), py, func(b *build.Builder, out string) error {
		result, err := b.Wheel(ctx, buildSource(f, src), out)
		if err != nil {
			return err
		}
		kept, err = s.keepBuild(f, src, py, result)
		return err
	})
	return kept, err
}

// work hands a builder to a build, and a folder for the wheel, once fewer builds than cores are at work.
func (s *session) work(ctx context.Context, name string, py *python.Interpreter, do func(b *build.Builder, out string) error) error {
	if err := s.startWork(ctx); err != nil {
		return err
	}
	defer s.endWork()
	s.Notify(Event{Phase: Building, Kind: Begin, Name: name})
	defer s.Notify(Event{Phase: Building, Kind: End, Name: name})
	out, err := os.MkdirTemp(s.own.Temp(), "wheel-")
	if err != nil {
		return fmt.Errorf("own cache: %w", err)
	}
	defer os.RemoveAll(out)
	return do(&build.Builder{
		Python:    py,
		Provision: s.provision,
		Temp:      s.own.Temp(),
		LogDir:    s.own.Logs(),
		Progress: func(_ build.Source, step string) {
			s.Notify(Event{Phase: Building, Kind: Progress, Name: name, Step: step})
		},
	}, out)
}

func buildSource(f dist.File, src held) build.Source {
	return build.Source{Name: f.Name, Version: f.Version, Archive: src.path, SHA256: src.sha256}
}

// keepBuild moves a built wheel into the own cache.
func (s *session) keepBuild(f dist.File, src held, py *python.Interpreter, r *build.Result) (curds.Build, error) {
	s.log("build").Info("built", "source", f.Filename, "wheel", filepath.Base(r.Path), "seconds", r.Seconds, "backend", r.Backend, "log", r.LogPath)
	w, err := dist.ParseFilename(filepath.Base(r.Path), f.Name)
	if err != nil {
		return curds.Build{}, err
	}
	_, sha256, err := s.own.Import(r.Path, w)
	if err != nil {
		return curds.Build{}, err
	}
	b := curds.Build{
		Source: src.sha256, Key: buildKey(py), Wheel: sha256, Filename: w.Filename,
		Seconds: r.Seconds, Time: time.Now().UTC().Truncate(time.Second),
	}
	return b, s.own.AddBuild(b)
}

// startWork waits until fewer builds than cores are at work.
func (s *session) startWork(ctx context.Context) error {
	select {
	case s.building <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *session) endWork() { <-s.building }

// provision puts what a build requires into its environment; it implements build.Provision. The
// build does not count as work meanwhile: it may have to wait for another one.
func (s *session) provision(ctx context.Context, reqs []requirement.Requirement, env *python.Interpreter) error {
	s.endWork()
	defer func() { s.building <- struct{}{} }()
	there, err := installedByName(install.Env{Python: env})
	if err != nil {
		return err
	}
	src := s.newSource(env, there) // a backend may ask for more in a second call
	src.nested = true
	wanted := make([]resolve.Wanted, len(reqs))
	for i, r := range reqs {
		wanted[i] = resolve.Wanted{Requirement: r, Where: "the build"}
	}
	solution, err := src.solve(ctx, resolve.Problem{Requirements: wanted})
	if err != nil {
		return err
	}
	all, err := src.prepare(ctx, solution)
	if err != nil {
		return err
	}
	plan := install.Plan{}
	for _, p := range all {
		plan.Install = append(plan.Install, p.item)
	}
	return install.Apply(ctx, install.Env{Python: env}, plan, install.Options{})
}
