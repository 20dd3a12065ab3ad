package catalog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
	"curdling/internal/wheel/wheeltest"
)

// came drops a wheel that came so many hours after the first.
func came(t *testing.T, dir, name, version string, hours int) string {
	t.Helper()
	filename, content := makeWheel(wheeltest.Wheel{Name: name, Version: version})
	drop(t, dir, filename, content)
	at := time.Date(2026, 1, 1, hours, 0, 0, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(dir, filename), at, at); err != nil {
		t.Fatal(err)
	}
	return filename
}

func TestNewest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	came(t, dir, "first", "1", 1)
	last := came(t, dir, "last", "2", 9)
	came(t, dir, "last", "1", 2)
	for i := range mostNewest {
		came(t, dir, "busy", fmt.Sprint(i), 3)
	}
	came(t, dir, "second", "1", 4)
	c, log := open(t, dir)
	names := func(limit int) (names []dist.Name) {
		for _, p := range c.Newest(limit) {
			names = append(names, p.Name)
		}
		return names
	}
	if diff := cmp.Diff([]dist.Name{"last", "second", "busy"}, names(9)); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, log)
	}
	if diff := cmp.Diff([]dist.Name{"last", "second"}, names(2)); diff != "" {
		t.Errorf("two (-want +got):\n%s", diff)
	}
	c.drop(last)
	if diff := cmp.Diff([]dist.Name{"second", "busy"}, names(9)); diff != "" {
		t.Errorf("without it (-want +got):\n%s", diff)
	}
}

func TestLatest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ versions, yanked, want string }{
		"final":             {"1 2 3", "", "3"},
		"before a pre":      {"1 2 3rc1", "", "2"},
		"only pre":          {"1a1 1b1", "", "1b1"},
		"not yanked":        {"1 2", "2", "1"},
		"a pre, not yanked": {"1rc1 1", "1", "1rc1"},
		"all yanked":        {"1 2", "1 2", "2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, version := range strings.Fields(test.versions) {
				came(t, dir, "foo", version, 1)
			}
			for _, version := range strings.Fields(test.yanked) {
				drop(t, dir, wheeltest.Wheel{Name: "foo", Version: version}.Filename()+YankedSuffix, nil)
			}
			c, log := open(t, dir)
			if got := c.Project("foo").Latest()[0].Version.String(); got != test.want {
				t.Errorf("%s, want %s\n%s", got, test.want, log)
			}
		})
	}
}
