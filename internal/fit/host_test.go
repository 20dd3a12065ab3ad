package fit

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// compileProgram makes a program that brings a symbol.
func compileProgram(t *testing.T, out string, args ...string) {
	t.Helper()
	c := filepath.Join(t.TempDir(), "main.c")
	write(t, c, []byte("int brought(void) { return 1; }\nint main(void) { return 0; }\n"))
	if err := os.MkdirAll(filepath.Dir(out), 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("gcc", append([]string{"-rdynamic", "-o", out, c}, args...)...)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
}

// lacks reads a wheel's files anew and says what a host lacks for them.
func lacks(t *testing.T, h *Host, at Place, site string, paths ...string) string {
	t.Helper()
	n, err := Read(site, paths)
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, l := range h.Lacks(n, at) {
		said = append(said, l.String())
	}
	return strings.Join(said, "; ")
}

// TestSymbols: a library of the host may be of the right name, without versions, and too old for all that.
func TestSymbols(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	host, site, python := filepath.Join(dir, "host"), filepath.Join(dir, "site"), filepath.Join(dir, "bin/python")
	compileProgram(t, python)
	near := filepath.Join(host, "libnear.so.1")
	compile(t, near, "void near(void){} void far(void){}", "-Wl,-soname,libnear.so.1")
	compile(t, filepath.Join(site, "m.so"), "void near(void); void far(void); int brought(void); int own(void) __attribute__((weak)); int f(void){ near(); far(); return brought() + (own ? own() : 0); }", near)
	ask := func(at Place) string {
		h := ThisHost()
		h.env = []string{host}
		return lacks(t, h, at, site, "m.so")
	}
	if said := ask(Place{Arch: arch, Python: python}); said != "" {
		t.Errorf("with all: %s", said)
	}
	compile(t, near, "void near(void){}", "-Wl,-soname,libnear.so.1")
	if said := ask(Place{Arch: arch, Python: python}); said != "no library that it loads here has far: one of them is too old" {
		t.Errorf("with an old library: %s", said)
	}
	// Of an interpreter that cannot be read nothing is known, and so nothing is said of symbols.
	for _, other := range []string{"", filepath.Join(dir, "gone"), filepath.Join(site, "..", "site")} {
		if said := ask(Place{Arch: arch, Python: other}); said != "" {
			t.Errorf("for the interpreter %q: %s", other, said)
		}
	}
	// Another wheel brings the library, which is not looked at.
	if err := os.Remove(near); err != nil {
		t.Fatal(err)
	}
	if said := ask(Place{Arch: arch, Python: python, Beside: func(name string) bool { return name == "libnear.so.1" }}); said != "" {
		t.Errorf("with the library of another wheel: %s", said)
	}
	if said := ask(Place{Arch: arch, Python: python, Beside: func(string) bool { return false }}); said != "libnear.so.1 is missing" {
		t.Errorf("without the library: %s", said)
	}
}

// TestLoaded: what the interpreter has loaded is there for modules, and so is what lies where its DT_RPATH says.
func TestLoaded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lib, site := filepath.Join(dir, "lib"), filepath.Join(dir, "site")
	compile(t, filepath.Join(lib, "libpython3.so"), "int api(void){ return 1; }", "-Wl,-soname,libpython3.so")
	compile(t, filepath.Join(lib, "libextra.so"), "int extra(void){ return 1; }", "-Wl,-soname,libextra.so")
	compile(t, filepath.Join(site, "m.so"), "int api(void); int extra(void); int f(void){ return api() + extra(); }",
		filepath.Join(lib, "libpython3.so"), filepath.Join(lib, "libextra.so"))
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"DT_RPATH":            {[]string{"-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib"}, ""},
		"DT_RUNPATH":          {[]string{"-Wl,--enable-new-dtags,-rpath,$ORIGIN/../lib"}, "libextra.so is missing"},
		"DT_RUNPATH, ${}":     {[]string{"-Wl,--enable-new-dtags,-rpath,${ORIGIN}/../lib"}, "libextra.so is missing"},
		"DT_RUNPATH, in full": {[]string{"-Wl,--enable-new-dtags,-rpath," + lib}, "libextra.so is missing"},
	} {
		python := filepath.Join(dir, "bin", strings.Map(func(r rune) rune {
			if r == ' ' || r == '{' || r == '}' || r == ',' || r == '$' {
				return '-'
			}
			return r
		}, name))
		compileProgram(t, python, append(test.args, "-Wl,--no-as-needed", filepath.Join(lib, "libpython3.so"))...)
		// As a virtualenv has it.
		link := filepath.Join(dir, "venv", filepath.Base(python), "bin/python")
		if err := os.MkdirAll(filepath.Dir(link), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(python, link); err != nil {
			t.Fatal(err)
		}
		if said := lacks(t, ThisHost(), Place{Arch: arch, Python: link}, site, "m.so"); said != test.want {
			t.Errorf("%s: %q, want %q", name, said, test.want)
		}
	}
}

