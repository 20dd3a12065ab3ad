//go:build linux

package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// What clients do, as it is counted.
const (
	kindPage     = "page"
	kindPlan     = "plan"
	kindMetadata = "metadata"
	kindFile     = "file"
	kindWait     = "build, until somebody else's is there"
	kindLate     = "after its upload" // that those who wait have it
	kindUpload   = "upload"
	kindSeen     = "until every server shows it" // what was uploaded
)

// deadline is within which a server has to answer, whatever the store does (docs/server.md, When the bucket fails).
func deadline(kind string) time.Duration {
	if kind == kindUpload {
		return time.Minute
	}
	return 30 * time.Second
}

// tally is what was counted of one kind.
type tally struct {
	took     []time.Duration // of those that succeeded
	bytes    int64           // of bodies, as they were sent
	same     int             // 304
	failed   map[string]int  // by status, or what befell the connection
	overtime int             // longer than the deadline
	longest  time.Duration
}

// stats are what clients counted. The zero value is empty.
type stats struct {
	verbose bool // each failure is told

	mu       sync.Mutex
	tallies  map[string]*tally
	sessions int
	broken   []string // sessions that did not get what they needed, and why
	refused  []string // uploads that were given up, and why; but for those to which a rival's came first
	wrong    []string // what was served and is not what it has to be
	built    int      // builds that were executed
	leased   int      // of them with a lease
	wanted   map[*source]bool
}

func (s *stats) change(kind string, how func(*tally)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tallies == nil {
		s.tallies = map[string]*tally{}
	}
	if s.tallies[kind] == nil {
		s.tallies[kind] = &tally{failed: map[string]int{}}
	}
	how(s.tallies[kind])
}

// tell tells of a failure at once, where that is wanted.
func (s *stats) tell(format string, args ...any) {
	if s.verbose {
		say(time.Now().Format("15:04:05.000 ")+format, args...)
	}
}

func (s *stats) took(kind string, d time.Duration) {
	s.change(kind, func(t *tally) { t.took, t.longest = append(t.took, d), max(t.longest, d) })
}

func (s *stats) note(list *[]string, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*list = append(*list, fmt.Sprintf(format, args...))
}

// of gives a copy of what was counted of one kind.
func (s *stats) of(kind string) tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tallies[kind]; t != nil {
		c := *t
		c.took = slices.Sorted(slices.Values(t.took))
		return c
	}
	return tally{}
}

// quantile gives the value below which a part of them lies; took is sorted.
func (t tally) quantile(part float64) time.Duration {
	if len(t.took) == 0 {
		return 0
	}
	return t.took[min(int(part*float64(len(t.took))), len(t.took)-1)]
}

func (t tally) failures() (n int) {
	for _, count := range t.failed {
		n += count
	}
	return n
}

// ledger is what servers acknowledged to keep: by file name, the bytes' hash and the record.
type ledger struct {
	mu    sync.Mutex
	files map[string][]kept
}

type kept struct {
	project, sha256 string
	record          string // "" is none
}

func (l *ledger) add(project string, f *file) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.files == nil {
		l.files = map[string][]kept{}
	}
	if k := (kept{project, f.sha256(), string(f.record)}); !slices.Contains(l.files[f.name], k) {
		l.files[f.name] = append(l.files[f.name], k)
	}
}
