package python

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/tag"
)

// interpreters gives the Pythons of this machine that are not too old, and
// those that are.
func interpreters(t *testing.T) (known, old []string) {
	t.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, pattern := range []string{filepath.Join(home, ".pyenv", "versions", "*", "bin", "python"), "/usr/bin/python3", "/usr/bin/pypy3"} {
		found, _ := filepath.Glob(pattern)
		paths = append(paths, found...)
	}
	if len(paths) == 0 {
		paths = []string{newest(t)}
	}
	for _, path := range paths {
		v, err := askVersion(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if compareNatural(strings.TrimPrefix(v, "pypy"), "3.8") < 0 {
			old = append(old, path)
		} else {
			known = append(known, path)
		}
	}
	return known, old
}

// TestInspect holds every interpreter of this machine, and virtualenvs of
// them, against what pip says of them.
func TestInspect(t *testing.T) {
	t.Parallel()
	known, _ := interpreters(t)
	for _, path := range known {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			base, err := Inspect(t.Context(), path, nil)
			if err != nil {
				t.Fatal(err)
			}
			checkAgainstPip(t, base, base)
			env := filepath.Join(t.TempDir(), "env")
			command(t, path, "-m", "venv", "--without-pip", env)
			i := checkVirtualenv(t, base, env)
			if base.ExternallyManaged == "" && i.Version.Release()[1] != 8 && len(known) > 1 {
				return // Debian's paths and those of distutils are special; the others are alike
			}
			checkAgainstPip(t, i, base)
			env = filepath.Join(t.TempDir(), "open")
			command(t, path, "-m", "venv", "--without-pip", "--system-site-packages", env)
			i = checkVirtualenv(t, base, env)
			checkAgainstPip(t, i, base)
			if !slices.Contains(i.SysPath, base.Purelib) {
				t.Errorf("%s is not in %q", base.Purelib, i.SysPath)
			}
		})
	}
}

func checkVirtualenv(t *testing.T, base *Interpreter, dir string) *Interpreter {
	t.Helper()
	path, err := Find(dir, ".", os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	i, err := Inspect(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if i.Executable != path || i.Prefix != dir || i.BasePrefix != base.BasePrefix || i.ExternallyManaged != "" {
		t.Errorf("%s: executable %s, prefix %s of %s, externally managed %q", dir, i.Executable, i.Prefix, i.BasePrefix, i.ExternallyManaged)
	}
	return i
}

const pipProbe = `
import json, os, sys
sys.path += sys.argv[1:]
from pip._internal.locations import get_scheme
from pip._vendor.packaging import markers, tags
s = get_scheme("name")
managed = None
try:
	from pip._internal.exceptions import ExternallyManagedEnvironment
	from pip._internal.utils.misc import check_externally_managed
	managed = False
	check_externally_managed()
except ImportError:
	pass
except ExternallyManagedEnvironment:
	managed = True
print(json.dumps({
	"markers": markers.default_environment(),
	"tags": [str(t) for t in tags.sys_tags()],
	"paths": [s.purelib, s.platlib, s.scripts, s.data, s.headers],
	"managed": managed,
}))`

// checkAgainstPip compares i with what pip of base says when i runs it.
func checkAgainstPip(t *testing.T, i, base *Interpreter) {
	t.Helper()
	at := slices.IndexFunc(base.SysPath, func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "pip", "_vendor", "packaging"))
		return err == nil
	})
	if at < 0 {
		t.Logf("%s has no pip to compare with", base.Executable)
		return
	}
	var want struct {
		Markers     map[string]string
		Tags, Paths []string
		Managed     *bool // nil: pip is older than PEP 668
	}
	if err := json.Unmarshal(command(t, i.Executable, "-I", "-c", pipProbe, base.SysPath[at]), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Markers, map[string]string(i.Markers)); diff != "" {
		t.Errorf("markers (-pip +ours):\n%s", diff)
	}
	paths := []string{i.Purelib, i.Platlib, i.Scripts, i.Data, filepath.Join(i.Include, "name")}
	if diff := cmp.Diff(want.Paths, paths); diff != "" {
		t.Errorf("paths (-pip +ours):\n%s", diff)
	}
	if want.Managed != nil && (i.ExternallyManaged != "") != *want.Managed {
		t.Errorf("externally managed: %q; pip: %v", i.ExternallyManaged, *want.Managed)
	}
	// Old releases of packaging have linux_* elsewhere and cp311-none-any not at all.
	var tags []string
	for _, t := range tag.Supported(i.Target) {
		tags = append(tags, t.String())
	}
	differs := func(s string) bool {
		return strings.Contains(s, "-linux_") || strings.HasPrefix(s, "cp") && strings.HasSuffix(s, "-none-any")
	}
	if diff := cmp.Diff(slices.DeleteFunc(want.Tags, differs), slices.DeleteFunc(tags, differs)); diff != "" {
		t.Errorf("tags (-pip +ours):\n%s", diff)
	}
}

func command(t *testing.T, path string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stderr = new(strings.Builder)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %.80q: %v\n%s", path, args, err, cmd.Stderr)
	}
	return out
}

