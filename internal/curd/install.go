package curd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"curdling/internal/dist"
	"curdling/internal/install"
	"curdling/internal/requirement"
	"curdling/internal/resolve"
)

// Install brings what is required into the environment. The environment is not
// touched before everything that it needs is there, and after an error it is as it was.
func Install(ctx context.Context, o Options) (*Report, error) {
	start := time.Now()
	s, err := newSession(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	env, err := s.target(ctx)
	if err != nil {
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
	there, err := installedByName(env)
	if err != nil {
		return nil, err
	}
	all, kept, err := s.obtain(ctx, env, there)
	if err != nil {
		return nil, err
	}
	report := &Report{DryRun: s.DryRun, Environment: env.Python.Prefix, Kept: kept}
	plan := install.Plan{}
	for _, p := range all {
		f := p.choice.File
		old, replaces := there[f.Name]
		done := Installed{Name: f.Name, Version: f.Version, Origin: p.origin}
		if replaces {
			plan.Remove = append(plan.Remove, old)
			done.Replaced = old.Version
		}
		plan.Install = append(plan.Install, p.item)
		s.log("install").Info("to install", "project", f.Name, "version", f.Version, "file", p.name, "from", p.origin, "replaces", done.Replaced)
		report.Installed = append(report.Installed, done)
	}
	if len(plan.Install) > 0 && !s.DryRun {
		s.Notify(Event{Phase: Installing, Kind: Plan, Count: len(plan.Install)})
		if err := install.Apply(ctx, env, plan, install.Options{Warn: func(m string) { s.warn("%s", m) }, Progress: s.installing}); err != nil {
			return nil, err
		}
	}
	if s.Upload && !s.DryRun {
		report.Uploaded, report.FailedUploads = s.upload(ctx, all)
	}
	report.Elapsed = time.Since(start)
	return report, ctx.Err()
}

func (s *session) installing(name string) {
	s.Notify(Event{Phase: Installing, Kind: Begin, Name: name})
	s.Notify(Event{Phase: Installing, Kind: End, Name: name})
}

// target finds the environment and asks its interpreter.
func (s *session) target(ctx context.Context) (install.Env, error) {
	env, err := findPython(ctx, s.Python, s.own.Memory("python"))
	if err != nil {
		return env, err
	}
	if py := env.Python; py.ExternallyManaged != "" && !s.BreakSystemPackages {
		return env, fmt.Errorf("%s is managed by the system's own package manager (PEP 668); make a virtualenv (%s -m venv .venv), or say --break-system-packages\n%s",
			py.Executable, py.Executable, strings.TrimSpace(py.ExternallyManaged))
	}
	return env, nil
}

func installedByName(env install.Env) (map[dist.Name]install.Installed, error) {
	all, err := install.List(env)
	if err != nil {
		return nil, err
	}
	there := make(map[dist.Name]install.Installed, len(all))
	for _, i := range all {
		if _, found := there[i.Name]; !found { // the first on sys.path is what Python imports
			there[i.Name] = i
		}
	}
	return there, nil
}

// obtain solves, and prepares everything that is to be installed; kept counts what stays.
func (s *session) obtain(ctx context.Context, env install.Env, there map[dist.Name]install.Installed) (all []prepared, kept int, err error) {
	for {
		stays := there
		if s.Force {
			stays = nil
		}
		src := s.newSource(env.Python, stays)
		solution, err := src.solve(ctx, resolve.Problem{Requirements: s.Requirements, Constraints: s.Constraints, Prereleases: s.Prereleases})
		if err == nil && s.DryRun {
			all = src.choices(solution)
		} else if err == nil {
			all, err = src.prepare(ctx, solution)
		}
		if errors.Is(err, errCacheLost) {
			continue // each time there is one less
		}
		if err != nil {
			return nil, 0, err
		}
		return all, len(solution.Chosen) - len(all), nil
	}
}

// solve asks the solver, with the first questions asked ahead of it.
func (s *source) solve(ctx context.Context, p resolve.Problem) (*resolve.Solution, error) {
	if !s.nested {
		s.Notify(Event{Phase: Resolving, Kind: Begin})
		defer s.Notify(Event{Phase: Resolving, Kind: End})
	}
	ctx, cancel := context.WithCancel(ctx)
	defer s.ahead.Wait()
	defer cancel()
	p.Markers = s.python.Markers
	reqs := make([]requirement.Requirement, len(p.Requirements))
	for i, r := range p.Requirements {
		reqs[i] = r.Requirement
	}
	reqs, err := s.pinURLs(ctx, reqs)
	if err != nil {
		return nil, err
	}
	p.Requirements = slices.Clone(p.Requirements)
	for i, r := range reqs {
		p.Requirements[i].Requirement = r
	}
	s.prefetch(ctx, reqs)
	solution, err := resolve.Solve(ctx, p, s)
	if err != nil {
		return nil, err
	}
	for _, c := range solution.Chosen {
		for _, extra := range c.Unmentioned {
			if md, err := s.describe(ctx, c.File); err == nil && !slices.Contains(md.ProvidesExtra, extra) {
				s.warn("%s %s has no extra %s", c.File.Name, c.File.Version, extra)
			}
		}
	}
	return solution, nil
}

// prepared is one distribution of which all is there to install it.
type prepared struct {
	choice resolve.Choice
	item   install.Item
	file   held   // the wheel
	name   string // of the wheel's file
	origin Origin
}

// choices gives what of a solution is to be installed, unprepared.
func (s *source) choices(solution *resolve.Solution) []prepared {
	var all []prepared
	for _, c := range solution.Chosen {
		if !isInstalled(c.File) {
			all = append(all, prepared{choice: c, origin: s.originOf(c.File, held{downloaded: true})})
		}
	}
	return all
}

// prepare fetches, builds and unpacks, all at once, what the solution has and
// the environment has not. Its error joins those of all that failed.
func (s *source) prepare(ctx context.Context, solution *resolve.Solution) ([]prepared, error) {
	all := s.choices(solution)
	if !s.nested {
		s.Notify(Event{Phase: Unpacking, Kind: Plan, Count: len(all)})
	}
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i], errs[i] = s.prepareOne(ctx, all[i].choice) })
	}
	wg.Wait()
	if failed := failures(errs); failed != nil {
		return nil, failed
	}
	return all, nil
}

