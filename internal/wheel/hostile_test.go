package wheel

import (
	"bytes"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"curdling/internal/wheel/wheeltest"
)

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	type member = wheeltest.Member
	// with adds members to the sample, listed in RECORD or not: their names are refused first.
	with := func(more ...member) []byte { return wheeltest.Zip(append(more, sample().Members()...)) }
	edit := func(f func(*wheeltest.Wheel)) []byte {
		w := sample()
		f(&w)
		return wheeltest.Build(w)
	}
	file := func(path string) []byte {
		return edit(func(w *wheeltest.Wheel) { w.Files[path] = "x" })
	}
	script := func(line string) []byte {
		return edit(func(w *wheeltest.Wheel) { w.EntryPoints = "[console_scripts]\n" + line + "\n" })
	}
	record := func(old, new string) []byte {
		return edit(func(w *wheeltest.Wheel) { w.RawRecord = strings.Replace(recordOf(*w), old, new, 1) })
	}
	whole := wheeltest.Build(sample())
	for _, tt := range []struct {
		what string
		b    []byte
		want string // a part of the error
	}{
		{"nothing", nil, "not a zip archive"},
		{"text", []byte(strings.Repeat("text", 100)), "not a zip archive"},
		{"data before", append([]byte("#!/bin/sh\n"), whole...), "data before the zip archive"},
		{"data after", append(bytes.Clone(whole), 0), "follow its end record"},
		{"a comment", comment(whole), "follow its end record"},
		{"cut", whole[:len(whole)/2], "not a zip archive"},
		{"a member that the directory lacks", hide(whole, "foo/empty"), "hidden data follow"},
		{"another name in the local header", bytes.Replace(whole, []byte("foo/empty"), []byte("foo/other"), 1), "foo/empty: local header: contradicts"},
		{"another size in the local header", local(whole, "foo/empty", 22, 7), "foo/empty: local header: contradicts"},
		{"another checksum in the local header", local(whole, "foo/empty", 14, 7), "foo/empty: local header: contradicts"},
		{"encrypted", local(central(whole, "foo/empty", 8, 0x801), "foo/empty", 6, 0x801), "foo/empty: is encrypted"},
		{"method bzip2", local(central(whole, "foo/empty", 10, 12), "foo/empty", 8, 12), "compression method 12"},
		{"a size that lies", central(whole, "foo/data/big.json", 24, 4_000_000_000), "cannot come out of"},
		{"a zip64 field for what fits, in the directory", widened(whole, "foo/empty", true, 7), "foo/empty: zip64 field contradicts"},
		{"a zip64 field for what fits, in the local header", widened(whole, "foo/empty", false, 7), "zip64 field contradicts"},
		{"more members than stated", end(whole, 8, 3), "its end record says 3"},

		{"traversal", with(member{Name: "../x"}), `path "../x" has a ".." segment`},
		{"traversal inside", with(member{Name: "foo/../../x"}), `has a ".." segment`},
		{"absolute", with(member{Name: "/etc/passwd"}), "absolute path"},
		{"drive letter", with(member{Name: "C:x"}), "drive letter"},
		{"backslash", with(member{Name: `foo\x`}), "holds the character"},
		{"NUL", with(member{Name: "foo\x00.py"}), "holds the character"},
		{"newline", with(member{Name: "foo\n.py"}), "holds the character"},
		{"C1 control", with(member{Name: "foo\u0085.py"}), "holds the character"},
		{"line separator", with(member{Name: "foo\u2028.py"}), "holds the character"},
		{"not UTF-8", with(member{Name: "foo\xff.py"}), "not UTF-8"},
		{"empty segment", with(member{Name: "foo//x"}), "empty segment"},
		{"dot segment", with(member{Name: "foo/./x"}), `has a "." segment`},
		{"empty name", with(member{Name: ""}), "empty path"},
		{"long path", with(member{Name: strings.Repeat("a/", 600) + "x"}), "path of 1201 bytes"},
		{"long segment", with(member{Name: strings.Repeat("a", 256)}), "segment of 256 bytes"},
		{"twice", with(member{Name: "foo/__init__.py"}), "foo/__init__.py: is there twice"},
		{"twice but for case", file("FOO/__init__.py"), "are one name where case"},
		{"twice but for normalisation", file("foo/gro\u0308\u00dfe.py"), "are one name where case"},
		{"file and folder", file("foo/empty/x"), "foo/empty is a file, and foo/empty a folder"},
		{"file and folder but for case", file("Foo/Empty/x"), "foo/empty is a file, and Foo/Empty a folder"},
		{"symbolic link", with(member{Name: "x", Mode: fs.ModeSymlink | 0o777}), "x: is a link, device"},
		{"device", with(member{Name: "x", Mode: fs.ModeDevice}), "x: is a link, device"},
		{"pipe", with(member{Name: "x", Mode: fs.ModeNamedPipe}), "x: is a link, device"},
		{"folder that is a link", central(with(member{Name: "x/"}), "x/", 38, 0o120777<<16), "is a folder by name"},
		{"folder with content", with(member{Name: "x/", Content: "boo"}), "is a folder by name"},

		{"no .dist-info", edit(func(w *wheeltest.Wheel) { w.DistInfo = "info" }), "has no .dist-info folder"},
		{"two .dist-info", file("other-1.dist-info/METADATA"), "other-1.dist-info"},
		{"another's .dist-info", edit(func(w *wheeltest.Wheel) { w.DistInfo = "foo-1.0.dist-info" }), "foo-1.0.dist-info is not of foo-bar 1.0"},
		{"another version's .dist-info", edit(func(w *wheeltest.Wheel) { w.DistInfo = "foo_bar-1.1.dist-info" }), "is not of foo-bar 1.0"},
		{"a .DIST-INFO besides", file("other-1.DIST-INFO/METADATA"), "other-1.DIST-INFO must end in .dist-info"},
		{"two .data", file("other-1.data/purelib/x.py"), "has two .data folders"},
		{"another's .data", edit(func(w *wheeltest.Wheel) { w.Data = nil; w.Files["other-1.data/purelib/x.py"] = "" }), "other-1.data is not of foo-bar 1.0"},
		{"unknown .data", edit(func(w *wheeltest.Wheel) { w.Data["stdlib/os.py"] = "" }), `knows no "stdlib"`},
		{"file for .data folder", edit(func(w *wheeltest.Wheel) { w.Data["purelib"] = "" }), "is a file where a folder belongs"},
		{"script python below .data", edit(func(w *wheeltest.Wheel) { w.Data["scripts/python3"] = "" }), "like the interpreter"},
		{"no METADATA", edit(func(w *wheeltest.Wheel) { w.Without = []string{"foo_bar-1.0.dist-info/METADATA"} }), "has no foo_bar-1.0.dist-info/METADATA"},
		{"no name", edit(func(w *wheeltest.Wheel) { w.Metadata = "Metadata-Version: 2.1\n" }), "METADATA: "},
		{"another's METADATA", edit(func(w *wheeltest.Wheel) { w.Metadata = "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n" }), "METADATA is of evil 1.0"},
		{"another version's METADATA", edit(func(w *wheeltest.Wheel) { w.Metadata = "Metadata-Version: 2.1\nName: foo.bar\nVersion: 2\n" }), "METADATA is of foo-bar 2"},
		{"two names", edit(func(w *wheeltest.Wheel) {
			w.Metadata = "Metadata-Version: 2.1\nName: foo.bar\nVersion: 1.0\nNAME: evil\n"
		}), `METADATA: says Name twice: "foo.bar" and "evil"`},
		{"two versions", edit(func(w *wheeltest.Wheel) {
			w.Metadata = "Metadata-Version: 2.1\nName: foo.bar\nVersion: 1.0\nVersion: 2\n"
		}), "METADATA: says Version twice"},
		{"two Wheel-Versions", edit(func(w *wheeltest.Wheel) { w.RawWheel = "Wheel-Version: 1.0\nWheel-Version: 2.0\n" }), "WHEEL: says Wheel-Version twice"},
		{"no WHEEL", edit(func(w *wheeltest.Wheel) { w.Without = []string{"foo_bar-1.0.dist-info/WHEEL"} }), "has no foo_bar-1.0.dist-info/WHEEL"},
		{"Wheel-Version 2.0", edit(func(w *wheeltest.Wheel) { w.WheelVersion = "2.0" }), `Wheel-Version "2.0" is not supported`},
		{"no Wheel-Version", edit(func(w *wheeltest.Wheel) { w.RawWheel = "Tag: x\n" }), `Wheel-Version "" is not supported`},

		{"no RECORD", edit(func(w *wheeltest.Wheel) { w.Without = []string{"foo_bar-1.0.dist-info/RECORD"} }), "has no foo_bar-1.0.dist-info/RECORD"},
		{"RECORD lacks a file", edit(func(w *wheeltest.Wheel) { w.Unlisted = []member{{Name: "evil.py"}} }), "RECORD has no hash of evil.py"},
		{"RECORD lacks a hash", record("foo/empty,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,", "foo/empty,,"), "RECORD has no hash of foo/empty"},
		{"RECORD lists too much", record("foo/empty,", "gone.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\nfoo/empty,"), "RECORD lists gone.py"},
		{"RECORD's size lies", record("47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,1"), "foo/empty: 0 bytes, RECORD says 1"},
		{"md5", record("foo/empty,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", "foo/empty,md5=1B2M2Y8AsgTpgAmY7PhCfg"), `hash algorithm "md5"`},
		{"short hash", record("47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", "47DEQpj8"), "is not a sha256 digest"},
		{"contradiction", record("foo/empty,", "foo/empty,,3\nfoo/empty,"), "foo/empty is listed twice"},
		{"four columns", record("foo/empty,", "foo/empty,,,"), "more than three fields"},
		{"open quote", record("foo/empty,", "\"foo/empty,"), "not a row"},

		{"script above", script("../x = foo:main"), `entry point "../x"`},
		{"script in a folder", script("a/b = foo:main"), "is not a path"},
		{"absolute script", script("/bin/sh = foo:main"), `entry point "/bin/sh"`},
		{"script with backslash", script(`..\x = foo:main`), "holds the character"},
		{"script python", script("python = foo:main"), "like the interpreter"},
		{"script Python3.11", script("Python3.11 = foo:main"), "like the interpreter"},
		{"script python.exe for Windows", script("python.exe. = foo:main"), "like the interpreter"},
		{"script without name", script("= foo:main"), `entry point ""`},
		{"script with space", script("a b = foo:main"), "has no spaces"},
		{"script without attr", script("a = foo"), "not of the form module:attr"},
		{"script that is code", script("a = foo:main;import(os)"), "not of the form module:attr"},
		{"script that breaks out", script("a = foo'''\nb=c"), "not of the form"},
		{"no script", script("a"), "not of the form"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			t.Parallel()
			_, err := openBytes(tt.b, sampleName)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if err != nil && !strings.HasPrefix(err.Error(), sampleName+": ") {
				t.Errorf("error %v does not begin with the file's name", err)
			}
		})
	}
}

