package mirror

import (
	"container/list"
	"context"
	"errors"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"curdling/internal/dist"
	"curdling/internal/index"
)

// Page is what an upstream publishes of a project. It does not change: when the
// upstream's page does there is a new one.
type Page struct {
	Upstream string // its name

	from     *upstream
	project  *index.Project
	newest   time.Time // zero is no bound
	heldOnly bool      // no file can be fetched
}

// file finds a file by its name, of whatever age.
func (p *Page) file(filename string) (dist.File, bool) {
	for _, f := range p.project.Files {
		if f.Filename == filename {
			return f, true
		}
	}
	return dist.File{}, false
}

// young tells whether a file is to be left out for its age.
func (p *Page) young(f *dist.File) bool {
	return !p.newest.IsZero() && (f.UploadTime.IsZero() || f.UploadTime.After(p.newest))
}

// entry is what is known of a name upstream.
type entry struct {
	name dist.Name

	mu       sync.Mutex
	recalled bool  // the folder was looked into
	page     *Page // nil: nobody knows the name, or nothing is known
	expires  time.Time
	err      error     // of the last flight
	retry    time.Time // no flight before; for an upstream that says no to this name
	flight   *flight

	weight  int // of projects
	element *list.Element
}

// flight is a page on its way.
type flight struct {
	done  chan struct{}
	began time.Time
	at    atomic.Pointer[upstream] // which is being asked
}

// Page gives a project's page upstream; nil where no upstream has one, or is to be
// asked. stale says that what the upstream has today is not known. The error is
// an *[Error], of an upstream that fails while nothing of the project is held
// here, or the context's, or that of [catalog.Catalog.Fresh]: without knowing what is held, nobody knows whose the name is.
func (m *Mirror) Page(ctx context.Context, name dist.Name) (page *Page, stale bool, err error) {
	if err := m.catalog.Fresh(ctx, name); err != nil {
		return nil, false, err
	}
	held := m.catalog.Project(name) != nil
	if private, err := m.isPrivate(ctx, name, held); private || err != nil {
		return nil, false, err
	}
	e := m.pages.get(name)
	flight := m.look(e)
	if flight != nil {
		e.mu.Lock()
		page = e.page
		e.mu.Unlock()
		m.await(ctx, flight, page != nil || held)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case m.offline:
		if !held {
			return nil, false, nil
		}
		return e.page, false, nil
	case m.now().Before(e.expires):
		return e.page, false, nil
	case e.page != nil || held:
		m.count.stale.Add(1)
		return e.page, true, nil
	case ctx.Err() != nil:
		return nil, false, context.Cause(ctx)
	}
	return nil, false, e.err
}

// Knows tells that Page answers for a name without waiting for an upstream.
func (m *Mirror) Knows(name dist.Name) bool {
	if m.offline {
		return true
	}
	private, sure := m.settled(name)
	if !sure {
		o, ok := m.claims.known(name)
		if !ok {
			return false
		}
		private = o.private(m.catalog.Project(name) != nil)
	}
	if private {
		return true
	}
	e := m.pages.peek(name)
	if e == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return m.now().Before(e.expires)
}

// look gives the flight that is to be waited for, or nil.
func (m *Mirror) look(e *entry) *flight {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.recalled {
		e.recalled = true
		m.recall(e)
	}
	if now := m.now(); m.offline || now.Before(e.expires) || now.Before(e.retry) {
		return nil
	}
	if e.flight == nil && m.ctx.Err() == nil {
		f := &flight{done: make(chan struct{}), began: m.now()}
		e.flight = f
		m.work.Go(func() { m.refresh(e, f) })
	}
	if e.flight == nil {
		e.err = m.ctx.Err()
	}
	return e.flight
}

// await waits for a flight; where there is another way, not for long, and not at
// all for an upstream that keeps others waiting already.
func (m *Mirror) await(ctx context.Context, f *flight, another bool) {
	if !another {
		select {
		case <-f.done:
		case <-ctx.Done():
		}
		return
	}
	wait := m.waits.patience - m.now().Sub(f.began)
	if u := f.at.Load(); u != nil && u.down.Load() {
		wait = 0
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-f.done:
	case <-ctx.Done():
	case <-timer.C:
		if u := f.at.Load(); u != nil && !u.down.Swap(true) {
			m.log.Warn("an upstream keeps us waiting; what is held is served meanwhile", "upstream", u.Name)
		}
	}
}

