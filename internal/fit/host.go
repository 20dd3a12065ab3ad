package fit

import (
	"bytes"
	"debug/elf"
	_ "embed" // for packages.txt
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/cpu"
)

// Host is what a machine offers. Make one with [ThisHost]; it is safe for concurrent use.
type Host struct {
	root  string // "" is the machine's own
	level int    // of the x86-64 instruction set
	env   []string

	mu       sync.Mutex
	found    map[wanted]*library // nil: there is none
	programs map[string]*program // by path
	cached   map[string][]string // the loader's cache: paths by name; nil: not read yet
}

// wanted is a library in the eyes of one of the loaders.
type wanted struct {
	family family
	arch   string
	name   string
}

// family is that of a libc, each of which has a loader of its own.
type family int

const (
	unknown family = iota // what either finds counts
	glibc
	musl
)

// library is a library of the host.
type library struct {
	path     string
	versions []string // that it defines; none: it has no versions, and the loader does not mind
	needed   []string
	search   []string
	defines  map[string]bool
}

// program is an interpreter, with what it has loaded when it loads the first module.
type program struct {
	family family
	search []string            // DT_RPATH, which counts for what modules need, too
	loaded map[string]*library // by name
	self   *library            // nil: not known
	loader *library
}

// ThisHost is the machine that this program runs on. Folders of LD_LIBRARY_PATH count.
func ThisHost() *Host {
	return &Host{
		level: cpuLevel(), env: filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")),
		found: make(map[wanted]*library), programs: make(map[string]*program),
	}
}

// cpuLevel is the level of this processor (x86-64 psABI, 'Microarchitecture levels').
func cpuLevel() int {
	x := cpu.X86
	switch {
	case !x.HasPOPCNT || !x.HasSSE3 || !x.HasSSE41 || !x.HasSSE42 || !x.HasSSSE3 || !x.HasCX16:
		return 1
	case !x.HasAVX || !x.HasAVX2 || !x.HasBMI1 || !x.HasBMI2 || !x.HasFMA || !x.HasOSXSAVE:
		return 2
	case !x.HasAVX512F || !x.HasAVX512BW || !x.HasAVX512CD || !x.HasAVX512DQ || !x.HasAVX512VL:
		return 3
	}
	return 4
}

// Lack is something that a wheel needs and a host has not.
type Lack struct {
	File    string // of the wheel
	Library string // "" where it is the processor or a symbol
	Version string // symbol version that the host's library does not define, "" where there is no such library
	Level   int    // of the x86-64 instruction set, 0 where it is something else
	Found   string // path of the host's library that lacks the version
	Symbol  string // that no library which is loaded defines
	Libc    bool   // the library is glibc's, and the interpreter has another libc
}

// String is a sentence without its end: "libpq.so.5 is missing (Debian: libpq5)".
func (l Lack) String() string {
	switch {
	case l.Level > 0:
		return fmt.Sprintf("the processor lacks the instruction set x86-64-v%d", l.Level)
	case l.Symbol != "":
		return fmt.Sprintf("no library that it loads here has %s: one of them is too old", l.Symbol)
	case l.Libc:
		return fmt.Sprintf("%s is glibc's, and this Python has musl", l.Library)
	case l.Version != "":
		return fmt.Sprintf("%s has no %s: it is too old", l.Found, l.Version)
	}
	if brings := packages()[l.Library]; brings != "" {
		return fmt.Sprintf("%s is missing (%s)", l.Library, brings)
	}
	return l.Library + " is missing"
}

// Place is where a wheel is to be loaded.
type Place struct {
	// Arch is the machine, as [File] names it. What is for another one is not looked at: the wheel's tags tell.
	Arch string
	// Python is the path of the interpreter: it has loaded libraries, and symbols of its own, when it loads modules.
	// With "", or if it cannot be read, symbols are not looked for.
	Python string
	// Beside tells of a library by its name that another wheel brings it. nil: none does.
	Beside func(library string) bool
}

