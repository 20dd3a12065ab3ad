package install

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/curds"
	"curdling/internal/dist"
	"curdling/internal/python"
	"curdling/internal/wheel/wheeltest"
)

// compiled is a plan that installs wheels with their bytecode, from a cache of their own.
func compiled(t *testing.T, py *python.Interpreter, wheels ...wheeltest.Wheel) (p Plan) {
	t.Helper()
	c, err := curds.Open(filepath.Join(t.TempDir(), "curds"))
	if err != nil {
		t.Fatal(err)
	}
	compiler := python.NewCompiler(py)
	defer compiler.Close()
	for _, w := range wheels {
		path := filepath.Join(t.TempDir(), w.Filename())
		write(t, path, string(wheeltest.Build(w)))
		f, err := dist.ParseFilename(w.Filename(), "")
		if err != nil {
			t.Fatal(err)
		}
		_, sha256, err := c.Import(path, f)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := c.Tree(t.Context(), sha256)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range tree.Manifest.Files { // or a copy made at once would have the same time
			if err := os.Chtimes(filepath.Join(tree.Dir, f.Path), time.Time{}, time.Unix(1e9, 5e8)); err != nil {
				t.Fatal(err)
			}
		}
		b, err := c.Bytecode(t.Context(), tree, py, compiler.Compile)
		if err != nil {
			t.Fatal(err)
		}
		p.Install = append(p.Install, Item{Tree: tree, Bytecode: b})
	}
	return p
}

// modules is a wheel whose sources lie everywhere.
func modules() wheeltest.Wheel {
	return wheeltest.Wheel{
		Name: "modules", Version: "1.0", Platlib: true,
		Files: map[string]string{
			"modules.py": "import pkg.sub, pure\ndef fail():\n    raise ValueError\n", "pkg/__init__.py": "", "pkg/sub.py": "", "pkg/py2.py": "print 1\n",
		},
		Data:           map[string]string{"purelib/pure.py": "", "purelib/pkg/extra.py": "", "scripts/run": "#!python\n"},
		ConsoleScripts: map[string]string{"modules": "modules:fail"},
	}
}

// TestBytecodeAgainstPip installs and compiles with pip and with us, by links
// and by copies: the same files and RECORD. Python uses what we have compiled,
// and names the environment's paths. pip and we take all of it out again.
func TestBytecodeAgainstPip(t *testing.T) {
	t.Parallel()
	pip := bundledPip(t)
	dir := t.TempDir()
	venv := filepath.Join(dir, "venv")
	py := makeVenv(t, venv)
	site, _ := filepath.Rel(venv, py.Platlib)
	file := filepath.Join(dir, modules().Filename())
	write(t, file, string(wheeltest.Build(modules())))
	run(t, py.Executable, pip, "install", "--no-index", "--no-deps", "--no-cache-dir", file)
	describe := func() (paths []string, record string) {
		all := snapshot(t, venv)
		for path := range all {
			if path != site+"/modules-1.0.dist-info/direct_url.json" && path != site+"/modules-1.0.dist-info/REQUESTED" {
				paths = append(paths, path)
			}
		}
		slices.Sort(paths)
		for line := range strings.Lines(all[site+"/modules-1.0.dist-info/RECORD"]) {
			if !regexp.MustCompile(`/(INSTALLER|REQUESTED|direct_url.json|bin/modules),`).MatchString(line) {
				record += line
			}
		}
		return paths, record
	}
	wantPaths, wantRecord := describe()
	for _, mode := range []LinkMode{LinkAuto, LinkCopy} {
		env := Env{makeVenv(t, venv)}
		empty := snapshot(t, venv)
		if err := Apply(t.Context(), env, compiled(t, py, modules()), Options{LinkMode: mode}); err != nil {
			t.Fatal(err)
		}
		paths, record := describe()
		if diff := cmp.Diff(wantPaths, paths); diff != "" {
			t.Errorf("%s (-pip +ours):\n%s", mode, diff)
		}
		if diff := cmp.Diff(wantRecord, record); diff != "" {
			t.Errorf("%s (-pip +ours):\n%s", mode, diff)
		}
		out, _ := exec.Command(py.Executable, "-B", "-v", "-c", "import modules, pkg.extra; modules.fail()").CombinedOutput() // fails
		for _, name := range []string{"modules", "pkg", "pkg.sub", "pkg.extra", "pure"} {
			path := strings.ReplaceAll(name, ".", "/")
			if name == "pkg" {
				path = "pkg/__init__"
			}
			source := filepath.Join(py.Platlib, path+".py")
			pyc := filepath.Join(filepath.Dir(source), "__pycache__", filepath.Base(path)+"."+py.CacheTag+".pyc")
			for _, want := range []string{pyc + " matches " + source, "# code object from '" + pyc + "'"} {
				if !strings.Contains(string(out), want) {
					t.Errorf("%s: Python does not say %q", mode, want)
				}
			}
		}
		if want := fmt.Sprintf("File %q, line 3, in fail\n    raise ValueError", filepath.Join(py.Platlib, "modules.py")); !strings.Contains(string(out), want) {
			t.Errorf("%s: the traceback is %q", mode, out[max(0, len(out)-300):])
		}
		if mode == LinkAuto {
			apply(t, env, uninstall(t, env, "modules"))
			same(t, empty, snapshot(t, venv))
			continue
		}
		run(t, py.Executable, pip, "uninstall", "-y", "modules")
		for _, path := range files(snapshot(t, venv), "lib/python") {
			t.Errorf("%s: after pip uninstall %s is there", mode, path)
		}
	}
}

