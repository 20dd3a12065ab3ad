//go:build unix

package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"curdling/internal/wheel/wheeltest"
)

const sdistName = "evil-1.0.tar.gz"

// tarEntry is one member of a tar archive, header and all as the attacker wants them.
type tarEntry struct {
	name string
	kind byte // 0 is a file
	link string
	body string
	size string   // 12 bytes of the header, in the place of the body's length
	pax  []string // "key=value" of a pax header before it
}

func (e tarEntry) bytes() []byte {
	var b []byte
	if len(e.pax) > 0 {
		b = tarEntry{name: "PaxHeaders/x", kind: tar.TypeXHeader, body: paxRecords(e.pax)}.bytes()
	}
	h := make([]byte, 512)
	copy(h, e.name)
	copy(h[100:], "0000644\x000000000\x000000000\x00")
	copy(h[124:], fmt.Sprintf("%011o\x00", len(e.body)))
	copy(h[124:136], e.size)
	copy(h[136:], "00000000000\x00        ")
	h[156] = max(e.kind, '0')
	copy(h[157:257], e.link)
	copy(h[257:], "ustar\x0000")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	b = append(append(b, h...), e.body...)
	return append(b, make([]byte, (512-len(b)%512)%512)...)
}

func paxRecords(records []string) string {
	var b strings.Builder
	for _, r := range records {
		n := len(r) + 3
		for len(fmt.Sprint(n))+len(r)+2 != n {
			n++
		}
		fmt.Fprintf(&b, "%d %s\n", n, r)
	}
	return b.String()
}

// evilSource is an honest source distribution whose backend lies in it, and what follows it.
func evilSource(backend string, more ...tarEntry) []tarEntry {
	return append([]tarEntry{
		{name: "evil-1.0/PKG-INFO", body: "Metadata-Version: 2.2\nName: evil\nVersion: 1.0\n"},
		{name: "evil-1.0/pyproject.toml", body: "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n"},
		{name: "evil-1.0/backend.py", body: backend},
	}, more...)
}

// builds is a backend that gives a ready wheel.
func builds(wheel []byte, name string) string {
	return fmt.Sprintf(`import base64, os, sys, subprocess, tempfile
def build_wheel(folder, settings=None, metadata=None):
    work(folder)
    with open(os.path.join(folder, os.path.basename(%q)), "wb") as f:
        f.write(base64.b64decode(%q))
    return %q
def work(folder): pass
`, name, base64.StdEncoding.EncodeToString(wheel), name)
}

func honest() string { return builds(wheeltest.Build(evil()), evil().Filename()) }

