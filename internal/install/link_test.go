package install

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestLinkModes(t *testing.T) {
	t.Parallel()
	for _, mode := range []LinkMode{LinkAuto, LinkClone, LinkHard, LinkCopy} {
		env := fakeEnv(t, t.TempDir())
		p := trees(t, rich("1.0"))
		if err := Apply(context.Background(), env, p, Options{LinkMode: mode}); err != nil {
			t.Fatal(err)
		}
		a, err := os.Stat(filepath.Join(p.Install[0].Tree.Dir, "foo", "tool"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.Stat(filepath.Join(env.Python.Purelib, "foo", "tool"))
		if err != nil {
			t.Fatal(err)
		}
		if shared := os.SameFile(a, b); shared && mode == LinkCopy || !shared && mode == LinkHard && runtime.GOOS != "windows" {
			t.Errorf("%s: one file: %t", mode, shared)
		}
		if a.Mode() != b.Mode() {
			t.Errorf("%s: mode %s, want %s", mode, b.Mode(), a.Mode())
		}
	}
}

// TestWrittenFiles: what we write is nobody else's, so that a change of it changes nothing in the cache.
func TestWrittenFiles(t *testing.T) {
	t.Parallel()
	env := fakeEnv(t, t.TempDir())
	p := trees(t, rich("1.0"))
	p.Install[0].Requested, p.Install[0].DirectURL = true, []byte("{}")
	want := snapshot(t, p.Install[0].Tree.Dir)
	if err := Apply(context.Background(), env, p, Options{LinkMode: LinkHard}); err != nil {
		t.Fatal(err)
	}
	const info = sitePath + "Foo_Bar-1.0.dist-info/"
	for _, name := range []string{info + "RECORD", info + "INSTALLER", info + "REQUESTED", info + "direct_url.json", "bin/foo", "bin/foo-run", "bin/foo-gui"} {
		f, err := os.OpenFile(filepath.Join(env.Python.Prefix, name), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("edited in place"); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	same(t, want, snapshot(t, p.Install[0].Tree.Dir))
}

// TestLinkFallback: where the wanted way does not go, that is said once, with the way that does.
func TestLinkFallback(t *testing.T) {
	t.Parallel()
	for _, mode := range []LinkMode{LinkAuto, LinkClone, LinkHard, LinkCopy} {
		dir, other := t.TempDir(), otherFileSystem(t)
		env := fakeEnv(t, dir)
		env.Python.Scripts, env.Python.Data = filepath.Join(other, "bin"), filepath.Join(other, "data")
		var said []string
		var plan Plan
		for i := range 20 {
			w := small(fmt.Sprint("w", i), "1")
			w.Data = map[string]string{"data/" + w.Name: "x", "scripts/" + w.Name: ""}
			plan.Install = append(plan.Install, Item{Tree: tree(t, w)})
		}
		if err := Apply(context.Background(), env, plan, Options{LinkMode: mode, Warn: func(s string) { said = append(said, s) }}); err != nil {
			t.Fatal(err)
		}
		switch {
		case mode == LinkAuto || mode == LinkCopy:
			if len(said) > 0 {
				t.Errorf("%s: %q", mode, said)
			}
		case len(said) != 1 || !strings.HasPrefix(said[0], "link mode "+mode.String()+" is not possible here ("):
			t.Errorf("%s: %q", mode, said)
		}
	}
}

func TestParseLinkMode(t *testing.T) {
	t.Parallel()
	for _, m := range []LinkMode{LinkAuto, LinkClone, LinkHard, LinkCopy} {
		if got, err := ParseLinkMode(m.String()); got != m || err != nil {
			t.Errorf("%s: %s, %v", m, got, err)
		}
	}
	if m, err := ParseLinkMode(""); m != LinkAuto || err != nil {
		t.Error(m, err)
	}
	if _, err := ParseLinkMode("symlink"); err == nil || !strings.Contains(err.Error(), `"symlink"`) || !strings.Contains(err.Error(), "hardlink") {
		t.Error(err)
	}
}
