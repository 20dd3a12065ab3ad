package requirement

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestParseArgument holds what the vectors cannot hold against pip, and what
// of it is kept besides.
func TestParseArgument(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text     string
		editable bool
		name     string
		extras   string
		source   Source
		printed  string // "" is text
	}{
		{"flask[async]>=3; os_name == \"nt\"", false, "flask", "async", Source{}, ""},
		{"git+https://example.com/a.git#egg=Foo[B,a]", false, "foo", "a b",
			Source{Kind: Repository, VCS: "git", URL: "https://example.com/a.git"}, "foo[a,b] @ git+https://example.com/a.git#egg=Foo[B,a]"},
		{"git+https://t0ken@example.com/a.git@v1%2F2", false, "", "",
			Source{Kind: Repository, VCS: "git", URL: "https://t0ken@example.com/a.git", Revision: "v1/2"}, "git+https://****@example.com/a.git@v1%2F2"},
		{"bzr+lp:a@b/c@7", false, "", "", Source{Kind: Repository, VCS: "bzr", URL: "lp:a@b/c", Revision: "7"}, ""},
		{"git://example.com/a#egg=a", true, "a", "", Source{Kind: Repository, VCS: "git", URL: "git://example.com/a"}, "-e a @ git+git://example.com/a#egg=a"},
		{"https://example.com/a.zip#subdirectory=a%20b/../c/", false, "", "", Source{Kind: Archive, URL: "https://example.com/a.zip", Subdirectory: "c"}, ""},
		{"https://example.com/a.zip#subdirectory=.&SHA256=x&hash=y", false, "", "", Source{Kind: Archive, URL: "https://example.com/a.zip"}, ""},
		{"flask @ ../x", false, "flask", "", Source{Kind: Directory, Path: "../x"}, ""},
		{"flask[a] @ ./x#1.whl", false, "flask", "a", Source{Kind: LocalFile, Path: "./x#1.whl"}, ""},
		{"foo", true, "", "", Source{Kind: Directory, Path: "foo"}, "-e foo"},
		{"./x.zip [a,b]", false, "", "a b", Source{Kind: LocalFile, Path: "./x.zip"}, "./x.zip[a,b]"},
		{"file:x/y[a]", false, "", "a", Source{Kind: Directory, Path: "x/y"}, "file:x/y[a]"},
		{"file:a#egg=b[c]&subdirectory=d", true, "b", "c", Source{Kind: Directory, Path: "a", Subdirectory: "d"}, "-e b[c] @ file:a#egg=b[c]&subdirectory=d"},
		{"foo-1.0-py3-none-any.whl;os_name=='nt'", false, "foo", "", Source{Kind: LocalFile, Path: "foo-1.0-py3-none-any.whl"},
			`foo-1.0-py3-none-any.whl; os_name == "nt"`},
	}
	for _, test := range tests {
		l, err := ParseArgument(test.text, test.editable)
		if err != nil {
			t.Error(err)
			continue
		}
		test.source.Path = filepath.FromSlash(test.source.Path)
		l.Source.Path = filepath.FromSlash(l.Source.Path)
		if diff := cmp.Diff(test.source, l.Source); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.text, diff)
		}
		var extras []string
		for _, e := range l.Extras {
			extras = append(extras, string(e))
		}
		if string(l.Name) != test.name || strings.Join(extras, " ") != test.extras || l.Editable != test.editable {
			t.Errorf("%s: name %q, extras %q, editable %v", test.text, l.Name, extras, l.Editable)
		}
		if test.printed == "" {
			test.printed = test.text
		}
		if l.String() != test.printed {
			t.Errorf("%s prints as %s", test.text, l)
		}
	}
}

func TestParseArgumentRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, want string }{
		{"git+ssh://-oProxyCommand=x/a.git", "host"},
		{"hg+https://-x@-y/a", "host"},
		{"git+ssh://-oProxyCommand=x@example.com/a.git", "user"},
		{"https://u:hunter2/@example.com/a.zip", "password"},
		{"git+https://example.com/a.git@--upload-pack=x", "revision"},
		{"git+https://example.com/a.git@", "revision"},
		{"git+https://example.com/a.git@a%0Ab", "control"},
		{"git+git@example.com:a/b.git", "git+ssh://git@HOST"},
		{"foo @ git+git@example.com:a/b.git", "git+ssh://git@HOST"},
		{"git+ssh://git@example.com:a/b.git", "port"},
		{"git+ext::sh -c x", "not supported"},
		{"https:///a.zip", "host"},
		{"https://example.com/a b.zip", "%20"},
		{"https://example.com/a.zip#a b", "%20"},
		{"https://example.com/a.zip#subdirectory=..", "subdirectory"},
		{"https://example.com/a.zip#subdirectory=%2e%2e/x", "subdirectory"},
		{"https://example.com/a.zip#subdirectory=/x", "subdirectory"},
		{`https://example.com/a.zip#subdirectory=a\..\..\x`, "subdirectory"},
		{"https://example.com/a.zip#subdirectory=C:x", "subdirectory"},
		{"https://example.com/a.zip#sha256=00", "64"},
		{"https://example.com/a.zip#egg=", "name"},
		{"https://example.com/a.zip#egg=a-1.0>2", "#egg="},
		{"https://u:hunter2@example.com:x/a.zip", "port"},
		{"https://example.com/foo-1.0.whl", "file name"},
		{"ftp://example.com/a.zip", "not supported"},
		{"foo @ file:", "empty"},
		{"foo @ file:a%00b", "control"},
		{"file:a%zz", "escape"},
		{"file://example.com/a", "example.com"},
		{"./a\x00b", "control"},
		{"./a\xff", "UTF-8"},
		{"./x[a b]", "extra"},
		{"./x[a]b]", "extra"},
		{"./x; os_name", "marker"},
		{"foo==", "version"},
		{strings.Repeat("a", maxLength+1), "longer"},
	}
	for _, test := range tests {
		l, err := ParseArgument(test.text, false)
		if err == nil {
			t.Errorf("%.80q is %s: %+v", test.text, l, l.Source)
		} else if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") || strings.Count(err.Error(), "requirement ") > 1 {
			t.Errorf("%.80q: %v", test.text, err)
		}
	}
	for _, text := range []string{"x.zip", "https://example.com/a", "git+https://example.com/a.git", "foo @ ./x.zip"} {
		if _, err := ParseArgument(text, true); err == nil || !strings.Contains(err.Error(), "-e") {
			t.Errorf("-e %s: %v", text, err)
		}
	}
}

// FuzzParseArgument: what is printed is read again as the same, and nothing of
// it is dangerous.
func FuzzParseArgument(f *testing.F) {
	for _, s := range []string{
		"flask[a]>=1 ; os_name == 'nt'", "./x[a]", "x-1-py3-none-any.whl", "https://u:p@e.com/a.zip#egg=a[b]&sha256=" + digest,
		"git+ssh://git@e.com/a/b.git@v1?x#subdirectory=a/b&egg=c", "file:///C:/a%20b#egg=x", "a @ file:b[c]", "svn+ssh://e.com/a@1 ;os_name=='a'",
		"bzr+lp:a@b", "git://e.com/a#egg=a", `a\b`, "a @ b", ".", "[a]", "https://e.com/a; b", "git+file:a@b", "x.zip [ ]",
	} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, s string, editable bool) {
		l, err := ParseArgument(s, editable)
		if err != nil {
			return
		}
		source := l.Source
		if l.Name == "" && source.Kind == Named || editable != l.Editable {
			t.Fatalf("%q: %+v", s, l)
		}
		if strings.HasPrefix(source.Revision, "-") || source.Kind == Repository && strings.HasPrefix(source.URL, "-") {
			t.Fatalf("%q: %+v is an option", s, source)
		}
		if sub := source.Subdirectory; sub != "" && !filepath.IsLocal(sub) {
			t.Fatalf("%q: subdirectory %q", s, sub)
		}
		printed := strings.TrimPrefix(l.String(), "-e ")
		if strings.Contains(printed, "****") || strings.ContainsAny(l.Marker.String(), "\\\n\r\x00") || len(printed) > maxLength {
			return // markers are printed without escapes
		}
		again, err := ParseArgument(printed, editable)
		if err != nil {
			t.Fatalf("%q prints as %q: %v", s, printed, err)
		}
		if again.String() != l.String() || again.Source != source || again.Name != l.Name {
			t.Fatalf("%q prints as %q, which is\n%+v, not\n%+v", s, printed, again, l)
		}
	})
}
