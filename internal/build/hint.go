package build

import (
	"slices"

	"curdling/internal/lazyregexp"
)

// symptom is what a log shows when something of the system is missing.
type symptom struct {
	pattern *lazyregexp.Regexp
	hint    string
}

const debian = " is missing; on Debian and Ubuntu: apt-get install "

// missing matches a program that could not be run, as shells, Python, distutils and meson say it.
func missing(program string) *lazyregexp.Regexp {
	path := `(?:[^'\n]*/)?(?:` + program + `)'`
	return lazyregexp.New(`(?:execute '|Popen\(\['|directory: '|Unknown compiler\(s\): \[\[')` + path +
		`|command '` + path + ` failed: No such file|\b(?:` + program + `): (?:command )?not found`)
}

var symptoms = []symptom{
	{missing(`(?:[a-z0-9_]+-linux-gnu-)?g?cc|clang`), "a C compiler" + debian + "build-essential"},
	{missing(`(?:[a-z0-9_]+-linux-gnu-)?[gc]\+\+|clang\+\+`), "a C++ compiler" + debian + "build-essential"},
	{lazyregexp.New(`No CMAKE_(?:C|CXX)_COMPILER could be found`), "a C compiler" + debian + "build-essential"},
	{missing(`gfortran`), "a Fortran compiler" + debian + "gfortran"},
	{lazyregexp.New(`Python\.h: No such file|Could NOT find Python3? \(missing:[^)]*Development`), "Python.h" + debian + "python3-dev (for the system's Python)"},
	{missing(`pkg-config`), "pkg-config" + debian + "pkg-config"},
	{lazyregexp.New(`(?i)did not find pkg-config|pkg-config (?:was not found|could not be found|is required)|pkg-config executable was not found`), "pkg-config" + debian + "pkg-config"},
	{missing(`cmake`), "CMake" + debian + "cmake"},
	{lazyregexp.New(`CMake must be installed`), "CMake" + debian + "cmake"},
	{missing(`ninja`), "ninja" + debian + "ninja-build"},
	{missing(`make`), "make" + debian + "build-essential"},
	{missing(`cargo|rustc`), "Rust" + debian + "cargo, or take rustup where that one is too old"},
	{lazyregexp.New(`(?i)can't find Rust compiler|Cargo, the Rust package manager, is not installed|requires Rust`), "Rust" + debian + "cargo, or take rustup where that one is too old"},
	{lazyregexp.New(`rustc [\d.]+ is not supported|requires rustc [\d.]+ or newer`), "the Rust compiler is too old for this; take a newer one by rustup"},
	{missing(`autoreconf|autoconf|automake|aclocal|libtoolize`), "autotools" + debian + "autoconf automake libtool"},
	{missing(`swig`), "SWIG" + debian + "swig"},
	{missing(`git`), "git" + debian + "git"},
	{lazyregexp.New(`pg_config executable not found`), "pg_config" + debian + "libpq-dev"},
	{missing(`pg_config`), "pg_config" + debian + "libpq-dev"},
	{missing(`krb5-config`), "krb5-config" + debian + "libkrb5-dev"},
	{missing(`curl-config`), "curl-config" + debian + "libcurl4-openssl-dev"},
	{missing(`mysql_config|mariadb_config`), "MySQL's library" + debian + "default-libmysqlclient-dev pkg-config"},
	{lazyregexp.New(`Can not find valid pkg-config name`), "MySQL's library" + debian + "default-libmysqlclient-dev pkg-config"},
	{lazyregexp.New(`make sure the libxml2 and libxslt development packages`), "libxml2" + debian + "libxml2-dev libxslt1-dev"},
	{lazyregexp.New(`(?i)dependency "(?:openblas|blas|lapack)" not found|No BLAS/LAPACK libraries found`), "a BLAS library" + debian + "libopenblas-dev"},
	{lazyregexp.New(`No module named '?distutils`), "distutils left Python with 3.12: try a newer release of this project, or an older Python"},
	{lazyregexp.New(`No module named '?pkg_resources`), "pkg_resources left setuptools: try a newer release of this project, or constrain setuptools<81"},
	{lazyregexp.New(`use_2to3 is invalid|Missing parentheses in call to 'print'`), "this source is of Python 2's time: try a newer release of this project"},
	{lazyregexp.New(`setuptools[-_]scm was unable to detect version`), "the version comes from the repository's tags: build from a clone with its history, or set SETUPTOOLS_SCM_PRETEND_VERSION"},
	{lazyregexp.New(`No space left on device`), "the disk is full; TMPDIR moves the build elsewhere"},
	{lazyregexp.New(`(?:Killed signal terminated program|internal compiler error: Killed)`), "the compiler was killed, perhaps for want of memory: set MAKEFLAGS=-j1 or MAX_JOBS=1"},
	{lazyregexp.New(`the build backend .* cannot be imported: ModuleNotFoundError`), "build-system.requires of its pyproject.toml must name the distribution that has the backend"},
}

var (
	missingHeader  = lazyregexp.New(`fatal error: '?([\w./+-]+\.(?:h|hpp|hh))'?(?:: No such file| file not found)`)
	missingLibrary = lazyregexp.New(`(?m)cannot find -l([\w.+-]+)`)
	missingModule  = lazyregexp.New(`(?m)^ModuleNotFoundError: No module named '([\w.]+)'`)
)