func tarOf(entries ...tarEntry) []byte {
	var b []byte
	for _, e := range entries {
		b = append(b, e.bytes()...)
	}
	return append(b, make([]byte, 1024)...)
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

func sourceOf(b []byte) func(*box) site {
	return func(*box) site { return site{files: map[string][]byte{sdistName: b}} }
}

// sdistCases are source distributions that want to be somewhere else.
func sdistCases() []hostile {
	of := func(name string, more tarEntry, want ...string) hostile {
		return hostile{name: "sdist: " + name, serve: sourceOf(gzipped(tarOf(evilSource(honest(), more)...))), want: append(want, sdistName)}
	}
	link := func(name, path, target string, want ...string) hostile {
		return of(name, tarEntry{name: path, kind: tar.TypeSymlink, link: target}, want...)
	}
	through := func(name, target string, want ...string) hostile {
		b := gzipped(tarOf(evilSource(honest(), tarEntry{name: "evil-1.0/x", kind: tar.TypeSymlink, link: target}, tarEntry{name: "evil-1.0/x/pwned", body: "x"})...))
		return hostile{name: "sdist: " + name, serve: sourceOf(b), want: append(want, sdistName)}
	}
	hard := func(name, target string, want ...string) hostile {
		return of(name, tarEntry{name: "evil-1.0/pwned", kind: tar.TypeLink, link: target}, want...)
	}
	raw := func(name string, b []byte, want ...string) hostile {
		return hostile{name: "sdist: " + name, serve: sourceOf(b), want: append(want, sdistName)}
	}
	whole := gzipped(tarOf(evilSource(honest())...))
	bomb := append(append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), zeros(900)...), "checksum"...) // a gzip
	pwned := tarEntry{name: "evil-1.0/pwned", size: fmt.Sprintf("%011o\x00", 900<<20)}
	smuggled := string(tarOf(tarEntry{name: "evil-1.0/pwned", body: "x"})[:1024])
	cases := []hostile{
		of("traversal", tarEntry{name: "../pwned"}, `"../pwned": has a ".." in its name`),
		of("traversal, deep", tarEntry{name: "evil-1.0/../../../../../../pwned"}, `has a ".." in its name`),
		of("absolute", tarEntry{name: "/tmp/pwned"}, `"/tmp/pwned": is an absolute path`),
		of("drive letter", tarEntry{name: `c:pwned`}, "is an absolute path"),
		of("backslashes", tarEntry{name: `evil-1.0\..\..\pwned`}, "backslash or NUL"),
		raw("GNU long name with a traversal", gzipped(tarOf(evilSource(honest(),
			tarEntry{name: "././@LongLink", kind: tar.TypeGNULongName, body: "../../pwned\x00"}, tarEntry{name: "evil-1.0/x"})...)), `has a ".." in its name`),
		of("pax name with a traversal", tarEntry{name: "evil-1.0/x", pax: []string{"path=../pwned"}}, `has a ".." in its name`),
		of("pax name that is absolute", tarEntry{name: "evil-1.0/x", pax: []string{"path=/tmp/pwned"}}, "is an absolute path"),
		of("pax name with NUL", tarEntry{name: "evil-1.0/x", pax: []string{"path=evil-1.0/pwned\x00.txt"}}, "invalid tar header"),
		of("pax link with a traversal", tarEntry{name: "evil-1.0/x", kind: tar.TypeSymlink, link: "y", pax: []string{"linkpath=../../pwned"}}, "outside of the archive"),
		of("pax name for all that follow", tarEntry{name: "g", kind: tar.TypeXGlobalHeader, body: paxRecords([]string{"path=evil-1.0/pwned"})}, "pax header"),
		of("pax size that hides a file", tarEntry{name: "evil-1.0/x", body: smuggled, size: "00000000000\x00", pax: []string{"size=1024"}}, `"evil-1.0/x"`, "pax header"),
		of("pax size that shows a file", tarEntry{name: "evil-1.0/x", body: smuggled, pax: []string{"size=0"}}, `"evil-1.0/x"`, "pax header"),
		of("pax records that are none", tarEntry{name: "x", kind: tar.TypeXHeader, body: "99999 path=x\n"}, "invalid tar header"),
		of("name of 2,000 bytes", tarEntry{name: "x", pax: []string{"path=evil-1.0/" + strings.Repeat("pwned/", 333)}}, "is longer than 1024 bytes"),
		of("a segment of 300 bytes", tarEntry{name: "x", pax: []string{"path=evil-1.0/" + strings.Repeat("p", 300)}}, "a part of its name is longer than 255 bytes"),
		link("symbolic link out", "evil-1.0/x", "../../pwned", `"evil-1.0/x": is a link to "../../pwned", outside of the archive`),
		link("symbolic link out, hidden", "evil-1.0/x", "a/../../../pwned", "outside of the archive"),
		link("absolute symbolic link", "evil-1.0/x", "/etc/passwd", `the link's target "/etc/passwd" is an absolute path`),
		link("top folder that is a link", "evil-1.0", "..", "outside of the archive"),
		through("file through a link out (as pip's CVE-2025-8869)", "../..", "outside of the archive"),
		through("file through a link inside", ".", `lies beneath "evil-1.0/x", which is a symbolic link`),
		hard("hard link out", "../../pwned", `has a ".." in its name`),
		hard("absolute hard link", "/etc/passwd", "is an absolute path"),
		hard("hard link to nothing", "evil-1.0/nothing", "which is no file before it"),
		hard("hard link to a folder", "evil-1.0", "which is no file before it"),
		of("block device", tarEntry{name: "evil-1.0/pwned", kind: tar.TypeBlock}, "is a device, a fifo"),
		of("character device", tarEntry{name: "evil-1.0/pwned", kind: tar.TypeChar}, "is a device, a fifo"),
		of("fifo", tarEntry{name: "evil-1.0/pwned", kind: tar.TypeFifo}, "is a device, a fifo"),
		of("unknown kind", tarEntry{name: "evil-1.0/pwned", kind: 'V'}, "something unknown"),
		of("file that is a folder too", tarEntry{name: "evil-1.0/backend.py/pwned"}, "which is a file"),
		of("size of a terabyte", tarEntry{name: "evil-1.0/pwned", size: "\x80\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00"}, `"evil-1.0/pwned": unexpected EOF`),
		of("size below nothing", tarEntry{name: "evil-1.0/pwned", size: "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"}, "invalid tar header"),
		of("sparse file of 3 GiB", tarEntry{name: "evil-1.0/x", body: "0\n" + strings.Repeat("\x00", 510),
			pax: []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=evil-1.0/pwned", "GNU.sparse.realsize=3221225472"}},
			"unpacks to more than 200 times its size"),
		raw("bomb", append(gzipped(bytes.TrimSuffix(tarOf(evilSource(honest(), pwned)...), make([]byte, 1024))), bomb...),
			`"evil-1.0/pwned"`, "unpacks to more than 200 times its size"),
		raw("bomb behind the end", append(gzipped(tarOf(evilSource(honest())...)), bomb...), "unpacks to more than 200 times its size"),
		raw("nothing", gzipped(tarOf()), "the archive is empty"),
		raw("text", []byte("<html>sign in</html>"), "invalid header"),
		raw("cut", whole[:len(whole)-30], "unexpected EOF"),
		raw("wrong checksum", append(whole[:len(whole)-8:len(whole)-8], 1, 2, 3, 4, whole[len(whole)-4], whole[len(whole)-3], whole[len(whole)-2], whole[len(whole)-1]), "checksum"),
		raw("another project's PKG-INFO", gzipped(tarOf(append([]tarEntry{{name: "evil-1.0/PKG-INFO", body: "Metadata-Version: 2.2\nName: pip\nVersion: 1.0\n"}}, evilSource(honest())[1:]...)...)),
			"is of pip 1.0"),
		raw("another version's PKG-INFO", gzipped(tarOf(append([]tarEntry{{name: "evil-1.0/PKG-INFO", body: "Metadata-Version: 2.2\nName: evil\nVersion: 2.0\n"}}, evilSource(honest())[1:]...)...)),
			"is of evil 2.0"),
		raw("several top folders", gzipped(tarOf(evilSource(honest(), tarEntry{name: "pwned/x"})...)), "evil 1.0", "neither pyproject.toml nor setup.py"),
		allowed("the later gzip is a part of the whole, as gzip's standard has it",
			raw("concatenated gzips", append(gzipped(tarOf(evilSource(honest())...)[:1500]), gzipped(tarOf(evilSource(honest())...)[1500:])...)), nil),
		allowed("what follows a tar's end is read by nobody", raw("a second tar behind the first", gzipped(append(tarOf(evilSource(honest())...), tarOf(tarEntry{name: "../pwned"})...))), nil),
		allowed("no other installer demands a top folder", raw("no top folder", gzipped(tarOf(flat()...))), nil),
	}
	return append(cases, zipSources()...)
}

