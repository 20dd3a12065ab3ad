package curds

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
	"curdling/internal/wheel"
	"curdling/internal/wheel/wheeltest"
)

var demo = wheeltest.Wheel{Name: "demo", Version: "1.0", Files: map[string]string{"demo/__init__.py": "x = 1\n"}}

func openTest(t *testing.T) *Curds {
	t.Helper()
	c, err := Open(filepath.Join(t.TempDir(), "curds"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// download writes content as a download would.
func download(content []byte) func(*os.File) (string, error) {
	return func(w *os.File) (string, error) {
		_, err := w.Write(content)
		return sum(content), err
	}
}

func demoFile(t *testing.T, content []byte) dist.File {
	t.Helper()
	f, err := dist.ParseFilename(demo.Filename(), "")
	if err != nil {
		t.Fatal(err)
	}
	f.SHA256 = sum(content)
	return f
}

func TestFetchOnce(t *testing.T) {
	t.Parallel()
	c, content := openTest(t), wheeltest.Build(demo)
	f := demoFile(t, content)
	var downloads atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			path, _, err := c.Fetch(t.Context(), f, func(w *os.File) (string, error) {
				downloads.Add(1)
				return download(content)(w)
			})
			if err != nil || filepath.Base(path) != f.Filename {
				t.Errorf("got %s, %v", path, err)
			}
		})
	}
	wg.Wait()
	if n := downloads.Load(); n != 1 {
		t.Errorf("downloaded %d times", n)
	}
}

