package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/wheel"
	"curdling/internal/wheel/wheeltest"
)

const sitePath = "lib/python3.11/site-packages/"

func TestReplaceAndRemove(t *testing.T) {
	t.Parallel()
	env := fakeEnv(t, t.TempDir())
	empty := snapshot(t, env.Python.Prefix)
	apply(t, env, trees(t, rich("1.0"), small("other", "1")))
	site := env.Python.Purelib
	write(t, filepath.Join(site, "foo/__pycache__/__init__.cpython-311.pyc"), "bytecode")
	write(t, filepath.Join(site, "foo/__pycache__/empty.cpython-311.opt-1.pyc"), "bytecode")
	write(t, filepath.Join(site, "__pycache__/foo_top.cpython-312.pyc"), "bytecode")
	write(t, filepath.Join(site, "Foo_Bar-1.0.dist-info/unlisted"), "somebody's")
	mine := filepath.Join(site, "foo/größe/mine.txt")
	write(t, mine, "the user's")

	apply(t, env, trees(t, rich("2.0")))
	got := snapshot(t, env.Python.Prefix)
	for path, want := range map[string]bool{
		"foo/only_1.0": false, "foo/only_2.0": true, "foo/größe/mine.txt": true, "foo/größe/x.txt": true,
		"foo/__pycache__": false, "__pycache__": false, "Foo_Bar-1.0.dist-info": false, "Foo_Bar-2.0.dist-info": true,
		"other.py": true,
	} {
		if _, ok := got[sitePath+path]; ok != want {
			t.Errorf("%s is there: %t", path, ok)
		}
	}

	apply(t, env, uninstall(t, env, "foo-bar", "other"))
	left := files(snapshot(t, env.Python.Prefix), sitePath)
	if diff := cmp.Diff([]string{"foo/größe/mine.txt"}, left); diff != "" {
		t.Error(diff)
	}
	if err := os.RemoveAll(filepath.Join(site, "foo")); err != nil {
		t.Fatal(err)
	}
	same(t, empty, snapshot(t, env.Python.Prefix))
}