// flat is the source without its top folder.
func flat() []tarEntry {
	all := evilSource(honest())
	for i := range all {
		all[i].name = strings.TrimPrefix(all[i].name, "evil-1.0/")
	}
	return all
}

// zipSources are source distributions in zip archives.
func zipSources() []hostile {
	of := func(name string, more *zip.FileHeader, content string, want ...string) hostile {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for _, e := range evilSource(honest()) {
			f, err := w.Create(e.name)
			if err == nil {
				_, err = f.Write([]byte(e.body))
			}
			if err != nil {
				panic(err)
			}
		}
		f, err := w.CreateRaw(more)
		if err == nil {
			_, err = f.Write([]byte(content))
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			panic(err)
		}
		return hostile{name: "zip sdist: " + name, want: append(want, "evil-1.0.zip"), serve: func(*box) site {
			return site{files: map[string][]byte{"evil-1.0.zip": b.Bytes()}}
		}}
	}
	named := func(name string) *zip.FileHeader { return &zip.FileHeader{Name: name} }
	link := named("evil-1.0/x")
	link.ExternalAttrs, link.CreatorVersion = 0o120777<<16, 3<<8
	link.CompressedSize64, link.UncompressedSize64, link.CRC32 = 11, 11, 0x7a2c0a8d
	locked := named("evil-1.0/pwned")
	locked.Flags = 1
	bomb := named("evil-1.0/pwned")
	bomb.Method, bomb.UncompressedSize64 = zip.Deflate, 900<<20
	kernel := string(zeros(900))
	bomb.CompressedSize64 = uint64(len(kernel))
	lie := named("evil-1.0/pwned")
	lie.Method, lie.UncompressedSize64, lie.CompressedSize64 = zip.Deflate, 100, uint64(len(kernel))
	return []hostile{
		of("traversal", named("../pwned"), "", `"../pwned": has a ".." in its name`),
		of("absolute", named("/tmp/pwned"), "", "is an absolute path"),
		of("drive letter", named("C:pwned"), "", "is an absolute path"),
		of("backslashes", named(`..\pwned`), "", "backslash or NUL"),
		of("NUL", named("evil-1.0/pwned\x00.txt"), "", "backslash or NUL"),
		of("file that is a folder too", named("evil-1.0/backend.py/pwned"), "", "which is a file"),
		of("encrypted", locked, "", `"evil-1.0/pwned": is encrypted`),
		of("bomb", bomb, kernel, "unpacks to more than 200 times its size"),
		of("bomb in disguise", lie, kernel, `"evil-1.0/pwned"`),
		of("link with a wrong checksum", link, "/etc/passwd", "checksum"),
	}
}

