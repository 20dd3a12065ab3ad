package fit

import (
	"debug/macho"
	"encoding/binary"
	"fmt"
	"io"
)

// The load commands that tell the oldest macOS (mach-o/loader.h).
const (
	loadVersionMin   = 0x24 // LC_VERSION_MIN_MACOSX: version at 8
	loadBuildVersion = 0x32 // LC_BUILD_VERSION: platform at 8, version at 12
	platformMacOS    = 1
)

// readMachO reads a file of one architecture.
func readMachO(r io.ReaderAt) (*File, error) {
	m, err := macho.NewFile(r)
	if err != nil {
		return nil, fmt.Errorf("is no whole Mach-O file: %w", err)
	}
	libraries, err := m.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("its libraries cannot be read: %w", err)
	}
	f := &File{Machine: machMachine(m.Cpu), MacOS: oldestMacOS(m), Libraries: make(map[string][]string)}
	for _, library := range libraries {
		f.Libraries[library] = nil
	}
	return f, nil
}

// readFat reads the file of each architecture in one; what is said is of the first, but for the
// machine, which is universal2 or the first one's.
func readFat(r io.ReaderAt) (*File, error) {
	// A Java class has its version where the number of architectures would be: 45 or more.
	const firstJava = 45
	var count [4]byte
	if _, err := r.ReadAt(count[:], 4); err == nil && binary.BigEndian.Uint32(count[:]) >= firstJava {
		return nil, nil
	}
	fat, err := macho.NewFatFile(r)
	if err != nil {
		return nil, fmt.Errorf("is no whole Mach-O file: %w", err)
	}
	f := &File{Machine: machMachine(fat.Arches[0].Cpu), Libraries: make(map[string][]string)}
	for _, arch := range fat.Arches {
		if v := oldestMacOS(arch.File); f.MacOS == "" || arch.Cpu == macho.CpuAmd64 && v != "" {
			f.MacOS = v
		}
		if machMachine(arch.Cpu) != f.Machine {
			f.Machine = "universal2"
		}
		libraries, err := arch.ImportedLibraries()
		if err != nil {
			return nil, fmt.Errorf("its libraries cannot be read: %w", err)
		}
		for _, library := range libraries {
			f.Libraries[library] = nil
		}
	}
	return f, nil
}

func machMachine(cpu macho.Cpu) string {
	switch cpu {
	case macho.CpuAmd64:
		return "x86_64"
	case macho.CpuArm64:
		return "arm64"
	}
	return "?"
}

func oldestMacOS(m *macho.File) string {
	for _, load := range m.Loads {
		raw := load.Raw()
		if len(raw) < 16 {
			continue
		}
		switch command := m.ByteOrder.Uint32(raw); {
		case command == loadVersionMin:
			return machVersion(m.ByteOrder, raw[8:])
		case command == loadBuildVersion && m.ByteOrder.Uint32(raw[8:]) == platformMacOS:
			return machVersion(m.ByteOrder, raw[12:])
		}
	}
	return ""
}

// machVersion reads xxxx.yy.zz, the major version in 16 bits, the others in 8.
func machVersion(order binary.ByteOrder, b []byte) string {
	v := order.Uint32(b)
	return fmt.Sprintf("%d.%d", v>>16, v>>8&0xff)
}
