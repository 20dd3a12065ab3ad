package tag

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Words say what a wheel needs, for people.
type Words struct {
	Family string // "Any system", "Linux", "macOS", "Windows" or "Other systems"
	System string // "Linux x86-64, glibc 2.17 or newer"
	Python string // "CPython 3.11"
}

// Describe puts the tags of one wheel into words. What it does not know it
// gives as it stands; without tags the Words are empty.
func Describe(tags []Tag) Words {
	var w Words
	systems := make(map[string]platform) // by what they are but for the age
	var pythons []string
	for _, t := range tags {
		p := describePlatform(t.Platform)
		key := p.name + p.arch + p.libc
		if known, ok := systems[key]; !ok || slices.Compare(p.since, known.since) < 0 {
			systems[key] = p
		}
		pythons = append(pythons, describePython(t))
		switch w.Family {
		case "", p.family:
			w.Family = p.family
		default:
			w.Family = "Other systems"
		}
	}
	var found []string
	for _, p := range systems {
		found = append(found, p.String())
	}
	slices.Sort(found)
	w.System = strings.Join(found, "; ")
	w.Python = strings.Join(joinMajors(pythons), ", ")
	return w
}

// joinMajors gives different words in order, and "Python 2 and 3" where both are there.
func joinMajors(words []string) []string {
	slices.Sort(words)
	words = slices.Compact(words)
	two := slices.Index(words, "Python 2")
	if two >= 0 && slices.Contains(words, "Python 3") {
		words = slices.Delete(words, two, two+1)
		words[slices.Index(words, "Python 3")] = "Python 2 and 3"
	}
	return words
}

// platform is a platform in words.
type platform struct {
	family, name, arch, libc string
	since                    []int // the oldest version that will do, nil for none known
}

func (p platform) String() string {
	var b strings.Builder
	b.WriteString(p.name)
	separator := " "
	if len(p.since) > 0 && p.libc == "" {
		b.WriteString(" " + dotted(p.since) + " or newer")
		separator = ", "
	}
	if p.arch != "" {
		b.WriteString(separator + p.arch)
	}
	if p.libc != "" {
		fmt.Fprintf(&b, ", %s %s or newer", p.libc, dotted(p.since))
	}
	return b.String()
}

func dotted(numbers []int) string {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ".")
}

// machines are the names that people use.
var machines = map[string]string{
	"x86_64": "x86-64", "amd64": "x86-64", "i686": "x86 (32-bit)", "win32": "x86 (32-bit)", "aarch64": "ARM64", "arm64": "ARM64",
	"armv7l": "ARMv7", "armv6l": "ARMv6", "ppc64le": "POWER (little-endian)", "ppc64": "POWER", "s390x": "IBM Z",
	"riscv64": "RISC-V (64-bit)", "loongarch64": "LoongArch", "arm64_v8a": "ARM64", "armeabi_v7a": "ARMv7", "x86": "x86 (32-bit)",
}

// apple are the binary formats of macOS.
var apple = map[string]string{
	"arm64": "Apple silicon", "x86_64": "Intel", "universal2": "Apple silicon and Intel", "i386": "Intel (32-bit)",
	"intel": "Intel (32 and 64-bit)", "universal": "Intel (32-bit) and PowerPC",
}

// manylinux names before PEP 600 stand for a glibc.
var oldManylinux = map[string][]int{"manylinux1": {2, 5}, "manylinux2010": {2, 12}, "manylinux2014": {2, 17}}

func describePlatform(s string) platform {
	kind, rest, _ := strings.Cut(s, "_")
	if glibc, ok := oldManylinux[kind]; ok {
		return platform{"Linux", "Linux", machine(rest), "glibc", glibc}
	}
	switch {
	case s == "any":
		return platform{family: "Any system", name: "any system"}
	case s == "win32":
		return platform{family: "Windows", name: "Windows", arch: machine(s)}
	case kind == "win" && rest != "":
		return platform{family: "Windows", name: "Windows", arch: machine(rest)}
	case kind == "linux" && rest != "":
		return platform{family: "Linux", name: "Linux", arch: machine(rest)}
	}
	since, arch := numbers(rest, 2)
	switch {
	case kind == "manylinux" && len(since) == 2:
		return platform{"Linux", "Linux", machine(arch), "glibc", since}
	case kind == "musllinux" && len(since) == 2:
		return platform{"Linux", "Linux", machine(arch), "musl", since}
	case kind == "macosx" && len(since) == 2:
		return platform{family: "macOS", name: "macOS", arch: cmp.Or(apple[arch], arch), since: since}
	case kind == "ios" && len(since) == 2:
		return platform{family: "Other systems", name: "iOS", arch: arch, since: since}
	case (kind == "pyodide" || kind == "pyemscripten") && len(since) == 2:
		return platform{family: "Other systems", name: "Pyodide " + dotted(since), arch: "(WebAssembly)"}
	}
	if since, arch = numbers(rest, 1); kind == "android" && len(since) == 1 {
		return platform{family: "Other systems", name: "Android API", arch: machine(arch), since: since}
	}
	return platform{family: "Other systems", name: s}
}

func machine(s string) string { return cmp.Or(machines[s], s) }

// numbers cuts up to count numbers, each followed by an underscore, off s.
func numbers(s string, count int) (found []int, rest string) {
	for len(found) < count {
		digits, after, ok := strings.Cut(s, "_")
		n, err := strconv.ParseUint(digits, 10, 31)
		if !ok || err != nil {
			break
		}
		found, s = append(found, int(n)), after
	}
	return found, s
}

// interpreters by their short names (PEP 425).
var interpreters = map[string]string{"py": "Python", "cp": "CPython", "pp": "PyPy", "graalpy": "GraalPy", "ip": "IronPython", "jy": "Jython"}

func describePython(t Tag) string {
	letters := strings.TrimRight(t.Python, "0123456789")
	digits := t.Python[len(letters):]
	name, ok := interpreters[letters]
	if !ok || digits == "" {
		return t.Python
	}
	major, minor := digits[:1], digits[1:]
	if minor == "" {
		return name + " " + major
	}
	words := name + " " + major + "." + minor
	switch {
	case letters == "py", t.ABI == "abi3", t.ABI == "abi3t":
		words += " or newer"
	}
	if letters == "cp" && strings.HasPrefix(t.ABI, t.Python) {
		for _, flag := range t.ABI[len(t.Python):] {
			switch flag {
			case 't':
				words += ", free-threaded"
			case 'd':
				words += ", debug build"
			}
		}
	} else if t.ABI == "abi3t" {
		words += ", free-threaded"
	}
	return words
}
