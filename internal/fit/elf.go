package fit

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

const (
	maxNeeded  = 4096
	maxSymbols = 1 << 20
	maxNote    = 64 << 10 // bytes of a note that is read
)

func newELF(r io.ReaderAt) (*File, error) {
	e, err := elf.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("is no whole ELF file: %w", err)
	}
	return readELF(e)
}

// readELF reads a shared library, an extension module or a program. Relocatable and core files need
// nothing, and neither does what is not dynamic.
func readELF(e *elf.File) (f *File, err error) {
	if e.Type != elf.ET_DYN && e.Type != elf.ET_EXEC {
		return nil, nil
	}
	f = &File{Machine: machine(e), Libraries: make(map[string][]string)}
	if f.Level, err = level(e); err != nil {
		return nil, err
	}
	f.compilers = compilers(e)
	if e.SectionByType(elf.SHT_DYNAMIC) == nil {
		return f, nil
	}
	if f.needed, err = e.DynString(elf.DT_NEEDED); err != nil {
		return nil, fmt.Errorf("its dynamic section cannot be read: %w", err)
	}
	if len(f.needed) > maxNeeded {
		return nil, fmt.Errorf("needs %d libraries, which is more than is looked at", len(f.needed))
	}
	if names, err := e.DynString(elf.DT_SONAME); err == nil && len(names) > 0 {
		f.soname = names[0]
	}
	for _, of := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		lists, err := e.DynString(of)
		if err != nil || len(f.folders) > 0 {
			continue // without DT_RUNPATH, DT_RPATH counts
		}
		for _, list := range lists {
			for folder := range strings.SplitSeq(list, ":") {
				f.folders = append(f.folders, folder)
				if path.IsAbs(folder) {
					f.Search = append(f.Search, path.Clean(folder))
				}
			}
		}
		f.inherited = of == elf.DT_RPATH
	}
	if err := f.readVersions(e); err != nil {
		return nil, err
	}
	return f, f.readSymbols(e)
}

// searchFrom gives the folders where the loader looks first for what the file needs, of a file that lies in folder.
func (f *File) searchFrom(folder string) (search []string) {
	for _, s := range f.folders {
		s = strings.NewReplacer("$ORIGIN", folder, "${ORIGIN}", folder).Replace(s)
		if path.IsAbs(s) {
			search = append(search, path.Clean(s))
		}
	}
	return search
}

// readVersions reads which symbol versions are asked of which library.
func (f *File) readVersions(e *elf.File) error {
	if e.SectionByType(elf.SHT_GNU_VERNEED) == nil {
		return nil
	}
	needs, err := e.DynamicVersionNeeds()
	if err != nil {
		return fmt.Errorf("its symbol versions cannot be read: %w", err)
	}
	for _, need := range needs {
		versions := f.Libraries[need.Name]
		for _, v := range need.Needs {
			if v.Flags&elf.VER_FLG_WEAK == 0 {
				versions = append(versions, v.Dep)
			}
		}
		slices.Sort(versions)
		f.Libraries[need.Name] = slices.Compact(versions)
	}
	return nil
}

// readSymbols notes the names of the undefined symbols and of the defined ones.
func (f *File) readSymbols(e *elf.File) error {
	section := e.SectionByType(elf.SHT_DYNSYM)
	if section == nil {
		return nil
	}
	if section.Entsize > 0 && section.Size/section.Entsize > maxSymbols {
		return errors.New("has more symbols than are looked at")
	}
	symbols, err := e.DynamicSymbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return fmt.Errorf("its symbols cannot be read: %w", err)
	}
	f.unbound, f.defines = make(map[string]elf.SymBind), make(map[string]bool)
	for _, s := range symbols {
		if s.Section == elf.SHN_UNDEF {
			f.unbound[s.Name] = elf.ST_BIND(s.Info)
		} else {
			f.defines[s.Name] = true
		}
	}
	return nil
}

// machine names the architecture as PEP 600 does.
func machine(e *elf.File) string {
	wide, little := e.Class == elf.ELFCLASS64, e.Data == elf.ELFDATA2LSB
	switch {
	case e.Machine == elf.EM_X86_64 && wide:
		return "x86_64"
	case e.Machine == elf.EM_386:
		return "i686"
	case e.Machine == elf.EM_AARCH64 && wide && little:
		return "aarch64"
	case e.Machine == elf.EM_ARM && little:
		return "armv7l"
	case e.Machine == elf.EM_PPC64 && little:
		return "ppc64le"
	case e.Machine == elf.EM_PPC64:
		return "ppc64"
	case e.Machine == elf.EM_S390 && wide:
		return "s390x"
	case e.Machine == elf.EM_RISCV && wide:
		return "riscv64"
	case e.Machine == elf.EM_LOONGARCH && wide:
		return "loongarch64"
	}
	return "?"
}

// The property and its bits (x86-64 psABI, 'Program Property').
const (
	noteProperty = 5          // NT_GNU_PROPERTY_TYPE_0
	isaNeeded    = 0xc0008002 // GNU_PROPERTY_X86_ISA_1_NEEDED
)

// level reads the level of the x86-64 instruction set that the linker noted.
func level(e *elf.File) (int, error) {
	section := e.Section(".note.gnu.property")
	if section == nil || e.Machine != elf.EM_X86_64 || e.Class != elf.ELFCLASS64 {
		return 0, nil
	}
	if section.Size > maxNote {
		return 0, errors.New("its notes are larger than is looked at")
	}
	b, err := section.Data()
	if err != nil {
		return 0, fmt.Errorf("its notes cannot be read: %w", err)
	}
	return noteLevel(b, e.ByteOrder), nil
}

// noteLevel finds the property in a section of notes: each has the sizes of its name and of its
// content, a type, the name, and the content, which is properties of type, size and value, padded to 8 bytes.
func noteLevel(b []byte, order binary.ByteOrder) (level int) {
	for len(b) >= 16 {
		name, size, kind := order.Uint32(b), order.Uint32(b[4:]), order.Uint32(b[8:])
		if name != 4 || uint64(size) > uint64(len(b)-16) {
			return level
		}
		content := b[16 : 16+size]
		b = b[min(uint64(len(b)), 16+(uint64(size)+7)&^7):]
		if kind != noteProperty {
			continue
		}
		for len(content) >= 8 {
			property, size := order.Uint32(content), order.Uint32(content[4:])
			if uint64(size) > uint64(len(content)-8) {
				break
			}
			if property == isaNeeded && size == 4 {
				bits := order.Uint32(content[8:])
				for bit, l := range []int{0, 2, 3, 4} {
					if bits&(1<<bit) != 0 {
						level = max(level, l)
					}
				}
			}
			content = content[min(uint64(len(content)), 8+(uint64(size)+7)&^7):]
		}
	}
	return level
}
