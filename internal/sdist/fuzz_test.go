package sdist

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"curdling/internal/metadata"
)

// FuzzArchive reads any bytes as each form: Verify agrees with Unpack, and nothing gets out.
func FuzzArchive(f *testing.F) {
	small := []member{{name: "p/PKG-INFO", body: "Name: p\nVersion: 1\n"}, {name: "p/l", kind: tar.TypeSymlink, link: "x"}}
	f.Add(uint8(0), tarOf(f, small...))
	f.Add(uint8(1), gz(f, tarOf(f, small...)))
	f.Add(uint8(2), zipOf(f, small[0]))
	f.Add(uint8(3), []byte("BZh9\x17rE8P\x90\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, form uint8, archive []byte) {
		name := []string{"p.tar", "p.tar.gz", "p.zip", "p.tar.bz2"}[form%4]
		unpackAndLook(t, archive, name)
		var field *metadata.FieldError
		if m, err := Metadata(bytes.NewReader(archive), name); m != nil && err != nil && !errors.As(err, &field) {
			t.Errorf("metadata, and %v", err)
		}
		if n := Effort(bytes.NewReader(archive), name); n < 0 {
			t.Errorf("an effort of %d", n)
		}
	})
}

// FuzzEntries makes a tar of its lines, "type name target", which gets further than any bytes would.
func FuzzEntries(f *testing.F) {
	f.Add("0 p/x\n2 p/l ../x\n1 p/h p/x\n5 p/d/\n0 p/x\n")
	f.Add("2 p/d .\n2 p/d/e ../..\n0 p/d/e/x\n")
	f.Add("0 a/b/c\n2 a/b/l ../../a/b\n2 a/m b/l/../..\n0 ../x\n")
	f.Fuzz(func(t *testing.T, lines string) {
		if len(lines) > 1<<12 {
			return
		}
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for line := range strings.Lines(lines) {
			fields := append(strings.Split(strings.TrimSuffix(line, "\n"), " "), "", "", "")
			if fields[0] == "" {
				continue
			}
			h := &tar.Header{Typeflag: fields[0][0], Name: fields[1], Linkname: fields[2], Mode: 0o7777}
			if w.WriteHeader(h) != nil {
				return
			}
		}
		if w.Close() != nil {
			return
		}
		unpackAndLook(t, b.Bytes(), "p.tar")
	})
}

// unpackAndLook unpacks two folders deep in a fresh one, and looks at what came of it.
func unpackAndLook(t *testing.T, archive []byte, filename string) {
	outer, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(outer, "a", "b")
	root, err := Unpack(t.Context(), bytes.NewReader(archive), filename, dir)
	verified := Verify(struct{ io.Reader }{bytes.NewReader(archive)}, filename)
	// A file system has limits of its own, on segments (255 bytes) for one.
	if err == nil && verified != nil || runtime.GOOS == "linux" && err != nil && verified == nil && !strings.Contains(err.Error(), "file name too long") {
		t.Errorf("Unpack: %v, Verify: %v", err, verified)
	}
	if err != nil {
		if left := list(t, outer); len(left) > 1 {
			t.Errorf("left behind: %v", left)
		}
		return
	}
	if root != dir && filepath.Dir(root) != dir {
		t.Errorf("root is %s", root)
	}
	err = filepath.WalkDir(outer, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode()&(fs.ModeDevice|fs.ModeNamedPipe|fs.ModeSocket|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 {
			t.Errorf("%s has mode %s", p, info.Mode())
		}
		if p != outer && p != filepath.Dir(dir) && !within(p, dir) {
			t.Errorf("%s lies outside", p)
		}
		if real := resolve(p, 0); within(p, dir) && !within(real, dir) {
			t.Errorf("%s leads to %s", p, real)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func within(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, dir+string(filepath.Separator))
}

// resolve follows links as the system does; what is missing is taken as it stands.
func resolve(p string, depth int) string {
	at := "/"
	for segment := range strings.SplitSeq(p, "/") {
		if segment == ".." {
			at = filepath.Dir(at)
			continue
		}
		at = filepath.Join(at, segment)
		if target, err := os.Readlink(at); err == nil && depth < 40 {
			at = resolve(filepath.Dir(at)+"/"+target, depth+1)
		}
	}
	return at
}
