package curds

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
	"curdling/internal/wheel/wheeltest"
)

// keepWheel puts a wheel and its tree into the cache and gives its hash.
func keepWheel(t *testing.T, c *Curds, name, version string) string {
	t.Helper()
	w := wheeltest.Wheel{Name: name, Version: version, Files: map[string]string{name + ".py": "x = 1\n"}}
	path := filepath.Join(t.TempDir(), w.Filename())
	write(t, path, string(wheeltest.Build(w)))
	hash := keepFile(t, c, path)
	if _, err := c.Tree(t.Context(), hash); err != nil {
		t.Fatal(err)
	}
	return hash
}

// keepTarball puts the tree of a wheel's tarball into the cache and gives the tarball's hash.
func keepTarball(t *testing.T, c *Curds, name, version string) string {
	t.Helper()
	filename, b := makeTarball(t, wheeltest.Wheel{Name: name, Version: version, Files: map[string]string{name + ".py": "x = 1\n"}})
	if _, err := c.Tarball(t.Context(), sum(b), receive(t, filename, b)); err != nil {
		t.Fatal(err)
	}
	return sum(b)
}

func keepFile(t *testing.T, c *Curds, path string) string {
	t.Helper()
	f, err := dist.ParseFilename(filepath.Base(path), "")
	if err != nil {
		t.Fatal(err)
	}
	_, hash, err := c.Import(path, f)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// age sets the times of everything at and below a path back.
func age(t *testing.T, by time.Duration, paths ...string) {
	t.Helper()
	then := time.Now().Add(-by)
	for _, path := range paths {
		err := filepath.Walk(path, func(path string, _ os.FileInfo, err error) error {
			if err != nil {
				return err
			}
			return os.Chtimes(path, then, then)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// contents lists what is in the cache, by short names.
func contents(t *testing.T, c *Curds, known map[string]string) []string {
	t.Helper()
	var all []string
	for _, kind := range Kinds {
		items, err := c.items(kind)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range items {
			name := filepath.Base(path)
			if kind == Builds {
				name = filepath.Base(filepath.Dir(path))
			}
			if short, ok := known[name]; ok {
				name = short
			}
			all = append(all, string(kind)+" "+name)
		}
	}
	return all
}

// furnished is a cache with three wheels, one built from a source, and more.
func furnished(t *testing.T) (c *Curds, known map[string]string) {
	t.Helper()
	c = openTest(t)
	source := filepath.Join(t.TempDir(), "made-1.0.tar.gz")
	write(t, source, "not really an archive")
	demo, other, made := keepWheel(t, c, "demo", "1.0"), keepWheel(t, c, "demo_more", "2.0"), keepWheel(t, c, "made", "1.0")
	src := keepFile(t, c, source)
	if err := c.AddBuild(Build{Source: src, Key: "cp311-cp311-linux_x86_64", Wheel: made}); err != nil {
		t.Fatal(err)
	}
	c.Memory("http").Put("page", []byte("answer"))
	write(t, filepath.Join(c.Logs(), "made-1.0-123.log"), "built")
	write(t, filepath.Join(c.Logs(), "demo-more-2.0-45.log"), "built")
	tarred := keepTarball(t, c, "demo", "1.0")
	known = map[string]string{tarred: "tarred", demo: "demo", other: "other", made: "made", src: "source"}
	items, err := c.items(Memories)
	if err != nil || len(items) != 1 {
		t.Fatal(items, err)
	}
	known[filepath.Base(items[0])] = "page"
	return c, known
}

// short gives the path of an item by its short name.
func short(t *testing.T, c *Curds, known map[string]string, kind Kind, name string) string {
	t.Helper()
	for hash, n := range known {
		if n == name {
			return filepath.Join(c.dir, string(kind), hash[:2], hash)
		}
	}
	t.Fatal("unknown", name)
	return ""
}

func same(t *testing.T, c *Curds, known map[string]string, want ...string) {
	t.Helper()
	got := map[string]bool{}
	for _, item := range contents(t, c, known) {
		got[item] = true
	}
	wanted := map[string]bool{}
	for _, item := range want {
		wanted[item] = true
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Error(diff)
	}
}

var everything = []string{
	"files demo", "files other", "files made", "files source", "trees demo", "trees other", "trees made", "tarballs tarred",
	"builds source", "memory page", "logs made-1.0-123.log", "logs demo-more-2.0-45.log",
}

// without gives everything but some.
func without(gone ...string) []string {
	var left []string
	for _, item := range everything {
		keep := true
		for _, g := range gone {
			keep = keep && item != g
		}
		if keep {
			left = append(left, item)
		}
	}
	return left
}

func TestUsage(t *testing.T) {
	t.Parallel()
	c, known := furnished(t)
	same(t, c, known, everything...)
	got, err := c.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	counts := map[Kind]int{}
	for _, u := range got {
		counts[u.Kind] = u.Count
		if (u.Bytes == 0) != (u.Count == 0) {
			t.Errorf("%s: %d items of %d bytes", u.Kind, u.Count, u.Bytes)
		}
	}
	if diff := cmp.Diff(map[Kind]int{Files: 4, Trees: 3, Tarballs: 1, Builds: 1, Memories: 1, Logs: 2, Temps: 0}, counts); diff != "" {
		t.Error(diff)
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		names []dist.Name
		want  []string
		count map[Kind]int
	}{
		{[]dist.Name{"demo"}, without("files demo", "trees demo", "tarballs tarred"), map[Kind]int{Files: 1, Trees: 1, Tarballs: 1}},
		{
			[]dist.Name{"made", "demo-more", "nobody"},
			[]string{"files demo", "trees demo", "tarballs tarred", "memory page"},
			map[Kind]int{Files: 3, Trees: 2, Builds: 1, Logs: 2},
		},
		{[]dist.Name{"nobody"}, everything, map[Kind]int{}},
		{nil, nil, map[Kind]int{Files: 4, Trees: 3, Tarballs: 1, Builds: 1, Memories: 1, Logs: 2}},
	} {
		t.Run(fmt.Sprint(tt.names), func(t *testing.T) {
			c, known := furnished(t)
			removed, err := c.Clean(t.Context(), tt.names, Wait{})
			if err != nil {
				t.Fatal(err)
			}
			same(t, c, known, tt.want...)
			counts := map[Kind]int{}
			for _, u := range removed {
				counts[u.Kind] = u.Count
				if u.Bytes == 0 {
					t.Errorf("%s: %d items of no bytes", u.Kind, u.Count)
				}
			}
			if diff := cmp.Diff(tt.count, counts); diff != "" {
				t.Error(diff)
			}
			if keepWheel(t, c, "demo", "1.0") == "" {
				t.Error("of no use afterwards")
			}
		})
	}
}

func TestPruneLeftovers(t *testing.T) {
	t.Parallel()
	c, known := furnished(t)
	prune := func() {
		t.Helper()
		if _, _, err := c.Prune(t.Context(), 0, Wait{}); err != nil {
			t.Fatal(err)
		}
	}
	age(t, 1000*time.Hour, c.dir)
	prune()
	same(t, c, known, everything...) // age alone does not count

	os.RemoveAll(short(t, c, known, Files, "made"))
	write(t, filepath.Join(short(t, c, known, Files, "demo"), "second"), "")
	write(t, filepath.Join(c.dir, "builds", "x", "broken.json"), "{")
	old, young := filepath.Join(c.Temp(), "old"), filepath.Join(c.Temp(), "young")
	for _, dir := range []string{old, young} {
		write(t, filepath.Join(dir, "deep", "file"), "")
		write(t, filepath.Join(dir, "deep", "other"), "")
	}
	age(t, 2*abandoned, old, young)
	age(t, 0, filepath.Join(young, "deep", "other"))
	leftover, writing := filepath.Join(c.dir, "builds", "x", ".tmp-1"), filepath.Join(c.dir, "builds", "x", ".tmp-2")
	write(t, leftover, "")
	write(t, writing, "{")
	age(t, 2*abandoned, leftover)
	prune()
	same(t, c, known, append(without("files made", "trees made", "builds source", "files demo", "trees demo"), "builds x", "tmp young")...)
	if _, err := os.Stat(writing); err != nil {
		t.Error(err)
	}
}

func TestPruneByUse(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, tt := range []struct {
		name string
		used func(t *testing.T, c *Curds, known map[string]string)
		left []string
	}{
		{"nothing", func(*testing.T, *Curds, map[string]string) {}, nil},
		{"a wheel", func(t *testing.T, c *Curds, known map[string]string) {
			age(t, day, filepath.Join(short(t, c, known, Files, "demo"), "demo-1.0-py3-none-any.whl"))
		}, []string{"files demo", "trees demo"}},
		{"a tree", func(t *testing.T, c *Curds, known map[string]string) {
			age(t, day, filepath.Join(short(t, c, known, Trees, "other"), "manifest"))
		}, []string{"files other", "trees other"}},
		{"a build", func(t *testing.T, c *Curds, known map[string]string) {
			items, _ := c.items(Builds)
			age(t, day, items...)
		}, []string{"files source", "files made", "trees made", "builds source"}},
		{"a built wheel", func(t *testing.T, c *Curds, known map[string]string) {
			age(t, day, short(t, c, known, Trees, "made"))
		}, []string{"files made", "trees made", "builds source"}},
		{"an answer and a log", func(t *testing.T, c *Curds, known map[string]string) {
			items, _ := c.items(Memories)
			age(t, day, items...)
			age(t, day, filepath.Join(c.Logs(), "made-1.0-123.log"))
		}, []string{"memory page", "logs made-1.0-123.log"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, known := furnished(t)
			age(t, 30*day, c.dir)
			tt.used(t, c, known)
			for range 2 { // to prune is no use
				if _, _, err := c.Prune(t.Context(), 7*day, Wait{}); err != nil {
					t.Fatal(err)
				}
				same(t, c, known, tt.left...)
			}
		})
	}
}

// TestPruneKnowsReads is about the file system of the tests, where it keeps times of access.
func TestPruneKnowsReads(t *testing.T) {
	t.Parallel()
	c, known := furnished(t)
	if !c.keepsAccessTimes() {
		t.Skip("no times of access here")
	}
	age(t, 300*time.Hour, c.dir)
	if _, err := c.Tree(t.Context(), filepath.Base(short(t, c, known, Trees, "demo"))); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Verify(t.Context(), nil); err != nil { // reads all, uses nothing
		t.Fatal(err)
	}
	_, aged, err := c.Prune(t.Context(), 100*time.Hour, Wait{})
	if err != nil || !aged {
		t.Fatal(aged, err)
	}
	same(t, c, known, "files demo", "trees demo")
}

func TestWait(t *testing.T) {
	t.Parallel()
	c, known := furnished(t)
	one, err := c.Use(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	two, err := c.Use(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := c.Clean(ctx, nil, Wait{Notify: cancel}); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting ended with %v", err)
	}
	same(t, c, known, everything...)
	if _, err := c.Clean(t.Context(), []dist.Name{"demo"}, Wait{Force: true}); err != nil {
		t.Error(err)
	}
	same(t, c, known, without("files demo", "trees demo", "tarballs tarred")...)
	one()
	waited := make(chan struct{})
	go func() {
		<-waited
		two()
	}()
	if _, err := c.Clean(t.Context(), nil, Wait{Notify: func() { close(waited) }}); err != nil {
		t.Error(err)
	}
	same(t, c, known)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	unlock, ok := c.TryLock(useLock)
	if !ok {
		t.Fatal("still locked")
	}
	defer unlock()
	if _, err := c.Use(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting ended with %v", err)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	c, known := furnished(t)
	verify := func() (found []string) {
		t.Helper()
		read, err := c.Verify(t.Context(), func(d Damage) {
			found = append(found, fmt.Sprintf("%s %s: %v", d.Kind, known[filepath.Base(d.Path)], d.Err))
		})
		if err != nil || len(read) != 3 || read[0].Kind != Files || read[0].Bytes == 0 || read[1].Bytes == 0 || read[2].Kind != Tarballs {
			t.Errorf("read %v, %v", read, err)
		}
		return found
	}
	if found := verify(); found != nil {
		t.Fatal(found)
	}
	same(t, c, known, everything...)

	write(t, filepath.Join(short(t, c, known, Files, "made"), "made-1.0-py3-none-any.whl"), "another")
	write(t, filepath.Join(short(t, c, known, Trees, "demo"), "tree", "demo.py"), "x = 2\n")
	write(t, filepath.Join(short(t, c, known, Tarballs, "tarred"), "tree", "demo.py"), "x = 2\n")
	os.Remove(filepath.Join(short(t, c, known, Trees, "other"), "manifest"))
	os.RemoveAll(short(t, c, known, Files, "source"))
	if err := os.Mkdir(short(t, c, known, Files, "source"), 0o755); err != nil {
		t.Fatal(err)
	}
	found := strings.Join(verify(), "\n")
	for _, want := range []string{
		"files made: made-1.0-py3-none-any.whl: its sha256 is ", "files source: does not hold one file",
		"trees demo: demo 1.0: its files are not those of the wheel any more", "trees other: ",
		"tarballs tarred: demo 1.0: its files are not",
	} {
		if !strings.Contains(found, want) {
			t.Errorf("found %s\nwant %s", found, want)
		}
	}
	same(t, c, known, without("files made", "files source", "trees demo", "trees other", "tarballs tarred")...)
	if _, err := c.Tree(t.Context(), filepath.Base(short(t, c, known, Trees, "demo"))); err != nil {
		t.Error(err)
	}
	if found := verify(); found != nil {
		t.Error(found)
	}
}

// TestTogether fetches and unpacks while others clean, prune and verify.
func TestTogether(t *testing.T) {
	t.Parallel()
	c := openTest(t)
	content := wheeltest.Build(demo)
	f := demoFile(t, content)
	var workers, sweepers sync.WaitGroup
	stop := make(chan struct{})
	for _, sweep := range []func() error{
		func() error { _, err := c.Clean(t.Context(), nil, Wait{}); return err },
		func() error { _, _, err := c.Prune(t.Context(), time.Nanosecond, Wait{}); return err },
		func() error {
			_, err := c.Verify(t.Context(), func(d Damage) { t.Errorf("damaged: %v", d) })
			return err
		},
	} {
		sweepers.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
				if err := sweep(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 4 {
		workers.Go(func() {
			for range 20 {
				if err := work(t.Context(), c, f, content); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	workers.Wait()
	close(stop)
	sweepers.Wait()
}

func work(ctx context.Context, c *Curds, f dist.File, content []byte) error {
	done, err := c.Use(ctx)
	if err != nil {
		return err
	}
	defer done()
	path, hash, err := c.Fetch(ctx, f, download(content))
	if err != nil {
		return err
	}
	if _, err := os.ReadFile(path); err != nil {
		return err
	}
	tree, err := c.Tree(ctx, hash)
	if err != nil {
		return err
	}
	_, err = os.ReadFile(filepath.Join(tree.Dir, "demo", "__init__.py"))
	return err
}
