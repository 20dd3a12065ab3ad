//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"curdling/internal/dist"
)

// morning is a load: CI jobs that come alone and in bursts, some of which need what nobody has built yet, and people
// who publish.
type morning struct {
	world   *world
	base    string   // what clients are told: the load balancer
	servers []string // URLs of all that stand behind it
	dir     string   // for what is built

	seed     uint64
	mark     string // in names of what is built and published, so that each morning has its own
	sessions int
	length   time.Duration // within which they come
	build    time.Duration // what one takes
	later    bool          // half of the builds have a record of a later schema

	stats  stats
	ledger ledger

	mu         sync.Mutex
	remembered map[string]remembered // pages, by project: what earlier jobs left to warm ones
}

// remembered is a page that a client has.
type remembered struct {
	etag  string
	files []dist.File
}

// job is what a session is to install.
type job struct {
	at    time.Duration
	roots []int
	plan  bool    // asks for one
	warm  bool    // remembers pages
	needs *source // has to be built, or somebody else's build fetched; nil: nothing
}

// Shares of the jobs.
const (
	inBursts  = 0.6
	withPlan  = 0.6
	warmOnes  = 0.7
	burstOver = 2 * time.Second // most of a burst
	burstNeed = 0.5             // of a burst, what the burst's push has made necessary to build
)

// jobs lays out the morning: bursts, each a push after which many jobs start within seconds and about half of them need one
// build; the others evenly. What they install is by Zipf's law.
func (m *morning) jobs() []job {
	r := rand.New(rand.NewPCG(m.seed, 2))
	bursts := max(2, int(m.length/(8*time.Second)))
	weights := make([]float64, bursts)
	total := 0.0
	for i := range weights {
		weights[i] = 0.2 + r.ExpFloat64()
		total += weights[i]
	}
	var all []job
	add := func(at time.Duration, needs *source) {
		j := job{at: at, plan: r.Float64() < withPlan, warm: r.Float64() < warmOnes, needs: needs}
		for range 3 + r.IntN(8) {
			if root := popular(r, len(m.world.projects)); !slices.Contains(j.roots, root) {
				j.roots = append(j.roots, root)
			}
		}
		all = append(all, j)
	}
	for i, weight := range weights {
		needs := newSource(fmt.Sprintf("morning-%s-%d", m.mark, i))
		needs.later = m.later && i%2 == 0
		start := time.Duration(r.Float64() * float64(m.length))
		for range int(weight / total * inBursts * float64(m.sessions)) {
			at := start + time.Duration(min(r.ExpFloat64(), 4)*float64(burstOver))
			if r.Float64() < burstNeed {
				add(at, needs)
			} else {
				add(at, nil)
			}
		}
	}
	for len(all) < m.sessions {
		add(time.Duration(r.Float64()*float64(m.length)), nil)
	}
	slices.SortFunc(all, func(a, b job) int { return int(a.at - b.at) })
	return all
}

// run lets the jobs come, and waits for all of them.
func (m *morning) run(ctx context.Context) {
	m.remembered = map[string]remembered{}
	var everybody sync.WaitGroup
	began := time.Now()
	everybody.Go(func() { m.publish(ctx, began) })
	for _, j := range m.jobs() {
		select {
		case <-ctx.Done():
		case <-time.After(j.at - time.Since(began)):
			everybody.Go(func() { m.session(ctx, j) })
		}
	}
	everybody.Wait()
}

// session is a job from its begin to its end.
func (m *morning) session(ctx context.Context, j job) {
	s := &session{morning: m, job: j, client: newClient(m.base, &m.stats)}
	defer s.client.close()
	err := s.run(ctx)
	m.stats.mu.Lock()
	m.stats.sessions++
	m.stats.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		m.stats.note(&m.stats.broken, "%v", err)
	}
}

const (
	publishEvery = time.Second
	rivalEach    = 4 // publication: somebody else publishes other bytes under the same name at the same moment
	watchEach    = 5 // publication is awaited at all servers
)

// publish uploads new versions of projects.
func (m *morning) publish(ctx context.Context, began time.Time) {
	r := rand.New(rand.NewPCG(m.seed, 3))
	var uploads sync.WaitGroup
	defer uploads.Wait()
	for n := 0; time.Since(began) < m.length; n++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(publishEvery):
		}
		project, version := popular(r, len(m.world.projects)), fmt.Sprintf("2.%d+%s", n, m.mark)
		uploads.Go(func() { m.upload(ctx, project, version, "", n%watchEach == 0) })
		if n%rivalEach == 0 {
			uploads.Go(func() { m.upload(ctx, project, version, "rival", false) })
		}
	}
}

// upload uploads a file, and may wait until all servers show it.
func (m *morning) upload(ctx context.Context, project int, version, salt string, watch bool) {
	f := m.world.wheel(project, version, salt)
	c := newClient(m.base, &m.stats)
	defer c.close()
	if _, err := c.ask(ctx, putFile(&f)); err != nil {
		var said *statusError
		if ctx.Err() == nil && (!errors.As(err, &said) || said.status != http.StatusConflict) {
			m.stats.note(&m.stats.refused, "%v", err)
		}
		return
	}
	m.ledger.add(m.world.projects[project].name, &f)
	if !watch {
		return
	}
	began := time.Now()
	var all sync.WaitGroup
	for _, server := range m.servers {
		all.Go(func() {
			if m.shows(ctx, server, m.world.projects[project].name, f.name) {
				m.stats.took(kindSeen, time.Since(began))
			}
		})
	}
	all.Wait()
}

// shows waits until a server's page has a file, a minute at most.
func (m *morning) shows(ctx context.Context, server, project, name string) bool {
	var apart stats // it is no client
	c := newClient(server, &apart)
	defer c.close()
	for end := time.Now().Add(time.Minute); ctx.Err() == nil && time.Now().Before(end); {
		a, err := c.once(ctx, getPage(project))
		if err == nil {
			files, err := readPage(c.base, project, a)
			if err == nil && slices.ContainsFunc(files, func(f dist.File) bool { return f.Filename == name }) {
				return true
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	return false
}
