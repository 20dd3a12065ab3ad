package curd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"curdling/internal/build"
	"curdling/internal/curds"
	"curdling/internal/dist"
	"curdling/internal/install"
	"curdling/internal/metadata"
	"curdling/internal/python"
	"curdling/internal/record"
	"curdling/internal/requirement"
	"curdling/internal/resolve"
	"curdling/internal/sdist"
	"curdling/internal/version"
)

// recipe is a source and how it is to be built.
type recipe struct {
	source string // which source, as sha256 in hex: of an archive, or of what names a commit
	name   string // for people
	// project and version are those of a source distribution; elsewhere only the build tells.
	project dist.Name
	version version.Version
	python  *python.Interpreter
	ours    bool // a folder of this machine, whose build may ask for others
	// settings are for the build backend; variables are those of the environment that count.
	settings  map[string][]string
	variables map[string]string
	from      record.From // but for its SHA256, which is source
	// lay gives the source. It may lay it at dir, which is not there yet and is deleted after the build.
	lay func(ctx context.Context, dir string) (build.Source, error)
}

// key tells whether a build of the source will do, see [record.Key].
func (r *recipe) key() string {
	return record.Key(decides(r.source, r.python, r.settings, r.variables))
}

func decides(source string, py *python.Interpreter, settings map[string][]string, variables map[string]string) record.Decides {
	_, _, platform := record.PlatformOf(py.Target)
	return record.Decides{From: source, Tag: record.TagOf(py.Target), Platform: platform, Settings: settings, Variables: variables}
}

// gives tells whether a wheel of that project and version, which may have a local label more, can be of the source.
func (r *recipe) gives(name dist.Name, v version.Version) bool {
	return (r.project == "" || name == r.project) && (r.version.IsZero() || v.Public().Compare(r.version.Public()) == 0)
}

// id names the build within a run.
func (r *recipe) id() string { return r.source + " " + r.key() }