// TestFailureRestores makes installations fail half-way in several ways.
func TestFailureRestores(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	many := func(n int) (all []wheeltest.Wheel) {
		for i := range n {
			all = append(all, small(fmt.Sprintf("m%03d", i), "1"))
		}
		return all
	}
	for _, tt := range []struct {
		what string
		ctx  context.Context
		plan func(t *testing.T) Plan
		o    Options
		want string
	}{
		{
			what: "a file of the tree is missing", ctx: context.Background(), want: "foo_top.py",
			plan: func(t *testing.T) Plan {
				p := trees(t, append(many(20), rich("2.0"))...)
				if err := os.Remove(filepath.Join(p.Install[20].Tree.Dir, "foo_top.py")); err != nil {
					t.Fatal(err)
				}
				return p
			},
		},
		{
			what: "interrupted", ctx: ctx, want: "context canceled",
			plan: func(t *testing.T) Plan { return trees(t, append(many(40), rich("2.0"))...) },
			o:    Options{Progress: func(string) { cancel() }},
		},
	} {
		t.Run(tt.what, func(t *testing.T) {
			env := fakeEnv(t, t.TempDir())
			apply(t, env, trees(t, rich("1.0")))
			site := env.Python.Purelib
			write(t, filepath.Join(site, "m003.py"), "the user's")
			symlink(t, "nowhere", filepath.Join(site, "m004.py"))
			write(t, filepath.Join(site, "foo/__pycache__/empty.cpython-311.pyc"), "bytecode")
			if err := os.Chmod(filepath.Join(site, "foo"), 0o751); err != nil {
				t.Fatal(err)
			}
			want := snapshot(t, env.Python.Prefix)
			err := Apply(tt.ctx, env, tt.plan(t), tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			same(t, want, snapshot(t, env.Python.Prefix))
		})
	}
}

func TestInTheWay(t *testing.T) {
	t.Parallel()
	env := fakeEnv(t, t.TempDir())
	site := env.Python.Purelib
	write(t, filepath.Join(site, "foo_top.py"), "the user's")
	symlink(t, "../../../bin/python", filepath.Join(site, "foo_pure.py"))
	symlink(t, "nowhere", filepath.Join(env.Python.Scripts, "foo"))
	apply(t, env, trees(t, rich("1.0")))
	got := snapshot(t, env.Python.Prefix)
	if got["bin/python"] != "-rw-r--r-- original" {
		t.Errorf("a link was followed: %q", got["bin/python"])
	}
	for path, want := range map[string]string{sitePath + "foo_top.py": "top = 1", sitePath + "foo_pure.py": "pure", "bin/foo": "import sys"} {
		if !strings.HasPrefix(got[path], "-") || !strings.Contains(got[path], want) {
			t.Errorf("%s: %q", path, got[path])
		}
	}
}

// TestFileBecomesFolder replaces files by folders and the other way round.
func TestFileBecomesFolder(t *testing.T) {
	t.Parallel()
	env := fakeEnv(t, t.TempDir())
	asFile := wheeltest.Wheel{Name: "x", Version: "1", Files: map[string]string{"x": "file"}}
	asFolder := wheeltest.Wheel{Name: "x", Version: "2", Files: map[string]string{"x/y/z.txt": "deep"}}
	for range 2 {
		apply(t, env, trees(t, asFile))
		apply(t, env, trees(t, asFolder))
	}
	want := snapshot(t, env.Python.Prefix)

	mine := filepath.Join(env.Python.Purelib, "x/y/mine")
	write(t, mine, "the user's")
	err := Apply(context.Background(), env, trees(t, asFile), Options{})
	if err == nil || !strings.Contains(err.Error(), "belong to nothing that is removed") {
		t.Error(err)
	}
	if err := os.Remove(mine); err != nil {
		t.Fatal(err)
	}
	same(t, want, snapshot(t, env.Python.Prefix))
}

func TestConflict(t *testing.T) {
	t.Parallel()
	env := fakeEnv(t, t.TempDir())
	a := wheeltest.Wheel{Name: "a", Version: "1", Files: map[string]string{"ns/__init__.py": "same", "ns/x.py": "a's", "a/only.py": ""}}
	b := wheeltest.Wheel{Name: "b", Version: "1", Files: map[string]string{"ns/__init__.py": "same", "ns/x.py": "b's"}}
	var warnings []string
	o := Options{Warn: func(s string) { warnings = append(warnings, s) }}
	if err := Apply(context.Background(), env, trees(t, b, a), o); err != nil {
		t.Fatal(err)
	}
	want := "a and b both install " + filepath.Join(env.Python.Purelib, "ns", "x.py") + ", with different contents: that of b stays"
	if diff := cmp.Diff([]string{want}, warnings); diff != "" {
		t.Error(diff)
	}
	// What b lists too stays when a goes, and goes with b.
	apply(t, env, uninstall(t, env, "a"))
	left := files(snapshot(t, env.Python.Prefix), sitePath+"ns/")
	slices.Sort(left)
	if diff := cmp.Diff([]string{"__init__.py", "x.py"}, left); diff != "" {
		t.Error(diff)
	}
	apply(t, env, uninstall(t, env, "b"))
	if left := files(snapshot(t, env.Python.Prefix), sitePath); len(left) > 0 {
		t.Error(left)
	}
}

func TestApplyRefuses(t *testing.T) {
	t.Parallel()
	data := func(path string) wheeltest.Wheel {
		return wheeltest.Wheel{Name: "x", Version: "1", Data: map[string]string{path: "evil"}, Files: map[string]string{"x.py": ""}}
	}
	manifest := func(t *testing.T, change func(*wheel.Manifest)) Plan {
		p := trees(t, small("x", "1"))
		change(&p.Install[0].Tree.Manifest)
		return p
	}
	for _, tt := range []struct {
		what  string
		setup func(t *testing.T, env Env)
		plan  func(t *testing.T, env Env) Plan
		want  string
	}{
		{
			what:  "a folder that is a link out",
			setup: func(t *testing.T, env Env) { symlink(t, t.TempDir(), filepath.Join(env.Python.Purelib, "x")) },
			plan: func(t *testing.T, _ Env) Plan {
				return trees(t, with(small("x", "1"), map[string]string{"x/y.py": "evil"}))
			},
			want: "is a link that leads out of the environment",
		},
		{
			what: "the interpreter, as data",
			plan: func(t *testing.T, _ Env) Plan { return trees(t, data("data/bin/python")) },
			want: "is the environment's interpreter",
		},
		{
			what: "another interpreter's name",
			plan: func(t *testing.T, _ Env) Plan { return trees(t, data("data/bin/python3.11")) },
			want: "is the environment's interpreter",
		},
		{
			what: "the virtualenv's configuration",
			plan: func(t *testing.T, _ Env) Plan { return trees(t, data("data/pyvenv.cfg")) },
			want: "is the environment's configuration",
		},
		{
			what: "the journal",
			plan: func(t *testing.T, _ Env) Plan { return trees(t, data("purelib/.curdling-done")) },
			want: "is the installer's own",
		},
		{
			what: "another's .dist-info",
			plan: func(t *testing.T, _ Env) Plan { return trees(t, data("purelib/other-1.dist-info/METADATA")) },
			want: "another distribution's .dist-info",
		},
		{
			what: "another's .dist-info, as data",
			plan: func(t *testing.T, _ Env) Plan { return trees(t, data("data/"+sitePath+"other-1.dist-info/METADATA")) },
			want: "another distribution's .dist-info",
		},
		{
			what: "file and folder of two wheels",
			plan: func(t *testing.T, _ Env) Plan {
				return trees(t, with(small("a", "1"), map[string]string{"p/q": ""}), with(small("b", "1"), map[string]string{"p/q/r": ""}))
			},
			want: "is a file, and a folder that b needs",
		},
		{
			what: "file and folder of one wheel",
			plan: func(t *testing.T, _ Env) Plan {
				return trees(t, wheeltest.Wheel{Name: "a", Version: "1", Files: map[string]string{"p/q": ""}, Data: map[string]string{"purelib/p/q/r": ""}})
			},
			want: "is a file, and a folder that a needs",
		},
		{
			what: "a project twice",
			plan: func(t *testing.T, _ Env) Plan { return trees(t, small("a", "1"), small("a", "2")) },
			want: "a is to be installed twice",
		},
		{
			what: "a file for a folder",
			setup: func(t *testing.T, env Env) {
				write(t, filepath.Join(env.Python.Purelib, "foo"), "file")
			},
			plan: func(t *testing.T, _ Env) Plan { return trees(t, rich("1.0")) },
			want: "is a file where a folder is needed",
		},
		{
			what: "installed without RECORD",
			setup: func(t *testing.T, env Env) {
				write(t, filepath.Join(env.Python.Purelib, "x-0.9-py3.11.egg-info", "PKG-INFO"), "Metadata-Version: 1.0\nName: x\nVersion: 0.9\n")
			},
			plan: func(t *testing.T, _ Env) Plan { return trees(t, small("x", "1")) },
			want: "removing x 0.9: ",
		},
		{
			what: "removing what is not there",
			plan: func(t *testing.T, _ Env) Plan {
				return Plan{Remove: []Installed{{Name: "x", DistInfo: "/elsewhere/x-1.dist-info"}}}
			},
			want: "is not in the environment",
		},
		{
			what: "a manifest that traverses",
			plan: func(t *testing.T, _ Env) Plan {
				return manifest(t, func(m *wheel.Manifest) {
					m.Folders = append(m.Folders, "..")
					m.Files[0].Path = "../evil"
				})
			},
			want: "leads out of the environment",
		},
		{
			what: "a manifest without its folders",
			plan: func(t *testing.T, _ Env) Plan {
				return manifest(t, func(m *wheel.Manifest) { m.Files[0].Path = "a/../../evil" })
			},
			want: "its folder is not listed",
		},
		{
			what: "a manifest with a wrong .dist-info",
			plan: func(t *testing.T, _ Env) Plan {
				return manifest(t, func(m *wheel.Manifest) { m.DistInfo = "../x.dist-info" })
			},
			want: "wrong folder",
		},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			env := fakeEnv(t, t.TempDir())
			if tt.setup != nil {
				tt.setup(t, env)
			}
			want := snapshot(t, env.Python.Prefix)
			err := Apply(context.Background(), env, tt.plan(t, env), Options{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			same(t, want, snapshot(t, env.Python.Prefix))
		})
	}
}

// TestRemoveStaysInside has a RECORD that lists what it must not.
func TestRemoveStaysInside(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	env := fakeEnv(t, t.TempDir())
	apply(t, env, trees(t, small("x", "1")))
	site := env.Python.Purelib
	write(t, filepath.Join(outside, "precious"), "precious")
	write(t, filepath.Join(outside, "linked.py"), "precious")
	symlink(t, outside, filepath.Join(site, "out"))
	symlink(t, filepath.Join(outside, "precious"), filepath.Join(site, "link"))
	write(t, filepath.Join(site, "folder", "mine"), "the user's")
	record := filepath.Join(site, "x-1.dist-info", "RECORD")
	up := strings.Repeat("../", 40)
	write(t, record, "x.py,,\n"+filepath.Join(outside, "precious")+",,\n"+up+strings.TrimPrefix(outside, "/")+"/precious,,\n"+
		"out/linked.py,,\nout/precious,,\nlink,,\nfolder,,\n.,,\n..,,\n,,\n../../../bin/python,,\n../../../pyvenv.cfg,,\nx.py/below,,\ngone/away.py,,\n")
	want := snapshot(t, outside)
	var warnings atomic.Int32
	o := Options{Warn: func(string) { warnings.Add(1) }}
	if err := Apply(context.Background(), env, uninstall(t, env, "x"), o); err != nil {
		t.Fatal(err)
	}
	same(t, want, snapshot(t, outside))
	left := files(snapshot(t, env.Python.Prefix), "")
	slices.Sort(left)
	if diff := cmp.Diff([]string{"bin/python", sitePath + "folder/mine", sitePath + "out", "pyvenv.cfg"}, left); diff != "" {
		t.Error(diff)
	}
	if warnings.Load() != 5 {
		t.Errorf("%d warnings", warnings.Load())
	}
}

// otherFileSystem makes a folder on a file system that t.TempDir is not on.
func otherFileSystem(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "curdling")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	there, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if here, err := os.Stat(t.TempDir()); err != nil || deviceOf(here) == deviceOf(there) {
		t.Skip("there is no other file system")
	}
	return dir
}

