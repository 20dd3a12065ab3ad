package fit

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// compile makes a shared library of C source.
func compile(t *testing.T, out, source string, args ...string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("compiles ELF files")
	}
	c := filepath.Join(t.TempDir(), "source.c")
	if err := os.WriteFile(c, []byte(source), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("gcc", append([]string{"-shared", "-fPIC", "-o", out, c}, args...)...)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
}

// arch is the machine of this test.
var arch = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestCompiled: what a compiler's output needs, which platform that is, and what this host lacks of it.
func TestCompiled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// A library of the system, of two versions, which the wheel's files need.
	script := filepath.Join(dir, "versions")
	write(t, script, []byte("NEAR_1 { global: near; };\nNEAR_2 { global: far; };\n"))
	system := filepath.Join(dir, "system")
	compile(t, filepath.Join(system, "libnear.so.1"), "void near(void){} void far(void){}", "-Wl,-soname,libnear.so.1", "-Wl,--version-script="+script)

	site := filepath.Join(dir, "site")
	compile(t, filepath.Join(site, "pkg", "plain.so"), "#include <stdio.h>\nint hello(void){ return puts(\"hello\"); }")
	compile(t, filepath.Join(site, "pkg.libs", "libown.so"), "int own(void){ return 1; }", "-Wl,-soname,libown-1.so")
	compile(t, filepath.Join(site, "pkg", "uses.so"), "void near(void); void far(void); int own(void); int f(void){ near(); far(); return own(); }",
		filepath.Join(system, "libnear.so.1"), filepath.Join(site, "pkg.libs", "libown.so"), "-Wl,-rpath,$ORIGIN/../pkg.libs:/opt/own/lib")
	write(t, filepath.Join(site, "pkg", "__init__.py"), []byte("import pkg.plain\n"))
	write(t, filepath.Join(site, "empty"), nil)

	plain, err := Read(site, []string{"empty", "pkg/__init__.py", "pkg/plain.so"})
	if err != nil || len(plain.Files) != 1 {
		t.Fatalf("plain: %+v, %v", plain, err)
	}
	if f := plain.Files[0]; f.Machine != arch || len(f.Libraries) != 1 || len(f.Libraries["libc.so.6"]) == 0 || !strings.HasPrefix(f.Libraries["libc.so.6"][0], "GLIBC_2.") {
		t.Errorf("plain needs %+v", f)
	}
	if platforms, why := plain.Platforms(""); len(platforms) == 0 || !strings.HasPrefix(platforms[0], "manylinux_2_") || !strings.HasSuffix(platforms[0], "_"+arch) || why != nil {
		t.Errorf("plain is for %q, %q", platforms, why)
	}
	if lacks := ThisHost().Lacks(plain, Place{Arch: arch}); lacks != nil {
		t.Errorf("plain lacks %v", lacks)
	}

	all, err := Read(site, []string{"pkg/uses.so", "pkg/plain.so", "pkg.libs/libown.so"})
	if err != nil {
		t.Fatal(err)
	}
	uses := all.Files[2]
	want := File{Path: "pkg/uses.so", Machine: arch, Libraries: map[string][]string{"libnear.so.1": {"NEAR_1", "NEAR_2"}}, Search: []string{"/opt/own/lib"}}
	delete(uses.Libraries, "libc.so.6") // some linkers leave it out
	if diff := cmp.Diff(want, uses, cmpopts.IgnoreUnexported(File{})); diff != "" {
		t.Errorf("uses (-want +got):\n%s", diff)
	}
	if platforms, why := all.Platforms(""); platforms != nil || len(why) != 1 || why[0] != "pkg/uses.so: needs libnear.so.1, which no policy allows" {
		t.Errorf("all are for %q, %q", platforms, why)
	}
	host := ThisHost()
	if lacks := host.Lacks(all, Place{Arch: arch}); len(lacks) != 1 || lacks[0].String() != "libnear.so.1 is missing" {
		t.Errorf("without the library: %v", lacks)
	}
	host = ThisHost()
	host.env = []string{system}
	if lacks := host.Lacks(all, Place{Arch: arch}); lacks != nil {
		t.Errorf("with the library: %v", lacks)
	}
	// The host's library is an older one.
	write(t, script, []byte("NEAR_1 { global: near; };\n"))
	compile(t, filepath.Join(system, "libnear.so.1"), "void near(void){}", "-Wl,-soname,libnear.so.1", "-Wl,--version-script="+script)
	host = ThisHost()
	host.env = []string{system}
	if lacks := host.Lacks(all, Place{Arch: arch}); len(lacks) != 1 || !strings.HasSuffix(lacks[0].String(), "libnear.so.1 has no NEAR_2: it is too old") {
		t.Errorf("with an old library: %v", lacks)
	}
	if lacks := host.Lacks(all, Place{Arch: "s390x"}); lacks != nil {
		t.Errorf("for another machine: %v", lacks)
	}
}

