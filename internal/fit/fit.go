// Package fit tells what the machine code of a wheel needs of a host, what this
// host offers, and for which platform a wheel that was built here may be tagged.
//
// What a wheel needs is read from its ELF and Mach-O files: libraries of the
// system with the symbol versions that are asked of each (what the loader checks
// when it loads them: System V gABI, LSB), the level of the x86-64 instruction
// set where the linker noted one (psABI, GNU_PROPERTY_X86_ISA_1_NEEDED), the
// oldest macOS. No note proves nothing. What a file loads later, by its own code, is not seen.
//
// A host is asked by reading files: the loader's cache and folders, the
// libraries that are found there, and the interpreter's program. No program is run.
//
// Platforms follow the published policies of manylinux (PEP 513, 571, 599, 600)
// and musllinux (PEP 656), which policies.json holds and names the source of.
//
// Limits: a file has at most 4 GiB, 4096 needed libraries, and 1 Mi symbols.
package fit

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Needs is what the files of a wheel need. The zero value needs nothing.
type Needs struct {
	Files []File `json:"files,omitempty"` // sorted by path
}

// File is one file of machine code.
type File struct {
	Path string `json:"path"` // within the wheel, slash-separated
	// Machine is the architecture as platform tags of Linux and macOS name it:
	// "x86_64", "aarch64", "arm64"; "?" for another.
	Machine string `json:"machine"`
	// Libraries are those that are not in the wheel, by DT_NEEDED name, each with the symbol versions
	// that it must define, sorted: {"libc.so.6": ["GLIBC_2.17"]}.
	Libraries map[string][]string `json:"libraries,omitempty"`
	// Search are folders where the loader looks first, DT_RUNPATH or DT_RPATH, those in the wheel left out.
	Search []string `json:"search,omitempty"`
	// Level is that of the x86-64 instruction set: 2 to 4, 0 where nothing above the baseline is noted.
	Level int `json:"level,omitempty"`
	// MacOS is the oldest that runs it: "11.0". "" for ELF.
	MacOS string `json:"macos,omitempty"`

	soname    string
	needed    []string // DT_NEEDED, all
	folders   []string // DT_RUNPATH or DT_RPATH, all
	inherited bool     // they are DT_RPATH, which counts for what the file loads, too
	unbound   map[string]elf.SymBind
	defines   map[string]bool
	compilers []string // see Needs.Compilers
}

// IsZero tells that there is no machine code.
func (n Needs) IsZero() bool { return len(n.Files) == 0 }

// maxFile is the largest file that is read, in bytes.
const maxFile = 4 << 30

// Read reads the files of an unpacked wheel: dir and the paths in it, slash-separated.
// Files that are no machine code are passed over, damaged ones are errors that name them.
func Read(dir string, paths []string) (Needs, error) {
	var n Needs
	sonames := make(map[string]bool)
	for _, p := range paths {
		f, err := readFile(filepath.Join(dir, filepath.FromSlash(p)))
		if err != nil {
			return Needs{}, fmt.Errorf("%s: %w", p, err)
		}
		if f == nil {
			continue
		}
		f.Path = p
		n.Files = append(n.Files, *f)
		sonames[path.Base(p)] = true
		if f.soname != "" {
			sonames[f.soname] = true
		}
	}
	slices.SortFunc(n.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for i, f := range n.Files {
		for _, library := range f.needed {
			if _, ok := f.Libraries[library]; !ok && !sonames[library] {
				f.Libraries[library] = nil
			}
		}
		maps.DeleteFunc(f.Libraries, func(library string, _ []string) bool { return sonames[library] || isLoader(library) })
		n.Files[i] = f
	}
	return n, nil
}

// isLoader tells of the dynamic loader, which is there wherever anything is loaded.
func isLoader(library string) bool {
	return strings.Contains(library, "ld-linux") || library == "ld64.so.1" || library == "ld64.so.2"
}

// readFile reads one file; nil is no machine code.
func readFile(name string) (*File, error) {
	r, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return nil, err
	}
	return read(r, info.Size())
}

func read(r io.ReaderAt, size int64) (*File, error) {
	var magic [4]byte
	if _, err := r.ReadAt(magic[:], 0); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	reader := readers[magic]
	if reader != nil && size > maxFile {
		return nil, fmt.Errorf("has %d bytes, which is more than is looked at", size)
	}
	if reader == nil {
		return nil, nil
	}
	return reader(r)
}

// readers are those of the forms that are known, by the first four bytes. A Java class begins like a fat Mach-O, too.
var readers = map[[4]byte]func(io.ReaderAt) (*File, error){
	{0x7f, 'E', 'L', 'F'}:    newELF,
	{0xcf, 0xfa, 0xed, 0xfe}: readMachO,
	{0xce, 0xfa, 0xed, 0xfe}: readMachO,
	{0xca, 0xfe, 0xba, 0xbe}: readFat,
}

// libraries gives the names of the libraries, sorted.
func (f File) libraries() []string { return slices.Sorted(maps.Keys(f.Libraries)) }
