package fit

import (
	"debug/elf"
	"fmt"
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

	mu     sync.Mutex
	found  map[[2]string]*library // by machine and name; nil: there is none
	cached map[string][]string    // the loader's cache: paths by name; nil: not read yet
}

// library is a library of the host.
type library struct {
	path     string
	versions []string // that it defines; none: it has no versions, and the loader does not mind
}

// ThisHost is the machine that this program runs on. Folders of LD_LIBRARY_PATH count.
func ThisHost() *Host {
	return &Host{level: cpuLevel(), env: filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")), found: make(map[[2]string]*library)}
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
	Library string // "" where it is the processor
	Version string // symbol version that the host's library does not define, "" where there is no such library
	Level   int    // of the x86-64 instruction set, 0 where it is a library
	Found   string // path of the host's library that lacks the version
}

// String is a sentence without its end: "libpq.so.5 is missing (Debian: libpq5)".
func (l Lack) String() string {
	switch {
	case l.Level > 0:
		return fmt.Sprintf("the processor lacks the instruction set x86-64-v%d", l.Level)
	case l.Version != "":
		return fmt.Sprintf("%s has no %s: it is too old", l.Found, l.Version)
	}
	if hint := packages[l.Library]; hint != "" {
		return fmt.Sprintf("%s is missing (Debian and Ubuntu: %s)", l.Library, hint)
	}
	return l.Library + " is missing"
}

// Lacks tells what the wheel's files need that the host has not; nothing: it runs here, as far as
// can be seen. What is for another machine than arch is not looked at: its tags tell.
// Libraries of macOS are not looked for either.
func (h *Host) Lacks(n Needs, arch string) (lacks []Lack) {
	for _, f := range n.Files {
		if f.Machine != arch || f.MacOS != "" {
			continue
		}
		if f.Level > h.level {
			lacks = append(lacks, Lack{File: f.Path, Level: f.Level})
		}
		for _, name := range f.libraries() {
			has := h.library(name, arch, f.Search)
			if has == nil {
				lacks = append(lacks, Lack{File: f.Path, Library: name})
				continue
			}
			for _, v := range f.Libraries[name] {
				if len(has.versions) > 0 && !slices.Contains(has.versions, v) {
					lacks = append(lacks, Lack{File: f.Path, Library: name, Version: v, Found: has.path})
				}
			}
		}
	}
	return lacks
}

// library finds one, as the loader does: in the file's own folders, LD_LIBRARY_PATH, the loader's cache, its folders.
func (h *Host) library(name, arch string, search []string) *library {
	if strings.Contains(name, "/") { // a path, which is not searched
		if !filepath.IsAbs(name) {
			return nil
		}
		return h.open(name, arch)
	}
	for _, folder := range search {
		if l := h.open(filepath.Join(folder, name), arch); l != nil {
			return l
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	key := [2]string{arch, name}
	if l, ok := h.found[key]; ok {
		return l
	}
	if h.cached == nil {
		h.cached = h.readCache()
	}
	var candidates []string
	for _, folder := range h.env {
		candidates = append(candidates, filepath.Join(folder, name))
	}
	candidates = append(candidates, h.cached[name]...)
	for _, folder := range h.folders(arch) {
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

// folders are those that the loaders of glibc and musl know by themselves.
func (h *Host) folders(arch string) []string {
	folders := []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"}
	triplets, _ := filepath.Glob(filepath.Join(h.root, "/usr/lib", strings.ReplaceAll(arch, "i686", "i386")+"-linux-gnu*"))
	for _, t := range triplets {
		folders = append(folders, strings.TrimPrefix(t, h.root))
	}
	lists, _ := filepath.Glob(filepath.Join(h.root, "/etc/ld-musl-*.path"))
	for _, list := range lists {
		if b, err := os.ReadFile(list); err == nil {
			folders = append(folders, strings.FieldsFunc(string(b), func(r rune) bool { return r == ':' || r == '\n' })...)
		}
	}
	return folders
}

// open reads which versions a library of the host defines, nil if it is none for the machine.
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

// packages names the Debian package of libraries that builds often need.
var packages = map[string]string{
	"libpq.so.5": "libpq5", "libmariadb.so.3": "libmariadb3", "libxml2.so.2": "libxml2", "libxslt.so.1": "libxslt1.1",
	"libexslt.so.0": "libxslt1.1", "libssl.so.3": "libssl3", "libcrypto.so.3": "libssl3", "libssl.so.1.1": "libssl1.1",
	"libcrypto.so.1.1": "libssl1.1", "libffi.so.8": "libffi8", "libffi.so.7": "libffi7", "libjpeg.so.62": "libjpeg62-turbo",
	"libpng16.so.16": "libpng16-16", "libtiff.so.6": "libtiff6", "libwebp.so.7": "libwebp7", "libfreetype.so.6": "libfreetype6",
	"liblcms2.so.2": "liblcms2-2", "libopenjp2.so.7": "libopenjp2-7", "libz.so.1": "zlib1g", "libbz2.so.1.0": "libbz2-1.0",
	"liblzma.so.5": "liblzma5", "libzstd.so.1": "libzstd1", "libsqlite3.so.0": "libsqlite3-0", "libodbc.so.2": "libodbc2",
	"libldap-2.5.so.0": "libldap-2.5-0", "liblber-2.5.so.0": "libldap-2.5-0", "libsasl2.so.2": "libsasl2-2", "libkrb5.so.3": "libkrb5-3",
	"libgssapi_krb5.so.2": "libgssapi-krb5-2", "libcurl.so.4": "libcurl4", "libgit2.so.1.5": "libgit2-1.5", "libzmq.so.5": "libzmq5",
	"libsystemd.so.0": "libsystemd0", "libdbus-1.so.3": "libdbus-1-3", "libusb-1.0.so.0": "libusb-1.0-0", "libsnappy.so.1": "libsnappy1v5",
	"libopenblas.so.0": "libopenblas0", "liblapack.so.3": "liblapack3", "libblas.so.3": "libblas3", "libgfortran.so.5": "libgfortran5",
	"libgomp.so.1": "libgomp1", "libquadmath.so.0": "libquadmath0", "libstdc++.so.6": "libstdc++6", "libgcc_s.so.1": "libgcc-s1",
	"libatomic.so.1": "libatomic1", "libgmp.so.10": "libgmp10", "libmpfr.so.6": "libmpfr6", "libmpc.so.3": "libmpc3",
	"libgeos_c.so.1": "libgeos-c1v5", "libproj.so.25": "libproj25", "libgdal.so.32": "libgdal32", "libhdf5.so.103": "libhdf5-103-1",
	"libGL.so.1": "libgl1", "libX11.so.6": "libx11-6", "libcairo.so.2": "libcairo2", "libglib-2.0.so.0": "libglib2.0-0",
	"libyaml-0.so.2": "libyaml-0-2", "libenchant-2.so.2": "libenchant-2-2", "libmagic.so.1": "libmagic1", "libsodium.so.23": "libsodium23",
	"libev.so.4": "libev4", "libuv.so.1": "libuv1", "libevent-2.1.so.7": "libevent-2.1-7", "libasound.so.2": "libasound2",
	"libportaudio.so.2": "libportaudio2", "libsndfile.so.1": "libsndfile1",
}
