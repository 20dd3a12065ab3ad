package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/livefile"
)

// Saved is what builds cost that others did not have to do again.
type Saved struct {
	Builds  int64   `json:"builds"`
	Seconds float64 `json:"seconds"` // that the builds took where they were done
	Bytes   int64   `json:"bytes"`   // of the wheels
}

func (a Saved) plus(b Saved) Saved {
	return Saved{a.Builds + b.Builds, a.Seconds + b.Seconds, a.Bytes + b.Bytes}
}

// Duration is Seconds.
func (a Saved) Duration() time.Duration { return time.Duration(a.Seconds * float64(time.Second)) }

// tally is Saved by project, and by day in UTC: "2026-01-31".
type tally struct {
	Projects map[dist.Name]Saved `json:"projects"`
	Days     map[string]Saved    `json:"days"`
}

const (
	keptDays        = 400
	mostTallied     = 10_000 // projects
	savingsPatience = 10 * time.Second
)

func (t *tally) add(u tally) {
	if t.Projects == nil {
		t.Projects, t.Days = make(map[dist.Name]Saved), make(map[string]Saved)
	}
	for name, s := range u.Projects {
		if _, known := t.Projects[name]; known || len(t.Projects) < mostTallied {
			t.Projects[name] = t.Projects[name].plus(s)
		}
	}
	for day, s := range u.Days {
		t.Days[day] = t.Days[day].plus(s)
	}
	if days := slices.Sorted(maps.Keys(t.Days)); len(days) > keptDays {
		for _, day := range days[:len(days)-keptDays] {
			delete(t.Days, day)
		}
	}
}

// total adds up the projects.
func (t *tally) total() (sum Saved) {
	for _, s := range t.Projects {
		sum = sum.plus(s)
	}
	return sum
}

// savings add up, over all runs and all servers on a folder, what the builds would have
// cost those who fetched them. They are kept as [Counters] are, in a file of their own.
type savings struct {
	path   string
	shared *shared // nil: they are kept at path
	log    *slog.Logger

	mu    sync.Mutex
	sum   tally // with fresh
	fresh tally // is not in the file yet
}

// open goes on from the file at path, which need not be there.
func (s *savings) open(path string, log *slog.Logger) {
	s.path, s.log = path, log
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &s.sum)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("what builds saved before is lost", "err", err)
	}
}

func (s *savings) add(f *catalog.File) {
	saved := Saved{1, f.Build.Time.Seconds(), f.Size}
	one := tally{map[dist.Name]Saved{f.Name: saved}, map[string]Saved{time.Now().UTC().Format(time.DateOnly): saved}}
	if s.shared != nil {
		s.shared.Add(statistics{Saved: one})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum.add(one)
	s.fresh.add(one)
}

// read looks at what is added up.
func (s *savings) read(look func(*tally)) {
	if s.shared != nil {
		look(&s.shared.all().Saved)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	look(&s.sum)
}

// save writes what was added since the last time.
func (s *savings) save() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path == "" || len(s.fresh.Days) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), savingsPatience)
	defer cancel()
	var there tally
	err := livefile.Change(ctx, s.path, func(old []byte) ([]byte, error) {
		there = tally{}
		if json.Unmarshal(old, &there) != nil {
			there = tally{} // it was broken by hand, or there is none
		}
		there.add(s.fresh)
		return json.Marshal(there)
	})
	if err != nil {
		s.log.Warn("what builds save cannot be kept", "err", err)
		return
	}
	s.sum, s.fresh = there, tally{}
}

// savedProject is a project's part of what is saved.
type savedProject struct {
	Name dist.Name `json:"name"`
	Saved
}

type savedDay struct {
	Day string `json:"day"`
	Saved
}

