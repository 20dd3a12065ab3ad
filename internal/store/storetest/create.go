package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/store"
)

func testExists(t *testing.T, s store.Store) {
	create(t, s, "a", "first")
	for _, content := range []string{"first", "other"} {
		err := s.Create(t.Context(), "a", strings.NewReader(content), int64(len(content)))
		if !errors.Is(err, fs.ErrExist) {
			t.Errorf("Create again: %v, want fs.ErrExist", err)
		}
	}
	if got := read(t, s, "a"); got != "first" {
		t.Errorf("content is now %q", got)
	}
}

func testCreateRace(t *testing.T, s store.Store) {
	race(t, s, func(_ int, content string) error {
		return s.Create(t.Context(), "raced", strings.NewReader(content), int64(len(content)))
	})
}

// race has twenty writers of one key; one must win, and its content must be there.
func race(t *testing.T, s store.Store, write func(i int, content string) error) {
	var (
		wg   sync.WaitGroup
		errs [20]error
	)
	content := func(i int) string { return strings.Repeat(fmt.Sprint(i), 100_000) }
	for i := range errs {
		wg.Go(func() { errs[i] = write(i, content(i)) })
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Fatalf("writers %d and %d both succeeded", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, fs.ErrExist):
			t.Errorf("writer %d: %v, want fs.ErrExist", i, err)
		}
	}
	if winner < 0 {
		t.Fatal("no writer succeeded")
	}
	if read(t, s, "raced") != content(winner) {
		t.Error("the winner's content is not what is there")
	}
	if diff := cmp.Diff([]string{"raced"}, list(t, s, "")); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func testWrongSize(t *testing.T, s store.Store) {
	for _, size := range []int64{0, 2, 4, 1 << 40} {
		if err := s.Create(t.Context(), "a", strings.NewReader("abc"), size); err == nil {
			t.Fatalf("Create of 3 bytes announced as %d succeeded", size)
		}
	}
	wantNothing(t, s, "a")
}

func testReaderFails(t *testing.T, s store.Store) {
	broken := errors.New("broken reader")
	r := io.MultiReader(strings.NewReader(strings.Repeat("x", 100_000)), iotest.ErrReader(broken))
	if err := s.Create(t.Context(), "dir/a", r, 200_000); !errors.Is(err, broken) {
		t.Errorf("Create from a broken reader: %v, want its error", err)
	}
	wantNothing(t, s, "dir/a")
}

func testCancelled(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	r := io.MultiReader(strings.NewReader("abc"), readerFunc(func(p []byte) (int, error) {
		cancel()
		return copy(p, "def"), io.EOF
	}))
	if err := s.Create(ctx, "a", r, 6); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Create: %v, want context.Canceled", err)
	}
	wantNothing(t, s, "a")
}

// testInvisibleUntilWhole looks while a file is on its way. A store may have who looks wait for the file.
func testInvisibleUntilWhole(t *testing.T, s store.Store) {
	const size = 70_000
	looked := make(chan struct{})
	look := sync.OnceFunc(func() {
		go func() {
			defer close(looked)
			r, _, err := s.Open(t.Context(), "a")
			if err == nil {
				defer r.Close()
				if n, err := io.Copy(io.Discard, r); n != size {
					t.Errorf("Open in the middle of Create gives %d bytes, %v", n, err)
				}
			} else if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Open in the middle of Create: %v, want fs.ErrNotExist", err)
			}
			for info, err := range s.List(t.Context(), "") {
				if err != nil || info.Size != size {
					t.Errorf("List in the middle of Create: %+v, %v", info, err)
				}
			}
		}()
	})
	r := io.MultiReader(strings.NewReader(strings.Repeat("x", size)), readerFunc(func([]byte) (int, error) {
		look()
		select {
		case <-looked:
		case <-time.After(time.Second):
		}
		return 0, io.EOF
	}))
	err := s.Create(t.Context(), "a", r, size)
	look()
	<-looked
	if err != nil {
		t.Fatal(err)
	}
	if n := len(read(t, s, "a")); n != size {
		t.Errorf("%d bytes, want %d", n, size)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
