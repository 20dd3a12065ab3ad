package record

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"curdling/internal/dist"
	"curdling/internal/fit"
	"curdling/internal/tag"
)

const aHash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func example(t testing.TB) *Record {
	t.Helper()
	r := &Record{
		Key:  Key(Decides{From: aHash, Tag: "cp311-cp311", Platform: "linux_x86_64 glibc"}),
		From: From{SHA256: aHash, Filename: "foo-1.0.tar.gz"},
		With: With{Backend: "setuptools.build_meta", Requires: []Distribution{{"setuptools", "80.9.0", aHash}}},
		On:   On{Python: "3.11.2", Tag: "cp311-cp311", Platform: "linux_x86_64", Libc: "glibc 2.36", Compilers: []string{"GCC: <12> & more"}},
		Needs: Needs{Needs: fit.Needs{Files: []fit.File{{
			Path: "foo/a.so", Machine: "x86_64", Libraries: map[string][]string{"libc.so.6": {"GLIBC_2.17"}},
		}}}},
		Cost: Cost{Seconds: 12.5, Bytes: 1 << 20, Built: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
	}
	if err := r.Identify(); err != nil {
		t.Fatal(err)
	}
	f, err := dist.ParseFilename("foo-1.0-cp311-cp311-manylinux_2_17_x86_64.whl", "")
	if err != nil {
		t.Fatal(err)
	}
	r.Wheel = Wheel{Filename: dist.WheelFilename(f.Name, f.Version, r.BuildTag(), f.Tags), Size: 1000, SHA256: aHash}
	return r
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	r := example(t)
	text, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, again, cmp.AllowUnexported(Record{}), cmpopts.IgnoreUnexported(fit.File{})); diff != "" {
		t.Error(diff)
	}
	if second, err := again.Encode(); err != nil || !bytes.Equal(text, second) {
		t.Errorf("written again it is another text (%v)", err)
	}
	if f, err := dist.ParseFilename(r.Wheel.Filename, ""); err != nil || f.Build.Number != 0 || f.Build != r.BuildTag() {
		t.Errorf("build tag %+v, %v", f.Build, err)
	}
	if err := again.Of(r.Wheel.Filename, r.Wheel.SHA256); err != nil {
		t.Error(err)
	}
	if again.Of("other.whl", r.Wheel.SHA256) == nil || again.Of(r.Wheel.Filename, strings.Repeat("0", 64)) == nil {
		t.Error("is taken for another wheel's")
	}
}

// TestLaterSchema: what a later program adds is read over, and counts in the identity.
func TestLaterSchema(t *testing.T) {
	t.Parallel()
	r := example(t)
	text, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var loose map[string]any
	if err := json.Unmarshal(text, &loose); err != nil {
		t.Fatal(err)
	}
	loose["schema"], loose["later"] = 2, "something"
	text, err = json.Marshal(loose)
	if err != nil {
		t.Fatal(err)
	}
	// The keys of from, with and on stand in another order now: the identity is of the bytes.
	if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), "build tag") {
		t.Errorf("changed bytes: %v", err)
	}
	text, err = r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	later := strings.Replace(string(text), `"schema": 1`, `"later": {"x": [1]}, "schema": 2`, 1)
	if again, err := Parse([]byte(later)); err != nil || again.Identity() != r.Identity() || again.Schema != 2 {
		t.Errorf("a later schema: %v", err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(r *Record){
		"another from":     func(r *Record) { r.From.SHA256 = strings.Repeat("1", 64) },
		"another compiler": func(r *Record) { r.On.Compilers = nil },
		"another setting":  func(r *Record) { r.With.Settings = map[string][]string{"a": {"b"}} },
		"no key":           func(r *Record) { r.Key = "" },
		"upper case":       func(r *Record) { r.Wheel.SHA256 = strings.ToUpper(aHash) },
		"no wheel":         func(r *Record) { r.Wheel.Filename = "foo-1.0.tar.gz" },
		"a path":           func(r *Record) { r.Wheel.Filename = "../" + r.Wheel.Filename },
		"no build tag":     func(r *Record) { r.Wheel.Filename = "foo-1.0-py3-none-any.whl" },
		"no size":          func(r *Record) { r.Wheel.Size = 0 },
		"less than no time": func(r *Record) {
			r.Cost.Seconds = -1
		},
	} {
		r := example(t)
		edit(r)
		text, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, text := range []string{"", "{}", "[]", `{"schema": 0}`, strings.Repeat(" ", MaxSize+1)} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%.20q is accepted", text)
		}
	}
}

func TestPlain(t *testing.T) {
	t.Parallel()
	if r := example(t); !r.Plain() || r.Native() {
		t.Error("the example is not plain")
	}
	for name, edit := range map[string]func(r *Record){
		"settings":   func(r *Record) { r.With.Settings = map[string][]string{"a": {"b"}} },
		"variables":  func(r *Record) { r.With.Variables = map[string]string{"CFLAGS": "-O0"} },
		"native":     func(r *Record) { r.On.Flags = []string{"-march=native"} },
		"repository": func(r *Record) { r.From = From{SHA256: aHash, Repository: "git+https://host/x"} },
		"libraries":  func(r *Record) { r.Wheel.Filename = "foo-1.0-0b12-cp311-cp311-linux_x86_64.whl" },
	} {
		r := example(t)
		if edit(r); r.Plain() {
			t.Errorf("%s: plain", name)
		}
	}
}

func TestTarget(t *testing.T) {
	t.Parallel()
	glibc, musl := [2]int{2, 36}, [2]int{1, 2}
	for _, test := range []struct {
		tag.Target
		tag, platform, libc, both string
	}{
		{tag.Target{Implementation: "cpython", Version: [2]int{3, 11}, OS: "linux", Arch: "x86_64", Glibc: &glibc}, "cp311-cp311", "linux_x86_64", "glibc 2.36", "linux_x86_64 glibc"},
		{tag.Target{Implementation: "cpython", Version: [2]int{3, 13}, FreeThreaded: true, OS: "linux", Arch: "aarch64", Musl: &musl}, "cp313-cp313t", "linux_aarch64", "musl 1.2", "linux_aarch64 musl"},
		{tag.Target{Implementation: "cpython", Version: [2]int{3, 12}, OS: "macos", Arch: "arm64", OSVersion: [2]int{14, 5}}, "cp312-cp312", "macosx_14_0_arm64", "", "macosx_arm64"},
		{tag.Target{Implementation: "cpython", Version: [2]int{3, 12}, OS: "windows", Arch: "amd64"}, "cp312-cp312", "win_amd64", "", "win_amd64"},
	} {
		platform, libc, both := PlatformOf(test.Target)
		if got := TagOf(test.Target); got != test.tag || platform != test.platform || libc != test.libc || both != test.both {
			t.Errorf("%s %q %q %q, want %s %q %q %q", got, platform, libc, both, test.tag, test.platform, test.libc, test.both)
		}
	}
}

func FuzzParse(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range seeds {
		text, err := os.ReadFile(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := Parse(text)
		if err != nil {
			return
		}
		if !strings.HasPrefix(r.BuildTag().String(), "0b") || len(r.Identity()) != 64 {
			t.Errorf("identity %q", r.Identity())
		}
		r.Plain()
	})
}
