package curds

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
	"curdling/internal/wheel/wheeltest"
)

// keepContent puts a file with that content into the cache and gives its hash.
func keepContent(t *testing.T, c *Curds, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	write(t, path, content)
	_, sha256, err := c.Import(path, dist.File{Filename: name})
	if err != nil {
		t.Fatal(err)
	}
	return sha256
}

// shownBy gives the names and contents that a view has.
func shownBy(t *testing.T, s *Shared) map[string]string {
	t.Helper()
	all := map[string]string{}
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		r, opened, err := s.Open(t.Context(), info.Key)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		r.Close()
		if err != nil || opened != info || info.Size != int64(len(content)) {
			t.Errorf("%s: List says %v, Open %v of %d bytes, %v", info.Key, info, opened, len(content), err)
		}
		if want := s.SHA256(info.Key); want != sum(content) && !strings.Contains(info.Key, ".build.") {
			t.Errorf("%s: SHA256 is not that of its content", info.Key)
		}
		all[info.Key] = string(content)
	}
	return all
}

func TestShared(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	c := openTest(t)
	s := c.Shared(slog.New(slog.NewTextHandler(&log, nil)))
	want := func(step string, files map[string]string) {
		t.Helper()
		if diff := cmp.Diff(files, shownBy(t, s)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step, diff)
		}
	}
	want("an empty cache", map[string]string{})

	a := keepContent(t, c, "a-1-py3-none-any.whl", "a")
	keepContent(t, c, "mine-1-py3-none-any.whl", "built from a folder")
	c.Share(a, nil, nil)
	c.Share(a, nil, nil)
	c.Share(sum([]byte("nothing that is held")), nil, nil)
	c.Share("../files", nil, nil)
	want("what nobody shared stays here", map[string]string{"a-1-py3-none-any.whl": "a"})
	if marks, err := os.ReadDir(c.shareDir()); err != nil || len(marks) != 1 {
		t.Errorf("marks: %v, %v", marks, err)
	}

	b := keepContent(t, c, "b-1.tar.gz", "b")
	c.Share(b, nil, nil)
	want("a file that came later", map[string]string{"a-1-py3-none-any.whl": "a", "b-1.tar.gz": "b"})

	c.Share(b, []byte("record"), nil)
	c.Share(b, []byte("another"), nil)
	c.Share(b, nil, nil)
	c.Share(b, []byte("another"), []byte("another's signature"))
	want("a record", map[string]string{"a-1-py3-none-any.whl": "a", "b-1.tar.gz": "b", "b-1.tar.gz.build.json": "record"})
	if _, _, err := s.Open(t.Context(), "a-1-py3-none-any.whl.build.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of a record that is not there: %v", err)
	}

	signed := map[string]string{"a-1-py3-none-any.whl": "a", "b-1.tar.gz": "b", "b-1.tar.gz.build.json": "record", "b-1.tar.gz.build.sig": "signature"}
	c.Share(b, []byte("record"), []byte("signature"))
	want("a signature that came later", signed)
	c.Share(b, []byte("record"), nil)
	want("and stays", signed)
	signed["b-1.tar.gz.build.sig"] = "signatures"
	c.Share(b, []byte("record"), []byte("signatures"))
	want("one more", signed)
	delete(signed, "a-1-py3-none-any.whl")

	other := keepContent(t, c, "a-1-py3-none-any.whl", "from a hostile index")
	c.Share(other, nil, nil)
	want("two files of one name", signed)
	want("and again", signed)
	if _, _, err := s.Open(t.Context(), "a-1-py3-none-any.whl"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of one of two: %v", err)
	}
	if n := strings.Count(log.String(), "two files of one name"); n != 1 || !strings.Contains(log.String(), other) {
		t.Errorf("the log was told %d times: %s", n, &log)
	}

	if err := os.RemoveAll(c.fileDir(other)); err != nil { // by hand: its mark is left
		t.Fatal(err)
	}
	signed["a-1-py3-none-any.whl"] = "a"
	want("one of them gone", signed)
	if err := os.RemoveAll(c.Dir()); err != nil {
		t.Fatal(err)
	}
	want("everything gone", map[string]string{})
}

