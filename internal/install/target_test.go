package install

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/wheel/wheeltest"
)

// TestTargetAgainstPip compares with `pip install --target`, whose RECORD names
// scripts and data where they were before pip moved them.
func TestTargetAgainstPip(t *testing.T) {
	t.Parallel()
	pip := bundledPip(t)
	dir := t.TempDir()
	py := makeVenv(t, filepath.Join(dir, "venv"))
	w := rich("1.0")
	delete(w.Data, "scripts/foo") // pip leaves a row for it
	headers := small("headers", "1")
	headers.Data = map[string]string{"headers/foo.h": "", "headers/sub/bar.h": ""}
	args := []string{pip, "install", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--target", filepath.Join(dir, "pips")}
	for _, w := range []wheeltest.Wheel{w, headers} {
		file := filepath.Join(dir, w.Filename())
		write(t, file, string(wheeltest.Build(w)))
		args = append(args, file)
	}
	run(t, py.Executable, args...)
	want := snapshot(t, filepath.Join(dir, "pips"))
	const info, headersInfo = "Foo_Bar-1.0.dist-info/", "headers-1.dist-info/"
	for _, name := range []string{"direct_url.json", "REQUESTED"} {
		delete(want, info+name)
		delete(want, headersInfo+name)
	}

	env, err := Target(Env{py}, filepath.Join(dir, "ours"))
	if err != nil {
		t.Fatal(err)
	}
	apply(t, env, trees(t, w, headers))
	got := snapshot(t, env.Python.Purelib)
	records := [2][]string{}
	for i, all := range []map[string]string{want, got} {
		text := strings.TrimPrefix(all[info+"RECORD"]+all[headersInfo+"RECORD"], "-rw-r--r-- ")
		text = strings.ReplaceAll(text, "\n-rw-r--r-- ", "\n")
		delete(all, info+"RECORD")
		delete(all, headersInfo+"RECORD")
		for line := range strings.Lines(text) {
			name, _, _ := strings.Cut(line, ",")
			if base := filepath.Base(name); base == "REQUESTED" || base == "direct_url.json" {
				continue
			} else if base == "INSTALLER" || strings.HasPrefix(base, "foo") && strings.Contains(name, "bin/") {
				line = name
			}
			records[i] = append(records[i], strings.TrimPrefix(line, "../../"))
		}
		slices.Sort(records[i])
	}
	if diff := cmp.Diff(records[0], records[1]); diff != "" {
		t.Errorf("RECORD (-pip +ours):\n%s", diff)
	}
	forgetInstaller(want, got)
	same(t, want, got)
}

func TestTarget(t *testing.T) {
	t.Parallel()
	venv := fakeEnv(t, t.TempDir())
	venv.Python.ExternallyManaged = "by the system"
	apply(t, venv, trees(t, small("inside", "1")))
	before := snapshot(t, venv.Python.Prefix)
	dir := filepath.Join(t.TempDir(), "not", "there yet")
	env, err := Target(venv, dir)
	if err != nil {
		t.Fatal(err)
	}
	if env.Python.ExternallyManaged != "" || venv.Python.Purelib == dir {
		t.Error(env.Python)
	}
	unlock, err := Lock(context.Background(), env)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if !exists(filepath.Join(dir, lockName)) {
		t.Error("the lock is elsewhere")
	}
	write(t, filepath.Join(dir, "mine.py"), "the user's")
	names := func() (all []string) {
		t.Helper()
		installed, err := List(env)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range installed {
			all = append(all, string(i.Name)+" "+i.Version.String())
		}
		return all
	}
	if got := names(); len(got) > 0 {
		t.Error(got)
	}
	apply(t, env, trees(t, rich("1.0"), small("other", "1")))
	apply(t, env, trees(t, rich("2.0")))
	if diff := cmp.Diff([]string{"foo-bar 2.0", "other 1"}, names()); diff != "" {
		t.Error(diff)
	}
	got := snapshot(t, dir)
	for path, want := range map[string]bool{"foo/only_1.0": false, "foo/only_2.0": true, "bin/foo": true, "share/foo/readme.txt": true} {
		if _, ok := got[path]; ok != want {
			t.Errorf("%s is there: %t", path, ok)
		}
	}
	if !strings.HasPrefix(strings.SplitN(got["bin/foo"], " ", 2)[1], "#!"+venv.Python.Executable+"\n") {
		t.Errorf("%q", got["bin/foo"])
	}
	apply(t, env, uninstall(t, env, "foo-bar", "other"))
	left := snapshot(t, dir)
	delete(left, ".")
	if len(left) != 1 || left["mine.py"] == "" {
		t.Errorf("left: %v", left)
	}
	same(t, before, snapshot(t, venv.Python.Prefix))

	venv.Python.BasePrefix = venv.Python.Prefix
	if bare, err := Target(venv, dir); err != nil || bare.Python.Include != filepath.Join(dir, "include", "python") {
		t.Error(bare.Python.Include, err)
	}
	if _, err := Target(venv, filepath.Join(dir, "mine.py")); err == nil || !strings.Contains(err.Error(), "mine.py") {
		t.Error(err)
	}
}
