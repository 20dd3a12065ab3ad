package python

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func writeSource(t *testing.T, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "source.py")
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCompile has every interpreter of this machine compile, and import what it has compiled.
func TestCompile(t *testing.T) {
	t.Parallel()
	known, _ := interpreters(t)
	for _, path := range known {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			i, err := Inspect(t.Context(), path, nil)
			if err != nil {
				t.Fatal(err)
			}
			c := NewCompiler(i)
			defer c.Close()
			source := writeSource(t, "def where():\n    return where.__code__.co_filename\n")
			target := filepath.Join(filepath.Dir(source), "__pycache__", "source."+i.CacheTag+".pyc")
			if ok, err := c.Compile(t.Context(), source, target, "demo/source.py"); !ok || err != nil {
				t.Fatal(ok, err)
			}
			b, err := os.ReadFile(target)
			if err != nil {
				t.Fatal(err)
			}
			if magic := fmt.Sprintf("%x", b[:4]); magic != i.Magic {
				t.Errorf("magic number %s, want %s", magic, i.Magic)
			}
			if !strings.Contains(string(b), "demo/source.py") || strings.Contains(string(b), filepath.Dir(source)) {
				t.Errorf("the bytecode has another path than was said: %q", b)
			}
			const use = `import sys; sys.path.insert(0, sys.argv[1]); import source; print(source.__cached__); print(source.where())`
			got := string(command(t, i.Executable, "-I", "-S", "-B", "-v", "-c", use, filepath.Dir(source)))
			if want := target + "\n" + source + "\n"; got != want {
				t.Errorf("%q, want %q", got, want)
			}
			for what, content := range map[string]string{
				"Python 2": "print 1\n", "a template": "class {{ name }}: pass\n", "NUL": "\x00", "not UTF-8": "x = '\xff'\n",
				"an unknown encoding": "# coding: nonsense\n",
			} {
				if ok, err := c.Compile(t.Context(), writeSource(t, content), target+"2", "x.py"); ok || err != nil {
					t.Errorf("%s: %t, %v", what, ok, err)
				}
			}
			if ok, err := c.Compile(t.Context(), writeSource(t, "x = 1 is 1\n"), target+"2", "x.py"); !ok || err != nil {
				t.Errorf("a source that Python warns of: %t, %v", ok, err)
			}
		})
	}
}

func TestCompileErrors(t *testing.T) {
	t.Parallel()
	c := NewCompiler(&Interpreter{Executable: newest(t)})
	defer c.Close()
	source, dir := writeSource(t, ""), t.TempDir()
	if _, err := c.Compile(t.Context(), filepath.Join(dir, "none.py"), filepath.Join(dir, "x.pyc"), "none.py"); err == nil || !strings.Contains(err.Error(), "none.py") {
		t.Error(err)
	}
	if ok, err := c.Compile(t.Context(), source, filepath.Join(dir, strings.Repeat("x", 255)+".pyc"), "x.py"); ok || err != nil {
		t.Errorf("a name that is too long: %t, %v", ok, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Compile(ctx, source, filepath.Join(dir, "x.pyc"), "x.py"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if ok, err := c.Compile(t.Context(), source, filepath.Join(dir, "x.pyc"), "x.py"); !ok || err != nil {
		t.Errorf("after all that: %t, %v", ok, err)
	}
	none := NewCompiler(&Interpreter{Executable: filepath.Join(dir, "none")})
	if _, err := none.Compile(t.Context(), source, filepath.Join(dir, "x.pyc"), "x.py"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	none.Close()
	if runtime.GOOS != "windows" {
		broken := NewCompiler(&Interpreter{Executable: script(t, "echo it is broken >&2; exit 3")})
		if _, err := broken.Compile(t.Context(), source, filepath.Join(dir, "x.pyc"), "x.py"); err == nil || !strings.Contains(err.Error(), "it is broken") {
			t.Error(err)
		}
		broken.Close()
	}
}

// TestCompileCrash: a source that crashes the interpreter is no Python, and the others are still compiled.
func TestCompileCrash(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("a shell script stands for an interpreter")
	}
	fake := script(t, `echo ready; while read line; do case "$line" in *evil*) kill -SEGV $$;; *) echo 1;; esac; done`)
	c := NewCompiler(&Interpreter{Executable: fake})
	defer c.Close()
	var wg sync.WaitGroup
	for n := range 40 {
		wg.Go(func() {
			name := fmt.Sprint("good", n)
			if n%5 == 0 {
				name = "evil"
			}
			if ok, err := c.Compile(t.Context(), name, name, name); ok != (n%5 != 0) || err != nil {
				t.Errorf("%s: %t, %v", name, ok, err)
			}
		})
	}
	wg.Wait()
}
