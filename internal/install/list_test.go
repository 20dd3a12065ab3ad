package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
	"curdling/internal/metadata"
	"curdling/internal/requirement"
)

func TestList(t *testing.T) {
	t.Parallel()
	env := fakeEnv(t, t.TempDir())
	plat := filepath.Join(env.Python.Prefix, "lib64", "python3.11", "site-packages")
	env.Python.Platlib = plat
	site := env.Python.Purelib
	editable := DirectURL{URL: "file:///src/b", Dir: &DirInfo{Editable: true}}
	p := trees(t, small("b", "2.0"), small("Aa.Aa", "1.0rc1"))
	p.Install[0].Requested, p.Install[0].DirectURL = true, editable.Encode()
	apply(t, env, p)
	for path, content := range map[string]string{
		plat + "/c-3.dist-info/INSTALLER":          "pip\n",
		plat + "/c-3.dist-info/direct_url.json":    "not JSON",
		site + "/old-1.2-py3.11.egg-info/PKG-INFO": "Metadata-Version: 1.0\nName: old\nVersion: 1.2\n",
		site + "/older.egg-info":                   "Metadata-Version: 1.0\nName: older\nVersion: 0.1\n",
		site + "/strange-version.dist-info/RECORD": "",
		site + "/~aa-1.0.dist-info/METADATA":       "",
		site + "/nothing.dist-info/METADATA":       "",
		site + "/package/__init__.py":              "",
	} {
		write(t, path, content)
	}
	got, err := List(env)
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{}
	for _, i := range got {
		dir, err := filepath.Rel(env.Python.Prefix, i.DistInfo)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %q record=%t url=%t", i.Name, i.Version, dir, i.Installer(), i.HasRecord(), i.DirectURL() != nil))
	}
	want := []string{
		`aa-aa 1.0rc1 lib/python3.11/site-packages/Aa.Aa-1.0rc1.dist-info "curd" record=true url=false`,
		`b 2.0 lib/python3.11/site-packages/b-2.0.dist-info "curd" record=true url=true`,
		`c 3 lib64/python3.11/site-packages/c-3.dist-info "pip" record=false url=false`,
		`old 1.2 lib/python3.11/site-packages/old-1.2-py3.11.egg-info "" record=false url=false`,
		`older 0.1 lib/python3.11/site-packages/older.egg-info "" record=false url=false`,
		`strange  lib/python3.11/site-packages/strange-version.dist-info "" record=true url=false`,
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
	m, err := got[0].Metadata()
	if err != nil || m.RawName != "Aa.Aa" {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := got[2].Metadata(); err == nil {
		t.Error("c has no METADATA, but no error")
	}
}

// TestListOneFolder has platlib as a link to purelib, as it is on some systems.
func TestListOneFolder(t *testing.T) {
	t.Parallel()
	env := fakeEnv(t, t.TempDir())
	symlink(t, "lib", filepath.Join(env.Python.Prefix, "lib64"))
	env.Python.Platlib = filepath.Join(env.Python.Prefix, "lib64", "python3.11", "site-packages")
	w := small("x", "1")
	w.Platlib = true
	apply(t, env, trees(t, w))
	got, err := List(env)
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	apply(t, env, Plan{Remove: got})
	if left := files(snapshot(t, env.Python.Prefix), sitePath); len(left) > 0 {
		t.Error(left)
	}
}

func TestListNothing(t *testing.T) {
	t.Parallel()
	env := fakeEnv(t, t.TempDir())
	if err := os.RemoveAll(env.Python.Purelib); err != nil {
		t.Fatal(err)
	}
	if got, err := List(env); len(got) != 0 || err != nil {
		t.Error(got, err)
	}
	apply(t, env, trees(t, small("x", "1")))
	if got, err := List(env); len(got) != 1 || err != nil {
		t.Error(got, err)
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	env := fakeEnv(t, t.TempDir())
	unlock, err := Lock(context.Background(), env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx, env); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a locked environment: %v", err)
	}
	time.AfterFunc(10*time.Millisecond, unlock)
	again, err := Lock(context.Background(), env)
	if err != nil {
		t.Fatal(err)
	}
	again()

	env.Python.Prefix = filepath.Join(env.Python.Prefix, "missing")
	if _, err := Lock(context.Background(), env); err == nil {
		t.Error("no error for an environment that cannot be written")
	}
}

func BenchmarkApply(b *testing.B) {
	w := small("big", "1")
	for i := range 3000 {
		w.Files[fmt.Sprintf("big/sub%d/module%d.py", i/20, i)] = ""
	}
	item := Item{Tree: tree(b, w)}
	env := fakeEnv(b, b.TempDir())
	for b.Loop() {
		apply(b, env, Plan{Install: []Item{item}})
		b.StopTimer()
		apply(b, env, uninstall(b, env, "big"))
		b.StartTimer()
	}
}

// TestLockWithoutLocks has a file system that knows none: another place stands for it.
func TestLockWithoutLocks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	try := func(ctx context.Context, path string) (func(), error) {
		if filepath.Dir(path) == dir {
			return nil, &os.PathError{Op: "flock", Path: path, Err: syscall.ENOLCK}
		}
		t.Cleanup(func() { os.Remove(path) })
		return lockFile(ctx, path)
	}
	unlock, err := lockFolder(t.Context(), dir, try)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := lockFolder(ctx, dir, try); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a locked environment: %v", err)
	}
	other, err := lockFolder(t.Context(), t.TempDir(), try)
	if err != nil {
		t.Fatal(err)
	}
	other()
	unlock()
	again, err := lockFolder(t.Context(), dir, try)
	if err != nil {
		t.Fatal(err)
	}
	again()
	for err, want := range map[error]bool{
		syscall.ENOLCK: true, syscall.ENOTSUP: true, syscall.ENOSYS: true, syscall.EACCES: false, syscall.EROFS: false, syscall.ENOENT: false,
	} {
		if got := hasNoLocks(fmt.Errorf("wrapped: %w", err)); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
}

// TestEggInfo reads what old setuptools left.
func TestEggInfo(t *testing.T) {
	t.Parallel()
	env := fakeEnv(t, t.TempDir())
	dir := filepath.Join(env.Python.Purelib, "old-1.2-py3.11.egg-info")
	write(t, filepath.Join(dir, "PKG-INFO"), "Metadata-Version: 1.0\nName: old\nVersion: 1.2\n")
	metadata := func() (*metadata.Metadata, error) {
		t.Helper()
		got, err := List(env)
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		if _, err := got[0].Files(); err == nil || !strings.Contains(err.Error(), "has no RECORD") {
			t.Error(err)
		}
		return got[0].Metadata()
	}
	if m, err := metadata(); err != nil || len(m.RequiresDist) > 0 {
		t.Error(m, err)
	}
	write(t, filepath.Join(dir, "requires.txt"), "a>=1\n\n[:python_version < \"3\"]\nb\n\n[x]\nc\n")
	if m, err := metadata(); err != nil || len(m.RequiresDist) != 3 || fmt.Sprint(m.ProvidesExtra) != "[x]" {
		t.Error(m, err)
	}
	write(t, filepath.Join(dir, "requires.txt"), "a>>1\nb\n")
	if m, err := metadata(); err == nil || !strings.Contains(err.Error(), "requires.txt") || m == nil || len(m.RequiresDist) != 1 {
		t.Error(m, err)
	}
	write(t, filepath.Join(dir, "PKG-INFO"), "Metadata-Version: 2.1\nName: old\nVersion: 1.2\nRequires-Dist: d\n")
	if m, err := metadata(); err != nil || len(m.RequiresDist) != 1 || m.RequiresDist[0].Name != "d" {
		t.Error(m, err)
	}
}

func TestParseRequires(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                          "",
		"a\nB[x,y]>=1,<2\n":         "a|B[x,y]>=1,<2",
		"# no\n\n a \n":             "a",
		"[x]\na\n[Y.z]\na\n":        `a; extra == "x"|a; extra == "y-z"`,
		"[:os_name == 'nt']\na\n":   `a; os_name == "nt"`,
		"[x:os_name == 'nt']\na\n":  `a; (os_name == "nt") and extra == "x"`,
		"[x:a or b]\na\nb":          "!",
		"[x]\na; os_name == 'nt'\n": `a; (os_name == "nt") and (extra == "x")`,
		"[x:os_name == 'nt' or os_name == 'posix']\na; python_version < '3'\n": `a; (python_version < "3") and ((os_name == "nt" or os_name == "posix") and extra == "x")`,
		"[x]\na @ https://example.org/a;b.zip\n":                               `a @ https://example.org/a;b.zip ; extra == "x"`,
		"[a b]\nc\n":                                                           "!",
		"[x\n":                                                                 "!",
	} {
		reqs, _, err := parseRequires(text)
		if want == "!" {
			if err == nil {
				t.Errorf("%q: no error", text)
			}
			continue
		}
		var got []string
		for _, r := range reqs {
			got = append(got, r.String())
		}
		var wants []string
		for _, part := range strings.Split(want, "|") {
			if part != "" {
				r, err := requirement.Parse(part)
				if err != nil {
					t.Fatal(err)
				}
				wants = append(wants, r.String())
			}
		}
		if diff := cmp.Diff(wants, got); diff != "" || err != nil {
			t.Errorf("%q: %v, %s", text, err, diff)
		}
	}
}

func FuzzRequires(f *testing.F) {
	f.Add("a>=1\n[x:os_name == 'nt']\nb\nc @ https://example.org/c.zip\n[:python_version<'3']\nd; extra == 'x'\n")
	f.Fuzz(func(t *testing.T, text string) {
		reqs, extras, _ := parseRequires(text)
		for _, r := range reqs {
			if _, err := requirement.Parse(r.String()); err != nil {
				t.Errorf("%q gave %s: %v", text, r, err)
			}
		}
		for _, e := range extras {
			if name, err := dist.ParseName(string(e)); err != nil || name != e {
				t.Errorf("%q gave the extra %q", text, e)
			}
		}
	})
}

// BenchmarkList lists 100 distributions and reads their metadata, as a run does that has nothing to do.
func BenchmarkList(b *testing.B) {
	env, plan := fakeEnv(b, b.TempDir()), Plan{}
	for i := range 100 {
		plan.Install = append(plan.Install, Item{Tree: tree(b, small(fmt.Sprint("w", i), "1"))})
	}
	apply(b, env, plan)
	for b.Loop() {
		all, err := List(env)
		if err != nil || len(all) != 100 {
			b.Fatal(len(all), err)
		}
		for _, i := range all {
			if _, err := i.Metadata(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
