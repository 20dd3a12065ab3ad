package fit

import (
	"bytes"
	"debug/macho"
	"encoding/binary"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestMachines: files for other machines are read here; see testdata/machines.sh.
func TestMachines(t *testing.T) {
	t.Parallel()
	for arch, test := range map[string]struct{ version, oldest string }{
		"x86_64":  {"GLIBC_2.2.5", "manylinux_2_5_x86_64 manylinux1_x86_64"},
		"i686":    {"GLIBC_2.0", "manylinux_2_5_i686 manylinux1_i686"},
		"aarch64": {"GLIBC_2.17", "manylinux_2_17_aarch64 manylinux2014_aarch64"},
		"armv7l":  {"GLIBC_2.4", "manylinux_2_17_armv7l manylinux2014_armv7l"},
		"ppc64le": {"GLIBC_2.17", "manylinux_2_17_ppc64le manylinux2014_ppc64le"},
		"s390x":   {"GLIBC_2.2", "manylinux_2_17_s390x manylinux2014_s390x"},
		"riscv64": {"GLIBC_2.27", "manylinux_2_31_riscv64"},
	} {
		n, err := Read("testdata", []string{arch + ".so"})
		if err != nil || len(n.Files) != 1 {
			t.Errorf("%s: %+v, %v", arch, n, err)
			continue
		}
		want := File{Path: arch + ".so", Machine: arch, Libraries: map[string][]string{"libc.so.6": {test.version}, "libown.so.1": nil}}
		if diff := cmp.Diff(want, n.Files[0], cmpopts.IgnoreUnexported(File{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", arch, diff)
		}
		if platforms, why := n.Platforms(""); platforms != nil || len(why) != 1 || !strings.Contains(why[0], "libown.so.1") {
			t.Errorf("%s is for %q, %q", arch, platforms, why)
		}
		delete(n.Files[0].Libraries, "libown.so.1")
		if platforms, why := n.Platforms(""); strings.Join(platforms, " ") != test.oldest {
			t.Errorf("%s without its library is for %q, %q", arch, platforms, why)
		}
	}
	several, err := Read("testdata", []string{"x86_64.so", "aarch64.so"})
	if err != nil {
		t.Fatal(err)
	}
	if platforms, why := several.Platforms(""); platforms != nil || !strings.Contains(strings.Join(why, "; "), "is for another machine") {
		t.Errorf("a wheel for two machines is for %q, %q", platforms, why)
	}
}

// load is a load command of a Mach-O file of 64 bits: its number, and its content, which is padded.
type load struct {
	command uint32
	content []byte
}

// words makes numbers of 32 bits; a text is added as it is.
func words(order binary.AppendByteOrder, of ...any) (b []byte) {
	for _, w := range of {
		switch w := w.(type) {
		case int:
			b = order.AppendUint32(b, uint32(w)) //nolint:gosec // written so in this file
		case string:
			b = append(b, w...)
		}
	}
	return b
}

// machOf makes a bundle of load commands for a processor.
func machOf(cpu macho.Cpu, loads ...load) []byte {
	order := binary.LittleEndian
	var commands []byte
	for _, l := range loads {
		for len(l.content)%8 != 0 {
			l.content = append(l.content, 0)
		}
		commands = append(commands, words(order, int(l.command), 8+len(l.content))...)
		commands = append(commands, l.content...)
	}
	const magic64, bundle = 0xfeedfacf, 8
	return append(words(order, magic64, int(cpu), 0, bundle, len(loads), len(commands), 0, 0), commands...)
}

func version(major, minor int) int { return major<<16 | minor<<8 }

// minimum is LC_VERSION_MIN_MACOSX, as older linkers write it: version, SDK.
func minimum(major, minor int) load {
	return load{loadVersionMin, words(binary.LittleEndian, version(major, minor), version(14, 0))}
}

// built is LC_BUILD_VERSION: platform, version, SDK, no tools.
func built(platform, major, minor int) load {
	return load{loadBuildVersion, words(binary.LittleEndian, platform, version(major, minor), version(14, 0), 0)}
}

// dylib is LC_LOAD_DYLIB: where its name begins, a time, two versions, the name.
func dylib(name string) load {
	return load{uint32(macho.LoadCmdDylib), words(binary.LittleEndian, 24, 2, version(1, 0), version(1, 0), name+"\x00")}
}

// fatOf makes a file for several processors.
func fatOf(files map[macho.Cpu][]byte, order ...macho.Cpu) []byte {
	const room = 4096
	b := words(binary.BigEndian, 0xcafebabe, len(order))
	for i, cpu := range order {
		b = append(b, words(binary.BigEndian, int(cpu), 0, (i+1)*room, len(files[cpu]), 12)...)
	}
	for i, cpu := range order {
		b = append(b, make([]byte, (i+1)*room-len(b))...)
		b = append(b, files[cpu]...)
	}
	return b
}

// TestMachO: what a file for macOS needs: its oldest system and the libraries that it asks for.
func TestMachO(t *testing.T) {
	t.Parallel()
	const system, iOS = "/usr/lib/libSystem.B.dylib", 2
	arm := machOf(macho.CpuArm64, built(platformMacOS, 11, 0), dylib(system))
	intel := machOf(macho.CpuAmd64, minimum(10, 13), dylib(system), dylib("@rpath/libown.dylib"))
	both := map[macho.Cpu][]byte{macho.CpuArm64: arm, macho.CpuAmd64: intel}
	libraries := func(names ...string) map[string][]string {
		all := make(map[string][]string)
		for _, name := range names {
			all[name] = nil
		}
		return all
	}
	for name, test := range map[string]struct {
		file []byte
		want *File
		err  string
	}{
		"arm64":              {file: arm, want: &File{Machine: "arm64", MacOS: "11.0", Libraries: libraries(system)}},
		"x86_64":             {file: intel, want: &File{Machine: "x86_64", MacOS: "10.13", Libraries: libraries(system, "@rpath/libown.dylib")}},
		"for iOS":            {file: machOf(macho.CpuArm64, built(iOS, 17, 0)), want: &File{Machine: "arm64", Libraries: libraries()}},
		"no version":         {file: machOf(macho.CpuArm64), want: &File{Machine: "arm64", Libraries: libraries()}},
		"other processor":    {file: machOf(macho.CpuPpc64, minimum(10, 5)), want: &File{Machine: "?", MacOS: "10.5", Libraries: libraries()}},
		"universal":          {file: fatOf(both, macho.CpuAmd64, macho.CpuArm64), want: &File{Machine: "universal2", MacOS: "10.13", Libraries: libraries(system, "@rpath/libown.dylib")}},
		"universal, turned":  {file: fatOf(both, macho.CpuArm64, macho.CpuAmd64), want: &File{Machine: "universal2", MacOS: "10.13", Libraries: libraries(system, "@rpath/libown.dylib")}},
		"fat, but of one":    {file: fatOf(both, macho.CpuArm64), want: &File{Machine: "arm64", MacOS: "11.0", Libraries: libraries(system)}},
		"a Java class":       {file: append([]byte("\xca\xfe\xba\xbe\x00\x00\x00\x34"), make([]byte, 64)...)},
		"cut off":            {file: intel[:60], err: "is no whole Mach-O file"},
		"a command too long": {file: machOf(macho.CpuAmd64, load{loadBuildVersion, nil}), want: &File{Machine: "x86_64", Libraries: libraries()}},
	} {
		got, err := read(bytes.NewReader(test.file), int64(len(test.file)))
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if diff := cmp.Diff(test.want, got, cmpopts.IgnoreUnexported(File{})); diff != "" || err != nil {
			t.Errorf("%s: %v, -want +got:\n%s", name, err, diff)
		}
	}
	// None of its libraries is looked for, and no policy of Linux stands for it.
	site := t.TempDir()
	write(t, filepath.Join(site, "m.so"), intel)
	n, err := Read(site, []string{"m.so"})
	if err != nil || len(n.Files) != 1 {
		t.Fatalf("%+v, %v", n, err)
	}
	if lacks := ThisHost().Lacks(n, Place{Arch: "x86_64"}); lacks != nil {
		t.Errorf("lacks %v", lacks)
	}
}