// buildCases are builds, which are programs of the attacker's that run: what they must not do is
// to learn of our credentials, to flood us, to stay, or to have a hostile wheel accepted.
func buildCases() []hostile {
	of := func(name, backend string, want ...string) hostile {
		return hostile{name: "build: " + name, serve: sourceOf(gzipped(tarOf(evilSource(backend)...))), want: append(want, "evil 1.0")}
	}
	project := func(name, pyproject string, want ...string) hostile {
		all := evilSource(honest())
		all[1].body = pyproject
		return hostile{name: "build: " + name, serve: sourceOf(gzipped(tarOf(all...))), want: append(want, "evil 1.0")}
	}
	path := func(name, path string, want ...string) hostile {
		return project(name, fmt.Sprintf("[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [%q]\n", path), want...)
	}
	wheel := func(name string, change func(*wheeltest.Wheel), filename string, want ...string) hostile {
		w := evil()
		change(&w)
		return of(name, builds(wheeltest.Build(w), filename), want...)
	}
	good := evil().Filename()
	return []hostile{
		path("backend-path that leads out", "../..", `"../.." does not lie inside the source`),
		path("backend-path that is absolute", "/tmp", `"/tmp" does not lie inside the source`),
		project("bottomless TOML", "x = "+strings.Repeat("[", 1_000_000), "pyproject.toml"),
		project("TOML of 5 MB", strings.Repeat("# comment\n", 500_000), "pyproject.toml is larger than 4194304 bytes"),
		project("backend that is code", "[build-system]\nrequires = []\nbuild-backend = \"os;x\"\n", "build-backend is not of the form"),
		project("requirement that is a file", "[build-system]\nrequires = [\"x @ file:///etc\"]\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n"),
		wheel("wheel with a traversal", func(w *wheeltest.Wheel) { w.Files["../pwned"] = "x" }, good, "checking the wheel", `".." segment`),
		wheel("wheel of another project", func(w *wheeltest.Wheel) { w.Name = "pip" }, "pip-1.0-py3-none-any.whl", "checking the wheel", `is of "pip"`),
		wheel("wheel of another version", func(w *wheeltest.Wheel) { w.Version = "2.0" }, "evil-2.0-py3-none-any.whl", "checking the wheel", "version 2.0, not 1.0"),
		wheel("wheel of a name with a folder", func(*wheeltest.Wheel) {}, "../../"+good, "which is not the name of a .whl"),
		of("wheel that is a fifo", `import os
def build_wheel(folder, settings=None, metadata=None):
    os.mkfifo(folder + "/evil-1.0-py3-none-any.whl")
    return "evil-1.0-py3-none-any.whl"
`, "is not a file"),
		of("no answer", "import os\ndef build_wheel(*a): os._exit(0)\n", "the build ended before its hook did"),
		of("an answer that is no name", "def build_wheel(*a): return {'x': 1}\n", "returned something else than it should"),
		of("megabytes of output", `import sys
def build_wheel(*a):
    for i in range(30): print("\x1b[31mpwned \x07" * 100000)
    sys.exit("no")
`, "building the wheel failed"),
		{name: "build: looks for credentials", harmless: "there are none to be seen", serve: sourceOf(gzipped(tarOf(evilSource(honest() + spy)...))),
			args: []string{"-c", "AUTH/cache", "-i", "AUTH/simple", "evil"}, env: []string{
				"CURD_INDEX_URL=AUTH/simple", "CURD_CACHES=AUTH", "PIP_INDEX_URL=AUTH/simple", "PIP_EXTRA_INDEX_URL=AUTH/simple", "UV_INDEX_URL=AUTH/simple",
				"UV_INDEX_PRIVATE_PASSWORD=hunter2", "TWINE_PASSWORD=hunter2", "POETRY_HTTP_BASIC_X_PASSWORD=hunter2", "HATCH_INDEX_AUTH=hunter2",
				"GITHUB_TOKEN=hunter2", "AWS_SECRET_ACCESS_KEY=hunter2", "CARGO_REGISTRIES_X_TOKEN=hunter2", "SETUPTOOLS_SCM_TOKEN=hunter2", "NETRC=BOX/home/.netrc",
			}},
		{name: "build: writes about itself", harmless: "its home and its temporary folder are its own, and go with it",
			serve: sourceOf(gzipped(tarOf(evilSource(honest() + `
def work(folder):
    for d in "~", tempfile.gettempdir(), "..", "../..", folder:
        open(os.path.join(os.path.expanduser(d), "pwned"), "w").close()
`)...)))},
		{name: "build: leaves a process behind", harmless: "the build's processes end with it", serve: func(b *box) site {
			return sourceOf(gzipped(tarOf(evilSource(honest() + leaves(b, "pass"))...)))(b)
		}, check: processGone},
	}
}