// TestOtherFileSystem installs to, and stashes from, a file system that is not the tree's.
func TestOtherFileSystem(t *testing.T) {
	t.Parallel()
	dir, bin := t.TempDir(), otherFileSystem(t)
	env := fakeEnv(t, dir)
	env.Python.Scripts = bin
	apply(t, env, trees(t, rich("1.0")))
	write(t, filepath.Join(bin, "mine"), "the user's")
	want := []map[string]string{snapshot(t, dir), snapshot(t, bin)}
	p := trees(t, rich("2.0"))
	if err := os.Remove(filepath.Join(p.Install[0].Tree.Dir, "foo_top.py")); err != nil {
		t.Fatal(err)
	}
	if err := Apply(context.Background(), env, p, Options{}); err == nil {
		t.Error("no error")
	}
	same(t, want[0], snapshot(t, dir))
	same(t, want[1], snapshot(t, bin))
	apply(t, env, uninstall(t, env, "foo-bar"))
	if left := files(snapshot(t, bin), ""); !cmp.Equal(left, []string{"mine"}) {
		t.Error(left)
	}
}

func TestMoveBetweenFileSystems(t *testing.T) {
	t.Parallel()
	here, there := t.TempDir(), otherFileSystem(t)
	write(t, filepath.Join(here, "x/sub/tool"), "tool")
	symlink(t, "sub/tool", filepath.Join(here, "x/link"))
	for path, mode := range map[string]os.FileMode{"x/sub/tool": 0o750, "x/sub": 0o711} {
		if err := os.Chmod(filepath.Join(here, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	want := snapshot(t, here)
	stashed, original := filepath.Join(there, "0"), filepath.Join(here, "x")
	write(t, filepath.Join(stashed+partSuffix, "half"), "of an interrupted move")
	if err := move(original, stashed); err != nil {
		t.Fatal(err)
	}
	if left := snapshot(t, here); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	write(t, filepath.Join(original, "new"), "made since")
	write(t, filepath.Join(original+goneSuffix, "half"), "of an interrupted move")
	if err := putBack(stashed, original); err != nil {
		t.Fatal(err)
	}
	same(t, want, snapshot(t, here))
}

func TestApplyWaitsForNobody(t *testing.T) {
	t.Parallel()
	env := fakeEnv(t, t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	want := snapshot(t, env.Python.Prefix)
	if err := Apply(ctx, env, trees(t, small("x", "1")), Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	same(t, want, snapshot(t, env.Python.Prefix))
}