// Failures is what went wrong with several packages at once.
type Failures []error

func (f Failures) Error() string { return errors.Join(f...).Error() }

// Unwrap serves errors.Is and errors.As.
func (f Failures) Unwrap() []error { return f }

// failures collects the errors, each cause said once; nil where there is none.
func failures(errs []error) error {
	var all Failures
	said := map[string]bool{}
	for _, err := range errs {
		if err != nil && !said[err.Error()] {
			said[err.Error()] = true
			all = append(all, err)
		}
	}
	if all == nil {
		return nil
	}
	return all
}

func (s *source) prepareOne(ctx context.Context, c resolve.Choice) (prepared, error) {
	h, err := s.fetch(ctx, c.File)
	if err != nil {
		return prepared{}, err
	}
	r := prepared{choice: c, file: h, name: c.File.Filename, origin: s.originOf(c.File, h)}
	if c.File.Kind == dist.Sdist {
		b, err := s.built(ctx, c.File, h, s.python)
		if err != nil {
			return prepared{}, err
		}
		path, ok := s.own.File(b.Wheel)
		if !ok {
			return prepared{}, fmt.Errorf("own cache: %s is gone", b.Filename)
		}
		r.file, r.name = held{path: path, sha256: b.Wheel}, b.Filename
		if r.origin != URL {
			r.origin = Built
		}
	}
	s.unpacks <- struct{}{}
	defer func() { <-s.unpacks }()
	if !s.nested {
		s.Notify(Event{Phase: Unpacking, Kind: Begin, Name: r.name})
		defer s.Notify(Event{Phase: Unpacking, Kind: End, Name: r.name})
	}
	tree, err := s.own.Tree(ctx, r.file.sha256)
	if err != nil {
		return prepared{}, err
	}
	r.item = install.Item{Tree: tree, Requested: c.Requested}
	if r.origin == URL {
		r.item.DirectURL = s.direct[c.File.Name].from.Encode()
	}
	return r, nil
}

// originOf tells where a file came from.
func (s *source) originOf(f dist.File, h held) Origin {
	switch {
	case s.direct[f.Name].URL == f.URL:
		return URL
	case !h.downloaded:
		return OwnCache
	case s.cacheOf(f) != nil:
		return CacheServer
	default:
		return Index
	}
}
