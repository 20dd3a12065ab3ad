package curd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/resolve"
)

const (
	// planPatience is how long pages wait for a cache server's plan, which has them.
	planPatience = time.Second
	// maxSpeculation is how many bytes may be under way that nobody chose yet.
	maxSpeculation = 512 << 20
)

// planning is what cache servers are asked for at the beginning of a solve: all that it will look at, at once. Each
// is asked when the solve first needs a page of it, so that none is where all is installed. What the plans have is what
// the servers' pages have. The choice of the first server is downloaded while the solver has not chosen yet.
type planning struct {
	source   *source
	question *index.PlanQuestion
}

// askPlans has cache servers asked for plans of what is to be solved.
func (s *source) askPlans(p resolve.Problem) {
	if q := s.question(p); q != nil {
		s.planning.CompareAndSwap(nil, &planning{s, q})
	}
}

// question is what a cache server is asked; nil: a plan would not help, or has left out what this run may want.
func (s *source) question(p resolve.Problem) *index.PlanQuestion {
	switch {
	case len(s.caches) == 0, s.nested,
		s.Describe,   // wants all of the metadata
		s.verifies(), // believes pages of others
		s.Resolution != Highest && s.Resolution != "",
		!s.ExcludeNewer.IsZero(), s.RequireHashes, len(s.Hashes) > 0, // may bar what the server takes for sure
		s.NoBinary.All, len(s.NoBinary.Of) > 0:
		return nil
	}
	q := &index.PlanQuestion{
		Requirements: lines(p.Requirements), Constraints: lines(p.Constraints), Prereleases: p.Prereleases, NoDeps: s.NoDeps,
		Python: s.python.Version, Markers: s.python.Markers, Target: s.python.Target,
	}
	if len(q.Requirements) == 0 {
		return nil
	}
	return q
}

// lines writes down what does not come from a URL.
func lines(all []resolve.Wanted) (texts []string) {
	for _, w := range all {
		if w.URL == "" {
			texts = append(texts, w.String())
		}
	}
	return texts
}

// awaitPlan has a cache server asked for its plan, and waits for it, but not for long.
func (s *session) awaitPlan(ctx context.Context, p *place) {
	planning := s.planning.Load()
	if planning == nil || p.origin != CacheServer {
		return
	}
	p.planOnce.Do(func() {
		waiting, done := context.WithTimeout(s.background, planPatience)
		p.planned = waiting
		s.running.Go(func() { planning.ask(s.background, p, done) })
	})
	select {
	case <-p.planned.Done():
	case <-ctx.Done():
	case <-p.alive.Done():
	}
}

// ask asks one cache server, and follows the choice of the first.
func (n *planning) ask(ctx context.Context, p *place, done func()) {
	defer done()
	s := n.source
	plan, err := askPlace(ctx, p, func(ctx context.Context) (*index.Plan, error) { return p.client.Plan(ctx, p.root, n.question) })
	switch {
	case err == nil:
	case ctx.Err() == nil && p.failed() == nil && p.client.Dead(err):
		s.giveUp(p, err)
		return
	default:
		s.log("resolve").Debug("there is no plan", "at", p.shown, "why", err)
		return
	}
	p.follows.Store(true)
	done()
	s.log("resolve").Debug("planned", "at", p.shown, "projects", len(plan.Projects), "unknown", len(plan.Unknown), "files", len(plan.Chosen))
	if p == s.caches[0] {
		s.speculate(ctx, p, plan.Chosen)
	}
	p.client.KeepPlan(p.root, plan)
}

// forgetPlans has the pages of all cache servers that were planned asked for; false where none was. What is wrong in a
// plan, or left out, so costs time, and leads to no other end.
func (s *session) forgetPlans() (forgot bool) {
	for _, p := range s.caches {
		if p.follows.Swap(false) {
			forgot = true
			p.client.ForgetPlan()
		}
	}
	if forgot {
		s.pages.forget(func(pageKey) bool { return true })
		s.metadata.forget(func(key string) bool { return !strings.Contains(key, " ") }) // what was prepared of sources stays
	}
	return forgot
}

// speculation is the downloads of what nobody chose yet.
type speculation struct {
	mu     sync.Mutex
	open   bool
	room   int64                         // bytes
	cancel map[string]context.CancelFunc // by key of the file
}

// speculate downloads what a cache server chose, the largest file first.
func (s *source) speculate(ctx context.Context, p *place, chosen []string) {
	var files []dist.File
	for _, name := range chosen {
		f, err := dist.ParseFilename(name, "")
		if err != nil || f.Kind != dist.Wheel {
			continue
		}
		if _, there := s.installed[f.Name]; there && !s.newest(f.Name) {
			continue
		}
		page, err := s.page(ctx, p, f.Name)
		if err != nil || page == nil {
			continue
		}
		i := slices.IndexFunc(page.Files, func(f dist.File) bool { return f.Filename == name })
		if i < 0 {
			continue
		}
		f = page.Files[i]
		if _, barred := s.judge(f); barred == "" && lies(p, f) {
			files = append(files, f)
		}
	}
	slices.SortStableFunc(files, func(a, b dist.File) int { return cmp.Compare(b.Size, a.Size) })
	for _, f := range files {
		s.fetchAhead(ctx, f)
	}
}

// fetchAhead downloads a file that nobody chose yet, and unpacks it, unless it is here. What is more than may be under way
// so waits until it is chosen, as does what is of no known size or hash, and what is taken only if its build is trusted.
func (s *source) fetchAhead(ctx context.Context, f dist.File) {
	if f.SHA256 == "" || f.Size <= 0 || f.BuildKey != "" {
		return
	}
	if _, held := s.own.File(f.SHA256); held {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	if !s.guess.begin(key(f), f.Size, cancel) {
		cancel()
		return
	}
	s.running.Go(func() {
		defer cancel()
		var err error
		if s.takesTarball(&prepared{choice: resolve.Choice{File: f}}) {
			_, err = s.tarballs.get(ctx, f.Tarball.SHA256, func() (unpacked, error) {
				u, err := s.unpackTarball(ctx, f)
				return u, asIfNobodyTried(err)
			})
		} else {
			var h held
			h, err = s.files.get(ctx, key(f), func() (held, error) {
				h, err := s.download(ctx, f)
				return h, asIfNobodyTried(err)
			})
			if err == nil {
				_, err = s.tree(ctx, h.sha256)
			}
		}
		if err != nil {
			s.log("fetch").Debug("a file that may be needed did not come", "file", f.Filename, "err", err)
		}
	})
}

// asIfNobodyTried has those who want the same, and chose it, try for themselves.
func asIfNobodyTried(err error) error {
	if err != nil {
		err = fmt.Errorf("%w: %w", context.Canceled, err)
	}
	return err
}

// start allows downloads until end. Who only wants to know what would be chosen has none.
func (g *speculation) start() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open, g.room, g.cancel = true, maxSpeculation, map[string]context.CancelFunc{}
}

// begin notes a download, unless it was begun, is too large, or it is too late for it.
func (g *speculation) begin(key string, size int64, cancel context.CancelFunc) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.open || size > g.room || g.cancel[key] != nil {
		return false
	}
	g.room -= size
	g.cancel[key] = cancel
	return true
}

// end ends the downloads of what was not chosen.
func (g *speculation) end(chosen []prepared) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = false
	for _, p := range chosen {
		delete(g.cancel, key(p.choice.File))
	}
	for _, cancel := range g.cancel {
		cancel()
	}
	g.cancel = nil
}