func TestFetchKeepsNothingWrong(t *testing.T) {
	t.Parallel()
	c, content := openTest(t), wheeltest.Build(demo)
	f := demoFile(t, content)
	if _, _, err := c.Fetch(t.Context(), f, download([]byte("something else"))); err == nil || !strings.Contains(err.Error(), f.SHA256) {
		t.Errorf("a wrong hash: %v", err)
	}
	broken := errors.New("the line went dead")
	if _, _, err := c.Fetch(t.Context(), f, func(w *os.File) (string, error) {
		w.Write(content[:10])
		return "", broken
	}); !errors.Is(err, broken) {
		t.Errorf("a cut download: %v", err)
	}
	if path, ok := c.File(f.SHA256); ok {
		t.Errorf("kept %s", path)
	}
	if left, _ := os.ReadDir(c.Temp()); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestTree(t *testing.T) {
	t.Parallel()
	c, content := openTest(t), wheeltest.Build(demo)
	f := demoFile(t, content)
	if _, err := c.Tree(t.Context(), f.SHA256); err == nil {
		t.Error("a tree without its wheel")
	}
	if _, _, err := c.Fetch(t.Context(), f, download(content)); err != nil {
		t.Fatal(err)
	}
	first, err := c.Tree(t.Context(), f.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	module := filepath.Join(first.Dir, "demo", "__init__.py")
	stamp := func() os.FileInfo {
		info, err := os.Stat(module)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	made := stamp()
	again := func() {
		t.Helper()
		if tree, err := c.Tree(t.Context(), f.SHA256); err != nil || len(tree.Manifest.Files) != len(first.Manifest.Files) {
			t.Fatalf("again: %v, %v", tree, err)
		}
	}
	if again(); !os.SameFile(made, stamp()) {
		t.Error("unpacked again though it was there")
	}

	// After a crash of the machine: a tree that reached the disk is trusted, one that did not is made again.
	c.boot = "another boot"
	if again(); !os.SameFile(made, stamp()) {
		t.Error("unpacked again though it is intact")
	}
	c.boot = "yet another boot"
	if again(); !os.SameFile(made, stamp()) {
		t.Error("a tree that is known to be durable was unpacked again")
	}
	manifest := filepath.Join(filepath.Dir(first.Dir), "manifest")
	b, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(manifest, append([]byte("an old boot"), b[strings.IndexByte(string(b), '\n'):]...), 0o644)
	if err := os.Truncate(module, 0); err != nil {
		t.Fatal(err)
	}
	if again(); stamp().Size() == 0 {
		t.Error("a damaged tree was trusted")
	}
}

// makeTarball gives a wheel's name and its tarball.
func makeTarball(t *testing.T, w wheeltest.Wheel) (filename string, b []byte) {
	t.Helper()
	zip := wheeltest.Build(w)
	opened, err := wheel.Open(bytes.NewReader(zip), int64(len(zip)), w.Filename())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := opened.WriteTarball(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	return w.Filename(), out.Bytes()
}

// receive unpacks a tarball as a server sends it.
func receive(t *testing.T, filename string, b []byte) func(dir string) (wheel.Tree, error) {
	return func(dir string) (wheel.Tree, error) {
		return wheel.UnpackTarball(t.Context(), bytes.NewReader(b), int64(len(b)), filename, dir)
	}
}

// TestTarball: what came as a tarball is found under the tarball's hash, and under no wheel's.
func TestTarball(t *testing.T) {
	t.Parallel()
	c, content := openTest(t), wheeltest.Build(demo)
	filename, b := makeTarball(t, demo)
	if _, err := c.Tarball(t.Context(), sum(b), receive(t, filename, b[:len(b)-10])); err == nil {
		t.Error("half of one was taken")
	}
	tree, err := c.Tarball(t.Context(), sum(b), receive(t, filename, b))
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Tarball(t.Context(), sum(b), func(string) (wheel.Tree, error) { return wheel.Tree{}, errors.New("it is there") })
	if err != nil || again.Dir != tree.Dir {
		t.Errorf("again: %v, %v", again.Dir, err)
	}
	for _, hash := range []string{sum(b), sum(content)} {
		if tree, err := c.Tree(t.Context(), hash); err == nil {
			t.Errorf("it is taken for a wheel's tree: %s", tree.Dir)
		}
		if path, ok := c.File(hash); ok {
			t.Errorf("it is taken for a file: %s", path)
		}
	}
	c.Share(sum(content), nil, nil)
	if _, err := os.Stat(c.sharePath(sum(content))); err == nil {
		t.Error("it is shared as a wheel")
	}
	if _, _, err := c.Fetch(t.Context(), demoFile(t, content), download(content)); err != nil {
		t.Fatal(err)
	}
	whole, err := c.Tree(t.Context(), sum(content))
	if err != nil || whole.Dir == tree.Dir {
		t.Errorf("the wheel's tree is %s, the tarball's %s (%v)", whole.Dir, tree.Dir, err)
	}
	if diff := cmp.Diff(whole.Manifest, tree.Manifest); diff != "" {
		t.Error(diff)
	}

	// As other trees are, it is read once after a crash of the machine.
	c.boot = "another boot"
	if err := os.Truncate(filepath.Join(tree.Dir, "demo", "__init__.py"), 0); err != nil {
		t.Fatal(err)
	}
	received := false
	if _, err := c.Tarball(t.Context(), sum(b), func(dir string) (wheel.Tree, error) {
		received = true
		return receive(t, filename, b)(dir)
	}); err != nil || !received {
		t.Errorf("a damaged one was trusted (%v)", err)
	}
	if _, err := c.Tarball(t.Context(), "../../x", nil); err == nil {
		t.Error("a path was taken for a hash")
	}
}

func TestBuilds(t *testing.T) {
	t.Parallel()
	c, content := openTest(t), wheeltest.Build(demo)
	source := strings.Repeat("ab", 32)
	if got := c.Builds(source, "key"); got != nil {
		t.Error("a build from nowhere")
	}
	path := filepath.Join(t.TempDir(), demo.Filename())
	os.WriteFile(path, content, 0o644)
	_, hash, err := c.Import(path, demoFile(t, content))
	if err != nil {
		t.Fatal(err)
	}
	want := Build{Source: source, Key: "cp311-cp311-linux_x86_64", Wheel: hash, Filename: demo.Filename(), Seconds: 1.5, Record: []byte("{}")}
	if err := c.AddBuild(want); err != nil {
		t.Fatal(err)
	}
	if got := c.Builds(source, want.Key); !reflect.DeepEqual(got, []Build{want}) || !reflect.DeepEqual(c.AllBuilds(), got) {
		t.Errorf("got %v", got)
	}
	if got := c.Builds(source, "cp312-cp312-linux_x86_64"); got != nil {
		t.Error("another interpreter's build")
	}
	if got := c.Builds("../../etc", want.Key); got != nil {
		t.Error("a source that is no hash")
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	c := openTest(t)
	unlock, err := c.Lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.TryLock("a"); ok {
		t.Error("locked twice")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Lock(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting ended with %v", err)
	}
	unlock()
	if unlock, ok := c.TryLock("a"); !ok {
		t.Error("not unlocked")
	} else {
		unlock()
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	m := openTest(t).Memory("test")
	if _, ok := m.Get("../../x"); ok {
		t.Error("something from nothing")
	}
	m.Put("../../x", []byte("1"))
	m.Put("../../x", []byte("2"))
	if b, ok := m.Get("../../x"); !ok || string(b) != "2" {
		t.Errorf("got %q, %v", b, ok)
	}
}

// TestNoLocks: where there are no locks, everything works without.
func TestNoLocks(t *testing.T) {
	t.Parallel()
	c, content := openTest(t), wheeltest.Build(demo)
	locks := filepath.Join(c.Dir(), "locks")
	if err := os.Remove(locks); err != nil {
		t.Fatal(err)
	}
	write(t, locks, "a file, so that no lock can be made in it")
	for range 2 {
		done, err := c.Use(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer done()
	}
	f := demoFile(t, content)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, _, err := c.Fetch(t.Context(), f, download(content)); err != nil {
				t.Error(err)
			}
			tree, err := c.Tree(t.Context(), f.SHA256)
			if err != nil {
				t.Error(err)
				return
			}
			var compiler fakeCompiler
			if b, err := c.Bytecode(t.Context(), tree, cpython311, compiler.compile); err != nil || len(b.Files) != 1 {
				t.Error(b, err)
			}
		})
	}
	wg.Wait()
	if _, _, err := c.Prune(t.Context(), 0, Wait{}); err != nil {
		t.Error(err)
	}
	if _, err := c.Clean(t.Context(), nil, Wait{}); err != nil {
		t.Error(err)
	}
}

func TestOpenNowhere(t *testing.T) {
	t.Parallel()
	if _, err := Open(""); err == nil || !strings.Contains(err.Error(), "HOME") || !strings.Contains(err.Error(), "CURD_CACHE") {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	if _, err := Open(filepath.Join(file, "curds")); err == nil || !strings.Contains(err.Error(), file) {
		t.Error(err)
	}
}
