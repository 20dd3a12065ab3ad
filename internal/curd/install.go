package curd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"curdling/internal/curds"
	"curdling/internal/dist"
	"curdling/internal/install"
	"curdling/internal/metadata"
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
		o := install.Options{LinkMode: s.LinkMode, Warn: func(m string) { s.warn("%s", m) }, Progress: s.installing}
		if err := install.Apply(ctx, env, plan, o); err != nil {
			return nil, err
		}
	}
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
			Requested: p.choice.Requested, Extras: p.choice.Extras, Metadata: p.metadata,
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

// seeds are what virtualenvs come with: nobody asks for them, and nobody wants to miss them.
var seeds = map[dist.Name]bool{"pip": true, "setuptools": true, "wheel": true}

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
	for {
		stays := there
		if s.Force {
			stays = nil
		}
		src := s.newSource(env.Python, stays)
		all, kept, err = src.choose(ctx)
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
	s.prefetch(ctx, reqs)
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

// prepared is one distribution of which all is there to install it.
type prepared struct {
	choice   resolve.Choice
	hashes   []string           // all of which the file must have
	direct   *install.DirectURL // nil: from an index
	item     install.Item
	file     held   // the wheel
	name     string // of the wheel's file
	origin   Origin
	special  bool // built in a way that others did not ask for
	saved    Saved
	metadata *metadata.Metadata
}

// choices gives what of a solution is to be installed, unprepared.
func (s *source) choices(solution *resolve.Solution) []prepared {
	var all []prepared
	for _, c := range solution.Chosen {
		if isInstalled(c.File) || s.OnlyDeps && c.Requested && !s.nested {
			continue
		}
		p := prepared{choice: c, origin: s.originOf(c.File, held{downloaded: true})}
		if p.origin == URL {
			from := s.direct[c.File.Name].from
			p.direct = &from
		}
		all = append(all, p)
	}
	return all
}

// prepare fetches, builds and unpacks, all at once, what was chosen. Its error joins those of all that failed.
func (s *source) prepare(ctx context.Context, chosen []prepared) ([]prepared, error) {
	all := slices.Clone(chosen)
	if !s.nested {
		s.Notify(Event{Phase: Unpacking, Kind: Plan, Count: len(all)})
	}
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { errs[i] = s.prepareOne(ctx, &all[i]) })
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

func (s *source) prepareOne(ctx context.Context, p *prepared) error {
	if err := s.obtainWheel(ctx, p); err != nil {
		return err
	}
	s.unpacks <- struct{}{}
	defer func() { <-s.unpacks }()
	if !s.nested {
		s.Notify(Event{Phase: Unpacking, Kind: Begin, Name: p.name})
		defer s.Notify(Event{Phase: Unpacking, Kind: End, Name: p.name})
	}
	tree, err := s.own.Tree(ctx, p.file.sha256)
	if err != nil {
		return err
	}
	p.item = install.Item{Tree: tree, Requested: p.choice.Requested}
	if p.direct != nil {
		p.item.DirectURL = p.direct.Encode()
	}
	if s.compiler != nil && !s.nested {
		p.item.Bytecode, err = s.own.Bytecode(ctx, tree, s.python, s.compiler.Compile)
	}
	return err
}

// obtainWheel fetches what was chosen, and builds it where it is a source.
func (s *source) obtainWheel(ctx context.Context, p *prepared) error {
	f := p.choice.File
	h, err := s.fetch(ctx, f)
	if err != nil {
		return err
	}
	if err := s.checkHashes(p, h); err != nil {
		return err
	}
	if err := s.checkPromise(f, h); err != nil {
		return err
	}
	p.file, p.name = h, f.Filename
	if p.direct == nil {
		p.origin = s.originOf(f, h)
	}
	if p.origin == OwnCache || p.origin == CacheServer {
		p.saved.Bytes = fileSize(h.path)
	}
	if f.Kind != dist.Sdist {
		return nil
	}
	r := s.sdistRecipe(f, h, s.python)
	b, err := s.built(ctx, r)
	if err != nil {
		return err
	}
	path, ok := s.own.File(b.Wheel)
	if !ok {
		return fmt.Errorf("own cache: %s is gone", b.Filename)
	}
	if err := s.checkSibling(f, b); err != nil {
		return err
	}
	p.file, p.name = held{path: path, sha256: b.Wheel}, b.Filename
	p.special = s.NoBuildIsolation || len(r.settings) > 0
	p.origin = Built
	if _, now := s.fresh.Load(r.id()); !now {
		p.saved.Builds, p.saved.Time = 1, time.Duration(b.Seconds*float64(time.Second))
	}
	return nil
}

// checkPromise holds a wheel that just came against the metadata that its index gave of it, by which it was chosen.
func (s *source) checkPromise(f dist.File, h held) error {
	promised, known := s.metadata.peek(key(f))
	if !h.downloaded || f.Kind != dist.Wheel || !known || promised == nil {
		return nil
	}
	md, err := s.own.Metadata(h.sha256)
	if err != nil {
		return err
	}
	if !sameRequires(md, promised) {
		return fmt.Errorf("%s: its METADATA requires something else than the metadata that its index gave of it", f.Filename)
	}
	return nil
}

func sameRequires(a, b *metadata.Metadata) bool {
	return slices.EqualFunc(a.RequiresDist, b.RequiresDist, func(a, b requirement.Requirement) bool {
		return a.String() == b.String() && a.URL == b.URL
	})
}

// checkSibling holds a built wheel against that for other machines by whose metadata it was chosen.
func (s *source) checkSibling(f dist.File, b curds.Build) error {
	wheel, ok := s.siblings.Load(f.URL)
	if !ok {
		return nil
	}
	promised, known := s.metadata.peek(key(wheel.(dist.File)))
	if !known {
		return nil
	}
	md, err := s.own.Metadata(b.Wheel)
	if err != nil {
		return err
	}
	s.siblings.Delete(f.URL)
	if !sameRequires(md, promised) {
		return fmt.Errorf("%w: %s requires something else here than on other machines", errAgain, b.Filename)
	}
	return nil
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// checkHashes holds a file against the hashes of a lock, which must all be right, and against those
// of --hash, of which one must.
func (s *source) checkHashes(p *prepared, h held) error {
	f := p.choice.File
	var sets [][]string
	for _, hash := range p.hashes {
		sets = append(sets, []string{hash})
	}
	if given := s.Hashes[f.Name]; len(given) > 0 && !s.nested && p.direct == nil {
		sets = append(sets, given)
	}
	for _, set := range sets {
		ok, err := hasHash(h, set)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("%s: its sha256 is %s; expected was %s", f.Filename, h.sha256, strings.Join(set, " or "))
		}
	}
	return nil
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
