//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"curdling/internal/wheel/wheeltest"
)

// wheelCases are whole zip archives that are no honest wheels.
func wheelCases() []hostile {
	return append(append(pathCases(), contentCases()...), scriptCases()...)
}

// made is a case of one changed wheel.
func made(name string, change func(w *wheeltest.Wheel), want ...string) hostile {
	w := evil()
	change(&w)
	return hostile{name: "wheel: " + name, serve: wheelOf(wheeltest.Build(w)), want: append(want, evil().Filename())}
}

// allowed makes of a case one that is accepted, and says why that does no harm.
func allowed(why string, h hostile, check func(t *testing.T, b *box)) hostile {
	h.harmless, h.check = why, check
	return h
}

// pathCases are about the names of members.
func pathCases() []hostile {
	file := func(name, path string, want ...string) hostile {
		return made(name, func(w *wheeltest.Wheel) { w.Files[path] = "x = 1\n" }, want...)
	}
	raw := func(name string, e zipEntry, want ...string) hostile {
		return hostile{name: "wheel: " + name, want: append(want, evil().Filename()), serve: wheelOf(evilZip().add(e).bytes())}
	}
	member := func(path, content string, mode uint32) zipEntry {
		e := stored(path, content)
		e.mode = mode
		return e
	}
	unmarked := stored("evil/pwn\u00e9d.py", "")
	unmarked.flags = 0
	dos := stored("evil/pwn\x82d.py", "") // é to code page 437
	dos.flags = 0
	const special = "is a link, device or other special file"
	return []hostile{
		file("traversal", "../pwned.py", `path "../pwned.py" has a ".." segment`),
		file("traversal, deep", strings.Repeat("../", 12)+"tmp/pwned.py", `has a ".." segment`),
		file("traversal, inside", "evil/../../pwned.py", `has a ".." segment`),
		file("traversal at the end", "evil/..", `has a ".." segment`),
		file("the folder itself", "evil/.", `has a "." segment`),
		file("dot first", "./pwned.py", `has a "." segment`),
		file("empty segment", "evil//pwned.py", "has an empty segment"),
		{name: "wheel: absolute", want: []string{evil().Filename(), "absolute path"}, serve: func(b *box) site {
			w := evil()
			w.Files[b.dir+"/pwned.py"] = "x = 1\n"
			return wheelOf(wheeltest.Build(w))(b)
		}},
		file("absolute, twice", "//pwned/share/x.py", "absolute path"),
		file("drive letter", "C:pwned.py", "drive letter"),
		file("drive letter and folder", "c:/pwned.py", "drive letter"),
		file("backslashes", `..\pwned.py`, "holds the character"),
		file("backslash inside", `evil\pwned.py`, "holds the character"),
		file("NUL", "evil/pwned.py\x00.txt", "holds the character"),
		file("line break", "evil/pwned\n.py", "holds the character"),
		file("carriage return", "evil/pwned\r.py", "holds the character"),
		file("terminal escape", "evil/\x1b]0;pwned\x07.py", "holds the character"),
		file("C1 control", "evil/pwned\u009b31m.py", "holds the character"),
		file("line separator", "evil/pwned\u2028.py", "holds the character"),
		file("300 bytes", "evil/"+strings.Repeat("p", 300), "segment of 300 bytes, at most 255"),
		file("depth of 1000", strings.Repeat("a/", 1000)+"pwned.py", "path of 2008 bytes, at most 1024"),
		file("not UTF-8", "evil/pwned\xff.py", "is not UTF-8"),
		file("overlong UTF-8", "evil/\xc0\xae\xc0\xae/pwned.py", "is not UTF-8"),
		raw("UTF-8 that is not marked so", unmarked, "is not marked as UTF-8"),
		raw("code page 437", dos, "is not UTF-8"),
		raw("no name", stored("", "x"), "empty path"),
		raw("root", member("/", "", 0o040755), "empty path"),
		file("twice but for case", "Evil/__Init__.py", "are one name where case or Unicode's forms do not count"),
		made("twice but for Unicode's form", func(w *wheeltest.Wheel) {
			w.Files["evil/caf\u00e9.py"], w.Files["evil/cafe\u0301.py"] = "x = 1\n", "x = 2\n"
		}, "are one name where case or Unicode's forms do not count"),
		made("twice but for the Kelvin sign", func(w *wheeltest.Wheel) {
			w.Files["evil/k.py"], w.Files["evil/\u212a.py"] = "x = 1\n", "x = 2\n"
		}, "are one name where case or Unicode's forms do not count"),
		file("file and folder", "evil/data.txt/pwned.py", "evil/data.txt is a file, and evil/data.txt a folder"),
		file("file and folder but for case", "evil/DATA.txt/pwned.py", "evil/data.txt is a file, and evil/DATA.txt a folder"),
		raw("symbolic link", member("evil/pwned", "/etc/passwd", 0o120777), special),
		raw("symbolic link to a folder", member("evil/pwned/", "..", 0o120777), "is a folder by name and something else"),
		raw("symbolic link, and a file through it", member("evil", "..", 0o120777), special),
		raw("block device", member("evil/pwned", "", 0o060666), special),
		raw("character device", member("evil/pwned", "", 0o020666), special),
		raw("fifo", member("evil/pwned", "", 0o010666), special),
		raw("socket", member("evil/pwned", "", 0o140666), special),
		raw("folder with content", member("evil/pwned/", "x", 0o040755), "is a folder by name and something else"),
		raw("file that is a folder by mode", member("evil/pwned", "", 0o040755), special),
		raw("encrypted", func() zipEntry { e := stored("evil/pwned", "x"); e.flags |= 1; return e }(), "evil/pwned: is encrypted"),
		raw("unknown compression", func() zipEntry { e := stored("evil/pwned", "x"); e.method = 14; return e }(), "compression method 14 is not supported"),

		allowed("of a mode only the executable bits are kept", hostile{name: "wheel: setuid", serve: func(*box) site {
			z := evilZip()
			z.entry("data.txt").mode = 0o107777
			return wheelOf(z.bytes())(nil)
		}}, func(t *testing.T, b *box) {
			info, err := os.Stat(filepath.Join(b.site, "evil", "data.txt"))
			if err != nil || info.Mode()&^0o755 != 0 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
		}),
		allowed("Windows refuses such names when it unpacks, and elsewhere they are names like others, which wheels have",
			made("names that Windows reserves", func(w *wheeltest.Wheel) {
				for _, name := range []string{"aux.py", "CON", "nul.txt", "com1", "x.py.", "x.py ", "x.txt:stream"} {
					w.Files["evil/"+name] = "x = 1\n"
				}
			}), nil),
		allowed("letters that look alike are different files everywhere", file("Cyrillic a", "evil/d\u0430ta.txt"), nil),
		allowed("1,024 bytes are short enough for every system", file("depth of 400", strings.Repeat("a/", 400)+"x.py"), nil),
	}
}

