package tag

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDescribe(t *testing.T) {
	t.Parallel()
	for tags, want := range map[string]Words{
		"py3-none-any":     {"Any system", "any system", "Python 3"},
		"py2.py3-none-any": {"Any system", "any system", "Python 2 and 3"},
		"py38-none-any":    {"Any system", "any system", "Python 3.8 or newer"},
		"cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64":  {"Linux", "Linux x86-64, glibc 2.17 or newer", "CPython 3.11"},
		"cp312-cp312-manylinux_2_27_x86_64.manylinux_2_28_x86_64": {"Linux", "Linux x86-64, glibc 2.27 or newer", "CPython 3.12"},
		"cp312-cp312-manylinux1_i686.manylinux2010_i686":          {"Linux", "Linux x86 (32-bit), glibc 2.5 or newer", "CPython 3.12"},
		"cp39-abi3-musllinux_1_2_aarch64":                         {"Linux", "Linux ARM64, musl 1.2 or newer", "CPython 3.9 or newer"},
		"cp313-cp313t-macosx_11_0_arm64":                          {"macOS", "macOS 11.0 or newer, Apple silicon", "CPython 3.13, free-threaded"},
		"cp310-cp310-macosx_10_9_universal2":                      {"macOS", "macOS 10.9 or newer, Apple silicon and Intel", "CPython 3.10"},
		"cp310-cp310-macosx_10_9_x86_64.macosx_11_0_arm64":        {"macOS", "macOS 10.9 or newer, Intel; macOS 11.0 or newer, Apple silicon", "CPython 3.10"},
		"cp311-cp311-win_amd64":                                   {"Windows", "Windows x86-64", "CPython 3.11"},
		"cp311-cp311-win32":                                       {"Windows", "Windows x86 (32-bit)", "CPython 3.11"},
		"pp310-pypy310_pp73-win_arm64":                            {"Windows", "Windows ARM64", "PyPy 3.10"},
		"cp36-cp36m-linux_armv7l":                                 {"Linux", "Linux ARMv7", "CPython 3.6"},
		"graalpy311-graalpy242_311_native-manylinux_2_27_x86_64":  {"Linux", "Linux x86-64, glibc 2.27 or newer", "GraalPy 3.11"},
		"cp313-cp313-ios_13_0_arm64_iphoneos":                     {"Other systems", "iOS 13.0 or newer, arm64_iphoneos", "CPython 3.13"},
		"cp313-cp313-android_21_arm64_v8a":                        {"Other systems", "Android API 21 or newer, ARM64", "CPython 3.13"},
		"cp313-cp313-pyodide_2025_0_wasm32":                       {"Other systems", "Pyodide 2025.0 (WebAssembly)", "CPython 3.13"},
		"cp315-abi3t-win_amd64":                                   {"Windows", "Windows x86-64", "CPython 3.15 or newer, free-threaded"},
		"py3-none-win_amd64.manylinux2014_x86_64":                 {"Other systems", "Linux x86-64, glibc 2.17 or newer; Windows x86-64", "Python 3"},
		"xy-none-beos_5":                                          {"Other systems", "beos_5", "xy"},
		"cp311-cp311-manylinux_99999999999999999999_1_x86_64":     {"Other systems", "manylinux_99999999999999999999_1_x86_64", "CPython 3.11"},
	} {
		parsed, err := Parse(tags)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, Describe(parsed)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tags, diff)
		}
	}
	if got := Describe(nil); got != (Words{}) {
		t.Errorf("no tags: %+v", got)
	}
}
