package server

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"curdling/internal/catalog"
	"curdling/internal/dist"
)

// TestSavings: several servers on a folder add up, over their runs, and a broken file is begun anew.
func TestSavings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, log := filepath.Join(dir, "counters.json"), slog.New(slog.DiscardHandler)
	one, two := OpenCounters(path, log), OpenCounters(path, log)
	f := &catalog.File{File: dist.File{Name: "foo", Size: 10}, Build: &catalog.Build{Time: time.Minute}}
	for range 3 {
		one.savings.add(f)
	}
	two.savings.add(f)
	for _, c := range []*Counters{one, two, one} {
		c.Save()
	}
	again := OpenCounters(path, log)
	want := Saved{4, 240, 40}
	sum, projects, days := again.savings.total()
	if sum != want || len(projects) != 1 || len(days) != 1 || two.savings.all() != want {
		t.Errorf("%+v %+v %+v, the second has %+v", sum, projects, days, two.savings.all())
	}
	if err := os.WriteFile(filepath.Join(dir, "savings.json"), []byte("["), 0o600); err != nil {
		t.Fatal(err)
	}
	again.savings.add(f)
	again.Save()
	if got := OpenCounters(path, log).savings.all(); got != (Saved{1, 60, 10}) {
		t.Errorf("after the damage: %+v", got)
	}
}

func TestTallyBounds(t *testing.T) {
	t.Parallel()
	var all tally
	day := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for range keptDays + 5 {
		all.add(tally{Days: map[string]Saved{day.Format(time.DateOnly): {Builds: 1}}})
		day = day.AddDate(0, 0, 1)
	}
	if _, old := all.Days["2020-01-01"]; old || len(all.Days) != keptDays {
		t.Errorf("%d days", len(all.Days))
	}
}
