package tag

import (
	"fmt"
	"slices"
)

// platforms gives the platforms that the target accepts, best first.
func (t Target) platforms() []string {
	switch t.OS {
	case "linux":
		return t.linux()
	case "macos":
		return t.macos()
	case "ios":
		return t.ios()
	case "android":
		return t.android()
	case "windows":
		if t.Arch == "win32" {
			return []string{"win32"}
		}
		return []string{"win_" + normalise(t.Arch)}
	}
	return []string{normalise(t.OS)}
}

// Archs gives the machines whose code a Linux interpreter runs, best first:
// Arch, as the kernel tells it, corrected for an interpreter of 32 bits.
func (t Target) Archs() []string {
	arch := normalise(t.Arch)
	switch {
	case t.Pointer32 && arch == "x86_64":
		return []string{"i686"}
	case t.Pointer32 && arch == "aarch64", arch == "armv8l":
		return []string{"armv8l", "armv7l"}
	}
	return []string{arch}
}

func (t Target) linux() []string {
	archs := t.Archs()
	var names []string
	for _, arch := range archs {
		names = append(names, "linux_"+arch)
	}
	if t.Glibc != nil && t.manylinuxABI(archs) {
		names = append(names, t.manylinux(archs)...)
	}
	if t.Musl != nil {
		for _, arch := range archs {
			for minor := t.Musl[1]; minor >= 0; minor-- {
				names = append(names, fmt.Sprintf("musllinux_%d_%d_%s", t.Musl[0], minor, arch))
			}
		}
	}
	return names
}

// manylinuxABI tells whether the interpreter has the ABI that manylinux wheels
// of its machine are built for.
func (t Target) manylinuxABI(archs []string) bool {
	const (
		x86, arm      = 3, 40
		armABI        = 0xff000000
		armABI5       = 0x05000000
		armHardFloat  = 0x00000400
		class32, data = 1, 1
	)
	little32 := t.ELF != nil && t.ELF.Class == class32 && t.ELF.Data == data
	switch {
	case slices.Contains(archs, "armv7l"):
		return little32 && t.ELF.Machine == arm && t.ELF.Flags&armABI == armABI5 && t.ELF.Flags&armHardFloat != 0
	case slices.Contains(archs, "i686"):
		return little32 && t.ELF.Machine == x86
	}
	return slices.Contains([]string{"x86_64", "aarch64", "ppc64", "ppc64le", "s390x", "loongarch64", "riscv64"}, archs[0])
}

// manylinux gives the platforms of PEP 600 and their older names (PEP 513,
// 571, 599), from the system's glibc down to the oldest known.
func (t Target) manylinux(archs []string) []string {
	oldest := 17
	if slices.Contains(archs, "x86_64") || slices.Contains(archs, "i686") {
		oldest = 5
	}
	legacy := map[int]string{17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
	const lastMinor = 50 // taken for every major version before the system's

	var names []string
	for _, arch := range archs {
		for major, minor := t.Glibc[0], t.Glibc[1]; major >= 2; major, minor = major-1, lastMinor {
			for ; minor >= 0 && (major > 2 || minor >= oldest); minor-- {
				name := fmt.Sprintf("manylinux_%d_%d_%s", major, minor, arch)
				if slices.Contains(t.NotManylinux, name) {
					continue
				}
				names = append(names, name)
				if old, ok := legacy[minor]; ok && major == 2 {
					names = append(names, old+"_"+arch)
				}
			}
		}
	}
	return names
}

func (t Target) macos() []string {
	arch := t.Arch
	if t.Pointer32 {
		arch = "i386"
		if len(t.Arch) >= 3 && t.Arch[:3] == "ppc" {
			arch = "ppc"
		}
	}
	var names []string
	add := func(major, minor int, formats ...string) {
		for _, format := range formats {
			names = append(names, fmt.Sprintf("macosx_%d_%d_%s", major, minor, format))
		}
	}
	if t.OSVersion[0] == 10 {
		for minor := t.OSVersion[1]; minor >= 0; minor-- {
			add(10, minor, macFormats(10, minor, arch)...)
		}
		return names
	}
	for major := t.OSVersion[0]; major > 10; major-- {
		add(major, 0, macFormats(major, 0, arch)...)
	}
	if t.OSVersion[0] < 11 {
		return nil
	}
	for minor := 16; minor > 3; minor-- {
		if arch == "x86_64" {
			add(10, minor, macFormats(10, minor, arch)...)
		} else {
			add(10, minor, "universal2") // its x86_64 half may be older than the first arm64 system
		}
	}
	return names
}

// macFormats gives the kinds of binaries that run on a version of macOS.
func macFormats(major, minor int, arch string) []string {
	old := func(m int) bool { return major < 10 || major == 10 && minor < m }
	switch arch {
	case "x86_64":
		if old(4) {
			return nil
		}
		return []string{arch, "intel", "fat64", "fat3", "universal2", "universal"}
	case "i386":
		if old(4) {
			return nil
		}
		return []string{arch, "intel", "fat3", "fat", "universal"}
	case "ppc64":
		if old(4) || !old(6) {
			return nil
		}
		return []string{arch, "fat64", "universal"}
	case "ppc":
		if !old(7) {
			return nil
		}
		return []string{arch, "fat3", "fat", "universal"}
	case "intel":
		return []string{arch, "universal"}
	case "arm64":
		return []string{arch, "universal2"}
	}
	return []string{arch}
}

func (t Target) ios() []string {
	const oldest, lastMinor = 12, 9 // lastMinor is taken for every major version before the system's
	var names []string
	for major, minor := t.OSVersion[0], t.OSVersion[1]; major >= oldest; major, minor = major-1, lastMinor {
		for ; minor >= 0; minor-- {
			names = append(names, fmt.Sprintf("ios_%d_%d_%s", major, minor, normalise(t.Arch)))
		}
	}
	return names
}

func (t Target) android() []string {
	const oldest = 16
	var names []string
	for level := t.OSVersion[0]; level >= oldest; level-- {
		names = append(names, fmt.Sprintf("android_%d_%s", level, normalise(t.Arch)))
	}
	return names
}
