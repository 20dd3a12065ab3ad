package wheel

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"curdling/internal/dist"
	"curdling/internal/tag"
	"curdling/internal/wheel/wheeltest"
)

// TestRetag: all but the name, the tags and what follows from them stays, and what comes out is a whole wheel.
func TestRetag(t *testing.T) {
	t.Parallel()
	made := wheeltest.Wheel{
		Name: "Foo.Bar", Version: "1.0+local", Tag: "cp311-cp311-linux_x86_64", Platlib: true,
		Files:          map[string]string{"foo/__init__.py": "x = 1\n", "foo/a,b.txt": strings.Repeat("text ", 1000)},
		Data:           map[string]string{"scripts/run": "#!python\n"},
		Executable:     []string{"foo/__init__.py"},
		ConsoleScripts: map[string]string{"foo": "foo:main"},
	}
	b := wheeltest.Build(made)
	before, err := Open(bytes.NewReader(b), int64(len(b)), made.Filename())
	if err != nil {
		t.Fatal(err)
	}
	tags, err := tag.Parse("cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	filename, err := before.Retag(&out, int64(len(b)), dist.BuildTag{Suffix: "b12ab", Set: true}, tags)
	if want := "foo_bar-1.0+local-0b12ab-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"; filename != want || err != nil {
		t.Fatalf("%q, %v, want %q", filename, err, want)
	}
	after, err := Open(bytes.NewReader(out.Bytes()), int64(out.Len()), filename)
	if err != nil {
		t.Fatal(err)
	}
	about, err := after.files[len(after.files)-1].read(after.r, MaxMetadata)
	if err != nil || !strings.HasSuffix(string(about), "Build: 0b12ab\nTag: cp311-cp311-manylinux2014_x86_64\nTag: cp311-cp311-manylinux_2_17_x86_64\n") ||
		strings.Count(string(about), "Tag:") != 2 || strings.Contains(string(about), "linux_x86_64\nTag: cp311-cp311-linux") {
		t.Errorf("WHEEL: %q, %v", about, err)
	}
	trees := make([]Tree, 2)
	for i, w := range []*Wheel{before, after} {
		if trees[i], err = w.Unpack(t.Context(), filepath.Join(t.TempDir(), "tree")); err != nil {
			t.Fatal(err)
		}
	}
	notWHEEL := cmpopts.IgnoreSliceElements(func(f ManifestFile) bool { return f.Path == before.DistInfo+"/WHEEL" })
	if diff := cmp.Diff(trees[0].Manifest, trees[1].Manifest, notWHEEL); diff != "" {
		t.Errorf("before and after:\n%s", diff)
	}
}

// TestRetaggedEnd: the empty line with which setuptools ends WHEEL stays, so that only the tags differ.
func TestRetaggedEnd(t *testing.T) {
	t.Parallel()
	tags, err := tag.Parse("py3-none-any")
	if err != nil {
		t.Fatal(err)
	}
	for end, want := range map[string]string{"": "", "\n": "\n", "\r\n": "\n"} {
		got := retagged("Wheel-Version: 1.0\nTag: py2-none-any\nBuild: 1\n"+end, dist.BuildTag{}, tags)
		if want := "Wheel-Version: 1.0\nTag: py3-none-any\n" + want; got != want {
			t.Errorf("ended by %q: %q, want %q", end, got, want)
		}
	}
}
