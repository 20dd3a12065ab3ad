package bucket

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/store/storetest"
)

// sweep sweeps all projects of what is older than age.
func sweep(ctx context.Context, s *Store, age time.Duration) (swept Swept, err error) {
	now, err := s.Clock(ctx)
	if err != nil {
		return swept, err
	}
	for p, err := range s.Walk(ctx, "") {
		if err == nil {
			err = s.SweepProject(ctx, p, now.Add(-age), &swept)
		}
		if err != nil {
			return swept, err
		}
	}
	return swept, nil
}

// swept checks that a sweep leaves so many objects.
func swept(t *testing.T, m *storetest.Memory, want int) {
	t.Helper()
	if _, err := sweep(t.Context(), open(t, m), -time.Hour); err != nil {
		t.Error(err)
	}
	if keys := m.Keys(); len(keys) != want {
		t.Errorf("left are %q", keys)
	}
}

// TestSweep: what no claim names goes when it is old; all else stays.
func TestSweep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := storetest.NewMemory(2, time.Second)
		s := open(t, m)
		rubbish := func(content, file string) string {
			key := "wheels/flask/" + sum(content) + "/PUT/" + file
			put(t, m, key, content)
			return key
		}
		keep(t, s, flask, "wheel")
		gone := []string{rubbish("a loser's", flask), rubbish("of a crash", flaskSd), rubbish("wheel", flask)}
		put(t, m, "clock/OFACRASH", "")
		keep(t, s, "flask-1.tar.gz", "damaged")
		if err := s.Quarantine(t.Context(), "flask-1.tar.gz", "its disk is damaged"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		rubbish("young", flaskSd)
		time.Sleep(time.Hour)
		before := m.Keys()
		got, err := sweep(t.Context(), s, 24*time.Hour)
		if want := (Swept{Groups: 1, Removed: 3, Bytes: int64(len("a loser'sof a crashwheel"))}); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
		want := slices.DeleteFunc(before, func(key string) bool { return slices.Contains(gone, key) || strings.HasPrefix(key, "clock/") })
		if diff := cmp.Diff(want, m.Keys()); diff != "" {
			t.Errorf("left (-want +got):\n%s", diff)
		}
	})
}

// TestQuarantine: what is put aside is not held, its bytes and the reason are kept, and its name is free.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	m := storetest.NewMemory(0, 0)
	s := open(t, m)
	keep(t, s, flask, "damaged")
	object, _, err := s.Place(t.Context(), flask)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Quarantine(t.Context(), flask, "sha256 is another one"); err != nil {
		t.Fatal(err)
	}
	if _, err := show(t.Context(), s, flask); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opened: %v", err)
	}
	keep(t, s, flask, "sound")
	if _, err := sweep(t.Context(), s, -time.Hour); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{object: "damaged", "quarantine/" + strings.TrimPrefix(object, "wheels/"): flask + ": sha256 is another one\n"} {
		r, _, err := m.Open(t.Context(), key)
		if err != nil {
			t.Error(err)
			continue
		}
		if got, _ := io.ReadAll(r); string(got) != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if err := s.Quarantine(t.Context(), flaskSd, "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not held: %v, want fs.ErrNotExist", err)
	}
}
