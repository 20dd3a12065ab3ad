package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"curdling/internal/store"
	"curdling/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		s := open(t, filepath.Join(t.TempDir(), "made", "on", "the", "way"))
		t.Cleanup(func() {
			left, err := os.ReadDir(s.tmp)
			if err != nil || len(left) != 0 {
				t.Errorf("left in tmp: %v, %v", left, err)
			}
		})
		return s
	})
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); err == nil {
		t.Error("Open of a file succeeded")
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	left := filepath.Join(dir, StateDir, "tmp", "left-by-a-crash")
	if err := os.MkdirAll(filepath.Dir(left), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(left, []byte("half"), 0o666); err != nil {
		t.Fatal(err)
	}
	first := open(t, dir)
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open left what a crash had left: %v", err)
	}
	f, err := first.Spool()
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	open(t, dir)
	if _, err := os.Stat(f.Name()); err != nil {
		t.Errorf("a second Open swept the first one's temporary file: %v", err)
	}
}

func TestStateDirDeleted(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	if err := os.RemoveAll(filepath.Join(s.Dir(), StateDir)); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), "a", strings.NewReader("x"), 1); err != nil {
		t.Errorf("Create after %s was deleted: %v", StateDir, err)
	}
}

func TestWhatLiesThere(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	outside := filepath.Join(t.TempDir(), "outside.whl")
	for _, file := range []string{outside, filepath.Join(s.Dir(), "dropped.whl"), filepath.Join(s.Dir(), ".hidden.whl")} {
		if err := os.WriteFile(file, []byte("content"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"link.whl": outside, "folder": filepath.Dir(outside), "dangling.whl": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(s.Dir(), link)); err != nil {
			t.Skip(err)
		}
	}
	var got []string
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if info.Size != int64(len("content")) {
			t.Errorf("%s: size %d", info.Key, info.Size)
		}
		got = append(got, info.Key)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"dropped.whl", "link.whl"}, got); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	r, _, err := s.Open(t.Context(), "link.whl")
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	for _, key := range []string{"folder", "dangling.whl"} {
		if _, _, err := s.Open(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%q): %v, want fs.ErrNotExist", key, err)
		}
	}
	if err := s.Create(t.Context(), "dangling.whl", strings.NewReader("x"), 1); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create over a dangling link: %v, want fs.ErrExist", err)
	}
	if err := s.Remove(t.Context(), "link.whl"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("removing a link removed the file: %v", err)
	}
}

func TestLinkNew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	for i, want := range []error{nil, fs.ErrExist} {
		if err := os.WriteFile(from, []byte{byte(i)}, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := linkNew(from, to); !errors.Is(err, want) {
			t.Errorf("linkNew: %v, want %v", err, want)
		}
	}
	if b, err := os.ReadFile(to); err != nil || b[0] != 0 {
		t.Errorf("content %v, %v", b, err)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	changed := make(chan string, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Watch(ctx, func(key string) { changed <- key }) }()
	if key := <-changed; key != "" {
		t.Errorf("first changed(%q), want the empty key", key)
	}

	file := filepath.Join(s.Dir(), "a.whl")
	steps := []func() error{
		func() error { return os.WriteFile(file, []byte("x"), 0o666) },
		func() error { return os.Rename(file, filepath.Join(s.Dir(), "b.whl")) },
		func() error { return os.Remove(filepath.Join(s.Dir(), "b.whl")) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		select {
		case key := <-changed:
			if key != "" && !strings.HasSuffix(key, ".whl") {
				t.Errorf("step %d: changed(%q)", i, key)
			}
		case <-time.After(time.Minute):
			t.Fatalf("step %d went unnoticed", i)
		}
		for len(changed) > 0 {
			<-changed
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestQuarantine(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	for range 2 { // the same name twice
		if err := s.Create(t.Context(), "a", strings.NewReader("content"), 7); err != nil {
			t.Fatal(err)
		}
		if err := s.Quarantine(t.Context(), "a", "it is rotten"); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"a", "no/such", QuarantineDir + "/x"} {
		if err := s.Quarantine(t.Context(), key, "x"); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Quarantine(%q): %v", key, err)
		}
	}
	for info := range s.List(t.Context(), "") {
		t.Errorf("held: %v", info)
	}
	for _, file := range []string{"a", "reason.txt"} {
		aside, err := filepath.Glob(filepath.Join(s.Dir(), QuarantineDir, "*", file))
		if err != nil || len(aside) != 2 {
			t.Errorf("%s put aside: %q, %v", file, aside, err)
		}
	}
}
