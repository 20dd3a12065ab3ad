package build

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		src  Source
		want []string
	}{
		"no project":         {source(writeTree(t, map[string]string{"x": ""})), []string{"pkg 1.0: building the wheel failed in reading pyproject.toml: not a Python project: it has neither pyproject.toml nor setup.py"}},
		"no source":          {source(""), []string{"neither an archive nor a folder"}},
		"no such folder":     {source("missing"), []string{"pkg 1.0: building the wheel failed in unpacking: "}},
		"no such archive":    {Source{Name: "pkg", Archive: "missing.tar.gz"}, []string{"pkg: building the wheel failed in unpacking: "}},
		"an archive unknown": {Source{Archive: writeFile(t, "x.rar", "")}, []string{"x.rar: building the wheel failed in unpacking: x.rar: not a source archive"}},
		"other bytes":        {Source{Archive: writeFile(t, "x.tar.gz", "x"), SHA256: strings.Repeat("0", 64)}, []string{"has the sha256 2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881, expected 000"}},
		"subdirectory":       {Source{Dir: writeTree(t, project("")), Subdirectory: "../x"}, []string{`"../x" does not lie inside the source`}},
		"requires":           {source(writeTree(t, map[string]string{"pyproject.toml": "[build-system]\nrequires=['a b']"})), []string{"pyproject.toml: build-system.requires: ", `"a b"`}},
		"no backend": {source(writeTree(t, map[string]string{"pyproject.toml": "[build-system]\nrequires=[]\nbuild-backend='gone.away'"})),
			[]string{`pkg 1.0: building the wheel failed (the build backend "gone.away" cannot be imported: ModuleNotFoundError: No module named 'gone') in get_requires_for_build_wheel; the end of its log:`, "\n  ModuleNotFoundError", "\nthe whole log: ", "\nhint: build-system.requires"}},
		"no object": {source(writeTree(t, map[string]string{"pyproject.toml": strings.Replace(inTree, `"backend"`, `"backend:a.b"`, 1), "backend.py": ""})),
			[]string{`"backend:a.b" cannot be imported: AttributeError`}},
		"backend elsewhere": {source(writeTree(t, map[string]string{"pyproject.toml": strings.Replace(inTree, `"backend"`, `"json"`, 1)})),
			[]string{`"json" cannot be imported: ImportError: it was found outside of backend-path`}},
		"no hook":          {source(writeTree(t, project("del build_wheel\n"))), []string{"in build_wheel: the backend has no such hook: build_wheel"}},
		"exception":        {source(writeTree(t, project("def build_wheel(*a):\n    raise ValueError('why \\x1b[31mred\\x1b[0m\\x07')\n"))), []string{"failed (exit status 1) in build_wheel; the end of its log:\n", "\n  ValueError: why red\n"}},
		"ends":             {source(writeTree(t, project("def build_wheel(*a):\n    print('bye')\n    sys.exit(0)\n"))), []string{"the build ended before its hook did", "\n  bye"}},
		"killed":           {source(writeTree(t, project("def build_wheel(*a):\n    print('bye')\n    os.kill(os.getpid(), 9)\n"))), []string{"signal: killed", "\n  bye"}},
		"no requirements":  {source(writeTree(t, project("def get_requires_for_build_wheel(*a):\n    return ['!']\n"))), []string{"asks for something that is no requirement"}},
		"no list":          {source(writeTree(t, project("def get_requires_for_build_wheel(*a):\n    return {'a': 1}\n"))), []string{"returned something else than it should", "{\\\"a\\\": 1}"}},
		"a path":           {source(writeTree(t, project("def build_wheel(*a):\n    return '../x.whl'\n"))), []string{`returned "../x.whl", which is not the name of a .whl`}},
		"no wheel":         {source(writeTree(t, project("def build_wheel(*a):\n    return 'x.whl'\n"))), []string{"the backend built no wheel"}},
		"a device":         {source(writeTree(t, project("def build_wheel(d, *a):\n    os.mkfifo(os.path.join(d, 'x.whl'))\n    return 'x.whl'\n"))), []string{"x.whl is not a file"}},
		"a huge answer":    {source(writeTree(t, project("def build_wheel(*a):\n    return 'x' * (17 << 20)\n"))), []string{"answer.json is larger than"}},
		"a broken wheel":   {source(writeTree(t, project("def build_wheel(d, *a):\n    n = wheel(d)\n    open(os.path.join(d, n), 'w').close()\n    return n\n"))), []string{"in checking the wheel: "}},
		"another name":     {source(writeTree(t, project("NAME = 'other'\n"))), []string{`the metadata is of "other", not of "pkg"`}},
		"another version":  {source(writeTree(t, project("VERSION = '1.0.post1'\n"))), []string{"the metadata says version 1.0.post1, not 1.0"}},
		"another platform": {source(writeTree(t, project("TAG = 'cp27-cp27mu-win32'\n"))), []string{"pkg-1.0-cp27-cp27mu-win32.whl is not for this Python"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, out := newBuilder(t), t.TempDir()
			r, err := b.Wheel(t.Context(), test.src, out)
			if err == nil {
				t.Fatal(r)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nwant %q", err, want)
				}
			}
			e := new(Error)
			if !errors.As(err, &e) || e.Err == nil || e.Step == "" {
				t.Errorf("%#v", err)
			}
			if _, err := os.Stat(e.Log); err != nil {
				t.Error(err)
			}
			if left := names(t, out); len(left) > 0 {
				t.Error(left)
			}
		})
	}
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	return filepath.Join(writeTree(t, map[string]string{name: text}), name)
}

