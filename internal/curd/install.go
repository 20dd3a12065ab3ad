package curd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"curdling/internal/dist"
	"curdling/internal/install"
	"curdling/internal/python"
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
	if s.CompileBytecode {
		s.compiler = python.NewCompiler(env.Python)
		defer s.compiler.Close()
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
	chosen, kept, err := s.obtain(ctx, env, there)
	if err != nil {
		return nil, err
	}
	report := &Report{DryRun: s.DryRun, Environment: cmp.Or(s.Target, env.Python.Prefix), Python: env.Python, Kept: len(kept)}
	plan := s.plan(report, chosen, kept, there)
	if len(plan.Install)+len(plan.Remove) > 0 && !s.DryRun {
		s.Notify(Event{Phase: Installing, Kind: Plan, Count: len(plan.Install)})
		o := install.Options{LinkMode: s.LinkMode, Warn: func(m string) { s.warn("%s", m) }, Begin: s.installing(Begin), Progress: s.installing(End)}
		if err := install.Apply(ctx, env, plan, o); err != nil {
			return nil, err
		}
	}
	s.warnOfBreakage(env, report, there)
	if s.Upload && !s.DryRun {
		report.Uploaded, report.FailedUploads = s.upload(ctx, chosen)
	}
	report.Elapsed = time.Since(start)
	return report, ctx.Err()
}

// plan makes of what was chosen what is to be done, and reports it.
func (s *session) plan(report *Report, chosen []prepared, kept []dist.Name, there map[dist.Name]install.Installed) install.Plan {
	plan := install.Plan{}
	stays := map[dist.Name]bool{}
	for _, name := range kept {
		stays[name] = true
	}
	for _, p := range chosen {
		f := p.choice.File
		done := Installed{
			Name: f.Name, Version: f.Version, Origin: p.origin, File: f, Direct: p.direct,
			Requested: p.choice.Requested, Extras: p.choice.Extras, Saved: p.saved, Metadata: p.metadata,
		}
		stays[f.Name] = true
		if old, replaces := there[f.Name]; replaces {
			plan.Remove = append(plan.Remove, old)
			done.Replaced = old.Version
		}
		plan.Install = append(plan.Install, p.item)
		s.log("install").Info("to install", "project", f.Name, "version", f.Version, "file", p.name, "from", p.origin, "replaces", done.Replaced)
		report.Installed = append(report.Installed, done)
		report.Saved.Bytes += p.saved.Bytes
		report.Saved.Builds += p.saved.Builds
		report.Saved.Time += p.saved.Time
	}
	if !s.Sync {
		return plan
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if !stays[name] && !seeds[name] {
			plan.Remove = append(plan.Remove, there[name])
			report.Removed = append(report.Removed, Installed{Name: name, Version: there[name].Version})
		}
	}
	return plan
}

// warnOfBreakage tells which installed packages, that nobody asked about, need another version of what was replaced.
func (s *session) warnOfBreakage(env install.Env, report *Report, there map[dist.Name]install.Installed) {
	now := map[dist.Name]Installed{}
	for _, i := range report.Installed {
		if !i.Replaced.IsZero() {
			now[i.Name] = i
		}
	}
	for _, i := range report.Removed {
		delete(there, i.Name)
	}
	if len(now) == 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if _, replaced := now[name]; replaced {
			continue
		}
		md, err := there[name].Metadata()
		if err != nil {
			continue // it was so before
		}
		for _, r := range md.RequiresDist {
			i, replaced := now[r.Name]
			holds, err := r.Marker.Holds(env.Python.Markers, "")
			if replaced && holds && err == nil && r.Specifiers.Contains(i.Replaced) && !r.Specifiers.Contains(i.Version) {
				s.warn("%s %s needs %s, and will not work with %s %s", name, there[name].Version, r, i.Name, i.Version)
			}
		}
	}
}

// seeds are what virtualenvs come with: nobody asks for them, and nobody wants to miss them.
var seeds = map[dist.Name]bool{"pip": true, "setuptools": true, "wheel": true}

