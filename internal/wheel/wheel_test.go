package wheel

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/metadata"
	"curdling/internal/wheel/wheeltest"
)

const sampleName = "foo_bar-1.0-py3-none-any.whl"

// sample is a wheel with a bit of everything.
func sample() wheeltest.Wheel {
	return wheeltest.Wheel{
		Name: "foo-bar", Version: "1.0",
		Files: map[string]string{
			"foo/__init__.py":   "x = 1\n",
			"foo/bin/tool":      "\x7fELF",
			"foo/data/big.json": strings.Repeat("0123456789", 50_000),
			"foo/empty":         "",
			"foo/a,b \"c\".txt": "quoted",
			"foo/größe.py":      "umlaut",
		},
		Data: map[string]string{
			"scripts/run":   "#!python\nprint(1)\n",
			"scripts/other": "#!/bin/sh\n",
			"data/share/x":  "#!python is no script here",
		},
		Executable:     []string{"foo/bin/tool", "foo_bar-1.0.data/scripts/run"},
		ConsoleScripts: map[string]string{"foo": "foo:main"},
		GUIScripts:     map[string]string{"foow": "foo.gui:App.run"},
		Requires:       []string{"six>=1.0"},
	}
}

func openBytes(b []byte, name string) (*Wheel, error) {
	return Open(bytes.NewReader(b), int64(len(b)), name)
}

func TestOpenAccepts(t *testing.T) {
	t.Parallel()
	edit := func(f func(*wheeltest.Wheel)) []byte {
		w := sample()
		f(&w)
		return wheeltest.Build(w)
	}
	for _, tt := range []struct {
		what string
		b    []byte
		name string
	}{
		{what: "a bit of everything", b: wheeltest.Build(sample())},
		{what: "folders as members", b: wheeltest.Zip(append([]wheeltest.Member{{Name: "foo/"}, {Name: "foo/bin/", Mode: fs.ModeDir}}, sample().Members()...))},
		{what: "a newer minor Wheel-Version", b: edit(func(w *wheeltest.Wheel) { w.WheelVersion = "1.9" })},
		{what: "a row without hash for nothing", b: edit(func(w *wheeltest.Wheel) {
			w.Files, w.Data, w.ConsoleScripts, w.GUIScripts = nil, nil, nil, nil
			w.RawRecord = recordOf(*w) + "gone.pyc,,\n\n"
		})},
		{what: "a signature that RECORD lacks", b: edit(func(w *wheeltest.Wheel) {
			w.Unlisted = []wheeltest.Member{{Name: "foo_bar-1.0.dist-info/RECORD.jws", Content: "{}"}}
		})},
		{what: "another spelling of the folder", b: edit(func(w *wheeltest.Wheel) { w.DistInfo = "Foo-Bar-1.0.0.dist-info" })},
		{what: "another spelling of the file", b: wheeltest.Build(sample()), name: "Foo_Bar-1.0.0-py3-none-any.whl"},
		{what: "a folder twice but for case", b: edit(func(w *wheeltest.Wheel) { w.Files["Foo/other.py"] = "" })},
		{what: "data descriptors", b: goZip(t, sample().Members())},
		{what: "zip64 by number", b: goZip(t, manyFiles())},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			if tt.name == "" {
				tt.name = sampleName
			}
			w, err := openBytes(tt.b, tt.name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Unpack(context.Background(), t.TempDir()); err != nil {
				t.Error(err)
			}
		})
	}
}

