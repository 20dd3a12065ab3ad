package mirror

import (
	"errors"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"curdling/internal/index"
)

// Stats are sums since the start.
type Stats struct {
	Hits          int64 // requests for files that were fetched before
	Misses        int64 // requests for files that were not
	Fetched       int64 // files that came, and are held now
	Bytes         int64 // of files that came
	Mismatches    int64 // files that had another hash than the upstream's page says
	Stale         int64 // pages that were given though they should have been asked for again
	Errors        int64 // requests upstream, for pages and files, that failed
	Projects      int   // pages in memory
	FilesUnderWay int   // fetches
	Upstreams     []Health
}

// Health is how an upstream is doing.
type Health struct {
	Name, URL string // without credentials
	// Up is false from when a request failed, or did not come back in time, until one succeeds.
	Up        bool
	Requests  int64
	Errors    int64
	LastError string    // "" is none yet
	LastOK    time.Time // zero is not yet
}

type counters struct {
	hits, misses, fetched, bytes, mismatches, stale, errors atomic.Int64
}

// Stats counts what was done.
func (m *Mirror) Stats() Stats {
	s := Stats{
		Hits: m.count.hits.Load(), Misses: m.count.misses.Load(), Fetched: m.count.fetched.Load(), Bytes: m.count.bytes.Load(),
		Mismatches: m.count.mismatches.Load(), Stale: m.count.stale.Load(), Errors: m.count.errors.Load(),
		Projects: m.pages.len(),
	}
	m.mu.Lock()
	s.FilesUnderWay = len(m.transfers)
	m.mu.Unlock()
	for _, u := range m.upstreams {
		h := u.shown()
		h.Name, h.URL = u.Name, index.Redact(u.URL)
		s.Upstreams = append(s.Upstreams, h)
	}
	return s
}

// Hit counts a request for a file that was fetched before.
func (m *Mirror) Hit() { m.count.hits.Add(1) }

// health is how an upstream is doing. The zero value is well.
type health struct {
	down   atomic.Bool // it failed, or kept somebody waiting: it is not waited for where there is another way
	mu     sync.Mutex
	h      Health
	failed int       // how often in a row
	until  time.Time // it is not asked before
}

// ask counts a request, or gives the reason why there is to be none now.
func (h *health) ask(now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Before(h.until) {
		return errors.New("it failed a moment ago and is left alone for " + h.until.Sub(now).Round(time.Millisecond).String() + ": " + h.h.LastError)
	}
	h.h.Requests++
	return nil
}

// tell says how a request went. What an upstream says of one name or file is no sign of illness.
func (h *health) tell(err error, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.h.Errors++
		h.h.LastError = err.Error()
	}
	if !isTrouble(err) {
		h.h.LastOK, h.failed, h.until = now, 0, time.Time{}
		h.down.Store(false)
		return
	}
	h.down.Store(true)
	h.failed++
	h.until = now.Add(min(time.Second<<min(h.failed-1, 10), 30*time.Second))
}

// count counts a request for a file. Files may lie elsewhere than pages: that they
// fail says nothing of these.
func (h *health) count(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.h.Requests++
	if err != nil {
		h.h.Errors++
		h.h.LastError = err.Error()
	}
}

func (h *health) shown() Health {
	h.mu.Lock()
	defer h.mu.Unlock()
	shown := h.h
	shown.Up = !h.down.Load()
	return shown
}

// isTrouble tells whether an error is of an upstream that does not work, and not
// what it says of one name or file.
func isTrouble(err error) bool {
	var status *index.StatusError
	if errors.As(err, &status) {
		return status.Code/100 == 5 || status.Code == http.StatusTooManyRequests
	}
	var transfer *url.Error
	return errors.As(err, &transfer)
}
