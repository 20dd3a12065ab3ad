package python

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"curdling/internal/lazyregexp"
)

// hint is what to try where no interpreter is found.
const hint = "make a virtualenv (python3 -m venv .venv), or choose an interpreter with --python"

// A wanted is a version as it is asked for and as interpreters give theirs: "pypy3.10", "3.13t".
var wantedForm = lazyregexp.New(`^(pypy)?([0-9]+(?:\.[0-9]+){0,2})(t?)$`)

type wanted struct {
	pypy         bool
	version      string // may be cut short: "3.12"
	freeThreaded bool   // without the global lock (PEP 703)
}

func parseWanted(s string) (w wanted, ok bool) {
	m := wantedForm.FindStringSubmatch(s)
	if m == nil {
		return w, false
	}
	return wanted{m[1] != "", m[2], m[3] != ""}, true
}

// matches tells whether what an interpreter says of itself is what is wanted.
// Where PyPy or free threading is not asked for, neither is in the way.
func (w wanted) matches(has wanted) bool {
	return strings.HasPrefix(has.version+".", w.version+".") && (has.pypy || !w.pypy) && (has.freeThreaded || !w.freeThreaded)
}

// Find gives the path of the interpreter to use, absolute. choice is --python:
//
//	""           VIRTUAL_ENV, else .venv in dir, else python3, else python on PATH;
//	a version    "3", "3.12", "3.12.1": python3.12, python3 or python on PATH where it is this
//	             version, else the newest such of ~/.pyenv/versions, else one of the common places;
//	             "3.13t" is a free-threaded one, "pypy3.10" PyPy, which goes by this name on PATH;
//	a path       of an executable or of a virtualenv, relative to dir: it holds a separator of paths,
//	             or is a folder that is there;
//	a command    any other name, on PATH.
//
// An error says what was looked for and what to try. Only a version makes Find
// run interpreters; nothing else is known of the one found than that its file is there.
func Find(choice, dir string, getenv func(string) string) (string, error) {
	f := finder{dir: dir, getenv: getenv}
	path, err := f.find(choice)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

type finder struct {
	dir    string
	getenv func(string) string
}

func (f finder) find(choice string) (string, error) {
	if choice == "" {
		return f.usual()
	}
	if w, ok := parseWanted(choice); ok {
		return f.version(choice, w)
	}
	path := choice
	if !filepath.IsAbs(path) {
		path = filepath.Join(f.dir, path)
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return inVirtualenv(path)
	case !strings.ContainsAny(choice, "/"+string(filepath.Separator)):
		if found := f.onPath(choice); len(found) > 0 {
			return found[0], nil
		}
		return "", fmt.Errorf("python: no command %q on PATH; %s", choice, hint)
	case err != nil:
		return "", fmt.Errorf("python: %w; %s", err, hint)
	}
	return path, nil
}

// usual is what is used without a choice.
func (f finder) usual() (string, error) {
	if env := f.getenv("VIRTUAL_ENV"); env != "" {
		path, err := inVirtualenv(env)
		if err != nil {
			return "", fmt.Errorf("VIRTUAL_ENV: %w", err)
		}
		return path, nil
	}
	env := filepath.Join(f.dir, ".venv")
	if info, err := os.Stat(env); err == nil && info.IsDir() {
		return inVirtualenv(env)
	}
	for _, command := range []string{"python3", "python"} {
		if found := f.onPath(command); len(found) > 0 {
			return found[0], nil
		}
	}
	return "", fmt.Errorf("python: VIRTUAL_ENV is not set, there is no %s, and neither python3 nor python on PATH; %s", env, hint)
}

// inVirtualenv gives the interpreter of a virtualenv.
func inVirtualenv(dir string) (string, error) {
	names := []string{"bin/python", "bin/python3"}
	if runtime.GOOS == "windows" {
		names = []string{"Scripts/python.exe", "python.exe"}
	}
	for _, name := range names {
		if path := filepath.Join(dir, filepath.FromSlash(name)); isExecutable(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("python: %s is no virtualenv: it has no %s; make one: python3 -m venv %s", dir, names[0], dir)
}

// onPath gives every executable of this name on PATH, in order.
func (f finder) onPath(command string) []string {
	if runtime.GOOS == "windows" && filepath.Ext(command) != ".exe" {
		command += ".exe"
	}
	var found []string
	for _, dir := range filepath.SplitList(f.getenv("PATH")) {
		// Relative entries would run what happens to lie in the current folder.
		if path := filepath.Join(dir, command); filepath.IsAbs(dir) && isExecutable(path) {
			found = append(found, path)
		}
	}
	return found
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	if runtime.GOOS == "windows" {
		return info.Size() > 0 // the store's placeholders are empty
	}
	return info.Mode()&0o111 != 0
}

// version finds an interpreter of a version.
func (f finder) version(choice string, want wanted) (string, error) {
	name, ending, others := "python", "", []string{"python"}
	switch {
	case want.pypy:
		name, others = "pypy", []string{"pypy", "python3", "python"}
	case want.freeThreaded:
		ending, others = "t", []string{"python3", "python"}
	}
	var commands, candidates []string
	parts := strings.SplitN(want.version, ".", 3)
	for n := min(len(parts), 2); n > 0; n-- {
		commands = append(commands, name+strings.Join(parts[:n], ".")+ending)
	}
	for _, command := range append(commands, others...) {
		candidates = append(candidates, f.onPath(command)...)
	}
	candidates = append(candidates, f.places(want, strings.Join(parts[:min(len(parts), 2)], ".")+ending)...)
	for _, path := range candidates {
		text, err := askVersion(context.Background(), path)
		if has, ok := parseWanted(text); err == nil && ok && want.matches(has) {
			return path, nil
		}
	}
	return "", fmt.Errorf("python: no Python %s on PATH, in %s or the other usual places; install it, or give its path with --python",
		choice, filepath.Join("~", ".pyenv", "versions"))
}

// places gives the interpreters off PATH that may be wanted, those of pyenv
// first, newest first. short is as their names end: "3.12", "3.13t".
func (f finder) places(want wanted, short string) []string {
	name, pyenv, uv := "python", want.version, "cpython-"+want.version
	if want.pypy {
		name, pyenv, uv = "pypy", "pypy"+want.version, "pypy-"+want.version
	}
	home := cmp.Or(f.getenv("HOME"), f.getenv("USERPROFILE"))
	var patterns []string
	if home != "" {
		patterns = append(patterns,
			filepath.Join(cmp.Or(f.getenv("PYENV_ROOT"), filepath.Join(home, ".pyenv")), "versions", pyenv+"*", "bin", "python"),
			filepath.Join(home, ".local", "bin", name+short),
			filepath.Join(home, ".local", "share", "uv", "python", uv+"*", "bin", "python3"))
	}
	switch runtime.GOOS {
	case "windows":
		nodot := "Python" + strings.ReplaceAll(short, ".", "")
		patterns = append(patterns,
			filepath.Join(f.getenv("LOCALAPPDATA"), "Programs", "Python", nodot+"*", "python.exe"),
			filepath.Join(f.getenv("PROGRAMFILES"), nodot+"*", "python.exe"))
	case "darwin":
		patterns = append(patterns,
			"/opt/homebrew/bin/"+name+short,
			"/Library/Frameworks/Python.framework/Versions/"+short+"/bin/python"+short)
	}
	patterns = append(patterns, "/usr/local/bin/"+name+short, "/usr/bin/"+name+short)
	var found []string
	for _, pattern := range patterns {
		paths, _ := filepath.Glob(pattern) // a wrong pattern finds nothing
		slices.SortFunc(paths, func(a, b string) int { return -compareNatural(a, b) })
		found = append(found, paths...)
	}
	return slices.DeleteFunc(found, func(path string) bool { return !isExecutable(path) })
}

var number = lazyregexp.New(`[0-9]+`)

// compareNatural compares strings with the numbers in them as numbers.
func compareNatural(a, b string) int {
	pad := func(n string) string { return strings.Repeat("0", max(0, 12-len(n))) + n }
	return cmp.Compare(number.ReplaceAllStringFunc(a, pad), number.ReplaceAllStringFunc(b, pad))
}