// TestMusl: an interpreter of musl takes no library of glibc's, though one lies on the host, and the other way round. The root is made up, and
// so is its musl.
func TestMusl(t *testing.T) {
	t.Parallel()
	root, site := t.TempDir(), t.TempDir()
	loader := filepath.Join(root, "lib/ld-musl.so.1")
	compile(t, loader, "void *malloc(unsigned long n){ return 0; } int extra(void){ return 1; }", "-nostdlib", "-Wl,-soname,libc.musl.so.1")
	compile(t, filepath.Join(root, "usr/lib/libz.so.1"), "int z(void){ return 1; }", "-nostdlib", "-Wl,-soname,libz.so.1")
	compile(t, filepath.Join(root, "lib64/libc.so.6"), "void *malloc(unsigned long n){ return 0; }", "-nostdlib", "-Wl,-soname,libc.so.6")
	compileProgram(t, filepath.Join(root, "usr/bin/python"), "-nostdlib", "-Wl,-e,main,--dynamic-linker,/lib/ld-musl.so.1", loader)
	compileProgram(t, filepath.Join(root, "usr/bin/python-glibc"), "-nostdlib", "-Wl,-e,main,--dynamic-linker,/lib64/ld-linux.so.2", filepath.Join(root, "lib64/libc.so.6"))
	const source = "void *malloc(unsigned long); int z(void); int f(void){ return malloc(1) != 0 && z(); }"
	compile(t, filepath.Join(site, "musl.so"), source, "-nostdlib", loader, filepath.Join(root, "usr/lib/libz.so.1"))
	compile(t, filepath.Join(site, "glibc.so"), source, "-nostdlib", filepath.Join(root, "lib64/libc.so.6"), filepath.Join(root, "usr/lib/libz.so.1"))
	compile(t, filepath.Join(site, "newer.so"), "int newer(void); int f(void){ return newer(); }", "-nostdlib", loader)
	for _, test := range []struct{ file, python, want string }{
		{"musl.so", "/usr/bin/python", ""},
		{"glibc.so", "/usr/bin/python", "libc.so.6 is glibc's, and this Python has musl"},
		{"newer.so", "/usr/bin/python", "no library that it loads here has newer: one of them is too old"},
		{"glibc.so", "/usr/bin/python-glibc", ""},
		{"musl.so", "/usr/bin/python-glibc", "libc.musl.so.1 is missing"},
	} {
		h := ThisHost()
		h.root, h.env = root, nil
		if said := lacks(t, h, Place{Arch: arch, Python: test.python}, site, test.file); said != test.want {
			t.Errorf("%s with %s: %q, want %q", test.file, test.python, said, test.want)
		}
	}
	// musl has the folders that its list says, and no others.
	write(t, filepath.Join(root, "etc/ld-musl-any.path"), []byte("/lib\n/opt/lib"))
	h := ThisHost()
	h.root, h.env = root, nil
	if said := lacks(t, h, Place{Arch: arch, Python: "/usr/bin/python"}, site, "musl.so"); !strings.HasPrefix(said, "libz.so.1 is missing") {
		t.Errorf("with a list without /usr/lib: %q", said)
	}
}

func TestLackString(t *testing.T) {
	t.Parallel()
	for lack, want := range map[Lack]string{
		{Library: "libpq.so.5"}:  "libpq.so.5 is missing (Debian: libpq5)",
		{Library: "libssl.so.3"}: "libssl.so.3 is missing (Debian 12: libssl3, 13: libssl3t64)",
		{Library: "libown.so"}:   "libown.so is missing",
		{Library: "libc.so.6", Version: "GLIBC_2.38", Found: "/lib/libc.so.6"}: "/lib/libc.so.6 has no GLIBC_2.38: it is too old",
		{Library: "libc.so.6", Libc: true}:                                     "libc.so.6 is glibc's, and this Python has musl",
		{Symbol: "far"}:                                                        "no library that it loads here has far: one of them is too old",
		{Level: 3}:                                                             "the processor lacks the instruction set x86-64-v3",
	} {
		if got := lack.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for library, brings := range packages() {
		if !strings.HasPrefix(library, "lib") || !strings.Contains(library, ".so.") || !strings.HasPrefix(brings, "Debian") {
			t.Errorf("packages.txt: %q: %q", library, brings)
		}
	}
}
