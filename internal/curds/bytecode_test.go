package curds

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/python"
	"curdling/internal/wheel"
	"curdling/internal/wheel/wheeltest"
)

// modules is a wheel with sources of every kind.
var modules = wheeltest.Wheel{
	Name: "modules", Version: "1.0",
	Files: map[string]string{
		"top.py": "", "pkg/__init__.py": "", "pkg/template.py": "{{ name }}", "pkg/data.txt": "", "pkg/.py": "", "files/x.py": "",
		"list/__init__.py": "", "pkg/own.py": "", "pkg/__pycache__/own.cpython-311.pyc": "the wheel's", "modules-1.0.dist-info/x.py": "",
	},
	Data: map[string]string{"purelib/pure.py": "", "platlib/sub/plat.py": "", "scripts/run.py": "", "data/share/x.py": "", "headers/h.py": ""},
}

var cpython311 = &python.Interpreter{CacheTag: "cpython-311", Magic: "a70d0d0a"}

// fakeCompiler counts what it compiles: everything but templates.
type fakeCompiler struct {
	sync.Mutex
	names []string
	fail  error
}

func (f *fakeCompiler) compile(_ context.Context, source, target, name string) (bool, error) {
	f.Lock()
	defer f.Unlock()
	f.names = append(f.names, name)
	if f.fail != nil && strings.HasPrefix(name, "top") {
		return false, f.fail
	}
	if strings.Contains(name, "template") {
		return false, nil
	}
	err := errors.Join(os.MkdirAll(filepath.Dir(target), 0o777), os.WriteFile(target, []byte("bytecode of "+filepath.Base(source)), 0o666))
	return err == nil, err
}

// keepModules gives a cache with the wheel's tree.
func keepModules(t *testing.T) (*Curds, wheel.Tree) {
	t.Helper()
	c := openTest(t)
	path := filepath.Join(t.TempDir(), modules.Filename())
	write(t, path, string(wheeltest.Build(modules)))
	tree, err := c.Tree(t.Context(), keepFile(t, c, path))
	if err != nil {
		t.Fatal(err)
	}
	return c, tree
}

