package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/plan"
)

const (
	// planTime is how long a plan may take to be made. A client waits for about a second.
	planTime = 700 * time.Millisecond
	// planLookups is how many pages an upstream is asked for at once for one plan.
	planLookups = 16
	jsonType    = "application/json"
)

// plan answers what it takes to install some requirements: a plan that was made for the same question, as long
// as each project that its solver looked at is as it was then, or a new one. However many ask at
// once, it is made once.
func (s *shelf) plan(w *response, r *http.Request) error {
	w.until = time.Now().Add(questionTime)
	question, err := io.ReadAll(body{http.MaxBytesReader(w.ResponseWriter, r.Body, index.MaxPlanQuestion), w})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), planTime)
	defer cancel()
	p, result, err := s.plans.get(ctx, s, sha256.Sum256(question), func(ctx context.Context) (*planned, error) { return s.makePlan(ctx, question) })
	if err != nil {
		return err
	}
	s.metrics.plans.WithLabelValues(result).Inc()
	encoding := chooseEncoding(headerOf(r, "Accept-Encoding"))
	v := p.variants[encoding].Load()
	if v == nil {
		v = newVariant(p.body, p.tag, jsonType, "no-store", "Accept-Encoding", encoding)
		if p.variants[encoding].Swap(v) == nil {
			s.plans.grow(p, int64(len(v.body)))
		}
	}
	w.setFields(v.common)
	w.setFields(v.whole)
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(v.body) // the client is gone, or not
	return nil
}

// makePlan runs the solver.
func (s *shelf) makePlan(ctx context.Context, question []byte) (*planned, error) {
	q, requirements, constraints, err := index.ParsePlanQuestion(question)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the question cannot be read: "+err.Error())
	}
	select {
	case s.planning <- struct{}{}:
		defer func() { <-s.planning }()
	case <-ctx.Done():
		s.metrics.refused.WithLabelValues("plans").Inc()
		return nil, refuse(http.StatusServiceUnavailable, "too many plans are being made at once; ask for pages")
	}
	facts := &planFacts{shelf: s, seen: make(map[dist.Name]overlay)}
	facts.ahead.SetLimit(planLookups)
	answer, whole := plan.Make(ctx, q, requirements, constraints, facts)
	_ = facts.ahead.Wait() // its errors the solver had
	text, err := answer.Render()
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	return &planned{body: text, tag: tagOf(text), seen: facts.seen, whole: whole && !facts.stale}, nil
}

// planFacts are what those who see a shelf may know.
type planFacts struct {
	*shelf
	seen  map[dist.Name]overlay
	stale bool
	ahead errgroup.Group
}

// Page implements [plan.Facts].
func (f *planFacts) Page(ctx context.Context, name dist.Name) (*index.Project, error) {
	o, stale, err := f.look(ctx, name)
	if err != nil {
		return nil, err
	}
	f.stale = f.stale || stale
	f.seen[name] = o
	if o == (overlay{}) {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return o.listing(name, index.TypeBuilds), nil
}

// Metadata implements [plan.Facts].
func (f *planFacts) Metadata(ctx context.Context, file dist.File) ([]byte, error) {
	text, _, err := f.catalog.Metadata(ctx, file.Filename)
	if f.mirror != nil && errors.Is(err, fs.ErrNotExist) {
		return f.mirror.Metadata(ctx, file.Filename)
	}
	return text, err
}

// Expect implements [plan.Facts]: who is far away is asked ahead.
func (f *planFacts) Expect(ctx context.Context, names []dist.Name) {
	if f.mirror == nil && !f.catalog.Far() {
		return
	}
	for _, name := range names {
		f.ahead.TryGo(func() error {
			_, _, err := f.look(ctx, name)
			return err
		})
	}
}

// planned is a plan, with what it rests on.
type planned struct {
	body     []byte
	tag      string
	whole    bool
	seen     map[dist.Name]overlay
	variants [encodings]atomic.Pointer[variant]

	kept  bool // both are guarded by plans.mu
	bytes int64
}

// plans are those that were made, by the hash of their question.
type plans struct {
	limit   int64 // bytes
	flights singleflight.Group

	mu   sync.Mutex
	kept map[[sha256.Size]byte]*planned
	size int64
}

func newPlans(limit int64) *plans {
	return &plans{limit: limit, kept: make(map[[sha256.Size]byte]*planned)}
}

// get gives the plan for a question, and how it was had.
func (m *plans) get(ctx context.Context, s *shelf, question [sha256.Size]byte, make func(context.Context) (*planned, error)) (p *planned, result string, err error) {
	m.mu.Lock()
	p = m.kept[question]
	m.mu.Unlock()
	if p != nil && p.holds(ctx, s) {
		return p, "remembered", nil
	}
	result = "remembered"
	made, err, _ := m.flights.Do(string(question[:]), func() (any, error) {
		// Others may wait for it, too.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), planTime)
		defer cancel()
		p, err := make(ctx)
		if err != nil {
			return nil, err
		}
		if result = "part"; p.whole {
			result = "made"
			m.keep(question, p)
		}
		return p, nil
	})
	if err != nil {
		return nil, "", err
	}
	return made.(*planned), result, nil
}

// holds tells whether all that a plan rests on is as it was.
func (p *planned) holds(ctx context.Context, s *shelf) bool {
	if s.mirror != nil || s.catalog.Far() { // each may have to be asked for
		var ahead errgroup.Group
		ahead.SetLimit(planLookups)
		for name := range p.seen {
			ahead.Go(func() error {
				_, _, err := s.look(ctx, name)
				return err
			})
		}
		if ahead.Wait() != nil {
			return false
		}
	}
	for name, o := range p.seen {
		if now, _, err := s.look(ctx, name); err != nil || now != o {
			return false
		}
	}
	return true
}

// keep remembers a plan.
func (m *plans) keep(question [sha256.Size]byte, p *planned) {
	m.mu.Lock()
	m.forget(question)
	m.kept[question], p.kept = p, true
	m.mu.Unlock()
	m.grow(p, int64(len(p.body)+len(p.seen)*overhead))
}

// forget is for who holds mu.
func (m *plans) forget(question [sha256.Size]byte) {
	if p := m.kept[question]; p != nil {
		m.size, p.kept = m.size-p.bytes, false
		delete(m.kept, question)
	}
}

// grow counts what a plan takes, and makes room.
func (m *plans) grow(p *planned, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !p.kept {
		return
	}
	p.bytes, m.size = p.bytes+bytes, m.size+bytes
	for question := range m.kept { // in no order
		if m.size <= m.limit {
			return
		}
		m.forget(question)
	}
}