// refresh asks the upstreams, and lands the flight.
func (m *Mirror) refresh(e *entry, f *flight) {
	page, err := m.ask(m.ctx, f, e.name)
	now := m.now()
	e.mu.Lock()
	e.err, e.flight = err, nil
	switch {
	case err != nil:
		if !isTrouble(err) {
			e.retry = now.Add(refusedUse)
		}
	case page == nil:
		e.page, e.expires = nil, now.Add(absentUse)
	default:
		e.page = page
		e.expires = now.Add(min(max(page.project.Expires.Sub(now), shortestUse), longestUse))
	}
	e.mu.Unlock()
	m.pages.weigh(e, page)
	close(f.done)
}

// ask gives the page of the first upstream that knows a name, or nil.
func (m *Mirror) ask(ctx context.Context, f *flight, name dist.Name) (*Page, error) {
	for _, u := range m.upstreams {
		f.at.Store(u)
		err := u.ask(m.now())
		if err != nil {
			return nil, &Error{u.Name, err}
		}
		p, err := u.pages.Project(ctx, u.URL, name)
		if errors.Is(err, fs.ErrNotExist) {
			u.tell(nil, m.now())
			continue
		}
		if ctx.Err() == nil {
			u.tell(err, m.now())
		}
		if err != nil {
			m.count.errors.Add(1)
			m.log.Warn("a page cannot be had", "upstream", u.Name, "project", name, "err", err)
			return nil, &Error{u.Name, err}
		}
		return m.page(u, p), nil
	}
	return nil, nil
}

func (m *Mirror) page(u *upstream, p *index.Project) *Page {
	page := &Page{Upstream: u.Name, from: u, project: p, heldOnly: m.offline}
	if m.newest != nil {
		page.newest = m.newest(m.now())
	}
	return page
}

// recall looks for what an upstream said before, perhaps to an earlier server. e.mu is held.
func (m *Mirror) recall(e *entry) {
	for _, u := range m.upstreams {
		p, err := u.recalled.Project(m.ctx, u.URL, e.name)
		if err != nil {
			continue
		}
		e.page = m.page(u, p)
		m.pages.weigh(e, e.page)
		if u == m.upstreams[0] {
			now := m.now()
			e.expires = now.Add(min(p.Expires.Sub(now), longestUse))
		}
		return
	}
}

// mostRemembered bounds what is in memory: pages and files on them.
const mostRemembered = 40_000

// projects are entries, those that were not asked for the longest forgotten first.
type projects struct {
	mu     sync.Mutex
	byName map[dist.Name]*entry
	order  *list.List // of *entry, last asked for first
	weight int
}

func (p *projects) init() {
	p.byName, p.order = make(map[dist.Name]*entry), list.New()
}

func (p *projects) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.byName)
}

func (p *projects) get(name dist.Name) *entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.byName[name]
	if e == nil {
		e = &entry{name: name}
		e.element = p.order.PushFront(e)
		p.byName[name] = e
		p.add(e, 1)
	} else {
		p.order.MoveToFront(e.element)
	}
	return e
}

// peek is get for who asks for nothing; nil where there is no entry.
func (p *projects) peek(name dist.Name) *entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byName[name]
}

// weigh counts an entry's new page, nil for none.
func (p *projects) weigh(e *entry, page *Page) {
	weight := 1
	if page != nil {
		weight += len(page.project.Files)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byName[e.name] == e {
		p.add(e, weight-e.weight)
	}
}

func (p *projects) add(e *entry, weight int) {
	e.weight += weight
	p.weight += weight
	for p.weight > mostRemembered && p.order.Len() > 1 {
		last := p.order.Back()
		old := p.order.Remove(last).(*entry)
		p.weight -= old.weight
		delete(p.byName, old.name)
	}
}
