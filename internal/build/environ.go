package build

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"curdling/internal/python"
)

// Variables are the environment variables that builds may see, next to PATH. In
// a pattern "*" stands for anything, but a name that holds TOKEN, SECRET, PASSW or
// CREDENTIAL is never meant by one. Upper and lower case are one. HOME, the
// temporary folder and VIRTUAL_ENV are the build's own.
func Variables() []string {
	return strings.Fields(variables)
}

const variables = `
LANG LANGUAGE LC_* TZ USER LOGNAME SHELL
http_proxy https_proxy no_proxy all_proxy
SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
SOURCE_DATE_EPOCH

CC CXX CPP FC F77 F90 LD AR AS NM RANLIB STRIP OBJCOPY CCSHARED LDSHARED LDCXXSHARED
CFLAGS CXXFLAGS CPPFLAGS FFLAGS FCFLAGS LDFLAGS LDLIBS LIBS ARFLAGS
CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH OBJC_INCLUDE_PATH LIBRARY_PATH
LD_LIBRARY_PATH LD_RUN_PATH DYLD_LIBRARY_PATH DYLD_FALLBACK_LIBRARY_PATH
PKG_CONFIG* ACLOCAL_PATH MAKE MAKEFLAGS MAX_JOBS NPROC
CMAKE_* CTEST_* NINJA* MESON* SKBUILD_* SCIKIT_BUILD_*
CCACHE_* SCCACHE_DIR SCCACHE_CACHE_SIZE DISTCC_HOSTS
ARCHFLAGS MACOSX_DEPLOYMENT_TARGET SDKROOT DEVELOPER_DIR _PYTHON_HOST_PLATFORM

CARGO CARGO_HOME CARGO_BUILD_* CARGO_HTTP_* CARGO_NET_* CARGO_PROFILE_* CARGO_TARGET_*
RUSTC RUSTC_WRAPPER RUSTFLAGS RUSTUP_* RUST_BACKTRACE PYO3_* MATURIN_*
GOROOT GOFLAGS CGO_*
JAVA_HOME JDK_HOME NODE_PATH

SETUPTOOLS_SCM_* SETUPTOOLS_ENABLE_FEATURES SETUPTOOLS_USE_DISTUTILS
HATCH_BUILD_* HATCH_VCS_* PDM_BUILD_* POETRY_DYNAMIC_VERSIONING_* FLIT_ROOT_INSTALL
PBR_VERSION VERSIONEER_* DISTUTILS_* PYTHONHASHSEED
CYTHON_* NPY_* NUMPY_* BLAS LAPACK BLAS_* LAPACK_* OPENBLAS* MKLROOT MKL_ROOT
CUDA_* CUDACXX CUDNN_* NVCC_* TORCH_* USE_* ROCM_* HIP_*
GRPC_PYTHON_* OPENSSL_DIR OPENSSL_INCLUDE_DIR OPENSSL_LIB_DIR OPENSSL_STATIC OPENSSL_NO_VENDOR
PG_CONFIG MYSQL_CONFIG MYSQLCLIENT_* PYCURL_* LLVM_CONFIG LLVM_DIR XML2_CONFIG XSLT_CONFIG
WITH_XML2_CONFIG WITH_XSLT_CONFIG STATIC_DEPS SODIUM_INSTALL
HDF5_* NETCDF4_* GDAL_* GEOS_* PROJ_* ZMQ_* LIBFFI_* FREETYPE_* BOOST_ROOT EIGEN_* ARROW_HOME

SystemRoot windir ComSpec PATHEXT SystemDrive OS NUMBER_OF_PROCESSORS PROCESSOR_*
ProgramFiles ProgramFiles(x86) ProgramW6432 ProgramData CommonProgramFiles CommonProgramFiles(x86)
INCLUDE LIB LIBPATH VCINSTALLDIR VSINSTALLDIR VSCMD_* VCToolsInstallDir VS*COMNTOOLS WindowsSdk* UniversalCRTSdkDir UCRTVersion
MSSdk
`