func TestSharedOnlyReads(t *testing.T) {
	t.Parallel()
	c := openTest(t)
	s := c.Shared(slog.New(slog.DiscardHandler))
	c.Share(keepContent(t, c, "a-1.tar.gz", "a"), nil, nil)
	if err := s.Create(t.Context(), "b-1.tar.gz", strings.NewReader("b"), 1); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Create: %v", err)
	}
	if err := s.Remove(t.Context(), "a-1.tar.gz"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Remove: %v", err)
	}
	for _, key := range []string{"", "../up", ".hidden", "/abs", `a\b`, "a\nb"} {
		_, _, err := s.Open(t.Context(), key)
		if !errors.Is(err, fs.ErrInvalid) || !errors.Is(s.Create(t.Context(), key, nil, 0), fs.ErrInvalid) || !errors.Is(s.Remove(t.Context(), key), fs.ErrInvalid) {
			t.Errorf("key %q is not refused: %v", key, err)
		}
	}
	for _, key := range []string{"no", "a-1.tar.gz/no"} {
		if _, _, err := s.Open(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%q): %v", key, err)
		}
	}
	for prefix, want := range map[string]int{"": 1, "a-": 1, "b": 0} {
		n := 0
		for range s.List(t.Context(), prefix) {
			n++
		}
		if n != want {
			t.Errorf("List(%q) gives %d files", prefix, n)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range s.List(ctx, "") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("List with a cancelled context: %v", err)
		}
	}
}

// TestSharedDoesNotKeepPruneWaiting has what is being read taken away.
func TestSharedDoesNotKeepPruneWaiting(t *testing.T) {
	t.Parallel()
	c := openTest(t)
	s := c.Shared(slog.New(slog.DiscardHandler))
	hash := keepWheel(t, c, "demo", "1.0")
	c.Share(hash, []byte("record"), []byte("signature"))
	name := wheeltest.Wheel{Name: "demo", Version: "1.0"}.Filename()
	r, info, err := s.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := c.Clean(t.Context(), []dist.Name{"demo"}, Wait{Notify: func() { t.Error("Clean waits for those who read") }}); err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil || int64(len(content)) != info.Size || sum(content) != hash {
		t.Errorf("%d of %d bytes came from a file that was taken away: %v", len(content), info.Size, err)
	}
	if _, _, err := s.Open(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of what was taken away: %v", err)
	}
	if marks, err := os.ReadDir(c.shareDir()); err != nil || len(marks) != 0 {
		t.Errorf("its marks are left: %v, %v", marks, err)
	}
	keepWheel(t, c, "demo", "1.0") // from a folder, say
	if all := shownBy(t, s); len(all) != 0 {
		t.Errorf("what was not shared anew is there: %v", all)
	}
}

func TestSharedWatch(t *testing.T) {
	t.Parallel()
	c := openTest(t)
	s := c.Shared(slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	changed, done := make(chan string), make(chan error)
	go func() {
		done <- s.Watch(ctx, func(key string) {
			select {
			case changed <- key:
			case <-ctx.Done():
			}
		})
	}()
	seen := func(want ...string) {
		t.Helper()
		for deadline := time.After(time.Minute); ; {
			select {
			case <-changed:
			case <-deadline:
				t.Fatalf("%v did not show", want)
			}
			var names []string
			for info := range s.List(t.Context(), "") {
				names = append(names, info.Key)
			}
			if slices.Sort(names); slices.Equal(names, want) {
				return
			}
		}
	}
	seen()
	a := keepContent(t, c, "a-1.tar.gz", "a")
	c.Share(a, nil, nil)
	seen("a-1.tar.gz")
	c.Share(keepContent(t, c, "b-1.tar.gz", "b"), nil, nil)
	seen("a-1.tar.gz", "b-1.tar.gz")
	if _, err := c.Clean(t.Context(), []dist.Name{"a"}, Wait{}); err != nil {
		t.Fatal(err)
	}
	seen("b-1.tar.gz")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