// Lacks tells what the wheel's files need that is not at hand at the place; nothing: it runs there, as far as
// can be seen. Libraries of macOS are not looked for.
func (h *Host) Lacks(n Needs, at Place) (lacks []Lack) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &program{}
	if at.Python != "" {
		p = h.program(at.Python, at.Arch)
	}
	var files []File
	var loaded []*library
	whole := p.self != nil
	for _, f := range n.Files {
		if f.Machine != at.Arch || f.MacOS != "" {
			continue
		}
		files = append(files, f)
		if f.Level > h.level {
			lacks = append(lacks, Lack{File: f.Path, Level: f.Level})
		}
		for _, name := range f.libraries() {
			has := p.loaded[name]
			if has == nil {
				has = h.library(name, at.Arch, p, slices.Concat(f.Search, p.search))
			}
			switch {
			case p.family == musl && name == "libc.so.6":
				lacks = append(lacks, Lack{File: f.Path, Library: name, Libc: true})
			case has != nil:
				loaded = append(loaded, has)
				for _, v := range f.Libraries[name] {
					if len(has.versions) > 0 && !slices.Contains(has.versions, v) {
						lacks = append(lacks, Lack{File: f.Path, Library: name, Version: v, Found: has.path})
					}
				}
			case at.Beside != nil && at.Beside(name):
				whole = false
			default:
				lacks = append(lacks, Lack{File: f.Path, Library: name})
			}
		}
	}
	if whole && len(lacks) == 0 {
		offered := slices.Collect(maps.Values(h.closure(p, at.Arch, loaded)))
		return unresolved(files, append(offered, p.self))
	}
	return lacks
}

// unresolved tells which symbols neither the files define nor what is loaded.
func unresolved(files []File, loaded []*library) (lacks []Lack) {
	for _, f := range files {
		for _, symbol := range slices.Sorted(maps.Keys(f.unbound)) {
			if f.unbound[symbol] == elf.STB_WEAK || symbol == "" ||
				slices.ContainsFunc(loaded, func(l *library) bool { return l.defines[symbol] }) ||
				slices.ContainsFunc(files, func(f File) bool { return f.defines[symbol] }) {
				continue
			}
			lacks = append(lacks, Lack{File: f.Path, Symbol: symbol})
		}
	}
	return lacks
}

// program reads an interpreter.
func (h *Host) program(python, arch string) *program {
	if p, ok := h.programs[python]; ok {
		return p
	}
	p := &program{}
	h.programs[python] = p
	real, err := filepath.EvalSymlinks(filepath.Join(h.root, python))
	if err != nil {
		return p
	}
	e, err := elf.Open(real)
	if err != nil {
		return p
	}
	defer e.Close()
	f, err := readELF(e)
	if err != nil || f == nil || f.Machine != arch {
		return p
	}
	loader := interpreter(e)
	p.loader = h.open(loader, arch)
	p.family = glibc
	if strings.Contains(loader, "ld-musl") {
		p.family = musl
	}
	folder := filepath.Dir(strings.TrimPrefix(real, h.root))
	if f.inherited {
		p.search = f.searchFrom(folder)
	}
	p.self = &library{path: python, needed: f.needed, search: f.searchFrom(folder), defines: f.defines}
	p.loaded = h.closure(p, arch, []*library{p.self, p.loader})
	return p
}

// interpreter is the path of the program's loader, "" where it has none.
func interpreter(e *elf.File) string {
	const longest = 4096
	for _, s := range e.Progs {
		if s.Type == elf.PT_INTERP && s.Filesz <= longest {
			b := make([]byte, s.Filesz)
			if _, err := s.ReadAt(b, 0); err != nil {
				return ""
			}
			return string(bytes.TrimRight(b, "\x00"))
		}
	}
	return ""
}

// closure gives all that is loaded with some libraries, by the names that it is asked for.
func (h *Host) closure(p *program, arch string, of []*library) map[string]*library {
	all := maps.Clone(p.loaded)
	if all == nil {
		all = make(map[string]*library)
	}
	for len(of) > 0 {
		l := of[len(of)-1]
		of = of[:len(of)-1]
		if l == nil {
			continue
		}
		all[l.path] = l
		for _, name := range l.needed {
			if _, ok := all[name]; ok {
				continue
			}
			if next := h.library(name, arch, p, slices.Concat(l.search, p.search)); next != nil {
				all[name] = next
				of = append(of, next)
			}
		}
	}
	return all
}