func TestLevel(t *testing.T) {
	t.Parallel()
	if arch != "x86_64" {
		t.Skip("x86-64 alone has levels")
	}
	dir := t.TempDir()
	compile(t, filepath.Join(dir, "v4.so"), "int f(void){ return 1; }", "-Wl,-z,x86-64-v4")
	n, err := Read(dir, []string{"v4.so"})
	if err != nil || len(n.Files) != 1 || n.Files[0].Level != 4 {
		t.Fatalf("%+v, %v", n, err)
	}
	if platforms, why := n.Platforms(""); platforms != nil || len(why) != 1 || !strings.Contains(why[0], "x86-64-v4") {
		t.Errorf("is for %q, %q", platforms, why)
	}
	for level, lacks := range map[int]int{1: 1, 3: 1, 4: 0} {
		host := ThisHost()
		host.level = level
		if got := host.Lacks(n, Place{Arch: arch}); len(got) != lacks {
			t.Errorf("level %d lacks %v", level, got)
		}
	}
}

// TestPlatform: the policies as published, in cases that no compiler here can make.
func TestPlatform(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, musl, want, why string
		file                  File
	}{
		{"old", "", "manylinux_2_5_x86_64 manylinux1_x86_64", "", File{Machine: "x86_64", Libraries: map[string][]string{"libc.so.6": {"GLIBC_2.2.5"}}}},
		{"no libc", "", "manylinux_2_17_aarch64 manylinux2014_aarch64", "", File{Machine: "aarch64"}},
		{"between", "", "manylinux_2_26_x86_64", "", File{Machine: "x86_64", Libraries: map[string][]string{"libc.so.6": {"GLIBC_2.2.5", "GLIBC_2.25"}}}},
		{"C++", "", "manylinux_2_24_x86_64", "", File{Machine: "x86_64", Libraries: map[string][]string{"libc.so.6": {"GLIBC_2.14"}, "libstdc++.so.6": {"CXXABI_1.3.9", "GLIBCXX_3.4.21"}}}},
		{"a newer library", "", "manylinux_2_24_x86_64", "", File{Machine: "x86_64", Libraries: map[string][]string{"libmvec.so.1": nil}}},
		{"riscv", "", "manylinux_2_31_riscv64", "", File{Machine: "riscv64", Libraries: map[string][]string{"libc.so.6": {"GLIBC_2.27"}}}},
		{"future", "", "", "needs GLIBC_2.99 of libc.so.6, which no policy allows", File{Machine: "x86_64", Libraries: map[string][]string{"libc.so.6": {"GLIBC_2.99"}}}},
		{"private", "", "", "needs _dist_code, a private symbol of libz.so.1", File{Machine: "x86_64", Libraries: map[string][]string{"libz.so.1": nil}, unbound: map[string]elf.SymBind{"_dist_code": elf.STB_GLOBAL}}},
		{"private once", "", "manylinux_2_24_x86_64", "", File{Machine: "x86_64", Libraries: map[string][]string{"libc.so.6": {"GLIBC_2.17"}}, unbound: map[string]elf.SymBind{"pthread_getattr_default_np": elf.STB_GLOBAL}}},
		{"other machine", "", "", "no policy is published for its machine", File{Machine: "?"}},
		{"musl", "1.2", "musllinux_1_2_x86_64", "", File{Machine: "x86_64", Libraries: map[string][]string{"libc.musl-x86_64.so.1": nil, "libz.so.1": nil}}},
		{"musl, more", "1.2", "", "needs libstdc++.so.6, which no policy allows", File{Machine: "x86_64", Libraries: map[string][]string{"libc.musl-x86_64.so.1": nil, "libstdc++.so.6": nil}}},
	} {
		test.file.Path = "x.so"
		platforms, why := Needs{Files: []File{test.file}}.Platforms(test.musl)
		wantWhy := "x.so: " + test.why
		if test.why == "" {
			wantWhy = ""
		}
		if strings.Join(platforms, " ") != test.want || strings.Join(why, "; ") != wantWhy {
			t.Errorf("%s: %q, %q, want %q, %q", test.name, platforms, why, test.want, wantWhy)
		}
	}
	if platforms, why := (Needs{}).Platforms(""); platforms != nil || why != nil {
		t.Errorf("nothing is for %q, %q", platforms, why)
	}
}