// uncounted are those of Variables that say how a build is run, where, or by whom, and not what comes of it. In
// them jobs differ whose builds should be shared.
const uncounted = `
LANG LANGUAGE LC_* TZ USER LOGNAME SHELL
http_proxy https_proxy no_proxy all_proxy
SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
SOURCE_DATE_EPOCH PYTHONHASHSEED
MAKE MAKEFLAGS MAX_JOBS NPROC CMAKE_BUILD_PARALLEL_LEVEL CMAKE_COLOR_DIAGNOSTICS CTEST_* NINJA*
CCACHE_* SCCACHE_DIR SCCACHE_CACHE_SIZE DISTCC_HOSTS
CARGO CARGO_HOME CARGO_HTTP_* CARGO_NET_* CARGO_TARGET_* RUSTC_WRAPPER RUSTUP_* RUST_BACKTRACE
GOROOT JAVA_HOME JDK_HOME NODE_PATH LD_LIBRARY_PATH LD_RUN_PATH DYLD_LIBRARY_PATH DYLD_FALLBACK_LIBRARY_PATH
SystemRoot windir ComSpec PATHEXT SystemDrive OS NUMBER_OF_PROCESSORS PROCESSOR_*
ProgramFiles ProgramFiles(x86) ProgramW6432 ProgramData CommonProgramFiles CommonProgramFiles(x86)
`

// Counted gives those environment variables that builds see and that may change what
// comes of them, of environ or, where it is nil, of this process. Empty ones do not count.
func Counted(environ []string) map[string]string {
	if environ == nil {
		environ = os.Environ()
	}
	allowed, not := Variables(), strings.Fields(uncounted)
	counted := make(map[string]string)
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if upper := strings.ToUpper(name); value != "" && mayPass(upper, allowed) && !mayPass(upper, not) {
			counted[name] = value
		}
	}
	return counted
}

// environ gives the variables of a hook's process, from those of the caller.
func (b *Builder) environ(env *python.Interpreter, home, temp string) []string {
	from := b.Environ
	if from == nil {
		from = os.Environ()
	}
	allowed := append(Variables(), b.Pass...)
	var result []string
	path, realHome, rustup := "", "", false
	for _, entry := range from {
		name, value, _ := strings.Cut(entry, "=")
		switch upper := strings.ToUpper(name); {
		case upper == "PATH":
			path = value
		case upper == "HOME" || upper == "USERPROFILE":
			realHome = value
		case b.Offline && strings.HasSuffix(upper, "_PROXY"): // there is no way to it
		case mayPass(upper, allowed):
			result = append(result, entry)
			rustup = rustup || upper == "RUSTUP_HOME"
		}
	}
	if dir := filepath.Join(realHome, ".rustup"); realHome != "" && !rustup {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			result = append(result, "RUSTUP_HOME="+dir) // where rustup's cargo finds its compilers
		}
	}
	if runtime.GOOS == "windows" {
		result = append(result, "USERPROFILE="+home, "APPDATA="+home, "LOCALAPPDATA="+home)
	}
	return append(result,
		"PATH="+strings.TrimSuffix(env.Scripts+string(filepath.ListSeparator)+path, string(filepath.ListSeparator)),
		"HOME="+home, "TMPDIR="+temp, "TMP="+temp, "TEMP="+temp,
		"VIRTUAL_ENV="+env.Prefix,
		"PYTHONNOUSERSITE=1", "PYTHONIOENCODING=utf-8:backslashreplace",
	)
}

// mayPass tells whether the variable called name, in upper case, is among allowed.
func mayPass(name string, allowed []string) bool {
	for _, pattern := range allowed {
		head, tail, wild := strings.Cut(strings.ToUpper(pattern), "*")
		if !wild && name == head ||
			wild && strings.HasPrefix(name, head) && strings.HasSuffix(name, tail) && !soundsSecret(name) {
			return true
		}
	}
	return false
}

func soundsSecret(name string) bool {
	for _, word := range []string{"TOKEN", "SECRET", "PASSW", "CREDENTIAL"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