// headerPackages and libraryPackages are Debian's.
var headerPackages = map[string]string{
	"ffi.h": "libffi-dev", "openssl/ssl.h": "libssl-dev", "openssl/opensslv.h": "libssl-dev", "openssl/evp.h": "libssl-dev",
	"openssl/crypto.h": "libssl-dev", "libpq-fe.h": "libpq-dev", "pg_config.h": "libpq-dev", "mysql.h": "default-libmysqlclient-dev",
	"libxml/xmlversion.h": "libxml2-dev libxslt1-dev", "libxml/xpath.h": "libxml2-dev libxslt1-dev", "libxslt/xslt.h": "libxslt1-dev",
	"xmlsec/xmlsec.h": "libxmlsec1-dev", "zlib.h": "zlib1g-dev", "bzlib.h": "libbz2-dev", "lzma.h": "liblzma-dev",
	"zstd.h": "libzstd-dev", "lz4.h": "liblz4-dev", "snappy-c.h": "libsnappy-dev", "brotli/decode.h": "libbrotli-dev",
	"jpeglib.h": "libjpeg-dev", "png.h": "libpng-dev", "tiffio.h": "libtiff-dev", "webp/decode.h": "libwebp-dev",
	"ft2build.h": "libfreetype-dev", "lcms2.h": "liblcms2-dev", "cairo.h": "libcairo2-dev", "girepository.h": "libgirepository1.0-dev",
	"yaml.h": "libyaml-dev", "sqlite3.h": "libsqlite3-dev", "expat.h": "libexpat1-dev", "readline/readline.h": "libreadline-dev",
	"ncurses.h": "libncurses-dev", "curses.h": "libncurses-dev", "curl/curl.h": "libcurl4-openssl-dev",
	"lber.h": "libldap2-dev libsasl2-dev", "ldap.h": "libldap2-dev libsasl2-dev", "sasl/sasl.h": "libsasl2-dev",
	"gssapi.h": "libkrb5-dev", "gssapi/gssapi.h": "libkrb5-dev", "krb5.h": "libkrb5-dev", "sql.h": "unixodbc-dev", "sqlfront.h": "freetds-dev",
	"gmp.h": "libgmp-dev", "mpfr.h": "libmpfr-dev", "mpc.h": "libmpc-dev", "sodium.h": "libsodium-dev", "secp256k1.h": "libsecp256k1-dev",
	"hdf5.h": "libhdf5-dev", "netcdf.h": "libnetcdf-dev", "gdal.h": "libgdal-dev", "geos_c.h": "libgeos-dev", "proj.h": "libproj-dev",
	"fftw3.h": "libfftw3-dev", "cblas.h": "libopenblas-dev", "boost/python.hpp": "libboost-python-dev", "Eigen/Core": "libeigen3-dev",
	"zmq.h": "libzmq3-dev", "uv.h": "libuv1-dev", "event.h": "libevent-dev", "ev.h": "libev-dev", "librdkafka/rdkafka.h": "librdkafka-dev",
	"portaudio.h": "portaudio19-dev", "sndfile.h": "libsndfile1-dev", "alsa/asoundlib.h": "libasound2-dev", "SDL.h": "libsdl2-dev",
	"libusb.h": "libusb-1.0-0-dev", "libudev.h": "libudev-dev", "bluetooth/bluetooth.h": "libbluetooth-dev", "pcap.h": "libpcap-dev",
	"systemd/sd-daemon.h": "libsystemd-dev", "systemd/sd-journal.h": "libsystemd-dev", "dbus/dbus.h": "libdbus-1-dev", "cups/cups.h": "libcups2-dev",
	"X11/Xlib.h": "libx11-dev", "magic.h": "libmagic-dev", "re2/re2.h": "libre2-dev", "archive.h": "libarchive-dev", "sys/acl.h": "libacl1-dev",
	"virt/libvirt.h": "libvirt-dev", "libvirt/libvirt.h": "libvirt-dev", "graphviz/cgraph.h": "libgraphviz-dev", "enchant.h": "libenchant-2-dev",
	"crack.h": "libcrack2-dev", "security/pam_appl.h": "libpam0g-dev", "seccomp.h": "libseccomp-dev", "attr/xattr.h": "libattr1-dev",
}

var libraryPackages = map[string]string{
	"ssl": "libssl-dev", "crypto": "libssl-dev", "pq": "libpq-dev", "ffi": "libffi-dev", "z": "zlib1g-dev", "xml2": "libxml2-dev",
	"xslt": "libxslt1-dev", "openblas": "libopenblas-dev", "lapack": "liblapack-dev", "blas": "libblas-dev", "stdc++": "build-essential",
}

// hints tells what the end of a log suggests to install or to try, at most three things.
func hints(log string) []string {
	var list []string
	add := func(hint string) {
		if !slices.Contains(list, hint) && len(list) < 3 {
			list = append(list, hint)
		}
	}
	for _, s := range symptoms {
		if s.pattern.MatchString(log) {
			add(s.hint)
		}
	}
	for _, m := range missingHeader.FindAllStringSubmatch(log, -1) {
		if p := headerPackages[m[1]]; p != "" {
			add(m[1] + debian + p)
		}
	}
	for _, m := range missingLibrary.FindAllStringSubmatch(log, -1) {
		if p := libraryPackages[m[1]]; p != "" {
			add("the library " + m[1] + debian + p)
		}
	}
	if m := missingModule.FindStringSubmatch(log); m != nil && len(list) == 0 {
		add("it uses the module " + m[1] + " to build, but its pyproject.toml does not require that: try another release")
	}
	return list
}