// goZip packs members as Go does: with data descriptors.
func goZip(t *testing.T, members []wheeltest.Member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.Name, Method: zip.Deflate}
		h.SetMode(m.Mode)
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = f.Write([]byte(m.Content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// manyFiles needs zip64 for the number of its members; most are folders, which are quick.
func manyFiles() []wheeltest.Member {
	var all []wheeltest.Member
	for i := range 66_000 {
		all = append(all, wheeltest.Member{Name: fmt.Sprintf("d/%d/", i), Mode: fs.ModeDir | 0o755})
	}
	return append(all, sample().Members()...)
}

// recordOf is the RECORD that wheeltest makes.
func recordOf(w wheeltest.Wheel) string {
	members := w.Members()
	return members[len(members)-1].Content
}

// TestOpenPython reads what Python's zipfile writes: sizes in zip64 fields, and to a pipe.
func TestOpenPython(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3")
	}
	dir := t.TempDir()
	in := filepath.Join(dir, "in.whl")
	if err := os.WriteFile(in, wheeltest.Build(sample()), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"open(sys.argv[2], 'wb')", "Pipe(sys.argv[2])"} {
		out := filepath.Join(dir, "out.whl")
		const script = `
import sys, zipfile
class Pipe:
    def __init__(self, path): self.f = open(path, 'wb')
    def write(self, b): return self.f.write(b)
    def flush(self): self.f.flush()
    def __enter__(self): return self
    def __exit__(self, *args): self.f.close()
old = zipfile.ZipFile(sys.argv[1])
with %s as file, zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as new:
    for name in old.namelist():
        with new.open(name, 'w', force_zip64=True) as f: f.write(old.read(name))
`
		if b, err := exec.Command(python, "-c", fmt.Sprintf(script, target), in, out).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		w, err := openBytes(b, sampleName)
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		if _, err := w.Unpack(context.Background(), filepath.Join(dir, "tree", target[:4])); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenFields(t *testing.T) {
	t.Parallel()
	w, err := openBytes(wheeltest.Build(sample()), sampleName)
	if err != nil {
		t.Fatal(err)
	}
	got := []any{w.File.Name, w.Metadata.Version.String(), w.RootIsPurelib, w.DistInfo, w.DataDir, w.ConsoleScripts, w.GUIScripts}
	want := []any{w.Metadata.Name, "1.0", true, "foo_bar-1.0.dist-info", "foo_bar-1.0.data",
		[]EntryPoint{{"foo", "foo", "main"}}, []EntryPoint{{"foow", "foo.gui", "App.run"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOpenKeepsMetadataError(t *testing.T) {
	t.Parallel()
	s := sample()
	s.Requires = []string{"six", "no requirement at all"}
	w, err := openBytes(wheeltest.Build(s), sampleName)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[*metadata.FieldError](w.MetadataError); !ok {
		t.Errorf("MetadataError: %v", w.MetadataError)
	}
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	w, err := openBytes(wheeltest.Build(sample()), sampleName)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := w.Unpack(context.Background(), filepath.Join(t.TempDir(), "tree"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, m := range sample().Members() {
		if !strings.HasSuffix(m.Name, "/RECORD") {
			want[m.Name] = m.Content
		}
	}
	got := map[string]string{}
	var folders, executable, shebang []string
	for _, f := range tree.Manifest.Files {
		b, err := os.ReadFile(tree.path(f.Path))
		if err != nil {
			t.Error(err)
		}
		got[f.Path] = string(b)
		if f.Executable {
			executable = append(executable, f.Path)
		}
		if f.Shebang {
			shebang = append(shebang, f.Path)
		}
		if info, err := os.Stat(tree.path(f.Path)); err != nil || info.Size() != f.Size || (info.Mode()&0o111 == 0o111) != f.Executable {
			t.Errorf("%s: %v, %v", f.Path, info.Mode(), err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"foo/bin/tool", "foo_bar-1.0.data/scripts/run"}, executable); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"foo_bar-1.0.data/scripts/run"}, shebang); diff != "" {
		t.Error(diff)
	}
	folders = []string{"foo", "foo/bin", "foo/data", "foo_bar-1.0.data", "foo_bar-1.0.data/data", "foo_bar-1.0.data/data/share",
		"foo_bar-1.0.data/scripts", "foo_bar-1.0.dist-info"}
	if diff := cmp.Diff(folders, tree.Manifest.Folders); diff != "" {
		t.Error(diff)
	}
}

func TestUnpackFails(t *testing.T) {
	t.Parallel()
	wrong := sample()
	wrong.DeclaredSHA256 = map[string]string{"foo/empty": strings.Repeat("A", 43)}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	for _, tt := range []struct {
		what, want string
		w          wheeltest.Wheel
		ctx        context.Context
	}{
		{"a wrong hash", "foo/empty: has the hash sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU, RECORD says sha256=AAA", wrong, context.Background()},
		{"cancelled", "context canceled", sample(), cancelled},
	} {
		w, err := openBytes(wheeltest.Build(tt.w), sampleName)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "tree")
		if _, err := w.Unpack(tt.ctx, dir); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.what, err)
		}
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the folder is still there: %v", tt.what, err)
		}
	}
}

func TestUnpackIntoUsedFolder(t *testing.T) {
	t.Parallel()
	w, err := openBytes(wheeltest.Build(sample()), sampleName)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mine := filepath.Join(dir, "mine")
	if err := os.WriteFile(mine, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Unpack(context.Background(), dir); err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

func TestUnpackSHA512(t *testing.T) {
	t.Parallel()
	s := wheeltest.Wheel{Name: "foo", Version: "1", Files: map[string]string{"foo.py": ""}}
	const empty = "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg_SpIdNs6c5H0NE8XYXysP-DGNKHfuwvY7kxvUdBeoGlODJ6-SfaPg"
	s.RawRecord = strings.Replace(recordOf(s), "foo.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", "foo.py,sha512="+empty, 1)
	w, err := openBytes(wheeltest.Build(s), "foo-1-py3-none-any.whl")
	if err != nil {
		t.Fatal(err)
	}
	tree, err := w.Unpack(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want := ManifestFile{Path: "foo.py", SHA256: "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", Hash: "sha512=" + empty}
	files := tree.Manifest.Files
	if diff := cmp.Diff(want, files[len(files)-1]); diff != "" {
		t.Error(diff)
	}
}