// total gives all that was saved, and by project, the most seconds first, and by day, the last first.
func (s *savings) total() (sum Saved, projects []savedProject, days []savedDay) {
	s.read(func(t *tally) {
		for day, saved := range t.Days {
			days = append(days, savedDay{day, saved})
		}
		sum, projects = t.total(), t.byProject()
	})
	slices.SortFunc(days, func(a, b savedDay) int { return -cmp.Compare(a.Day, b.Day) })
	return sum, projects, days
}

// byProject gives the projects, the most seconds first.
func (t *tally) byProject() (projects []savedProject) {
	for name, saved := range t.Projects {
		projects = append(projects, savedProject{name, saved})
	}
	slices.SortFunc(projects, func(a, b savedProject) int {
		return cmp.Or(-cmp.Compare(a.Seconds, b.Seconds), cmp.Compare(a.Name, b.Name))
	})
	return projects
}

func (s *savings) all() (sum Saved) {
	s.read(func(t *tally) { sum = t.total() })
	return sum
}

// of gives what the builds of one project saved.
func (s *savings) of(name dist.Name) (saved Saved) {
	s.read(func(t *tally) { saved = t.Projects[name] })
	return saved
}

// Describe implements prometheus.Collector.
func (s *savings) Describe(c chan<- *prometheus.Desc) {
	c <- savedBuilds
	c <- savedSeconds
	c <- savedBytes
}

var (
	savedBuilds  = prometheus.NewDesc(namespace+"_saved_builds_total", "Builds that were fetched here and not done again, by project.", []string{"project"}, nil)
	savedSeconds = prometheus.NewDesc(namespace+"_saved_build_seconds_total", "Seconds that these builds took where they were done, by project.", []string{"project"}, nil)
	savedBytes   = prometheus.NewDesc(namespace+"_saved_bytes_total", "Bytes of the wheels that were fetched so, by project.", []string{"project"}, nil)
)

// mostLabelled is how many projects have metrics of their own, those that saved the most.
const mostLabelled = 500

// Collect implements prometheus.Collector.
func (s *savings) Collect(c chan<- prometheus.Metric) {
	var projects []savedProject
	if s.shared != nil {
		own := s.shared.Own().Saved // whoever asks all servers adds up
		projects = own.byProject()
	} else {
		_, projects, _ = s.total()
	}
	for _, p := range projects[:min(len(projects), mostLabelled)] {
		c <- prometheus.MustNewConstMetric(savedBuilds, prometheus.CounterValue, float64(p.Builds), string(p.Name))
		c <- prometheus.MustNewConstMetric(savedSeconds, prometheus.CounterValue, p.Seconds, string(p.Name))
		c <- prometheus.MustNewConstMetric(savedBytes, prometheus.CounterValue, float64(p.Bytes), string(p.Name))
	}
}

// stats answers what is held, what was served, and what the builds saved, by project and by day.
func (s *shelf) stats(w *response, r *http.Request) error {
	type held struct {
		Projects int   `json:"projects"`
		Files    int   `json:"files"`
		Bytes    int64 `json:"bytes"`
		Tarballs int64 `json:"tarball_bytes"`
		// Counted is when that was, where it is not now.
		Counted time.Time `json:"counted,omitzero"`
	}
	stats := s.catalog.Stats()
	sum, projects, days := s.counters.savings.total()
	_, conflicts := s.Server.catalog.Evidence("")
	w.Header().Set("Cache-Control", "no-cache")
	return sendJSON(w, http.StatusOK, struct {
		Held      held           `json:"held"`
		Served    Counts         `json:"served"`
		Saved     Saved          `json:"saved"`
		ByProject []savedProject `json:"by_project"`
		ByDay     []savedDay     `json:"by_day"`
		Conflicts int            `json:"build_conflicts"`
	}{
		held{stats.Projects, stats.Files, stats.Bytes, stats.TarballBytes, stats.Counted}, s.counters.Snapshot(), sum,
		append([]savedProject{}, projects...), append([]savedDay{}, days...), conflicts,
	})
}
