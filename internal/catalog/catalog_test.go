package catalog

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"curdling/internal/dist"
	"curdling/internal/store"
	"curdling/internal/store/disk"
	"curdling/internal/version"
	"curdling/internal/wheel/wheeltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// makeWheel gives a wheel's file name and bytes.
func makeWheel(w wheeltest.Wheel) (string, []byte) { return w.Filename(), wheeltest.Build(w) }

func flask(version string) (string, []byte) {
	return makeWheel(wheeltest.Wheel{Name: "Flask", Version: version, Summary: "A framework", RequiresPython: ">=3.8"})
}

// makeSdist makes a source distribution whose PKG-INFO is as given.
func makeSdist(t *testing.T, root, pkgInfo string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, file := range []struct{ name, content string }{{"setup.py", "import setuptools; setuptools.setup()\n"}, {"PKG-INFO", pkgInfo}} {
		if file.content == "" {
			continue
		}
		if err := w.WriteHeader(&tar.Header{Name: root + "/" + file.name, Mode: 0o644, Size: int64(len(file.content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, file.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func drop(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o666); err != nil {
		t.Fatal(err)
	}
}

// logged is a log that can be read while it is written.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// open opens a catalog of a folder. Its log is checked to hold no more than it should by the tests.
func open(t *testing.T, dir string) (*Catalog, *logged) {
	t.Helper()
	s, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	log := new(logged)
	c, err := Open(t.Context(), Config{
		Patience: time.Hour, // however slow the machine is
		Store:    s, State: filepath.Join(dir, disk.StateDir),
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c, log
}

// run runs the catalog until the test ends.
func run(t *testing.T, c *Catalog) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// soon is how long a change by hand may take to show: a second on an idle machine, which this may not be.
const soon = time.Minute

// eventually waits until what is held are the named files.
func eventually(t *testing.T, c *Catalog, want ...string) {
	t.Helper()
	deadline := time.Now().Add(soon)
	for {
		var diff string
		if want == nil {
			want = []string{}
		}
		if diff = cmp.Diff(want, heldFiles(c)); diff == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("held after %v (-want +got):\n%s", soon, diff)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func heldFiles(c *Catalog) []string {
	held := []string{}
	names, _ := c.Names()
	for _, name := range names {
		for _, f := range c.Project(name).Files {
			held = append(held, f.Filename)
		}
	}
	return held
}

func TestOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name, content := flask("3.0")
	drop(t, dir, name, content)
	older, olderContent := flask("2.0")
	drop(t, dir, older, olderContent)
	drop(t, dir, "foo-bar-1.0.tar.gz", makeSdist(t, "foo-bar-1.0", "Metadata-Version: 2.1\nName: foo-bar\nVersion: 1.0\nRequires-Python: >=3\nSummary: Foo\n"))
	drop(t, dir, "bare-1.0.tar.gz", makeSdist(t, "bare-1.0", ""))
	drop(t, dir, "index.html", []byte("<html>"))
	drop(t, dir, "broken-1.0-py3-none-any.whl", []byte("no zip"))
	drop(t, dir, "flask-4.0-py3-none-any.whl", content) // says 3.0
	drop(t, dir, "lying-1.0.tar.gz", makeSdist(t, "lying-1.0", "Metadata-Version: 2.1\nName: lying\nVersion: 2.0\n"))
	if err := os.MkdirAll(filepath.Join(dir, "folder"), 0o777); err != nil {
		t.Fatal(err)
	}
	drop(t, dir, "folder/"+name, content)
	drop(t, dir, "folder/index.html", content)

	c, log := open(t, dir)
	if diff := cmp.Diff([]string{"bare-1.0.tar.gz", older, name, "foo-bar-1.0.tar.gz"}, heldFiles(c)); diff != "" {
		t.Errorf("held (-want +got):\n%s\n%s", diff, log)
	}
	f := c.File(name)
	if f.Name != "flask" || f.Size != int64(len(content)) || f.SHA256 != sum(content) || f.RequiresPython.String() != ">=3.8" ||
		!f.HasMetadata || f.Summary != "A framework" || time.Since(f.UploadTime) > time.Minute {
		t.Errorf("facts of %s: %+v", name, f)
	}
	f = c.File("foo-bar-1.0.tar.gz")
	if f.Name != "foo-bar" || f.Kind != dist.Sdist || f.HasMetadata || f.RequiresPython.String() != ">=3" || f.Summary != "Foo" {
		t.Errorf("facts of an sdist: %+v", f)
	}
	stats := c.Stats()
	if stats.Projects != 3 || stats.Files != 4 || stats.Bytes < int64(len(content)) {
		t.Errorf("stats %+v", stats)
	}
	for _, ignored := range []string{"file=index.html", "file=broken-1.0-py3-none-any.whl", "file=flask-4.0-py3-none-any.whl", "file=lying-1.0.tar.gz", "file=folder/"} {
		if n := strings.Count(log.String(), ignored+" "); n != 1 {
			t.Errorf("%d log lines with %s, want 1:\n%s", n, ignored, log)
		}
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 5 {
		t.Errorf("%d warnings, want 5:\n%s", n, log)
	}
}

func TestByHand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, log := open(t, dir)
	run(t, c)
	name, content := flask("3.0")
	file := filepath.Join(dir, name)

	drop(t, dir, name, content)
	eventually(t, c, name)

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	eventually(t, c)

	drop(t, t.TempDir(), name, content)
	drop(t, dir, "new.tmp", content)
	if err := os.Rename(filepath.Join(dir, "new.tmp"), file); err != nil {
		t.Fatal(err)
	}
	eventually(t, c, name)

	// Another content in place: never served with the old hash.
	_, other := makeWheel(wheeltest.Wheel{Name: "flask", Version: "3.0", Summary: "Other"})
	drop(t, dir, name, other)
	if _, _, err := c.Open(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of a file that was changed just now: %v, want fs.ErrNotExist", err)
	}
	deadline := time.Now().Add(soon)
	for c.File(name) == nil || c.File(name).SHA256 != sum(other) {
		if time.Now().After(deadline) {
			t.Fatal("the new content is not held")
		}
		time.Sleep(10 * time.Millisecond)
	}
	drop(t, dir, name, []byte("rubbish"))
	eventually(t, c)
	if !strings.Contains(log.String(), "msg=ignored file="+name) {
		t.Errorf("log:\n%s", log)
	}
}

// TestSlowCopy: a file that grows is not held before it is whole, and not complained of.
func TestSlowCopy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, log := open(t, dir)
	run(t, c)
	name, content := flask("3.0")
	sdist := makeSdist(t, "foo-1.0", "Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n")
	var wg sync.WaitGroup
	var late atomic.Bool // the machine was so busy that a copy stood still
	for file, content := range map[string][]byte{name: content, "foo-1.0.tar.gz": sdist} {
		wg.Go(func() {
			f, err := os.Create(filepath.Join(dir, file))
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			last := time.Now()
			for chunk := range 8 {
				if len(heldFiles(c)) != 0 {
					t.Errorf("held in the middle of a copy: %q", heldFiles(c))
				}
				if _, err := f.Write(content[chunk*len(content)/8 : (chunk+1)*len(content)/8]); err != nil {
					t.Error(err)
				}
				if time.Since(last) > doubt {
					late.Store(true)
				}
				last = time.Now()
				if chunk < 7 {
					time.Sleep(settle / 2)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, c, name, "foo-1.0.tar.gz")
	if !late.Load() && strings.Contains(log.String(), "ignored") {
		t.Errorf("log:\n%s", log)
	}
}

func TestBestAndSearch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, w := range []wheeltest.Wheel{
		{Name: "flask", Version: "1.0", Summary: "Old words"},
		{Name: "flask", Version: "2.0", Tag: "cp311-cp311-linux_x86_64"},
		{Name: "flask", Version: "2.0", Tag: "cp311-cp311-win_amd64"},
		{Name: "flask", Version: "2.0", Summary: "A Web framework"},
		{Name: "flask", Version: "3.0rc1"},
		{Name: "flask-login", Version: "1.0"},
		{Name: "only-pre", Version: "1.0b1"},
		{Name: "zope.interface", Version: "1.0", Summary: "Not a flask"},
	} {
		name, content := makeWheel(w)
		drop(t, dir, name, content)
	}
	drop(t, dir, "flask-2.0.tar.gz", makeSdist(t, "flask-2.0", ""))
	drop(t, dir, "flask-2.1.tar.gz", makeSdist(t, "flask-2.1", ""))
	c, log := open(t, dir)
	isWheel := func(f *File) bool { return f.Kind == dist.Wheel }
	any := func(*File) bool { return true }
	for _, test := range []struct {
		project dist.Name
		want    string
		fits    func(*File) bool
		best    string
	}{
		{"flask", "", any, "flask-2.1.tar.gz"},
		{"flask", "", isWheel, "flask-2.0-py3-none-any.whl"},
		{"flask", "<2.1", any, "flask-2.0-py3-none-any.whl"},
		{"flask", "==1.0", any, "flask-1.0-py3-none-any.whl"},
		{"flask", ">=3.0rc1", any, "flask-3.0rc1-py3-none-any.whl"},
		{"flask", ">2.1", any, "flask-3.0rc1-py3-none-any.whl"},
		{"flask", ">4", any, ""},
		{"only-pre", "", any, "only_pre-1.0b1-py3-none-any.whl"},
	} {
		want, err := version.ParseSpecifiers(test.want)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if f := c.Project(test.project).Best(want, test.fits); f != nil {
			got = f.Filename
		}
		if got != test.best {
			t.Errorf("best of %s%s: %q, want %q\n%s", test.project, test.want, got, test.best, log)
		}
	}
	if got := c.Project("flask").Summary(); got != "" {
		t.Errorf("summary of flask: %q, want that of 2.1", got)
	}
	for _, test := range []struct {
		query string
		limit int
		want  []dist.Name
		total int
	}{
		{"flask", 9, []dist.Name{"flask", "flask-login", "zope-interface"}, 3},
		{"FLASK", 2, []dist.Name{"flask", "flask-login"}, 3},
		{"zope.interface", 9, []dist.Name{"zope-interface"}, 1},
		{"login", 9, []dist.Name{"flask-login"}, 1},
		{"zope flask", 9, []dist.Name{"zope-interface"}, 1},
		{"not  interface", 9, []dist.Name{"zope-interface"}, 1},
		{"", 2, []dist.Name{"flask", "flask-login"}, 4},
		{"nothing", 9, nil, 0},
	} {
		found, total := c.Search(test.query, test.limit)
		if diff := cmp.Diff(test.want, found); diff != "" || total != test.total {
			t.Errorf("Search(%q) of %d, want %d (-want +got):\n%s", test.query, total, test.total, diff)
		}
	}
}

// fake is a store without abilities, in memory.
type fake struct {
	mu    sync.Mutex
	files map[string][]byte
	fail  error
}

func (s *fake) Open(_ context.Context, key string) (io.ReadSeekCloser, store.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.files[key]
	if !ok {
		return nil, store.Info{}, fs.ErrNotExist
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{onlySeek{bytes.NewReader(b)}, io.NopCloser(nil)}, store.Info{Key: key, Size: int64(len(b))}, nil
}

func (s *fake) Create(_ context.Context, key string, r io.Reader, _ int64) error {
	b, err := io.ReadAll(r)
	if err != nil || s.fail != nil {
		return errors.Join(err, s.fail)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[key] = b
	return nil
}

func (s *fake) List(context.Context, string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for key, b := range s.files {
			if !yield(store.Info{Key: key, Size: int64(len(b))}, nil) {
				return
			}
		}
	}
}

func (s *fake) Remove(context.Context, string) error { return nil }

type onlySeek struct{ r io.ReadSeeker }

func (o onlySeek) Read(p []byte) (int, error)                { return o.r.Read(p) }
func (o onlySeek) Seek(off int64, whence int) (int64, error) { return o.r.Seek(off, whence) }

// TestPlainStore: a store with the four methods alone will do.
func TestPlainStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		name, content := flask("3.0")
		s := &fake{files: map[string][]byte{name: content}}
		c, err := Open(t.Context(), Config{Store: s})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = c.Run(ctx) }()
		defer cancel()
		newer, newerContent := flask("4.0")
		if created, err := upload(t, c, newer, newerContent); err != nil || !created {
			t.Errorf("upload: %v, %v", created, err)
		}
		if diff := cmp.Diff([]string{name, newer}, heldFiles(c)); diff != "" {
			t.Errorf("held (-want +got):\n%s", diff)
		}
		if b, f, err := c.Metadata(t.Context(), newer); err != nil || sum(b) != f.MetadataSHA256 {
			t.Errorf("metadata: %q, %v", b, err)
		}
		s.fail = store.ErrFull
		last, lastContent := flask("5.0")
		if _, err := upload(t, c, last, lastContent); !store.IsFull(err) {
			t.Errorf("upload to a full store: %v", err)
		}
	})
}

// TestNames: the list is right after whatever came and went.
func TestNames(t *testing.T) {
	t.Parallel()
	c, _ := open(t, t.TempDir())
	rapid.Check(t, func(t *rapid.T) {
		for _, name := range rapid.SliceOf(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})).Draw(t, "names") {
			filename := name + "-1.0-py3-none-any.whl"
			if c.File(filename) != nil {
				c.drop(filename)
				continue
			}
			f, err := dist.ParseFilename(filename, "")
			if err != nil {
				t.Fatal(err)
			}
			c.put(&File{File: f})
		}
		_, before := c.Names()
		names, generation := c.Names()
		want := slices.Sorted(maps.Keys(c.projects))
		if !slices.Equal(names, want) || generation != before {
			t.Fatalf("%v, want %v", names, want)
		}
	})
}
