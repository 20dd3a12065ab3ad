package wheel

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"curdling/internal/wheel/wheeltest"
)

// entry is a file of a tar.
type entry struct {
	tar.Header
	content string
}

// entriesOf gives the files of a wheel's tarball.
func entriesOf(t testing.TB, w wheeltest.Wheel) (all []entry) {
	t.Helper()
	z, err := zstd.NewReader(bytes.NewReader(tarballOf(t, wheeltest.Build(w), sampleName)))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		content, readErr := io.ReadAll(r)
		if err != nil || readErr != nil {
			t.Fatal(err, readErr)
		}
		h.PAXRecords = nil
		all = append(all, entry{*h, string(content)})
	}
}

func tarOf(t testing.TB, all []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range all {
		if e.Typeflag == tar.TypeReg {
			e.Size = int64(len(e.content))
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstdOf(t testing.TB, b []byte, options ...zstd.EOption) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil, options...)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(b, nil)
}

func named(name string) func(entry) bool { return func(e entry) bool { return e.Name == name } }

func TestUnpackTarballRefuses(t *testing.T) {
	t.Parallel()
	const info = "foo_bar-1.0.dist-info"
	whole := entriesOf(t, sample())
	change := func(name string, f func(*entry)) []byte {
		all := slices.Clone(whole)
		f(&all[slices.IndexFunc(all, named(name))])
		return zstdOf(t, tarOf(t, all))
	}
	without := func(name string) []byte {
		return zstdOf(t, tarOf(t, slices.DeleteFunc(slices.Clone(whole), named(name))))
	}
	// with adds a file where its name belongs, and a row for it.
	with := func(added ...entry) []byte {
		all := slices.Clone(whole)
		record := &all[len(all)-1]
		for _, e := range added {
			record.content += e.Name + ",sha256=" + emptySHA256 + ",\n"
			e.Mode = max(e.Mode, modeFile)
			at, _ := slices.BinarySearchFunc(all[:len(all)-1], e, func(a, b entry) int { return strings.Compare(a.Name, b.Name) })
			all = slices.Insert(all, at, e)
			record = &all[len(all)-1]
		}
		return zstdOf(t, tarOf(t, all))
	}
	file := func(name string) entry {
		return entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: modeFile}}
	}
	raw := func(edit func(b []byte) []byte) []byte { return zstdOf(t, edit(tarOf(t, whole))) }
	for _, tt := range []struct {
		what    string
		tarball []byte
		want    string
	}{
		{"nothing", nil, "unexpected EOF"},
		{"no zstd", []byte("PK\x03\x04 a wheel"), "magic"},
		{"an empty tar", zstdOf(t, make([]byte, 1024)), "has no .dist-info folder"},
		{"a cut frame", zstdOf(t, tarOf(t, whole))[:800], "unexpected EOF"},
		{"a cut tar", raw(func(b []byte) []byte { return b[:3000] }), "unexpected EOF"},
		{"one block of zeros at the end", raw(func(b []byte) []byte { return b[:len(b)-512] }), "unexpected EOF"},
		{"three blocks of zeros", raw(func(b []byte) []byte { return append(b, make([]byte, 512)...) }), "data follow its end"},
		{"data after the end", raw(func(b []byte) []byte { return append(b, 'x') }), "unexpected EOF"},
		{"a second tar after the end", raw(func(b []byte) []byte { return append(b, b...) }), "data follow its end"},
		{"a damaged header", raw(func(b []byte) []byte { b[10] ^= 1; return b }), "file 1: its header is damaged"},
		{"hidden data in a block's rest", raw(func(b []byte) []byte { b[512+100] = 'x'; return b }), "hidden data"},
		{"a large window", zstdOf(t, bytes.Repeat(tarOf(t, whole), 40), zstd.WithWindowSize(32<<20), zstd.WithSingleSegment(false)), "window"},
		{"a symbolic link", with(entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "foo/link", Linkname: "/etc"}}), "special file"},
		{"a hard link", with(entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: "foo/link", Linkname: "/etc/passwd"}}), "special file"},
		{"a folder", with(entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: "foo/dir/"}}), "special file"},
		{"a device", with(entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: "foo/null", Devmajor: 1, Devminor: 3}}), "special file"},
		{"setuid", change("foo/bin/tool", func(e *entry) { e.Mode = 0o4755 }), "has mode 4755"},
		{"writable for all", change("foo/bin/tool", func(e *entry) { e.Mode = 0o666 }), "has mode 666"},
		{"an absolute path", with(file("/etc/cron.d/x")), "absolute path"},
		{"a path upwards", with(file("foo/../../x")), `".." segment`},
		{"a backslash", with(file(`foo\x`)), `holds the character '\\'`},
		{"a drive", with(file("c:x")), "drive letter"},
		{"a file twice", with(file("foo/empty")), "comes after"},
		{"two names that differ by case", with(file("foo/EMPTY")), "where case or Unicode's forms do not count"},
		{"a file where a folder is", with(file("foo")), "foo"},
		{"another order", change("foo/empty", func(e *entry) { e.Name = "foo/zzz" }), `comes after "foo/zzz"`},
		{"a file after RECORD", zstdOf(t, tarOf(t, append(slices.Clone(whole), file("zzz")))), "comes after RECORD"},
		{"no RECORD", without(info + "/RECORD"), "has no " + info + "/RECORD"},
		{"no METADATA", without(info + "/METADATA"), "has no " + info + "/METADATA"},
		{"no WHEEL", without(info + "/WHEEL"), "has no " + info + "/WHEEL"},
		{"a file too few", without("foo/empty"), "RECORD lists foo/empty"},
		{"a file too many", zstdOf(t, tarOf(t, append([]entry{{Header: tar.Header{Typeflag: tar.TypeReg, Name: "a", Mode: modeFile}}}, whole...))), "RECORD has no hash of a"},
		{"another size than RECORD's", change("foo/bin/tool", func(e *entry) { e.content += "x" }), "5 bytes, RECORD says 4"},
		{"a script of another content", change("foo_bar-1.0.data/scripts/other", func(e *entry) { e.content = "#!/bin/rm\n" }), "has the hash"},
		{"another project", change(info+"/METADATA", func(e *entry) { e.content = strings.Replace(e.content, "foo-bar", "bar-foo", 1) }), "METADATA is of bar-foo"},
		{"a signature of RECORD", with(file(info + "/RECORD.jws")), "a signature of RECORD"},
		{"a second .dist-info", with(file("other-1.0.dist-info/METADATA")), "two .dist-info folders"},
		{"a pax header of something else", with(entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: "foo/pax", PAXRecords: map[string]string{"comment": "x"}}}), "something else than a path"},
		{"GNU's long names", with(entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("x", 150), Format: tar.FormatGNU}}), "not ustar's"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "tree")
			_, err := UnpackTarball(t.Context(), bytes.NewReader(tt.tarball), int64(len(tt.tarball)), sampleName, dir)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), sampleName+".tar.zst: ") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder is left (%v)", err)
			}
		})
	}
}