// spy looks for secrets wherever a program finds them that does not leave its folders.
const spy = `
def work(folder):
    seen = dict(os.environ)
    for base in os.path.expanduser("~"), os.getcwd(), tempfile.gettempdir():
        for where, _, names in os.walk(base):
            for n in names:
                if n != "backend.py": seen[n] = open(os.path.join(where, n), "rb").read().decode("latin-1")
    for what in "2retnuh", "t3rc3s":
        for k, v in seen.items():
            if what[::-1] in v: sys.exit("found in " + k)
`

// leaves starts a process that goes on, tells its number in a file, and does something more.
func leaves(b *box, then string) string {
	return fmt.Sprintf(`
def work(folder):
    p = subprocess.Popen(["sleep", "300"])
    open(%q, "w").write(str(p.pid))
    %s
`, filepath.Join(b.dir, "pid"), then)
}

// processGone looks whether the process that a build left is still at work. It has a moment to die.
func processGone(t *testing.T, b *box) {
	text, err := os.ReadFile(filepath.Join(b.dir, "pid"))
	if err != nil {
		t.Error(err)
		return
	}
	for range 6000 {
		status, err := os.ReadFile("/proc/" + string(text) + "/stat")
		if err != nil || strings.Contains(string(status), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %s is still there", text)
}

// TestEndlessBuild: Ctrl-C ends a build that never would, and what it started.
func TestEndlessBuild(t *testing.T) {
	t.Parallel()
	a := newAttacker(t)
	b := a.newBox(t)
	a.offer(b, hostile{name: "endless", serve: sourceOf(gzipped(tarOf(evilSource(honest() + leaves(b, "p.wait()"))...)))})
	before := list(t, b.dir)
	cmd := a.command(t.Context(), b, []string{"install", "--python", b.venv, "-i", b.url + "/simple", "evil"}, nil)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if text, _ := os.ReadFile(filepath.Join(b.dir, "pid")); len(text) > 0 {
			break
		}
		if time.Since(start) > maxTime {
			t.Error("the build does not begin")
			break
		}
	}
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	processGone(t, b)
	if err := os.Remove(filepath.Join(b.dir, "pid")); err != nil {
		t.Fatal(err)
	}
	if bad := changes(before, list(t, b.dir)); bad != "" {
		t.Error(bad)
	}
}