func (s *session) installing(kind EventKind) func(name string) {
	return func(name string) { s.Notify(Event{Phase: Installing, Kind: kind, Name: name}) }
}

// target finds the environment and asks its interpreter.
func (s *session) target(ctx context.Context) (install.Env, error) {
	env, err := findPython(ctx, s.Python, s.own.Memory("python"))
	if err != nil {
		return env, err
	}
	if s.Target != "" {
		return install.Target(env, s.Target)
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

// obtain chooses, and prepares everything that is to be installed; kept is what stays of what is needed.
func (s *session) obtain(ctx context.Context, env install.Env, there map[dist.Name]install.Installed) (all []prepared, kept []dist.Name, err error) {
	defer s.warnOfLeftOut()
	if !s.DryRun {
		s.guess.start()
	}
	s.eager = !s.DryRun && !s.OnlyDeps && s.Lock == nil
	s.buildCompiler = python.NewCompiler(env.Python)
	for {
		stays := there
		if s.Force {
			stays = nil
		}
		src := s.newSource(env.Python, stays)
		all, kept, err = src.choose(ctx)
		s.guess.end(all)
		if err == nil && !s.DryRun {
			all, err = src.prepare(ctx, all)
		}
		if errors.Is(err, errAgain) {
			continue
		}
		if err == nil && s.Describe {
			err = src.describeAll(ctx, all)
		}
		return all, kept, err
	}
}

// choose gives what is to be installed, unprepared, and what of the environment stays.
func (s *source) choose(ctx context.Context) (all []prepared, kept []dist.Name, err error) {
	if s.Lock != nil {
		return s.locked(ctx)
	}
	solution, err := s.solve(ctx, s.problem())
	if err != nil && ctx.Err() == nil && s.forgetPlans() {
		return nil, nil, fmt.Errorf("%w: a plan had no solution, and perhaps the pages have: %w", errAgain, err)
	}
	if err != nil {
		return nil, nil, err
	}
	for _, c := range solution.Chosen {
		if isInstalled(c.File) {
			kept = append(kept, c.File.Name)
		}
	}
	return s.choices(solution), kept, nil
}

// problem is what the user asks for.
func (s *session) problem() resolve.Problem {
	p := resolve.Problem{Requirements: s.Requirements, Constraints: s.Constraints, Prereleases: s.Prereleases}
	if s.Explain {
		p.Trace = func(step resolve.Step) { s.Notify(Event{Phase: Resolving, Kind: Decision, Name: step.String()}) }
	}
	return p
}

// describeAll reads the metadata of what was chosen, for those who want to know.
func (s *source) describeAll(ctx context.Context, all []prepared) (err error) {
	for i := range all {
		if all[i].metadata, err = s.describe(ctx, all[i].choice.File); err != nil {
			return err
		}
	}
	return nil
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
		s.asked[r.Name] = true
	}
	s.askPlans(p)
	s.limit(p)
	s.prefetch(ctx, reqs, nil)
	solution, err := resolve.Solve(ctx, p, s)
	if err != nil {
		return nil, err
	}
	s.caution(ctx, solution)
	return solution, nil
}

// caution warns of what users should know of a solution.
func (s *source) caution(ctx context.Context, solution *resolve.Solution) {
	for _, c := range solution.Chosen {
		f := c.File
		if f.Yanked {
			s.warn("%s", reason(fmt.Sprintf("%s %s was yanked by its maintainers", f.Name, f.Version), f.YankedReason))
		}
		if status := s.statuses[f.Name]; status != "" && !s.nested {
			s.warn("%s is %s", f.Name, status)
		}
		for _, extra := range c.Unmentioned {
			if md, err := s.describe(ctx, f); err == nil && !slices.Contains(md.ProvidesExtra, extra) {
				s.warn("%s %s has no extra %s", f.Name, f.Version, extra)
			}
		}
	}
}
