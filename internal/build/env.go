package build

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"curdling/internal/python"
)

// newEnv makes an empty virtual environment of py (PEP 405) in dir, as the
// module venv would, and gives its facts. They are derived from py's: nothing is run.
func newEnv(dir string, py *python.Interpreter) (*python.Interpreter, error) {
	base, err := baseExecutable(py)
	if err != nil {
		return nil, err
	}
	env := layout(dir, py)
	for _, d := range []string{env.Purelib, env.Scripts} {
		if err := os.MkdirAll(d, 0o777); err != nil {
			return nil, err
		}
	}
	config := fmt.Sprintf("home = %s\ninclude-system-site-packages = false\nversion = %s\n", filepath.Dir(base), py.Version)
	if err := os.WriteFile(filepath.Join(dir, "pyvenv.cfg"), []byte(config), 0o666); err != nil {
		return nil, err
	}
	if runtime.GOOS == "linux" {
		if err := os.Symlink("lib", filepath.Join(dir, "lib64")); err != nil {
			return nil, err
		}
	}
	return env, linkPython(env, base)
}

// layout says where things are in the environment dir of py.
func layout(dir string, py *python.Interpreter) *python.Interpreter {
	env := *py
	xy := fmt.Sprintf("%d.%d", py.Target.Version[0], py.Target.Version[1])
	env.Prefix, env.Data = dir, dir
	env.BasePrefix = cmp.Or(py.BasePrefix, py.Prefix)
	env.ExternallyManaged = ""
	if runtime.GOOS == "windows" {
		env.Scripts = filepath.Join(dir, "Scripts")
		env.Executable = filepath.Join(env.Scripts, "python.exe")
		env.Purelib = filepath.Join(dir, "Lib", "site-packages")
		env.Include = filepath.Join(dir, "Include")
	} else {
		env.Scripts = filepath.Join(dir, "bin")
		env.Executable = filepath.Join(env.Scripts, "python")
		env.Purelib = filepath.Join(dir, "lib", libName(py, xy), "site-packages")
		env.Include = filepath.Join(dir, "include", "site", "python"+xy)
	}
	env.Platlib = env.Purelib
	env.SysPath = nil
	for _, p := range py.SysPath {
		if !strings.HasSuffix(p, "-packages") && !within(p, py.Prefix, env.BasePrefix) {
			env.SysPath = append(env.SysPath, p)
		}
	}
	env.SysPath = append(env.SysPath, env.Purelib)
	return &env
}

// within tells whether p belongs to the virtual environment prefix alone.
func within(p, prefix, basePrefix string) bool {
	return prefix != basePrefix && strings.HasPrefix(p, prefix+string(filepath.Separator))
}

// libName is the folder of lib: "python3.11", "python3.13t", "pypy3.10".
func libName(py *python.Interpreter, xy string) string {
	if name := filepath.Base(filepath.Dir(py.Purelib)); strings.HasSuffix(strings.TrimSuffix(name, "t"), xy) {
		return name
	}
	return "python" + xy
}

// baseExecutable is the interpreter below any virtual environment. It is
// looked for below the prefix first: venv's home must be a folder from which
// the prefix can be found, and py.Executable may be a link from elsewhere.
func baseExecutable(py *python.Interpreter) (string, error) {
	virtual := py.BasePrefix != "" && py.Prefix != py.BasePrefix
	self, err := os.Stat(py.Executable)
	if err != nil {
		return "", fmt.Errorf("the interpreter is gone: %w", err)
	}
	for _, home := range homes(py) {
		for _, name := range executables(py) {
			path := filepath.Join(home, name)
			info, err := os.Stat(path)
			if err == nil && info.Mode().IsRegular() && (virtual || os.SameFile(info, self)) {
				return path, nil
			}
		}
	}
	if virtual {
		return "", fmt.Errorf("the interpreter that the virtual environment %s was made with is gone; make the environment anew", py.Prefix)
	}
	return py.Executable, nil
}

// homes are the folders where the base interpreter may lie.
func homes(py *python.Interpreter) []string {
	base := cmp.Or(py.BasePrefix, py.Prefix)
	list := []string{filepath.Join(base, "bin"), base}
	config, _ := os.ReadFile(filepath.Join(py.Prefix, "pyvenv.cfg")) // there is none outside of a virtual environment
	for line := range strings.Lines(string(config)) {
		if key, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == "home" {
			list = append(list, strings.TrimSpace(value))
		}
	}
	return list
}

// executables are the base interpreter's names, the surest first.
func executables(py *python.Interpreter) []string {
	xy := fmt.Sprintf("%d.%d", py.Target.Version[0], py.Target.Version[1])
	switch {
	case runtime.GOOS == "windows":
		return []string{"python.exe"}
	case py.Target.Implementation == "pypy":
		return []string{"pypy" + xy, "pypy3"}
	case py.Target.FreeThreaded:
		return []string{"python" + xy + "t"}
	}
	return []string{"python" + xy, "python3", "python"}
}