// TestTarballBomb unpacks no more than the limit of what would be far more.
func TestTarballBomb(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, name := range []string{"foo/a", "foo/b"} {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: BombSize - 1, Mode: modeFile}); err != nil {
			t.Fatal(err)
		}
		if name == "foo/b" {
			break
		}
		if _, err := io.CopyN(w, zeros{}, BombSize-1); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = unpackTarball(t, b.Bytes(), sampleName)
	if err == nil || !strings.Contains(err.Error(), "more than 100 times as much") {
		t.Errorf("got %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// FuzzUnpackTarball holds what is taken against the standard library's reading of it. Most of what a fuzzer makes is no
// zstd: it is read without, and with right checksums, too.
func FuzzUnpackTarball(f *testing.F) {
	small := wheeltest.Wheel{
		Name: "foo-bar", Version: "1.0", Files: map[string]string{"foo/a.py": "x = 1\n", "foo/b": "", "foo/" + strings.Repeat("é", 60): "long"},
		Data: map[string]string{"scripts/run": "#!python\n"}, ConsoleScripts: map[string]string{"foo": "foo:main"}, Executable: []string{"foo/b"},
	}
	whole := tarOf(f, entriesOf(f, small))
	fast, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(zstdOf(f, whole))
	f.Add(whole)
	f.Add(slices.Concat(whole[:512], whole[1024:]))
	f.Fuzz(func(t *testing.T, b []byte) {
		if unpacked, err := decode(b); err == nil && len(unpacked) > 0 {
			tryTarball(t, b, unpacked)
		}
		repaired := slices.Clone(b)
		for at := 0; at+tarBlock <= len(repaired); at += tarBlock {
			repairHeader(repaired[at:][:tarBlock])
		}
		tryTarball(t, fast.EncodeAll(repaired, nil), repaired)
	})
}

// decode gives what a frame holds, if that is little.
func decode(b []byte) ([]byte, error) {
	z := decoders.Get().(*zstd.Decoder)
	defer decoders.Put(z)
	if err := z.Reset(bytes.NewReader(b)); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(z, 1<<20))
}

// repairHeader sets the checksum of what looks like a header.
func repairHeader(b []byte) {
	if string(b[257:262]) != "ustar" {
		return
	}
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:156], []byte{byte('0' + sum>>15&7), byte('0' + sum>>12&7), byte('0' + sum>>9&7), byte('0' + sum>>6&7), byte('0' + sum>>3&7), byte('0' + sum&7), 0, ' '})
}

func tryTarball(t *testing.T, tarball, unpacked []byte) {
	t.Helper()
	parent := t.TempDir()
	dir := filepath.Join(parent, "tree")
	tree, err := UnpackTarball(t.Context(), bytes.NewReader(tarball), int64(len(tarball)), sampleName, dir)
	entries, listErr := os.ReadDir(parent)
	if listErr != nil || len(entries) > 1 || len(entries) == 1 && (err != nil || entries[0].Name() != "tree") {
		t.Fatalf("it left %v beside the tree (%v, %v)", entries, listErr, err)
	}
	if err != nil {
		return
	}
	want := map[string]string{}
	for r := tar.NewReader(bytes.NewReader(unpacked)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		content, readErr := io.ReadAll(r)
		if err != nil || readErr != nil || h.Typeflag != tar.TypeReg {
			t.Fatalf("the standard library refuses (%v, %v, %v)", err, readErr, h)
		}
		want[h.Name] = string(content)
	}
	if len(want) != len(tree.Manifest.Files)+1 {
		t.Fatalf("%d files, the standard library has %d", len(tree.Manifest.Files), len(want)-1)
	}
	for _, file := range tree.Manifest.Files {
		got, err := os.ReadFile(tree.path(file.Path))
		if content, ok := want[file.Path]; err != nil || !ok || content != string(got) || int64(len(got)) != file.Size {
			t.Fatalf("%s: %q, the standard library has %q (%v)", file.Path, got, content, err)
		}
	}
	var again Manifest
	if err := again.UnmarshalBinary(marshal(t, tree.Manifest)); err != nil {
		t.Error(err)
	}
}