func TestBytecode(t *testing.T) {
	t.Parallel()
	c, tree := keepModules(t)
	var f fakeCompiler
	want := []string{
		"files/x.py files/__pycache__/x.cpython-311.pyc",
		"list/__init__.py list/__pycache__/__init__.cpython-311.pyc",
		"modules-1.0.data/platlib/sub/plat.py modules-1.0.data/platlib/sub/__pycache__/plat.cpython-311.pyc",
		"modules-1.0.data/purelib/pure.py modules-1.0.data/purelib/__pycache__/pure.cpython-311.pyc",
		"pkg/__init__.py pkg/__pycache__/__init__.cpython-311.pyc",
		"top.py __pycache__/top.cpython-311.pyc",
	}
	get := func(py *python.Interpreter, compiled int) Bytecode {
		t.Helper()
		f.names = nil
		b, err := c.Bytecode(t.Context(), tree, py, f.compile)
		if err != nil {
			t.Fatal(err)
		}
		if len(f.names) != compiled {
			t.Errorf("%d sources were compiled, want %d: %q", len(f.names), compiled, f.names)
		}
		return b
	}
	all := len(want) + 1 // the template too is tried
	for _, compiled := range []int{all, 0} {
		b := get(cpython311, compiled)
		var got []string
		for _, file := range b.Files {
			got = append(got, file.Source+" "+file.Path)
			if text, err := os.ReadFile(filepath.Join(b.Dir, file.Path)); err != nil || string(text) != "bytecode of "+filepath.Base(file.Source) {
				t.Errorf("%s: %q, %v", file.Path, text, err)
			}
			if info, err := os.Stat(filepath.Join(tree.Dir, file.Source)); err != nil || info.ModTime().Unix() != file.ModTime.Unix() {
				t.Errorf("%s: %v, the source has %v", file.Path, file.ModTime, info.ModTime())
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	get(&python.Interpreter{CacheTag: "cpython-312", Magic: "cb0d0d0a"}, all+1) // "own" is there for 3.11 alone
	get(&python.Interpreter{CacheTag: "cpython-311", Magic: "a60d0d0a"}, all)
	if b := get(&python.Interpreter{}, 0); len(b.Files) > 0 {
		t.Error("bytecode for an interpreter that keeps none")
	}
	get(cpython311, 0)

	// The source's time is another: it was edited in an environment that is linked to it, or the cache was copied.
	source := filepath.Join(tree.Dir, "top.py")
	if err := os.Chtimes(source, time.Time{}, time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	for i, file := range get(cpython311, all).Files {
		if strings.HasPrefix(want[i], "top.py") && file.ModTime.Unix() != 1e9 {
			t.Errorf("the time of top.py is %v", file.ModTime)
		}
	}

	// After a crash of the machine: what reached the disk is trusted, what did not is made again.
	c.boot = "another boot"
	get(cpython311, 0)
	c.boot = "yet another boot"
	b := get(cpython311, 0)
	list := filepath.Join(filepath.Dir(b.Dir), "list")
	if text, err := os.ReadFile(list); err != nil || !strings.Contains(string(text), "\n"+durable+"\n") {
		t.Errorf("%q, %v", text, err)
	}
	if err := os.WriteFile(list, b.list("an old boot"), 0o644); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(b.Dir, b.Files[0].Path), "damaged")
	get(cpython311, all)
	write(t, list, "damaged")
	get(cpython311, all)
	if left, _ := os.ReadDir(c.Temp()); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestBytecodeFailure(t *testing.T) {
	t.Parallel()
	c, tree := keepModules(t)
	f := fakeCompiler{fail: errors.New("no room")}
	if _, err := c.Bytecode(t.Context(), tree, cpython311, f.compile); !errors.Is(err, f.fail) || !strings.Contains(err.Error(), "modules 1.0") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Bytecode(ctx, tree, cpython311, f.compile); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if left, _ := os.ReadDir(c.Temp()); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(tree.Dir), "bytecode-*")); len(left) > 0 {
		t.Errorf("kept %v", left)
	}
}

func TestBytecodeOnce(t *testing.T) {
	t.Parallel()
	c, tree := keepModules(t)
	var f fakeCompiler
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			other, err := Open(c.Dir()) // as another process
			if err != nil {
				t.Error(err)
				return
			}
			if b, err := other.Bytecode(t.Context(), tree, cpython311, f.compile); err != nil || len(b.Files) != 6 {
				t.Error(b, err)
			}
		})
	}
	wg.Wait()
	slices.Sort(f.names)
	if once := slices.Compact(slices.Clone(f.names)); !slices.Equal(once, f.names) {
		t.Errorf("compiled %q", f.names)
	}
}

// TestBytecodeUpkeep: bytecode is verified with its tree and goes with it.
func TestBytecodeUpkeep(t *testing.T) {
	t.Parallel()
	c, tree := keepModules(t)
	var f fakeCompiler
	b, err := c.Bytecode(t.Context(), tree, cpython311, f.compile)
	if err != nil {
		t.Fatal(err)
	}
	var damages []Damage
	found := func(d Damage) { damages = append(damages, d) }
	if _, err := c.Verify(t.Context(), found); err != nil || len(damages) > 0 {
		t.Fatal(damages, err)
	}
	write(t, filepath.Join(b.Dir, b.Files[0].Path), "damaged")
	if _, err := c.Verify(t.Context(), found); err != nil || len(damages) != 1 || !strings.Contains(damages[0].Err.Error(), b.Files[0].Path) {
		t.Fatal(damages, err)
	}
	if _, err := os.Stat(filepath.Dir(tree.Dir)); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// FuzzBytecodeList has texts with a right checksum.
func FuzzBytecodeList(f *testing.F) {
	body := bytecodeMagic + "\nboot\n"
	f.Add(body)
	f.Add(body + "5 " + strings.Repeat("x", 43) + " a b/__pycache__/x.cpython-311.pyc\n")
	f.Add(body + "5 " + strings.Repeat("x", 43) + " ../x\n")
	f.Fuzz(func(t *testing.T, body string) {
		body += "\n"
		boot, files, err := parseBytecodeList(fmt.Appendf([]byte(body), "crc32 %08x\n", crc32.ChecksumIEEE([]byte(body))))
		if err != nil {
			return
		}
		for _, file := range files {
			if !filepath.IsLocal(file.Path) {
				t.Errorf("leads out: %q", file.Path)
			}
		}
		sameBoot, again, err := parseBytecodeList(Bytecode{Files: files}.list(boot))
		if diff := cmp.Diff(files, again, cmp.AllowUnexported(BytecodeFile{})); err != nil || sameBoot != boot || diff != "" {
			t.Errorf("%q: %v, %s", body, err, diff)
		}
	})
}