// cacheOf makes a loader's cache.
func cacheOf(pairs ...string) []byte {
	var entries, text bytes.Buffer
	at := uint32(cacheHeader + cacheEntry*len(pairs)/2)
	put := func(s string) uint32 {
		text.WriteString(s + "\x00")
		at += uint32(len(s)) + 1
		return at - uint32(len(s)) - 1
	}
	for i := 0; i < len(pairs); i += 2 {
		for _, v := range []uint32{0x303, put(pairs[i]), put(pairs[i+1]), 0, 0, 0} {
			entries.Write(binary.NativeEndian.AppendUint32(nil, v))
		}
	}
	b := binary.NativeEndian.AppendUint32([]byte(cacheMagic), uint32(len(pairs)/2))
	b = append(b, make([]byte, cacheHeader-len(b))...)
	return append(append(b, entries.Bytes()...), text.Bytes()...)
}

func TestCache(t *testing.T) {
	t.Parallel()
	b := cacheOf("libc.so.6", "/lib/a/libc.so.6", "libc.so.6", "/lib/b/libc.so.6", "libm.so.6", "/lib/libm.so.6")
	want := map[string][]string{"libc.so.6": {"/lib/a/libc.so.6", "/lib/b/libc.so.6"}, "libm.so.6": {"/lib/libm.so.6"}}
	old := append([]byte(oldCacheMagic), 1, 0, 0, 0)
	old = append(append(old, make([]byte, 12+4)...), b...)
	if diff := cmp.Diff(want, parseCache(b)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff(want, parseCache(old)); diff != "" && binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		t.Errorf("behind an old one, -want +got:\n%s", diff)
	}
}

func FuzzCache(f *testing.F) {
	f.Add(cacheOf("libc.so.6", "/lib/libc.so.6"))
	f.Add([]byte(cacheMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, paths := range parseCache(b) {
			if strings.ContainsRune(name, 0) || len(paths) == 0 {
				t.Errorf("%q: %q", name, paths)
			}
		}
	})
}

// FuzzFile: whatever a file holds, it is read without harm, and what was read can be judged.
func FuzzFile(f *testing.F) {
	dir := f.TempDir()
	if gcc, err := exec.LookPath("gcc"); err == nil && runtime.GOOS == "linux" {
		c, so := filepath.Join(dir, "x.c"), filepath.Join(dir, "x.so")
		if err := os.WriteFile(c, []byte("#include <stdio.h>\nint hello(void){ return puts(\"hello\"); }"), 0o666); err != nil {
			f.Fatal(err)
		}
		if err := exec.Command(gcc, "-shared", "-fPIC", "-s", "-nostdlib", "-o", so, c, "-lc").Run(); err != nil {
			f.Fatal(err)
		}
		b, err := os.ReadFile(so)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	machines, err := filepath.Glob("testdata/*.so")
	if err != nil || len(machines) == 0 {
		f.Fatal(machines, err)
	}
	for _, name := range machines {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(machOf(macho.CpuAmd64, minimum(10, 13), built(platformMacOS, 11, 0), dylib("/usr/lib/libSystem.B.dylib")))
	f.Add(fatOf(map[macho.Cpu][]byte{macho.CpuArm64: machOf(macho.CpuArm64)}, macho.CpuArm64))
	nowhere := ThisHost()
	nowhere.root = dir
	f.Add([]byte{0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := read(bytes.NewReader(b), int64(len(b)))
		if file == nil {
			return
		}
		if err != nil && file.Machine == "" {
			t.Errorf("%v with %v", file, err)
		}
		n := Needs{Files: []File{*file}}
		n.Platforms("")
		n.Platforms("1.2")
		nowhere.Lacks(n, Place{Arch: "x86_64"})
	})
}
