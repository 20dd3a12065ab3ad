package wheel

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"curdling/internal/wheel/wheeltest"
)

// tarballOf gives the tarball of a wheel.
func tarballOf(t testing.TB, b []byte, filename string) []byte {
	t.Helper()
	w, err := openBytes(b, filename)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := w.WriteTarball(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func unpackTarball(t testing.TB, b []byte, filename string) (Tree, error) {
	t.Helper()
	return UnpackTarball(t.Context(), bytes.NewReader(b), int64(len(b)), filename, filepath.Join(t.TempDir(), "tree"))
}

// checkSameTree compares trees by their manifests, and file by file.
func checkSameTree(t *testing.T, got, want Tree) {
	t.Helper()
	if diff := cmp.Diff(want.Manifest, got.Manifest); diff != "" {
		t.Fatalf("the manifest differs (-wheel +tarball):\n%s", diff)
	}
	if !bytes.Equal(marshal(t, got.Manifest), marshal(t, want.Manifest)) {
		t.Error("the manifests are written differently")
	}
	if diff := cmp.Diff(contents(t, want.Dir), contents(t, got.Dir)); diff != "" {
		t.Errorf("the files differ (-wheel +tarball):\n%s", diff)
	}
}

// contents gives mode and content of all that lies below dir, by path.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		if !d.IsDir() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += "\n" + string(b)
		}
		all[strings.TrimPrefix(path, dir)] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTarballGivesTheWheelsTree(t *testing.T) {
	t.Parallel()
	with := func(edit func(*wheeltest.Wheel)) []byte {
		w := sample()
		edit(&w)
		return wheeltest.Build(w)
	}
	for _, tt := range []struct {
		what  string
		wheel []byte
	}{
		{"a bit of everything", wheeltest.Build(sample())},
		{"folders as members", wheeltest.Zip(append([]wheeltest.Member{{Name: "foo/"}}, sample().Members()...))},
		{"a signature of RECORD", with(func(w *wheeltest.Wheel) {
			w.Unlisted = []wheeltest.Member{{Name: "foo_bar-1.0.dist-info/RECORD.jws", Content: "{}"}}
		})},
		{"names of every length", with(func(w *wheeltest.Wheel) {
			for n := 90; n < 300; n += 7 {
				w.Files["foo/"+strings.Repeat("d/", n%9)+strings.Repeat("x", min(n, 240))] = "long"
				w.Files["foo/"+strings.Repeat("ü", n/3)+strings.Repeat("/é", n%5)] = "long"
			}
		})},
		{"another hash than sha256", with(func(w *wheeltest.Wheel) {
			w.RawRecord = strings.ReplaceAll(recordOf(*w), "foo/empty,sha256="+emptySHA256, "foo/empty,sha512="+emptySHA512)
		})},
		{"names that a slash comes between", with(func(w *wheeltest.Wheel) {
			w.Files["foo/a-b.py"], w.Files["foo/a/b.py"], w.Files["foo/a0.py"] = "1", "2", "3"
		})},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			w, err := openBytes(tt.wheel, sampleName)
			if err != nil {
				t.Fatal(err)
			}
			want, err := w.Unpack(t.Context(), filepath.Join(t.TempDir(), "tree"))
			if err != nil {
				t.Fatal(err)
			}
			b := tarballOf(t, tt.wheel, sampleName)
			if !bytes.Equal(b, tarballOf(t, tt.wheel, sampleName)) {
				t.Error("the second time it is another one")
			}
			got, err := unpackTarball(t, b, sampleName)
			if err != nil {
				t.Fatal(err)
			}
			checkSameTree(t, got, want)
		})
	}
}

const emptySHA512 = "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg_SpIdNs6c5H0NE8XYXysP-DGNKHfuwvY7kxvUdBeoGlODJ6-SfaPg"

