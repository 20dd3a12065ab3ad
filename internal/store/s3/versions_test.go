package s3

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"curdling/internal/store"
	"curdling/internal/store/s3/s3test"
)

// TestDeleteOnCondition: what comes between the look and the deletion is not lost where the server heeds conditions.
func TestDeleteOnCondition(t *testing.T) {
	t.Parallel()
	server := s3test.New(t)
	var between func()
	server.Before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodDelete {
			between()
		}
		return false
	}
	s := open(t, "s3://bucket", server.URL)
	version, err := s.Put(t.Context(), "doc", "", []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	between = func() {
		if _, err := s.Put(t.Context(), "doc", version, []byte("2")); err != nil {
			t.Error(err)
		}
	}
	if err := s.Delete(t.Context(), "doc", version); !errors.Is(err, store.ErrChanged) {
		t.Errorf("Delete: %v, want ErrChanged", err)
	}
	if content, _, err := s.Get(t.Context(), "doc", version); string(content) != "2" || err != nil {
		t.Errorf("Get: %q, %v", content, err)
	}
}

// TestPutUnanswered: a change whose answer was lost is told once, and as done.
func TestPutUnanswered(t *testing.T) {
	t.Parallel()
	server := s3test.New(t)
	var lose atomic.Bool
	server.After = func(http.ResponseWriter, *http.Request) bool {
		if lose.CompareAndSwap(true, false) {
			panic(http.ErrAbortHandler)
		}
		return false
	}
	s := open(t, "s3://bucket", server.URL)
	version := ""
	for _, content := range []string{"1", "2", "3"} {
		lose.Store(true)
		next, err := s.Put(t.Context(), "doc", version, []byte(content))
		if err != nil {
			t.Fatalf("%s: %v", content, err)
		}
		if _, _, err := s.Get(t.Context(), "doc", next); err != nil {
			t.Error(err)
		}
		version = next
	}
	if lose.Load() {
		t.Error("no answer was lost")
	}
}