// library finds one, as the loader does: in the file's own folders, LD_LIBRARY_PATH, the loader's cache, its folders.
func (h *Host) library(name, arch string, p *program, search []string) *library {
	if strings.Contains(name, "/") { // a path, which is not searched
		if !filepath.IsAbs(name) {
			return nil
		}
		return h.open(name, arch)
	}
	if p.family == musl && muslItself(name) {
		return p.loader
	}
	for _, folder := range search {
		if l := h.open(filepath.Join(folder, name), arch); l != nil {
			return l
		}
	}
	key := wanted{p.family, arch, name}
	if l, ok := h.found[key]; ok {
		return l
	}
	var candidates []string
	for _, folder := range h.env {
		candidates = append(candidates, filepath.Join(folder, name))
	}
	if p.family != musl {
		if h.cached == nil {
			h.cached = h.readCache()
		}
		candidates = append(candidates, h.cached[name]...)
	}
	for _, folder := range h.folders(arch, p.family) {
		candidates = append(candidates, filepath.Join(folder, name))
	}
	var l *library
	for _, candidate := range candidates {
		if l = h.open(candidate, arch); l != nil {
			break
		}
	}
	h.found[key] = l
	return l
}

// muslItself tells of the names by which musl's loader means itself.
func muslItself(name string) bool {
	part, _, _ := strings.Cut(name, ".")
	return slices.Contains([]string{"libc", "libpthread", "librt", "libm", "libdl", "libutil", "libxnet"}, part)
}

// folders are those that the loaders of glibc and musl know by themselves.
func (h *Host) folders(arch string, of family) (folders []string) {
	if of != musl {
		folders = []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib"}
		triplets, _ := filepath.Glob(filepath.Join(h.root, "/usr/lib", strings.ReplaceAll(arch, "i686", "i386")+"-linux-gnu*"))
		for _, t := range triplets {
			folders = append(folders, strings.TrimPrefix(t, h.root))
		}
	}
	if of == glibc {
		return folders
	}
	lists, _ := filepath.Glob(filepath.Join(h.root, "/etc/ld-musl-*.path"))
	for _, list := range lists {
		if b, err := os.ReadFile(list); err == nil {
			folders = append(folders, strings.FieldsFunc(string(b), func(r rune) bool { return r == ':' || r == '\n' })...)
		}
	}
	if len(lists) == 0 {
		folders = append(folders, "/lib", "/usr/local/lib", "/usr/lib")
	}
	return folders
}

// open reads a library of the host, nil if it is none for the machine.
func (h *Host) open(path, arch string) *library {
	// What a link in another root points to is within that root.
	real, err := filepath.EvalSymlinks(filepath.Join(h.root, path))
	if err != nil {
		return nil
	}
	e, err := elf.Open(real)
	if err != nil {
		return nil
	}
	defer e.Close()
	if e.Type != elf.ET_DYN || machine(e) != arch {
		return nil
	}
	l := &library{path: path}
	if f, err := readELF(e); err == nil {
		l.needed, l.defines = f.needed, f.defines
		l.search = f.searchFrom(filepath.Dir(strings.TrimPrefix(real, h.root)))
	}
	defined, err := e.DynamicVersions()
	if err != nil {
		return l
	}
	for _, v := range defined {
		l.versions = append(l.versions, v.Name)
	}
	return l
}

// readCache reads the loader's cache; a missing or damaged one has nothing.
func (h *Host) readCache() map[string][]string {
	const most = 64 << 20
	name := filepath.Join(h.root, "/etc/ld.so.cache")
	if info, err := os.Stat(name); err != nil || info.Size() > most {
		return map[string][]string{}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return map[string][]string{}
	}
	return parseCache(b)
}

//go:embed packages.txt
var packagesText string

// packages tells of libraries that builds often need which package of Debian brings each, by their names; packages.py makes it.
var packages = sync.OnceValue(func() map[string]string {
	all := make(map[string]string)
	for line := range strings.Lines(packagesText) {
		library, brings, _ := strings.Cut(strings.TrimSpace(line), "\t")
		all[library] = brings
	}
	return all
})