func hashText(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// sdistRecipe builds a source distribution, which is fetched for the build where src has no path.
func (s *session) sdistRecipe(f dist.File, src held, py *python.Interpreter) *recipe {
	return &recipe{
		source: src.sha256, name: fmt.Sprintf("%s %s", f.Name, f.Version), python: py,
		settings: s.settings(string(f.Name)), variables: s.variables(), from: record.From{Filename: f.Filename},
		project: f.Name, version: f.Version,
		lay: func(ctx context.Context, _ string) (build.Source, error) {
			if src.path == "" {
				fetched, err := s.fetch(ctx, f)
				if err != nil {
					return build.Source{}, err
				}
				src = fetched
			}
			return build.Source{Name: f.Name, Version: f.Version, Archive: src.path, SHA256: src.sha256}, nil
		},
	}
}

// settings gives the settings for the build backend of what is asked for by that name or URL.
func (s *session) settings(of string) map[string][]string {
	if special := s.SettingsOf[of]; len(special) > 0 {
		return special
	}
	return s.ConfigSettings
}

// remembered finds what this run or, on this machine, one before it built of the same. What was built without
// isolation depends on more than the recipe.
func (s *session) remembered(r *recipe) (curds.Build, bool) {
	if b, ok := s.builds.peek(r.id()); ok {
		return b, true
	}
	if s.NoBuildIsolation {
		return curds.Build{}, false
	}
	for _, b := range s.own.Builds(r.source, r.key()) {
		rec, err := record.Parse(b.Record)
		if err == nil && s.misfit(rec, r.python) == "" && s.believes(b) {
			return b, true
		}
	}
	return curds.Build{}, false
}

// built gives the wheel of a source: one that was built of the same before, else a new one.
func (s *session) built(ctx context.Context, r *recipe) (curds.Build, error) {
	leave, err := s.waits.enter(ctx, r.id(), r.name)
	if err != nil {
		return curds.Build{}, err
	}
	defer leave()
	return s.builds.get(ctx, r.id(), func() (curds.Build, error) {
		ctx, nested := withBuild(ctx, r.id())
		unlock, err := s.lockBuild(ctx, r.id(), nested)
		if err != nil {
			return curds.Build{}, err
		}
		defer unlock()
		if b, ok := s.remembered(r); ok {
			return b, nil
		}
		b, found, turn, err := s.sharedBuild(ctx, r)
		if found || err != nil {
			return b, err
		}
		b, err = s.build(ctx, r, turn)
		s.give(ctx, turn, r, b, err)
		return b, err
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

// preparedMetadata asks the build backend what the wheel's metadata will be, or a cache server what another
// machine's backend said. A backend that cannot tell builds the wheel for it, which is kept.
func (s *session) preparedMetadata(ctx context.Context, r *recipe) (md *metadata.Metadata, err error) {
	ctx, _ = withBuild(ctx, r.id())
	md, turn, err := s.sharedMetadata(ctx, r)
	if md != nil || err != nil {
		return md, err
	}
	var text []byte
	var kept curds.Build
	err = s.work(ctx, &s.preparers, r, turn, func(b *build.Builder, src build.Source, out string, used *used) error {
		p, err := b.Metadata(ctx, src, out)
		md, text = p.Metadata, p.Text
		switch {
		case err != nil:
		case p.Built != nil:
			kept, err = s.keepBuild(ctx, r, p.Built, used)
		case s.eager:
			src.Prepared = p
			s.begun.put(r, src, used)
		default:
			p.Close()
		}
		return err
	})
	if text != nil {
		s.giveMetadata(ctx, turn, r, text, err)
	} else {
		s.give(ctx, turn, r, kept, err)
	}
	return md, err
}

func (s *session) build(ctx context.Context, r *recipe, t *leased) (kept curds.Build, err error) {
	err = s.work(ctx, &s.builders, r, t, func(b *build.Builder, src build.Source, out string, used *used) error {
		result, err := b.Wheel(ctx, src, out)
		if err != nil {
			return err
		}
		kept, err = s.keepBuild(ctx, r, result, used)
		return err
	})
	return kept, err
}

// work hands a builder to a build, the source and a folder for the wheel, once it is its turn.
func (s *session) work(ctx context.Context, q *queue, r *recipe, t *leased, do func(b *build.Builder, src build.Source, out string, used *used) error) error {
	out, err := os.MkdirTemp(s.own.Temp(), "wheel-")
	if err != nil {
		return fmt.Errorf("own cache: %w", err)
	}
	defer os.RemoveAll(out)
	src, used, err := s.source(ctx, r, filepath.Join(out, "source"))
	if err != nil {
		return err
	}
	defer src.Prepared.Close()
	effort, rank := effort(src), int64(0)
	if src.Prepared != nil {
		rank = begunFirst
	}
	if err := q.enter(ctx, rank+effort); err != nil {
		return err
	}
	defer q.leave()
	s.Notify(Event{Phase: Building, Kind: Begin, Name: r.name})
	defer s.Notify(Event{Phase: Building, Kind: End, Name: r.name})
	b := &build.Builder{
		Python: r.python,
		Provision: func(ctx context.Context, reqs []requirement.Requirement, env *python.Interpreter) error {
			// It does not count as work meanwhile: it may have to wait for another build.
			q.leave()
			defer func() {
				from := time.Now()
				_ = q.enter(context.WithoutCancel(ctx), begunFirst+effort)
				used.waited += time.Since(from)
			}()
			return s.provision(ctx, r, reqs, env, used)
		},
		Temp:           s.own.Temp(),
		LogDir:         s.own.Logs(),
		ConfigSettings: r.settings,
		Offline:        s.BuildOffline,
		Progress: func(_ build.Source, step string) {
			s.Notify(Event{Phase: Building, Kind: Progress, Name: r.name, Step: step})
		},
	}
	if s.NoBuildIsolation {
		b.Provision = nil
	}
	if t != nil {
		b.Follow = t.lease.Follow
	}
	return do(b, src, out, used)
}

// used is what was installed for a build.
type used struct {
	distributions []record.Distribution
	bytes         int64         // of their wheels, and of the source's archive
	waited        time.Duration // for a turn
}

// source gives what a recipe builds, from where the preparation of its metadata left it, or laid at dir.
func (s *session) source(ctx context.Context, r *recipe, dir string) (build.Source, *used, error) {
	if b := s.begun.take(r); b != nil {
		return b.src, b.used, nil
	}
	src, err := r.lay(ctx, dir)
	return src, &used{bytes: fileSize(src.Archive)}, err
}

// keepBuild moves a built wheel into the own cache.
func (s *session) keepBuild(ctx context.Context, r *recipe, result *build.Result, used *used) (curds.Build, error) {
	s.fresh.Store(r.id(), true)
	result.Seconds -= used.waited.Seconds()
	s.log("build").Info("built", "source", r.name, "wheel", filepath.Base(result.Path), "seconds", result.Seconds, "backend", result.Backend, "log", result.LogPath)
	w, text, err := s.importBuilt(ctx, r, result, used)
	if err != nil {
		return curds.Build{}, err
	}
	b := curds.Build{
		Source: r.source, Key: r.key(), Wheel: w.SHA256, Filename: w.Filename,
		Seconds: result.Seconds, Time: time.Now().UTC().Truncate(time.Second), Record: text,
	}
	if s.NoBuildIsolation {
		return b, nil
	}
	return b, s.own.AddBuild(b)
}

// begunFirst is more than all efforts: what has its environment is built before others get theirs.
const begunFirst = math.MaxInt64 / 2

// effort is how long a build is expected to take, see [sdist.Effort]; that of a folder is not known.
func effort(src build.Source) int64 {
	f, err := os.Open(src.Archive)
	if err != nil {
		return 0
	}
	defer f.Close()
	return sdist.Effort(f, src.Archive)
}

// provision puts what a build requires into its environment; see build.Provision.
func (s *session) provision(ctx context.Context, r *recipe, reqs []requirement.Requirement, env *python.Interpreter, used *used) error {
	there, err := installedByName(install.Env{Python: env})
	if err != nil {
		return err
	}
	src := s.newSource(env, there) // a backend may ask for more in a second call
	src.nested = true
	wanted := make([]resolve.Wanted, len(reqs))
	for i, req := range reqs {
		if req.URL != "" && !r.ours && local(req.URL) {
			return fmt.Errorf("its build requires a file of this machine: %s", req)
		}
		wanted[i] = resolve.Wanted{Requirement: req, Where: "the build of " + r.name}
	}
	solution, err := src.solve(ctx, resolve.Problem{Requirements: wanted, Constraints: s.BuildConstraints})
	if err != nil {
		return err
	}
	all, err := src.prepare(ctx, src.choices(solution))
	if err != nil {
		return err
	}
	plan := install.Plan{}
	for _, p := range all {
		plan.Install = append(plan.Install, p.item)
		used.distributions = append(used.distributions, record.Distribution{
			Name: p.choice.File.Name, Version: p.choice.File.Version.String(), SHA256: p.file.sha256,
		})
		used.bytes += fileSize(p.file.path)
	}
	return install.Apply(ctx, install.Env{Python: env}, plan, install.Options{})
}