// TestBytecodeInTheWay has old bytecode in the place of the new, and a version that replaces another.
func TestBytecodeInTheWay(t *testing.T) {
	t.Parallel()
	env := fakeEnv(t, t.TempDir())
	py := newestPython(t)
	empty := snapshot(t, env.Python.Prefix)
	site := env.Python.Purelib
	pyc := "x/__pycache__/y." + py.CacheTag + ".pyc"
	w := func(v string) wheeltest.Wheel {
		return wheeltest.Wheel{Name: "x", Version: v, Files: map[string]string{"x/y.py": "v = " + v + "\n", "x/only" + v[:1] + ".py": ""}}
	}
	write(t, filepath.Join(site, pyc), "somebody's")
	write(t, filepath.Join(site, "x/mine.py"), "")
	write(t, filepath.Join(site, "x/__pycache__/mine.cpython-38.pyc"), "")
	apply(t, env, compiled(t, py, w("1.0")))
	first := snapshot(t, env.Python.Prefix)
	if !strings.Contains(first[sitePath+pyc], "x/y.py") {
		t.Errorf("bytecode: %q", first[sitePath+pyc])
	}
	// A failure puts the old bytecode back.
	p := compiled(t, py, w("2.0"))
	if err := os.Remove(filepath.Join(p.Install[0].Bytecode.Dir, pyc)); err != nil {
		t.Fatal(err)
	}
	if err := Apply(t.Context(), env, p, Options{}); err == nil || !strings.Contains(err.Error(), pyc) {
		t.Error(err)
	}
	same(t, first, snapshot(t, env.Python.Prefix))
	apply(t, env, compiled(t, py, w("2.0")))
	got := files(snapshot(t, env.Python.Prefix), sitePath+"x/")
	slices.Sort(got)
	cached := func(name string) string { return "__pycache__/" + name + "." + py.CacheTag + ".pyc" }
	want := []string{"__pycache__/mine.cpython-38.pyc", cached("only2"), cached("y"), "mine.py", "only2.py", "y.py"}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	apply(t, env, uninstall(t, env, "x"))
	if err := os.RemoveAll(filepath.Join(site, "x")); err != nil {
		t.Fatal(err)
	}
	same(t, empty, snapshot(t, env.Python.Prefix))
}

// TestBytecodeConflict: where another wheel's source is installed, so is its bytecode, or none.
func TestBytecodeConflict(t *testing.T) {
	t.Parallel()
	py := newestPython(t)
	a := wheeltest.Wheel{Name: "a", Version: "1", Files: map[string]string{"ns/x.py": "name = 'a'\n", "ns/y.py": "name = 'a'\n"}}
	b := wheeltest.Wheel{Name: "b", Version: "1", Files: map[string]string{"ns/x.py": "name = 'b'\n", "ns/y.py": "name : = b\n"}}
	env := fakeEnv(t, t.TempDir())
	apply(t, env, compiled(t, py, a, b))
	got := snapshot(t, env.Python.Prefix)
	tag := "." + py.CacheTag + ".pyc"
	if x := got[sitePath+"ns/__pycache__/x"+tag]; !strings.Contains(x, "\x01b") || strings.Contains(x, "\x01a") {
		t.Errorf("%q", x)
	}
	if y, ok := got[sitePath+"ns/__pycache__/y"+tag]; ok {
		t.Errorf("bytecode of a source that is not there: %q", y)
	}
	if record := got[sitePath+"a-1.dist-info/RECORD"]; strings.Contains(record, "__pycache__") {
		t.Error(record)
	}
	apply(t, env, uninstall(t, env, "a", "b"))
	if left := files(snapshot(t, env.Python.Prefix), sitePath); len(left) > 0 {
		t.Error(left)
	}
}

func TestBytecodeRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ source, path, want string }{
		{"gone.py", "__pycache__/gone.pyc", "which is not installed"},
		{"x.py", "../__pycache__/x.pyc", "leads out of the environment"},
		{"x.py", "x-1.dist-info/__pycache__/x.pyc", "does not belong there"},
		{"x.py", "x-1.data/x.pyc", "does not belong there"},
	} {
		w := small("x", "1")
		w.Data = map[string]string{"data/x": ""}
		env, p := fakeEnv(t, t.TempDir()), trees(t, w)
		p.Install[0].Bytecode.Files = []curds.BytecodeFile{{Source: tt.source, Path: tt.path}}
		want := snapshot(t, env.Python.Prefix)
		if err := Apply(context.Background(), env, p, Options{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.path, err, tt.want)
		}
		same(t, want, snapshot(t, env.Python.Prefix))
	}
}

// newestPython is the python3 at hand.
func newestPython(t *testing.T) *python.Interpreter {
	t.Helper()
	path, err := python.Find("3", t.TempDir(), os.Getenv)
	if err != nil {
		t.Skip(err)
	}
	py, err := python.Inspect(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return py
}
