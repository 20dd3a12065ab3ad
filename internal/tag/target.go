package tag

// Target is what of an interpreter and its system decides its tags. All fields
// are plain facts, as the interpreter itself tells them; nothing here asks the
// running machine. It is kept as JSON.
//
// Each field says how the fact is had in Python. Here PLATFORM stands for
// sysconfig.get_platform() and SYSTEM for platform.system().
type Target struct {
	// Implementation is sys.implementation.name: "cpython", "pypy", "graalpy".
	Implementation string `json:"implementation"`
	// Version is sys.version_info[:2]: {3, 11}.
	Version [2]int `json:"version"`
	// NoDot is str(sysconfig.get_config_var("py_version_nodot") or ""): "311".
	// "" stands for the digits of Version.
	NoDot string `json:"nodot,omitempty"`
	// ExtSuffix is sysconfig.get_config_var("EXT_SUFFIX") or "":
	// ".pypy310-pp73-x86_64-linux-gnu.so". It is not needed for CPython.
	ExtSuffix string `json:"ext_suffix,omitempty"`

	// Debug tells of a debug build of CPython: d or (d is None and
	// (hasattr(sys, "gettotalrefcount") or "_d.pyd" in
	// importlib.machinery.EXTENSION_SUFFIXES)), where d is
	// sysconfig.get_config_var("Py_DEBUG").
	Debug bool `json:"debug,omitempty"`
	// FreeThreaded is bool(sysconfig.get_config_var("Py_GIL_DISABLED")), PEP 703.
	FreeThreaded bool `json:"free_threaded,omitempty"`
	// NoPymalloc is sysconfig.get_config_var("WITH_PYMALLOC") in (0, ""). It
	// counts for CPython before 3.8 only; None there means that there is pymalloc.
	NoPymalloc bool `json:"no_pymalloc,omitempty"`

	// OS is, in this order:
	//	"macos", "ios", "android"  where SYSTEM is "Darwin", "iOS", "Android";
	//	"linux"                    where SYSTEM is "Linux" and PLATFORM begins with "linux-";
	//	"windows"                  where PLATFORM is "win32" or begins with "win-";
	//	PLATFORM itself            elsewhere: "freebsd-14.1-release-amd64".
	OS string `json:"os"`
	// Arch is
	//	on Linux    what follows "linux-" in PLATFORM: "x86_64", "aarch64", "armv7l";
	//	on macOS    platform.mac_ver()[2]: "x86_64", "arm64";
	//	on Windows  what follows "win-" in PLATFORM ("amd64", "arm64"), or "win32";
	//	on iOS      sys.implementation._multiarch: "arm64-iphoneos";
	//	on Android  what follows the last "-" in PLATFORM: "arm64_v8a";
	//	elsewhere   "".
	Arch string `json:"arch,omitempty"`
	// Pointer32 is struct.calcsize("P") == 4: an interpreter of 32 bits, though
	// its system may have 64.
	Pointer32 bool `json:"pointer32,omitempty"`
	// OSVersion is
	//	on macOS    the first two numbers of platform.mac_ver()[0]: {14, 5}. Where they are 10.16, ask again
	//	            in a new process of sys.executable with the environment SYSTEM_VERSION_COMPAT=0;
	//	on iOS      the first two numbers of platform.ios_ver().release: {17, 2};
	//	on Android  {platform.android_ver().api_level, 0}.
	OSVersion [2]int `json:"os_version,omitzero"`

	// Glibc, on Linux, holds the first two numbers of the last word of
	// os.confstr("CS_GNU_LIBC_VERSION") ("glibc 2.36": {2, 36}), or where that
	// fails, of ctypes.CDLL(None).gnu_get_libc_version(). nil: not glibc.
	Glibc *[2]int `json:"glibc,omitempty"`
	// Musl, on Linux, is the version of musl. The program header PT_INTERP of
	// the ELF file sys.executable names the loader; where its path contains
	// "musl", the loader run without arguments prints to stderr
	// "musl libc (x86_64)", then "Version 1.2.5": {1, 2}. nil: not musl.
	Musl *[2]int `json:"musl,omitempty"`
	// ELF, on Linux, is the header of sys.executable; nil where that file
	// cannot be read or is not ELF. Only 32-bit ARM and x86 need it.
	ELF *ELF `json:"elf,omitempty"`
	// NotManylinux, on Linux, lists what the module _manylinux (PEP 600) turns
	// down, as "manylinux_2_17_x86_64". Where the module can be imported, the
	// probe asks it for each arch of Archs and each glibc version from 2.0 to
	// Glibc (earlier major versions are taken to end at .50): by
	// manylinux_compatible(major, minor, arch), where None means yes, or where
	// that function is missing, for 2.5, 2.12 and 2.17 by the attributes
	// manylinux1_compatible, manylinux2010_compatible, manylinux2014_compatible,
	// where a missing one means yes.
	NotManylinux []string `json:"not_manylinux,omitempty"`
}

// ELF is what an ELF header says: struct.unpack of e_ident[4], e_ident[5],
// e_machine and e_flags, in the byte order that Data tells.
type ELF struct {
	Class   uint8  `json:"class"`   // 1: 32 bits, 2: 64 bits
	Data    uint8  `json:"data"`    // 1: little endian, 2: big endian
	Machine uint16 `json:"machine"` // 3: x86, 40: ARM
	Flags   uint32 `json:"flags"`
}
