package sdist

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// member is one entry of an archive that a test makes. A name that ends in a slash is a folder.
type member struct {
	name, body string
	kind       byte   // of a tar's header; 0: a file or a folder, by name
	link       string // target
	mode       int64  // 0: 0o644
	mtime      time.Time
}

func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Size: int64(len(m.body)), Typeflag: m.kind, Linkname: m.link, Mode: m.mode, ModTime: m.mtime}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if h.Typeflag == 0 && strings.HasSuffix(m.name, "/") {
			h.Typeflag = tar.TypeDir
		} else if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zipOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate, ExternalAttrs: uint32(m.mode) << 16}
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(f, m.body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// list describes what lies beneath dir: path -> kind, mode's execute bit, content or target.
func list(t testing.TB, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		rel = filepath.ToSlash(rel)
		switch {
		case d.IsDir():
			got[rel] = "folder"
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(p)
			got[rel] = "-> " + target
			return err
		default:
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			got[rel] = fmt.Sprintf("%s %q", info.Mode()&^0o077, b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	old := time.Unix(1_000_000_000, 0)
	plain := []member{{name: "pkg-1.0/setup.py", body: "x"}, {name: "pkg-1.0/a/run", body: "y", mode: 0o104755}}
	want := map[string]string{
		"pkg-1.0": "folder", "pkg-1.0/a": "folder",
		"pkg-1.0/setup.py": `-rw------- "x"`, "pkg-1.0/a/run": `-rwx------ "y"`,
	}
	zipped := []member{plain[0], {name: "pkg-1.0/a/run", body: "y", mode: 0o100755}}
	for name, test := range map[string]struct {
		filename string
		archive  []byte
		root     string
		want     map[string]string
	}{
		"tar.gz": {"pkg-1.0.tar.gz", gz(t, tarOf(t, plain...)), "pkg-1.0", want},
		"tgz":    {"PKG-1.0.TGZ", gz(t, tarOf(t, plain...)), "pkg-1.0", want},
		"tar":    {"pkg-1.0.tar", tarOf(t, plain...), "pkg-1.0", want},
		"zip":    {"pkg-1.0.zip", zipOf(t, zipped...), "pkg-1.0", want},
		"two gzips and what follows them": {"p.tar.gz",
			append(append(gz(t, tarOf(t, plain...)[:1000]), gz(t, tarOf(t, plain...)[1000:])...), "some more bytes"...), "pkg-1.0", want},
		"a dot before": {"p.tar", tarOf(t, member{name: "./"}, member{name: "./p/"}, member{name: "./p//x", body: "1"}), "p",
			map[string]string{"p": "folder", "p/x": `-rw------- "1"`}},
		"several folders": {"p.tar", tarOf(t, member{name: "a/x"}, member{name: "b/x"}), ".",
			map[string]string{"a": "folder", "a/x": `-rw------- ""`, "b": "folder", "b/x": `-rw------- ""`}},
		"a file at the root": {"p.tar", tarOf(t, member{name: "setup.py"}), ".", map[string]string{"setup.py": `-rw------- ""`}},
		"links": {"p.tar", tarOf(t,
			member{name: "p/d/x", body: "1"},
			member{name: "p/up", kind: tar.TypeSymlink, link: "./d/../d/x"},
			member{name: "p/d/top", kind: tar.TypeSymlink, link: "../up"},
			member{name: "p/dangling", kind: tar.TypeSymlink, link: "nowhere"},
			member{name: "p/hard", kind: tar.TypeLink, link: "p/d/x"}), "p",
			map[string]string{"p": "folder", "p/d": "folder", "p/d/x": `-rw------- "1"`, "p/hard": `-rw------- "1"`,
				"p/up": "-> d/x", "p/d/top": "-> ../up", "p/dangling": "-> nowhere"}},
		"the later one counts": {"p.tar", tarOf(t,
			member{name: "p/x", body: "kept"},
			member{name: "p/y", kind: tar.TypeLink, link: "p/x"},
			member{name: "p/x", kind: tar.TypeSymlink, link: "y"},
			member{name: "p/x", body: "later"}), "p",
			map[string]string{"p": "folder", "p/x": `-rw------- "later"`, "p/y": `-rw------- "kept"`}},
		"a link in a zip": {"p.zip", zipOf(t, member{name: "p/x", body: "/etc/passwd", mode: 0o120777}), "p",
			map[string]string{"p": "folder", "p/x": `-rw------- "/etc/passwd"`}},
		"cases": {"p.tar", tarOf(t, member{name: "p/X", body: "1", mtime: old}), "p",
			map[string]string{"p": "folder", "p/X": `-rw------- "1"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "new")
			root, err := Unpack(t.Context(), bytes.NewReader(test.archive), test.filename, dir)
			if err != nil {
				t.Fatal(err)
			}
			if want := filepath.Join(dir, test.root); root != want {
				t.Errorf("root %s, want %s", root, want)
			}
			if diff := cmp.Diff(test.want, list(t, dir)); diff != "" {
				t.Error(diff)
			}
			if err := Verify(struct{ io.Reader }{bytes.NewReader(test.archive)}, test.filename); err != nil {
				t.Errorf("Verify: %v", err)
			}
		})
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	old := time.Unix(1_000_000_000, 0)
	dir := t.TempDir()
	b := tarOf(t, member{name: "p/old", mtime: old}, member{name: "p/future", mtime: time.Now().Add(99 * time.Hour)})
	root, err := Unpack(t.Context(), bytes.NewReader(b), "p.tar", dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]time.Time{"old": old, "future": time.Now()} {
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if d := want.Sub(info.ModTime()); d < 0 || d > time.Minute {
			t.Errorf("%s: %v, want %v", name, info.ModTime(), want)
		}
	}
}

// Nothing of these may be written, and the error names the archive and the entry.
func TestHostile(t *testing.T) {
	t.Parallel()
	ok := member{name: "p/setup.py", body: "x"}
	link := func(name, target string) member {
		return member{name: name, kind: tar.TypeSymlink, link: target}
	}
	hard := func(name, target string) member { return member{name: name, kind: tar.TypeLink, link: target} }
	long := strings.Repeat("long/", 300)
	for name, test := range map[string]struct {
		members []member
		want    string
	}{
		"up":                      {[]member{ok, {name: "../x"}}, `p.tar: "../x": has a ".." in its name`},
		"up inside":               {[]member{ok, {name: "p/a/../x"}}, `".."`},
		"up at the end":           {[]member{ok, {name: "p/..", kind: tar.TypeReg}}, `".."`},
		"absolute":                {[]member{ok, {name: "/etc/x"}}, "absolute"},
		"drive":                   {[]member{ok, {name: "c:x"}}, "absolute"},
		"backslash":               {[]member{ok, {name: `p\..\x`}}, "backslash"},
		"long":                    {[]member{ok, {name: long + "x"}}, "longer than 1024"},
		"device":                  {[]member{ok, {name: "p/x", kind: tar.TypeBlock}}, "device"},
		"char device":             {[]member{ok, {name: "p/x", kind: tar.TypeChar}}, "device"},
		"fifo":                    {[]member{ok, {name: "p/x", kind: tar.TypeFifo}}, "fifo"},
		"unknown":                 {[]member{ok, {name: "p/x", kind: 'W'}}, "unknown"},
		"link up":                 {[]member{ok, link("p/x", "../../y")}, `"p/x": is a link to "../../y", outside`},
		"link up, hidden":         {[]member{ok, link("p/x", "a/../../../y")}, "outside"},
		"link absolute":           {[]member{ok, link("p/x", "/etc/passwd")}, `the link's target "/etc/passwd" is an absolute path`},
		"link backslash":          {[]member{ok, link("p/x", `..\..\y`)}, "backslash"},
		"beneath a link":          {[]member{ok, link("p/d", "."), {name: "p/d/x"}}, `lies beneath "p/d", which is a symbolic link`},
		"link beneath a link":     {[]member{ok, link("p/d", "."), link("p/d/x", "..")}, "lies beneath"},
		"folder at a link":        {[]member{ok, link("p/d", "."), {name: "p/d/"}}, "is a symbolic link and a folder at once"},
		"link at a folder":        {[]member{ok, {name: "p/d/"}, link("p/d", ".")}, "is a folder and a symbolic link at once"},
		"link at an implied one":  {[]member{{name: "p/d/x"}, link("p/d", ".")}, "at once"},
		"beneath a file":          {[]member{ok, {name: "p/setup.py/x"}}, "which is a file"},
		"hard link out":           {[]member{ok, hard("p/x", "../x")}, `".."`},
		"hard link absolute":      {[]member{ok, hard("p/x", "/etc/passwd")}, "absolute"},
		"hard link to nothing":    {[]member{ok, hard("p/x", "p/y")}, "no file before it"},
		"hard link to itself":     {[]member{ok, hard("p/setup.py", "p/setup.py")}, "no file before it"},
		"hard link to a link":     {[]member{ok, link("p/l", "setup.py"), hard("p/x", "p/l")}, "no file before it"},
		"hard link to a folder":   {[]member{ok, hard("p/x", "p")}, "no file before it"},
		"nothing":                 {nil, "p.tar: the archive is empty"},
		"nothing but the root":    {[]member{{name: "./"}}, "empty"},
		"a link with no target":   {[]member{ok, link("p/x", "")}, "has no name"},
		"a file without any name": {[]member{ok, {name: ""}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, tarOf(t, test.members...), "p.tar", test.want)
		})
	}
}

// refused unpacks a copy beside a file that must stay, and wants an error.
func refused(t *testing.T, archive []byte, filename, want string) {
	t.Helper()
	outer := t.TempDir()
	dir := filepath.Join(outer, "new")
	_, err := Unpack(context.Background(), bytes.NewReader(archive), filename, dir)
	if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), filename+": ") {
		t.Errorf("Unpack: %v, want %q", err, want)
	}
	if left := list(t, outer); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := Verify(bytes.NewReader(archive), filename); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Verify: %v, want %q", err, want)
	}
}

func TestHostileZip(t *testing.T) {
	t.Parallel()
	encrypted := bytes.Replace(zipOf(t, member{name: "p/x", body: "1"}), []byte("PK\x01\x02\x14\x00\x14\x00\x08"), []byte("PK\x01\x02\x14\x00\x14\x00\x09"), 1)
	lying := bytes.Replace(zipOf(t, member{name: "p/x", body: "12345"}), []byte{5, 0, 0, 0, 3, 0}, []byte{4, 0, 0, 0, 3, 0}, 1)
	for name, test := range map[string]struct {
		archive []byte
		want    string
	}{
		"up":               {zipOf(t, member{name: "p/../../x"}), `".."`},
		"absolute":         {zipOf(t, member{name: "/x"}), "absolute"},
		"drive":            {zipOf(t, member{name: "C:/x"}), "absolute"},
		"backslash":        {zipOf(t, member{name: `p\x`}), "backslash"},
		"NUL":              {zipOf(t, member{name: "p/\x00x"}), "NUL"},
		"empty":            {zipOf(t), "empty"},
		"no zip":           {[]byte("no zip"), "zip"},
		"encrypted":        {encrypted, "encrypted"},
		"a size that lies": {lying, ""},
		"a huge directory": {hugeDirectory(), "directory is too large"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, test.archive, "p.zip", test.want)
		})
	}
}