// contentCases are about RECORD, METADATA and WHEEL.
func contentCases() []hostile {
	const info = "evil-1.0.dist-info/"
	empty := "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
	record := func(name string, change func(string) string, want ...string) hostile {
		return made(name, func(w *wheeltest.Wheel) {
			w.Files["evil/empty"] = ""
			members := w.Members()
			w.RawRecord = change(members[len(members)-1].Content)
		}, want...)
	}
	row := func(name, row string, want ...string) hostile {
		return record(name, func(s string) string { return row + "\n" + s }, want...)
	}
	metadata := func(name, text string, want ...string) hostile {
		return made(name, func(w *wheeltest.Wheel) { w.Metadata = text }, want...)
	}
	// These the resolver meets first: it names project and version.
	unsolved := func(name, text string, want ...string) hostile {
		h := metadata(name, text)
		h.want = slices.Concat([]string{"evil 1.0"}, want)
		return h
	}
	wheelFile := func(name, text string, want ...string) hostile {
		return made(name, func(w *wheeltest.Wheel) { w.RawWheel = text }, want...)
	}
	return []hostile{
		made("RECORD with a wrong hash", func(w *wheeltest.Wheel) { w.DeclaredSHA256 = map[string]string{"evil/__init__.py": empty} },
			"evil/__init__.py: has the hash", "RECORD says sha256="+empty),
		record("RECORD with a wrong size", func(s string) string { return strings.Replace(s, empty+",0", empty+",7", 1) },
			"evil/empty: 0 bytes, RECORD says 7"),
		record("RECORD with a size below nothing", func(s string) string { return strings.Replace(s, empty+",0", empty+",-1", 1) },
			"RECORD:", `evil/empty: wrong size "-1"`),
		made("RECORD that lacks a file", func(w *wheeltest.Wheel) { w.Unlisted = []wheeltest.Member{{Name: "pwned.py"}} },
			"RECORD has no hash of pwned.py"),
		record("RECORD that lacks a hash", func(s string) string { return strings.Replace(s, "sha256="+empty, "", 1) },
			"RECORD has no hash of evil/empty"),
		row("RECORD with too much", "pwned.py,sha256="+empty+",0", "RECORD lists pwned.py, which is no file of the wheel"),
		row("RECORD with a traversal", "../../../pwned,sha256="+empty+",0", "RECORD lists ../../../pwned, which is no file of the wheel"),
		row("RECORD with an absolute path", "/etc/pwned,sha256="+empty+",0", "RECORD lists /etc/pwned, which is no file of the wheel"),
		row("RECORD with MD5", "evil/empty,md5=1B2M2Y8AsgTpgAmY7PhCfg,0", `hash algorithm "md5" is not one of`),
		row("RECORD with two opinions", "evil/empty,sha256="+strings.Replace(empty, "47", "48", 1)+",0", "evil/empty is listed twice"),
		row("RECORD with a short hash", "evil/empty,sha256=47DE,0", "is not a sha256 digest"),
		row("RECORD that is no table", `"evil/empty`, "RECORD:1: not a row of path, hash and size"),
		made("no RECORD", func(w *wheeltest.Wheel) { w.Without = []string{info + "RECORD"} }, "has no "+info+"RECORD"),
		made("RECORD that is a folder", func(w *wheeltest.Wheel) {
			w.Without = []string{info + "RECORD"}
			w.Unlisted = []wheeltest.Member{{Name: info + "RECORD/"}}
		}, "has no "+info+"RECORD"),
		allowed("such rows are not taken over into the installed RECORD, by which files are removed", row("RECORD with a traversal and no hash", "../../../../bin/other,,"),
			func(t *testing.T, b *box) {
				text, err := os.ReadFile(filepath.Join(b.site, info+"RECORD"))
				if err != nil || strings.Contains(string(text), "other") {
					t.Errorf("%s, %v", text, err)
				}
			}),

		made("no .dist-info", func(w *wheeltest.Wheel) { w.DistInfo = "evil" }, "has no .dist-info folder"),
		made("two .dist-info", func(w *wheeltest.Wheel) { w.Files["pip-99.dist-info/METADATA"] = "Name: pip\nVersion: 99\n" }, "pip-99.dist-info"),
		made("two .dist-info but for case", func(w *wheeltest.Wheel) { w.Files["Evil-1.0.dist-info/METADATA"] = "x" }, "has two .dist-info folders"),
		made("two .dist-info that normalise alike", func(w *wheeltest.Wheel) { w.Files["evil-1.0.0.dist-info/METADATA"] = "x" }, "has two .dist-info folders"),
		made("a second .DIST-INFO", func(w *wheeltest.Wheel) { w.Files["pip-99.DIST-INFO/METADATA"] = "Name: pip\nVersion: 99\n" },
			"pip-99.DIST-INFO must end in .dist-info, in lower case"),
		made("another project's .dist-info", func(w *wheeltest.Wheel) { w.DistInfo = "pip-1.0.dist-info" }, "pip-1.0.dist-info is not of evil 1.0"),
		made("another version's .dist-info", func(w *wheeltest.Wheel) { w.DistInfo = "evil-1.1.dist-info" }, "evil-1.1.dist-info is not of evil 1.0"),
		made("another project's .dist-info below .data", func(w *wheeltest.Wheel) {
			w.Data = map[string]string{"purelib/pip-99.dist-info/METADATA": "Name: pip\nVersion: 99\n"}
		}, "would become another distribution's .dist-info"),

		metadata("METADATA of another project", "Metadata-Version: 2.1\nName: pip\nVersion: 1.0\n", "is of pip 1.0"),
		metadata("METADATA of another version", "Metadata-Version: 2.1\nName: evil\nVersion: 2.0\n", "is of evil 2.0"),
		unsolved("METADATA without a name", "Metadata-Version: 2.1\nVersion: 1.0\n", "Name: is missing"),
		unsolved("METADATA without a version", "Metadata-Version: 2.1\nName: evil\n", "Version: is missing"),
		metadata("METADATA with two names", "Metadata-Version: 2.1\nName: evil\nName: pip\nVersion: 1.0\n", `METADATA: says Name twice: "evil" and "pip"`),
		metadata("METADATA with two versions", "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\nVersion: 9\n", `METADATA: says Version twice: "1.0" and "9"`),
		unsolved("METADATA with a path for a name", "Metadata-Version: 2.1\nName: ../pwned\nVersion: 1.0\n", `name "../pwned"`),
		unsolved("METADATA with a confusable name", "Metadata-Version: 2.1\nName: ev\u0456l\nVersion: 1.0\n", "Name: name"),
		unsolved("METADATA without end", "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n"+strings.Repeat("Requires-Dist: x\n", 20_000), "Requires-Dist"),
		unsolved("METADATA with a bottomless marker", "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\nRequires-Dist: x; "+strings.Repeat("(", 1_000_000)+"\n", "Requires-Dist"),
		unsolved("METADATA that needs a file of this machine", "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\nRequires-Dist: x @ file:///etc\n",
			"requires a file of this machine"),
		unsolved("METADATA that needs a FILE of this machine", "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\nRequires-Dist: x @ FILE:///etc\n",
			"requires a file of this machine"),
		unsolved("METADATA that needs a repository", "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\nRequires-Dist: x @ git+file:///etc\n"),
		made("no METADATA", func(w *wheeltest.Wheel) { w.Without = []string{info + "METADATA"} }, "has no "+info+"METADATA"),

		wheelFile("Wheel-Version 2", "Wheel-Version: 2.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n", `Wheel-Version "2.0" is not supported`),
		wheelFile("Wheel-Version 11", "Wheel-Version: 11\n", `Wheel-Version "11" is not supported`),
		wheelFile("no Wheel-Version", "Tag: py3-none-any\n", `Wheel-Version "" is not supported`),
		wheelFile("two Wheel-Versions", "Wheel-Version: 1.0\nWheel-Version: 2.0\n", `WHEEL: says Wheel-Version twice: "1.0" and "2.0"`),
		wheelFile("two Root-Is-Purelib", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nRoot-Is-Purelib: false\n", "WHEEL: says Root-Is-Purelib twice"),
		made("no WHEEL", func(w *wheeltest.Wheel) { w.Without = []string{info + "WHEEL"} }, "has no "+info+"WHEEL"),
		{name: "wheel: text", serve: wheelOf([]byte("<html>sign in</html>" + strings.Repeat(" ", 100))), want: []string{evil().Filename(), "not a zip archive"}},
		{name: "wheel: nothing", serve: wheelOf([]byte{}), want: []string{"evil"}},
	}
}

// scriptCases are about what lands outside of site-packages.
func scriptCases() []hostile {
	script := func(name, line string, want ...string) hostile {
		return made(name, func(w *wheeltest.Wheel) { w.EntryPoints = "[console_scripts]\n" + line + "\n" }, want...)
	}
	data := func(name, path string, want ...string) hostile {
		return made(name, func(w *wheeltest.Wheel) { w.Data = map[string]string{path: "#!python\n"} }, want...)
	}
	many := func(w *wheeltest.Wheel) {
		var b strings.Builder
		b.WriteString("[gui_scripts]\n")
		for i := range 10_001 {
			fmt.Fprintf(&b, "pwned%d = evil:x\n", i)
		}
		w.EntryPoints = b.String()
	}
	const overwrites = "pip overwrites it too, and it lies in the environment, which the package's code can change whenever it runs"
	const interpreter = "must not be called like the interpreter"
	return []hostile{
		script("script ../x", "../pwned = evil:main", `entry point "../pwned"`),
		script("script in a folder", "a/pwned = evil:main", "a script's name is not a path"),
		script("script with an absolute path", "/bin/pwned = evil:main", `entry point "/bin/pwned"`),
		script("script with backslashes", `..\pwned = evil:main`, "holds the character"),
		script("script ..", ".. = evil:main", `entry point ".."`),
		script("script without a name", " = evil:main", `entry point ""`),
		script("script with a terminal escape", "\x1b[2Jpwned = evil:main", "holds the character"),
		script("script with a line break", "pwned\rx = evil:main", "is not of the form"),
		script("script with a space", "pwned pwned = evil:main", "has no spaces"),
		script("script python", "python = evil:main", interpreter),
		script("script python3", "python3 = evil:main", interpreter),
		script("script PYTHON3.11", "PYTHON3.11 = evil:main", interpreter),
		script("script python.exe", "python.exe = evil:main", interpreter),
		script("script python with a dot", "python. = evil:main", interpreter),
		script("script pypy3", "pypy3 = evil:main", interpreter),
		script("script that is code", "pwned = evil:main();import os", "is not of the form module:attr"),
		script("script whose module is code", "pwned = os;x:main", "is not of the form module:attr"),
		script("script that ends its string", `pwned = evil:main'"""`, "is not of the form module:attr"),
		made("ten thousand scripts and one", many, "more than 10000 entry points"),
		data(".data with an unknown scheme", "stdlib/pwned.py", `the wheel format knows no "stdlib"`),
		data(".data with a traversal", "scripts/../../pwned", `has a ".." segment`),
		data(".data with a file for a scheme", "scripts", "is a file where a folder belongs"),
		data(".data/scripts/python", "scripts/python", interpreter),
		data(".data/scripts/Python3", "scripts/Python3", interpreter),
		data(".data/data/bin/python", "data/bin/python", "is the environment's interpreter"),
		data(".data/data/pyvenv.cfg", "data/pyvenv.cfg", "is the environment's configuration"),
		made("two .data", func(w *wheeltest.Wheel) {
			w.Data = map[string]string{"purelib/x.py": ""}
			w.Files["pip-1.data/purelib/pwned.py"] = ""
		}, "pip-1.data"),
		made("another project's .data", func(w *wheeltest.Wheel) { w.Files["pip-1.data/purelib/pwned.py"] = "" }, "pip-1.data is not of evil 1.0"),
		allowed(overwrites, script("script of somebody else's name", "other = evil:main"), nil),
		allowed(overwrites, data("script file activate", "scripts/activate"), nil),
		allowed(overwrites, made("module of somebody else's", func(w *wheeltest.Wheel) { w.Files["other.py"] = "x = 2\n" }), nil),
		made("a folder where the environment has a file", func(w *wheeltest.Wheel) { w.Files["other.py/x.py"] = "" }, "other.py"),
		made("a file where the environment has a folder", func(w *wheeltest.Wheel) { w.Files["sub"] = "" }, "sub is a folder"),
	}
}