func TestHints(t *testing.T) {
	t.Parallel()
	for log, want := range map[string]string{
		"error: command 'gcc' failed: No such file or directory":                              "apt-get install build-essential",
		"error: command '/usr/bin/x86_64-linux-gnu-gcc' failed: No such file or directory":    "a C compiler",
		"unable to execute 'g++': No such file or directory\nerror: command 'g++' failed":     "a C++ compiler",
		"../meson.build:1:0: ERROR: Unknown compiler(s): [['cc'], ['gcc'], ['clang']]":        "a C compiler",
		"ERROR: Unknown compiler(s): [['gfortran'], ['flang']]":                               "apt-get install gfortran",
		"/bin/sh: 1: gcc: not found":                                                          "a C compiler",
		"No CMAKE_CXX_COMPILER could be found.":                                               "build-essential",
		"src/x.c:3:10: fatal error: Python.h: No such file or directory":                      "python3-dev",
		"src/x.c:3:10: fatal error: 'ffi.h' file not found":                                   "apt-get install libffi-dev",
		"c/_cffi_backend.c:15:10: fatal error: ffi.h: No such file or directory":              "ffi.h is missing; on Debian and Ubuntu: apt-get install libffi-dev",
		"fatal error: unheard/of.h: No such file or directory":                                "",
		"Error: pg_config executable not found.":                                              "libpq-dev",
		"FileNotFoundError: [Errno 2] No such file or directory: 'cmake'":                     "apt-get install cmake",
		"Did not find pkg-config by name 'pkg-config'":                                        "apt-get install pkg-config",
		"error: can't find Rust compiler":                                                     "apt-get install cargo",
		"Cargo, the Rust package manager, is not installed or is not on PATH.":                "cargo",
		"/usr/bin/ld: cannot find -lpq: No such file or directory":                            "the library pq is missing; on Debian and Ubuntu: apt-get install libpq-dev",
		"./bootstrap.sh: 2: autoreconf: not found":                                            "autoconf automake libtool",
		"ModuleNotFoundError: No module named 'distutils'":                                    "an older Python",
		"ModuleNotFoundError: No module named 'pkg_resources'":                                "setuptools<81",
		"ModuleNotFoundError: No module named 'numpy'":                                        "it uses the module numpy to build",
		"Error: Please make sure the libxml2 and libxslt development packages are installed.": "libxml2-dev",
		"error: command '/usr/bin/gcc' failed with exit code 1":                               "",
		"all is well": "",
		"the build backend \"x\" cannot be imported: ModuleNotFoundError: No module named 'x'": "build-system.requires",
		"LookupError: setuptools-scm was unable to detect version for /x":                      "SETUPTOOLS_SCM_PRETEND_VERSION",
	} {
		got := strings.Join(hints(log), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s\n got %q\nwant %q", log, got, want)
		}
	}
}
