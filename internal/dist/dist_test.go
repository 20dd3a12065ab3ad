package dist

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/tag"
	"curdling/internal/version"
)

func TestParseFilename(t *testing.T) {
	t.Parallel()
	tests := []struct {
		filename      string
		hint          Name
		name, version string
		kind          Kind
	}{
		{"foo-bar-1.0-2.tar.gz", "", "foo-bar-1-0", "2", Sdist},
		{"foo-bar-1.0-2.tar.gz", "foo-bar", "foo-bar", "1.0.post2", Sdist},
		{"foo__bar-1.0.tar.bz2", "foo-bar", "foo-bar", "1.0", Sdist},
		{"Foo_Bar-1!2.0+ubuntu_1-py2.py3-none-any.whl", "foo-bar", "foo-bar", "1!2.0+ubuntu.1", Wheel},
	}
	for _, test := range tests {
		f, err := ParseFilename(test.filename, test.hint)
		if err != nil {
			t.Error(err)
			continue
		}
		if f.Name != Name(test.name) || f.Version.String() != test.version || f.Kind != test.kind || f.String() != test.filename {
			t.Errorf("ParseFilename(%q, %q) = %v %s %v, want %v %s %v",
				test.filename, test.hint, f.Name, f.Version, f.Kind, test.name, test.version, test.kind)
		}
	}
}

func TestParseFilenameRefuses(t *testing.T) {
	t.Parallel()
	for _, filename := range []string{
		"", ".", "..", "foo", ".whl", ".tar.gz", "-1.0.tar.gz",
		"../foo-1.0.tar.gz", `..\foo-1.0.tar.gz`, "/foo-1.0.tar.gz", "C:foo-1.0.tar.gz", "foo-1.0\x00.tar.gz", "foo-1.0\n.tar.gz",
		"foo-1.0-py2.7.egg", "foo-1.0.win32.exe", "foo-1.0.tar.gz.asc", "foo-1.0-py3-none-any.whl.sig", "foo-1.0.tar.Z",
		"foo-1.0-py3.11.tar.gz", "foo-1.0-1234567890123456789-py3-none-any.whl",
		strings.Repeat("a", 256-len("-1.0.tar.gz")) + "-1.0.tar.gz",
		"foo-1.0-" + strings.Repeat("a.", 40) + "a-" + strings.Repeat("a.", 40) + "a-any.whl",
	} {
		if f, err := ParseFilename(filename, ""); err == nil {
			t.Errorf("ParseFilename(%q) = %v %v", filename, f.Name, f.Version)
		}
	}
	if _, err := ParseFilename("foo-1.0-py3-none-any.whl", "bar"); err == nil {
		t.Error("a wheel of another project is accepted")
	}
}

func TestFilenames(t *testing.T) {
	t.Parallel()
	v := version.MustParse("1.0rc1+ubuntu.1")
	tags, err := tag.Parse("py3.py2-none-linux_x86_64.any")
	if err != nil {
		t.Fatal(err)
	}
	wheel := WheelFilename("ruamel-yaml", v, BuildTag{3, "b", true}, tags)
	if want := "ruamel_yaml-1.0rc1+ubuntu.1-3b-py2.py3-none-any.linux_x86_64.whl"; wheel != want {
		t.Errorf("WheelFilename = %q, want %q", wheel, want)
	}
	f, err := ParseFilename(wheel, "ruamel-yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tags, f.Tags); diff != "" {
		t.Errorf("tags of %s (-want +got):\n%s", wheel, diff)
	}
}

func TestBuildTagOrder(t *testing.T) {
	t.Parallel()
	want := []BuildTag{{}, {0, "", true}, {1, "", true}, {1, "a", true}, {1, "b", true}, {10, "", true}}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, BuildTag.Compare)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

// FuzzParseFilename: what is accepted is one safe segment of a path, and what
// is rebuilt from its parts says the same.
func FuzzParseFilename(f *testing.F) {
	for _, filename := range []string{
		"foo_bar-1.0-1a-py2.py3-none-any.whl", "foo-bar-1.0-2.tar.gz", "a-1!0.zip", "../x-1.tar.gz", "foo-1.0-py3.11.tar.gz",
	} {
		f.Add(filename, "foo-bar")
		f.Add(filename, "")
	}
	f.Fuzz(func(t *testing.T, filename, hint string) {
		file, err := ParseFilename(filename, Name(hint))
		if err != nil {
			return
		}
		if strings.ContainsAny(filename, "/\\:\x00\n ") || strings.HasPrefix(filename, ".") || len(filename) > maxName {
			t.Fatalf("%q is accepted", filename)
		}
		if name, err := ParseName(string(file.Name)); err != nil || name != file.Name {
			t.Fatalf("%q: the name %q is not normalised", filename, file.Name)
		}
		rebuilt := escape(file.Name) + "-" + file.Version.String() + ".tar.gz" // PEP 625
		if file.Kind == Wheel {
			rebuilt = WheelFilename(file.Name, file.Version, file.Build, file.Tags)
		}
		again, err := ParseFilename(rebuilt, file.Name)
		if len(rebuilt) > maxName {
			return
		}
		if err != nil || again.Version.Compare(file.Version) != 0 || again.Build != file.Build || !slices.Equal(again.Tags, file.Tags) {
			t.Fatalf("%q reads as %+v, but %q as %+v, %v", filename, file, rebuilt, again, err)
		}
	})
}

func BenchmarkParseFilename(b *testing.B) {
	for b.Loop() {
		if _, err := ParseFilename("numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "numpy"); err != nil {
			b.Fatal(err)
		}
	}
}