func TestInspectRefusesOld(t *testing.T) {
	t.Parallel()
	_, old := interpreters(t)
	if runtime.GOOS != "windows" {
		old = append(old,
			script(t, `echo; echo 'curdling:{"version": "3.7.1"}'`),
			script(t, `[ "$1" = -I ] && echo "Unknown option: -I" >&2 && exit 2; echo 2.7.18`))
	}
	for _, path := range old {
		if _, err := Inspect(t.Context(), path, nil); err == nil || !strings.Contains(err.Error(), "older than 3.8") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// script writes an executable shell script and gives its path.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "python3")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestInspectOddAnswers(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("shell scripts stand for interpreters")
	}
	tests := map[string]struct{ script, want string }{
		"silent":    {`:`, "is it a Python?"},
		"not JSON":  {`echo; echo "curdling:{"`, "JSON"},
		"empty":     {`echo; echo "curdling:{}"`, "lacks the version"},
		"partial":   {`echo; echo 'curdling:{"version": "3.11.7", "executable": "bin/python"}'`, "not absolute"},
		"too long":  {`head -c 3000000 /dev/zero`, "more than"},
		"fails":     {`echo first >&2; echo "no such thing" >&2; exit 3`, "exit status 3: no such thing"},
		"no target": {`exec /nonexistent/python`, "exit status"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := script(t, test.script)
			i, err := Inspect(t.Context(), path, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, %v; want an error with %q", i, err, test.want)
			}
		})
	}
	for name, path := range map[string]string{"missing": filepath.Join(t.TempDir(), "none"), "folder": t.TempDir()} {
		if _, err := Inspect(t.Context(), path, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInspectStops(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("a shell script stands for an interpreter")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := Inspect(ctx, script(t, "sleep 60"), nil); err == nil {
		t.Error("no error")
	}
	if took := time.Since(start); took > 50*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestInspectBehindNoise: what a start prints (by a .pth file, say) and a
// script in front of the interpreter do no harm.
func TestInspectBehindNoise(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("a shell script stands in front of the interpreter")
	}
	real := newest(t)
	mem := memory{answers: map[string][]byte{}}
	i, err := Inspect(t.Context(), script(t, `echo '{"version": "1.0"}'; "`+real+`" "$@"; echo bye`), &mem)
	if err != nil {
		t.Fatal(err)
	}
	if i.Executable != real || len(mem.answers) != 0 {
		t.Errorf("executable %s, want %s; %d answers remembered, want none", i.Executable, real, len(mem.answers))
	}
}

// newest gives an interpreter that is no script.
func newest(t *testing.T) string {
	t.Helper()
	path, err := Find("3", t.TempDir(), os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	i, err := Inspect(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return i.Executable
}

type memory struct {
	sync.Mutex
	answers map[string][]byte
}

func (m *memory) Get(key string) ([]byte, bool) {
	m.Lock()
	defer m.Unlock()
	answer, ok := m.answers[key]
	return answer, ok
}

func (m *memory) Put(key string, answer []byte) {
	m.Lock()
	defer m.Unlock()
	m.answers[key] = answer
}

func TestMemory(t *testing.T) {
	t.Parallel()
	env := filepath.Join(t.TempDir(), "env")
	command(t, newest(t), "-m", "venv", "--without-pip", env)
	path, err := Find(env, ".", os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	mem := memory{answers: map[string][]byte{}}
	inspect := func(answers int) *Interpreter {
		t.Helper()
		i, err := Inspect(t.Context(), path, &mem)
		if err != nil {
			t.Fatal(err)
		}
		if len(mem.answers) != answers {
			t.Fatalf("%d answers are remembered, want %d", len(mem.answers), answers)
		}
		return i
	}
	first, err := json.Marshal(inspect(1))
	if err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(inspect(1))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(first), string(again)); diff != "" {
		t.Errorf("the remembered answer is another (-first +again):\n%s", diff)
	}
	for key, answer := range mem.answers {
		mem.answers[key] = []byte(strings.Replace(string(answer), `"Prefix":"`, `"Prefix":"/remembered`, 1))
	}
	if i := inspect(1); !strings.HasPrefix(i.Prefix, "/remembered") {
		t.Error("the interpreter ran, though its answer is remembered")
	}
	config := filepath.Join(env, "pyvenv.cfg")
	if err := os.Chtimes(config, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if i := inspect(2); i.Prefix != env {
		t.Error("another pyvenv.cfg is not noticed")
	}
	for key := range mem.answers {
		mem.answers[key] = []byte(`{"Version": "3.11`)
	}
	if i := inspect(2); i.Prefix != env {
		t.Error("a broken answer is not asked for anew")
	}
}

// FuzzDecode: an answer that is taken is complete.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version": "3.11.7", "executable": "/p/bin/python", "prefix": "/p", "purelib": "/p/l", "platlib": "/p/l", ` +
		`"scripts": "/p/bin", "data": "/p", "include": "/p/include", "target": {"glibc": [2, 36]}, "cachetag": "cpython-311", "magic": "a70d0d0a", "markers": {"os_name": "posix"}}`))
	f.Add([]byte(`{"version": "3.11.7", "cachetag": "../x", "magic": "a70d0d0a"}`))
	f.Add([]byte(`{"version": "2.7.18"}`))
	f.Add([]byte(`{"version": "3.11+", "executable": 1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := decode(b)
		if err != nil {
			return
		}
		if !filepath.IsAbs(i.Purelib) || !filepath.IsAbs(i.Executable) || compareNatural(i.Version.String(), "3.8") < 0 {
			t.Fatalf("%q gives %+v", b, i)
		}
		if strings.ContainsAny(i.CacheTag+i.Magic, "./\\") || (i.CacheTag == "") != (i.Magic == "") {
			t.Fatalf("%q gives %q, %q", b, i.CacheTag, i.Magic)
		}
	})
}
