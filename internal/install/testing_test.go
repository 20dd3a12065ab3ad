package install

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/python"
	"curdling/internal/version"
	"curdling/internal/wheel"
	"curdling/internal/wheel/wheeltest"
)

// fakeEnv is a virtualenv as far as the installer can tell.
func fakeEnv(t testing.TB, dir string) Env {
	t.Helper()
	env, err := makeEnv(dir)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func makeEnv(dir string) (Env, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return Env{}, err
	}
	dir, err := filepath.EvalSymlinks(dir) // temporary folders are links on macOS
	if err != nil {
		return Env{}, err
	}
	site, bin := filepath.Join(dir, "lib", "python3.11", "site-packages"), filepath.Join(dir, "bin")
	python := &python.Interpreter{
		Executable: filepath.Join(bin, "python"), Version: version.MustParse("3.11.7"), Prefix: dir, BasePrefix: "/usr",
		Purelib: site, Platlib: site, Scripts: bin, Data: dir, Include: filepath.Join(dir, "include", "site", "python3.11"),
	}
	err = errors.Join(os.MkdirAll(site, 0o777), os.MkdirAll(bin, 0o777),
		os.WriteFile(filepath.Join(dir, "pyvenv.cfg"), []byte("original"), 0o666),
		os.WriteFile(python.Executable, []byte("original"), 0o666))
	return Env{python}, err
}

// tree unpacks a wheel.
func tree(t testing.TB, w wheeltest.Wheel) wheel.Tree {
	t.Helper()
	b := wheeltest.Build(w)
	opened, err := wheel.Open(bytes.NewReader(b), int64(len(b)), w.Filename())
	if err != nil {
		t.Fatal(err)
	}
	tree, err := opened.Unpack(context.Background(), filepath.Join(t.TempDir(), "tree"))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// trees makes a plan that installs wheels.
func trees(t testing.TB, wheels ...wheeltest.Wheel) (p Plan) {
	t.Helper()
	for _, w := range wheels {
		p.Install = append(p.Install, Item{Tree: tree(t, w)})
	}
	return p
}

func apply(t testing.TB, env Env, p Plan) {
	t.Helper()
	if err := Apply(context.Background(), env, p, Options{}); err != nil {
		t.Fatal(err)
	}
}

// uninstall is a plan that removes the named distributions.
func uninstall(t testing.TB, env Env, names ...string) (p Plan) {
	t.Helper()
	installed, err := List(env)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range installed {
		for _, name := range names {
			if string(i.Name) == name {
				p.Remove = append(p.Remove, i)
			}
		}
	}
	if len(p.Remove) != len(names) {
		t.Fatalf("%v: found %v", names, p.Remove)
	}
	return p
}

// snapshot tells everything below dir: modes, contents, targets of links.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() == lockName {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		what := info.Mode().String()
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += " " + string(b)
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			what += " " + target
		}
		rel, err := filepath.Rel(dir, path)
		all[filepath.ToSlash(rel)] = what
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func same(t testing.TB, want, got map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// files gives the paths of a snapshot that are no folders, below a folder.
func files(snapshot map[string]string, below string) []string {
	all := []string{}
	for path, what := range snapshot {
		if rest, ok := strings.CutPrefix(path, below); ok && !strings.HasPrefix(what, "d") {
			all = append(all, rest)
		}
	}
	return all
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

func symlink(t testing.TB, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// rich is a wheel with a bit of everything.
func rich(v string) wheeltest.Wheel {
	data := "Foo_Bar-" + v + ".data/"
	return wheeltest.Wheel{
		Name: "Foo-Bar", Version: v,
		Files: map[string]string{
			"foo/__init__.py":    "version = '" + v + "'\n",
			"foo/empty.py":       "",
			"foo/tool":           "\x7fELF",
			"foo/a, \"b\".txt":   "quoted",
			"foo/größe/x.txt":    v,
			"foo/only_" + v:      "new in each version",
			"foo_top.py":         "top = 1\n",
			"deep/er/than/x.txt": "x",
		},
		Data: map[string]string{
			"purelib/foo_pure.py":       "pure\n",
			"platlib/foo/platform.so":   "so",
			"scripts/foo-run":           "#!python -E\nprint(1)\n",
			"scripts/foo-window":        "#!pythonw\nprint(1)\n",
			"scripts/foo-shell":         "#!/bin/sh\n",
			"scripts/foo":               "#!python\n# setuptools' own wrapper\n",
			"data/share/foo/readme.txt": "readme",
			"data/etc/foo.conf":         "conf",
		},
		Executable:     []string{"foo/tool", data + "scripts/foo-run", data + "scripts/foo-shell"},
		ConsoleScripts: map[string]string{"foo": "foo.cli:main", "foo-sub": "foo:App.run"},
		GUIScripts:     map[string]string{"foo-gui": "foo.gui:main"},
	}
}

// with changes a copy of a wheel.
func with(w wheeltest.Wheel, files map[string]string) wheeltest.Wheel {
	w.Files = maps.Clone(w.Files)
	maps.Copy(w.Files, files)
	return w
}

// small is a wheel with one module.
func small(name, v string) wheeltest.Wheel {
	return wheeltest.Wheel{Name: name, Version: v, Files: map[string]string{name + ".py": "version = '" + v + "'\n"}}
}
