package storetest

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/store"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) store.Store{
		"plain":   func(*testing.T) store.Store { return NewMemory(0, 0) },
		"coarse":  func(*testing.T) store.Store { return NewMemory(2, time.Second) },
		"delayed": func(*testing.T) store.Store { return NewMemory(3, 0).Link(Faults{Delay: time.Millisecond}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			Run(t, open)
		})
	}
}

// TestMemoryFaults: what fails was not done, what was lost or came late was.
func TestMemoryFaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		faults Faults
		want   error
		at     time.Duration // when it is held, below zero is never
	}{
		{"fine", Faults{}, nil, 0},
		{"fail", Faults{Fail: 1}, ErrFault, -1},
		{"lose", Faults{Lose: 1}, ErrFault, 0},
		{"late", Faults{Late: 1, Delay: time.Second}, ErrFault, 101 * time.Second},
		{"twice", Faults{Twice: 1}, fs.ErrExist, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := NewMemory(0, 0)
				err := m.Link(test.faults).Create(t.Context(), "a", strings.NewReader("x"), 1)
				if !errors.Is(err, test.want) {
					t.Errorf("Create: %v, want %v", err, test.want)
				}
				if held := len(m.Keys()) == 1; held != (test.at == 0) {
					t.Errorf("held at once: %v", held)
				}
				time.Sleep(max(0, test.at))
				synctest.Wait()
				if held := len(m.Keys()) == 1; held != (test.at >= 0) {
					t.Errorf("held in the end: %v", held)
				}
			})
		})
	}
}

// TestMemoryListsByPages: others write between two pages, and each page is a request.
func TestMemoryListsByPages(t *testing.T) {
	t.Parallel()
	m := NewMemory(2, 0)
	for _, key := range []string{"a/1", "a/2", "b", "c/1", "d/x/1"} {
		create(t, m, key, "x")
	}
	var keys []string
	for info, err := range m.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if keys = append(keys, info.Key); len(keys) == 1 {
			create(t, m, "a/11", "x") // its page is read already
			create(t, m, "c/2", "x")
		}
	}
	if diff := cmp.Diff([]string{"a/1", "a/2", "b", "c/1", "c/2", "d/x/1"}, keys); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := m.Requests().List; n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}
