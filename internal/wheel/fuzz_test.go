package wheel

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"curdling/internal/wheel/wheeltest"
)

// FuzzOpen holds what Open accepts against the standard library's reading of
// the archive, and unpacks it.
func FuzzOpen(f *testing.F) {
	small := wheeltest.Wheel{
		Name: "foo-bar", Version: "1.0", Files: map[string]string{"foo/a.py": "x = 1\n", "foo/b": ""},
		Data: map[string]string{"scripts/run": "#!python\n"}, ConsoleScripts: map[string]string{"foo": "foo:main"},
	}
	f.Add(wheeltest.Build(small))
	f.Add(wheeltest.Zip(append([]wheeltest.Member{{Name: "foo/"}}, small.Members()...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := openBytes(b, sampleName)
		if err != nil {
			return
		}
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatalf("the standard library refuses: %v", err)
		}
		dir := filepath.Join(t.TempDir(), "tree")
		tree, err := w.Unpack(context.Background(), dir)
		if err != nil {
			if _, err := os.Lstat(dir); err == nil {
				t.Fatal("Unpack failed and left its folder")
			}
			return
		}
		for _, file := range tree.Manifest.Files {
			same(t, z, tree.path(file.Path), file.Path)
		}
		var again Manifest
		if err := again.UnmarshalBinary(marshal(t, tree.Manifest)); err != nil {
			t.Error(err)
		}
	})
}

// same compares an unpacked file with the standard library's reading of it.
func same(t *testing.T, z *zip.Reader, file, name string) {
	t.Helper()
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range z.File {
		if m.Name != name {
			continue
		}
		r, err := m.Open()
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: %q, the standard library has %q, %v", name, got, want, err)
		}
		return
	}
	t.Fatalf("%s: the standard library has no such member", name)
}

func FuzzRecord(f *testing.F) {
	f.Add("foo/a.py,sha256=" + emptySHA256 + ",0\r\n\"a,\"\"b\"\"\",sha512=x,1\nx/RECORD,,\n")
	f.Add("a\n,,\n,,,\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := parseRecord(text)
		for path, row := range rows {
			if err == nil && (row.size < -1 || row.hash != "" && checkHash(row.hash) != nil) {
				t.Errorf("%q: %+v", path, row)
			}
		}
	})
}

func FuzzEntryPoints(f *testing.F) {
	f.Add("[console_scripts]\nfoo = foo.cli:main\n# x\nbar=a:b.c [x]\n[gui_scripts]\ng = h:i\n")
	f.Add("[console_scripts]\n../x = a:b\npython=a:b\n")
	f.Fuzz(func(t *testing.T, text string) {
		console, gui, err := parseEntryPoints(text)
		if err != nil {
			return
		}
		for _, e := range append(console, gui...) {
			if e.Name != filepath.Base(e.Name) || e.check() != nil || IsInterpreter(e.Name) ||
				strings.ContainsAny(e.Module+e.Attr, " \n'\"();:") || e.Module == "" || e.Attr == "" {
				t.Errorf("%+v", e)
			}
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add(marshal(f, sampleManifest()))
	f.Add([]byte("curdling-tree 1\nname x\nversion 1\npurelib true\ndist-info d\ndata \nscripts 0\nscripts 0\nfolders 0\nfiles 0\ncrc32 00000000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		// Most of what the fuzzer makes fails at the checksum: it is read without, too.
		r := manifestReader{rest: string(b)}
		m := r.manifest()
		if r.err != nil {
			return
		}
		for _, file := range m.Files {
			if !filepath.IsLocal(file.Path) {
				t.Errorf("path %q", file.Path)
			}
		}
		var again Manifest
		if err := again.UnmarshalBinary(marshal(t, m)); err != nil {
			t.Error(err)
		}
	})
}