func TestOpenRefusesFilename(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "foo.zip", "foo_bar-1.0.tar.gz", "foo_bar-1.0-py3-none-any.whl.zip", "other-1.0-py3-none-any.whl"} {
		if _, err := openBytes(wheeltest.Build(sample()), name); err == nil {
			t.Errorf("%q: no error", name)
		}
	}
}

func TestCheckTotal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		what       string
		size, each int64
		want       string
	}{
		{"small and dense", 10, BombSize / 2, ""},
		{"large", 3 << 20, BombSize, "times as much"},
		{"large enough", 6 << 20, BombSize, ""},
		{"huge", MaxArchive, MaxTotal/2 + 1, "bytes unpacked"},
	} {
		a := &archive{members: []member{{size: tt.each}, {size: tt.each}}}
		if err := a.checkTotal(tt.size); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

// comment adds a comment to the archive.
func comment(b []byte) []byte {
	b = append(bytes.Clone(b), "hello"...)
	b[len(b)-7] = 5
	return b
}

// put32 puts up to four bytes at i, as many as v needs, at least two.
func put32(b []byte, i int, v uint32) []byte {
	b = bytes.Clone(b)
	if v > 0xffff {
		le.PutUint32(b[i:], v)
	} else {
		le.PutUint16(b[i:], uint16(v))
	}
	return b
}

// local changes a field of a member's local header, central one of the central
// directory's, end one of the end record.
func local(b []byte, name string, field int, v uint32) []byte {
	return put32(b, bytes.Index(b, []byte(name))-localLen+field, v)
}

func central(b []byte, name string, field int, v uint32) []byte {
	return put32(b, bytes.LastIndex(b, []byte(name))-centralLen+field, v)
}

func end(b []byte, field int, v uint32) []byte {
	return put32(put32(b, len(b)-endLen+field, v), len(b)-endLen+field+2, v)
}

// TestOpenHeaders: what is no second header is none.
func TestOpenHeaders(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ what, metadata string }{
		{"the same twice", "Name: foo.bar\nName: foo.bar\nVersion: 1.0\n"},
		{"folded", "Name: foo.bar\nVersion: 1.0\nDescription: x\n        Name: evil\n"},
		{"in the description", "Name: foo.bar\nVersion: 1.0\n\nName: evil\nVersion: 2\n"},
		{"behind the headers' end", "Name: foo.bar\nVersion: 1.0\nno header\nName: evil\n"},
	} {
		w := sample()
		w.Metadata = "Metadata-Version: 2.1\n" + tt.metadata
		if _, err := openBytes(wheeltest.Build(w), sampleName); err != nil {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

// TestWiden: a zip64 field may say again what fits, as some programs write it, but nothing else.
func TestWiden(t *testing.T) {
	t.Parallel()
	const all = unknown32
	for _, tt := range []struct {
		what   string
		field  []uint64
		values []int64
		want   []int64 // nil: an error
	}{
		{"none", nil, []int64{1, 2, 3}, []int64{1, 2, 3}},
		{"sizes", []uint64{7, 8}, []int64{all, all, 3}, []int64{7, 8, 3}},
		{"sizes, and the offset again", []uint64{7, 8, 3}, []int64{all, all, 3}, []int64{7, 8, 3}},
		{"all again", []uint64{1, 2, 3}, []int64{1, 2, 3}, []int64{1, 2, 3}},
		{"another offset", []uint64{7, 8, 4}, []int64{all, all, 3}, nil},
		{"another size", []uint64{9}, []int64{1, 2, 3}, nil},
		{"one too many", []uint64{1, 2, 3, 0}, []int64{1, 2, 3}, nil},
		{"one too few", []uint64{7}, []int64{all, all, 3}, nil},
	} {
		var field []byte
		for _, v := range tt.field {
			field = le.AppendUint64(field, v)
		}
		v := slices.Clone(tt.values)
		err := widen(field, &v[0], &v[1], &v[2])
		if (err == nil) != (tt.want != nil) || err == nil && !slices.Equal(v, tt.want) {
			t.Errorf("%s: %v, %v, want %v", tt.what, v, err, tt.want)
		}
	}
}

// widened gives a header of a member a zip64 field that says size of what needs none.
func widened(b []byte, name string, central bool, size uint64) []byte {
	field := le.AppendUint64([]byte{1, 0, 8, 0}, size)
	at, extraLen := bytes.Index(b, []byte(name)), 28-localLen
	if central {
		at, extraLen = bytes.LastIndex(b, []byte(name)), 30-centralLen
	}
	b = slices.Insert(bytes.Clone(b), at+len(name), field...)
	le.PutUint16(b[at+extraLen:], uint16(len(field)))
	tail := b[len(b)-endLen:]
	if central {
		le.PutUint32(tail[12:], le.Uint32(tail[12:])+uint32(len(field)))
		return b
	}
	return shift(b, at, uint32(len(field)))
}

// shift moves, in the directory, every member that begins behind at, and the directory itself.
func shift(b []byte, at int, by uint32) []byte {
	tail := b[len(b)-endLen:]
	start := le.Uint32(tail[16:]) + by
	le.PutUint32(tail[16:], start)
	for h := b[start:]; string(h[:4]) == centralSig; {
		if offset := le.Uint32(h[42:]); int(offset) > at {
			le.PutUint32(h[42:], offset+by)
		}
		h = h[centralLen+int(le.Uint16(h[28:]))+int(le.Uint16(h[30:]))+int(le.Uint16(h[32:])):]
	}
	return b
}

// hide takes a member out of the central directory.
func hide(b []byte, name string) []byte {
	at := bytes.LastIndex(b, []byte(name)) - centralLen
	n := centralLen + len(name)
	b = append(bytes.Clone(b[:at]), b[at+n:]...)
	tail := b[len(b)-endLen:]
	le.PutUint32(tail[12:], le.Uint32(tail[12:])-uint32(n))
	return end(b, 8, uint32(le.Uint16(tail[8:])-1))
}