// TestTarballsOfRealWheels holds the trees of tarballs against those of the wheels in the folder CURDLING_WHEELS.
func TestTarballsOfRealWheels(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("CURDLING_WHEELS")
	if dir == "" {
		t.Skip("CURDLING_WHEELS names no folder of wheels")
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no wheels in %s (%v)", dir, err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			w, err := openBytes(b, filepath.Base(path))
			if err != nil {
				t.Skip(err)
			}
			want, err := w.Unpack(t.Context(), filepath.Join(t.TempDir(), "tree"))
			if err != nil {
				t.Skip(err)
			}
			got, err := unpackTarball(t, tarballOf(t, b, filepath.Base(path)), filepath.Base(path))
			if err != nil {
				t.Fatal(err)
			}
			checkSameTree(t, got, want)
		})
	}
}

// TestTarballIsATar reads one as others would.
func TestTarballIsATar(t *testing.T) {
	t.Parallel()
	z, err := zstd.NewReader(bytes.NewReader(tarballOf(t, wheeltest.Build(sample()), sampleName)))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var got []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.FileInfo().Mode().String()+" "+h.ModTime.UTC().Format("2006-01-02 ")+h.Name)
	}
	want := []string{
		"-rw-r--r-- 1980-01-01 foo/__init__.py",
		"-rw-r--r-- 1980-01-01 foo/a,b \"c\".txt",
		"-rwxr-xr-x 1980-01-01 foo/bin/tool",
		"-rw-r--r-- 1980-01-01 foo/data/big.json",
		"-rw-r--r-- 1980-01-01 foo/empty",
		"-rw-r--r-- 1980-01-01 foo/größe.py",
		"-rw-r--r-- 1980-01-01 foo_bar-1.0.data/data/share/x",
		"-rw-r--r-- 1980-01-01 foo_bar-1.0.data/scripts/other",
		"-rwxr-xr-x 1980-01-01 foo_bar-1.0.data/scripts/run",
		"-rw-r--r-- 1980-01-01 foo_bar-1.0.dist-info/METADATA",
		"-rw-r--r-- 1980-01-01 foo_bar-1.0.dist-info/WHEEL",
		"-rw-r--r-- 1980-01-01 foo_bar-1.0.dist-info/entry_points.txt",
		"-rw-r--r-- 1980-01-01 foo_bar-1.0.dist-info/RECORD",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTarballOfALiar(t *testing.T) {
	t.Parallel()
	liar := sample()
	liar.DeclaredSHA256 = map[string]string{"foo/empty": strings.Repeat("A", 43)}
	w, err := openBytes(wheeltest.Build(liar), sampleName)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteTarball(context.Background(), io.Discard); err == nil || !strings.Contains(err.Error(), "foo/empty: has the hash") {
		t.Errorf("got %v", err)
	}
}

// BenchmarkForms compares the two forms of a wheel: of the one at CURDLING_WHEEL, else of one that is made.
func BenchmarkForms(b *testing.B) {
	filename, content := sampleName, []byte(nil)
	if path := os.Getenv("CURDLING_WHEEL"); path != "" {
		filename = filepath.Base(path)
		var err error
		if content, err = os.ReadFile(path); err != nil {
			b.Fatal(err)
		}
	} else {
		w := sample()
		for i := range 300 {
			w.Files[fmt.Sprintf("foo/m%d/x.py", i)] = strings.Repeat(fmt.Sprintf("def function_%d(): return %d\n", i, i*i), 500)
		}
		content = wheeltest.Build(w)
	}
	w, err := openBytes(content, filename)
	if err != nil {
		b.Fatal(err)
	}
	tarball := tarballOf(b, content, filename)
	var size int64
	for _, f := range w.files {
		size += f.size
	}
	b.Run("wheel", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			w, err := openBytes(content, filename)
			if err != nil {
				b.Fatal(err)
			}
			dir := filepath.Join(b.TempDir(), "tree")
			if _, err := w.Unpack(b.Context(), dir); err != nil {
				b.Fatal(err)
			}
			removeAll(b, dir)
		}
	})
	b.Run("tarball", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			dir := filepath.Join(b.TempDir(), "tree")
			if _, err := UnpackTarball(b.Context(), bytes.NewReader(tarball), int64(len(tarball)), filename, dir); err != nil {
				b.Fatal(err)
			}
			removeAll(b, dir)
		}
	})
}

func removeAll(b *testing.B, dir string) {
	b.StopTimer()
	defer b.StartTimer()
	if err := os.RemoveAll(dir); err != nil {
		b.Fatal(err)
	}
}
