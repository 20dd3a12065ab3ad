package python

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// fakes writes shell scripts that give a version, by path under a new folder.
func fakes(t *testing.T, versions map[string]string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("shell scripts stand for interpreters")
	}
	root := t.TempDir()
	for name, version := range versions {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho "+version+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestFind(t *testing.T) {
	t.Parallel()
	root := fakes(t, map[string]string{
		"active/bin/python": "3.13.1", "project/.venv/bin/python3": "3.12.1", "project/env/bin/python": "3.12.2", "project/tool": "3.9.1",
		"one/python3": "3.11.7", "two/python3": "3.12.7", "two/python": "2.7.18", "one/python3.10": "broken", "two/python3.10": "3.10.4",
		"one/pypy3": "pypy3.10.1", "two/python3.14": "3.14.1", "three/python3.14t": "3.14.1t", "three/python3": "pypy3.8.2",
		"home/.pyenv/versions/pypy3.7-7.3.1/bin/python": "pypy3.7.9", "home/.pyenv/versions/3.96.0t/bin/python": "3.96.0t",
		"home/.local/share/uv/python/pypy-3.95.1-linux-x86_64-gnu/bin/python3": "pypy3.95.1",
		"home/.pyenv/versions/3.12.9/bin/python":                               "3.12.9", "home/.pyenv/versions/3.12.10/bin/python": "3.12.10",
		"home/.pyenv/versions/3.99.0/bin/python": "3.99.0", "home/.local/bin/python3.98": "3.98.0",
		"home/.local/share/uv/python/cpython-3.97.2-linux-x86_64-gnu/bin/python3": "3.97.2",
	})
	in := func(name string) string { return filepath.Join(root, name) }
	if err := os.Mkdir(in("empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in("one/python"), nil, 0o644); err != nil { // not executable
		t.Fatal(err)
	}
	path := strings.Join([]string{"one", in("one"), in("two"), in("three")}, string(filepath.ListSeparator))
	tests := []struct{ name, choice, dir, virtualenv, path, want string }{
		{name: "VIRTUAL_ENV first", dir: "project", virtualenv: in("active"), want: "active/bin/python"},
		{name: "then .venv", dir: "project", want: "project/.venv/bin/python3"},
		{name: "then PATH", dir: "empty", want: "one/python3"},
		{name: "python, where there is no python3", dir: "empty", path: in("project/env/bin"), want: "project/env/bin/python"},
		{name: "executable", choice: in("one/python3"), dir: "empty", virtualenv: in("active"), want: "one/python3"},
		{name: "relative executable", choice: "./tool", dir: "project", want: "project/tool"},
		{name: "virtualenv", choice: in("active"), dir: "empty", want: "active/bin/python"},
		{name: "virtualenv here", choice: "env", dir: "project", want: "project/env/bin/python"},
		{name: "command", choice: "pypy3", dir: "empty", want: "one/pypy3"},
		{name: "any 3", choice: "3", dir: "empty", want: "one/python3"},
		{name: "2", choice: "2", dir: "empty", want: "two/python"},
		{name: "minor version, shim broken", choice: "3.10", dir: "empty", want: "two/python3.10"},
		{name: "another python3", choice: "3.12", dir: "empty", want: "two/python3"},
		{name: "no prefix of text", choice: "3.1", dir: "empty", want: ""},
		{name: "pyenv's newest", choice: "3.12", dir: "empty", path: in("one"), want: "home/.pyenv/versions/3.12.10/bin/python"},
		{name: "exact", choice: "3.12.9", dir: "empty", want: "home/.pyenv/versions/3.12.9/bin/python"},
		{name: "pyenv", choice: "3.99", dir: "empty", want: "home/.pyenv/versions/3.99.0/bin/python"},
		{name: "the user's own", choice: "3.98", dir: "empty", want: "home/.local/bin/python3.98"},
		{name: "PyPy", choice: "pypy3.10", dir: "empty", want: "one/pypy3"},
		{name: "any PyPy 3", choice: "pypy3", dir: "empty", want: "one/pypy3"},
		{name: "PyPy by another name", choice: "pypy3.8", dir: "empty", want: "three/python3"},
		{name: "PyPy, whose version is enough", choice: "3.8", dir: "empty", want: "three/python3"},
		{name: "no PyPy", choice: "pypy3.12", dir: "empty", want: ""},
		{name: "pyenv's PyPy", choice: "pypy3.7", dir: "empty", want: "home/.pyenv/versions/pypy3.7-7.3.1/bin/python"},
		{name: "uv's PyPy", choice: "pypy3.95", dir: "empty", want: "home/.local/share/uv/python/pypy-3.95.1-linux-x86_64-gnu/bin/python3"},
		{name: "free-threaded", choice: "3.14t", dir: "empty", want: "three/python3.14t"},
		{name: "not free-threaded", choice: "3.14", dir: "empty", want: "two/python3.14"},
		{name: "none free-threaded", choice: "3.12t", dir: "empty", want: ""},
		{name: "pyenv's free-threaded", choice: "3.96t", dir: "empty", want: "home/.pyenv/versions/3.96.0t/bin/python"},
		{name: "uv's", choice: "3.97", dir: "empty", want: "home/.local/share/uv/python/cpython-3.97.2-linux-x86_64-gnu/bin/python3"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			env := map[string]string{"VIRTUAL_ENV": test.virtualenv, "PATH": path, "HOME": in("home")}
			if test.path != "" {
				env["PATH"] = test.path
			}
			got, err := Find(test.choice, in(test.dir), func(key string) string { return env[key] })
			if test.want == "" {
				if err == nil {
					t.Errorf("found %s", got)
				}
				return
			}
			if err != nil || got != in(test.want) {
				t.Errorf("%q, %v; want %q", got, err, in(test.want))
			}
		})
	}
}

func TestFindErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "project", ".venv"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, choice, dir, virtualenv string
		want                          []string
	}{
		{name: "nothing", dir: dir, want: []string{"VIRTUAL_ENV", ".venv", "python3", "PATH", "python3 -m venv"}},
		{name: "no command", choice: "jython3", dir: dir, want: []string{`"jython3"`, "PATH"}},
		{name: "no path", choice: "./bin/python", dir: dir, want: []string{filepath.Join(dir, "bin", "python"), "--python"}},
		{name: "no virtualenv", choice: dir, dir: ".", want: []string{dir, "no virtualenv", "python3 -m venv"}},
		{name: "broken VIRTUAL_ENV", virtualenv: filepath.Join(dir, "gone"), dir: dir, want: []string{"VIRTUAL_ENV", "gone", "no virtualenv"}},
		{name: "broken .venv", dir: filepath.Join(dir, "project"), want: []string{".venv", "no virtualenv"}},
		{name: "version", choice: "3.96", dir: dir, want: []string{"Python 3.96", "PATH", ".pyenv", "--python"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			env := map[string]string{"VIRTUAL_ENV": test.virtualenv, "PATH": dir, "HOME": dir}
			path, err := Find(test.choice, test.dir, func(key string) string { return env[key] })
			if err == nil {
				t.Fatalf("found %s", path)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}