// hugeDirectory is a zip whose directory goes on for 20 MiB.
func hugeDirectory() []byte {
	header := make([]byte, 46)
	copy(header, "PK\x01\x02")
	b := bytes.Repeat(header, 20<<20/len(header))
	end := make([]byte, 22)
	copy(end, "PK\x05\x06")
	n, size := uint16(len(b)/46&0xffff), uint32(len(b))
	end[8], end[9], end[10], end[11] = byte(n), byte(n>>8), byte(n), byte(n>>8)
	end[12], end[13], end[14], end[15] = byte(size), byte(size>>8), byte(size>>16), byte(size>>24)
	return append(b, end...)
}

func TestBroken(t *testing.T) {
	t.Parallel()
	whole := gz(t, tarOf(t, member{name: "p/x", body: strings.Repeat("abc", 1000)}))
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-8] ^= 1 // the checksum
	for name, test := range map[string]struct {
		filename string
		archive  []byte
		want     string
	}{
		"empty":     {"p.tar.gz", nil, "EOF"},
		"no gzip":   {"p.tar.gz", []byte("no gzip at all"), "header"},
		"no bzip2":  {"p.tar.bz2", []byte("no bzip2"), "bzip2"},
		"cut":       {"p.tar.gz", whole[:len(whole)-20], "EOF"},
		"checksum":  {"p.tar.gz", flipped, "checksum"},
		"cut tar":   {"p.tar", tarOf(t, member{name: "p/x", body: strings.Repeat("abc", 1000)})[:1500], "EOF"},
		"xz":        {"p.tar.xz", nil, "repack it as .tar.gz"},
		"compress":  {"p.tar.Z", nil, "repack it as .tar.gz"},
		"no ending": {"p", nil, "repack it as .tar.gz"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, test.archive, test.filename, test.want)
		})
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := filepath.Join(t.TempDir(), "new")
	_, err := Unpack(ctx, bytes.NewReader(tarOf(t, member{name: "p/x"})), "p.tar", dir)
	if err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder is still there")
	}
}

func TestUnpackIntoFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mine := filepath.Join(dir, "mine")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Unpack(t.Context(), bytes.NewReader(tarOf(t, member{name: "p/x"})), "p.tar", dir); err == nil {
		t.Error("no error")
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	info := member{name: "p-1/PKG-INFO", body: "Metadata-Version: 2.2\nName: p\nVersion: 1\n"}
	nested := member{name: "p-1/x.egg-info/PKG-INFO", body: "Metadata-Version: 2.2\nName: nested\nVersion: 1\n"}
	other := member{name: "q/PKG-INFO", body: "Metadata-Version: 2.2\nName: q\nVersion: 1\n"}
	broken := slices.Concat(tarOf(t, nested, info)[:2500], []byte("what comes later is not read"))
	for name, test := range map[string]struct {
		filename string
		archive  []byte
		want     string
		err      string
	}{
		"tar":           {"p.tar", tarOf(t, nested, other, info), "p", ""},
		"zip":           {"p.zip", zipOf(t, nested, info), "p", ""},
		"stops early":   {"p.tar", broken, "p", ""},
		"none":          {"p.tar", tarOf(t, nested, other), "", ""},
		"none in a zip": {"p.zip", zipOf(t, nested), "", ""},
		"a link":        {"p.tar", tarOf(t, nested, member{name: info.name, kind: tar.TypeSymlink, link: "x.egg-info/PKG-INFO"}), "", ""},
		"too large":     {"p.tar", tarOf(t, member{name: info.name, body: strings.Repeat("x", int(MaxMetadata)+1)}), "", `p.tar: "p-1/PKG-INFO": is larger than`},
		"no name":       {"p.tar", tarOf(t, member{name: info.name, body: "Version: 1\n"}), "", "p.tar: p-1/PKG-INFO: "},
		"hostile":       {"p.tar", tarOf(t, member{name: "../x"}, info), "", `".."`},
		"no archive":    {"p.zip", []byte("x"), "", "zip"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, r := range []io.Reader{bytes.NewReader(test.archive), struct{ io.Reader }{bytes.NewReader(test.archive)}} {
				m, err := Metadata(r, test.filename)
				if test.err != "" {
					if err == nil || !strings.Contains(err.Error(), test.err) {
						t.Fatalf("%v, want %q", err, test.err)
					}
					continue
				}
				got := ""
				if m != nil {
					got = string(m.Name)
				}
				if err != nil || got != test.want {
					t.Fatalf("%q, %v", got, err)
				}
			}
		})
	}
}

// A file system that takes two names for one must not let anything through a
// link: the tree of names is told nothing here, as it would not notice.
func TestWriterTrustsTheDisk(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege")
	}
	dir := t.TempDir()
	w, err := newWriter(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.root.Close()
	steps := []struct {
		entry
		ok bool
	}{
		{entry{name: "d/e/link", kind: symlink, target: "../.."}, true},
		{entry{name: "d/e/link/x", kind: symlink, target: "../../.."}, false},
		{entry{name: "hard", kind: hardlink, target: "d/e/link"}, false},
		{entry{name: "d/e", kind: file}, false},
		{entry{name: "d/e/link", kind: folder}, false},
	}
	for _, s := range steps {
		s.body = strings.NewReader("")
		if err := w.write(&s.entry); (err == nil) != s.ok {
			t.Errorf("%s %s: %v", s.kind, s.name, err)
		}
	}
	if diff := cmp.Diff(map[string]string{"d": "folder", "d/e": "folder", "d/e/link": "-> ../.."}, list(t, dir)); diff != "" {
		t.Error(diff)
	}
}
