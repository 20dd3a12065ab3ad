package requirement

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const pyproject = `
[project]
name = "Foo.Bar"
requires-python = ">=3.9"
dependencies = ["flask>=3 ; os_name == 'nt'", "b @ https://example.com/b.zip"]
dynamic = ["version"]

[project.optional-dependencies]
test = ["pytest", "foo-bar[Http_2] ; python_version > '3.8'"]
http-2 = ["h2 ; os_name == 'nt'", "foo.bar[test]"]
all = ["foo_bar[test,http2]", "foo-bar"]
http2 = []
wrong = ["foo-bar[none]"]

[dependency-groups]
Dev = [{include-group = "test"}, "foo-bar[test]"]
test = ["pytest"]
a = [{include-group = "b"}]
b = ["x", {include-group = "A"}]
`

func TestPyproject(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "pyproject.toml")
	if err := os.WriteFile(path, []byte(pyproject), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := ReadPyproject(path)
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "foo-bar" || p.RequiresPython.String() != ">=3.9" {
		t.Errorf("%+v", p)
	}
	check := func(lines []Line, err error, want ...string) {
		t.Helper()
		var got []string
		for _, l := range lines {
			got = append(got, l.String()+" from "+strings.TrimPrefix(l.Where, path+": "))
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	lines, err := p.Requirements(nil)
	dependencies := []string{`flask>=3; os_name == "nt" from project.dependencies`, "b @ https://example.com/b.zip from project.dependencies"}
	check(lines, err, dependencies...)
	if lines[1].Source.Kind != Archive {
		t.Errorf("%+v", lines[1].Source)
	}
	lines, err = p.Requirements([]string{"ALL"})
	check(lines, err, append(dependencies, "pytest from project.optional-dependencies.test",
		`h2; python_version > "3.8" and os_name == "nt" from project.optional-dependencies.http-2`)...)
	lines, err = p.Group("dev")
	check(lines, err, "pytest from dependency-groups.test", "foo-bar[test] from dependency-groups.dev")

	_, err = p.Group("A")
	wantError(t, err, path, "A", "a -> b -> a")
	_, err = p.Group("none")
	wantError(t, err, path, `"none"`, "a, b, dev, test")
	_, err = p.Requirements([]string{"wrong"})
	wantError(t, err, path, "no extra none", "all, http-2, http2, test, wrong")
	if _, err := ReadPyproject(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestPyprojectRefuses(t *testing.T) {
	t.Parallel()
	var deep, wide strings.Builder
	for i := range maxNested + 1 {
		fmt.Fprintf(&deep, "g%d = [{include-group = 'g%d'}]\n", i, i+1)
	}
	for i := range 20 {
		fmt.Fprintf(&wide, "g%d = [{include-group = 'g%d'}, {include-group = 'g%[2]d'}]\n", i, i+1)
	}
	tests := []struct {
		text string
		want []string // parts of the error of whatever is asked first
	}{
		{"x = ", []string{"pyproject.toml: ", "line 1"}},
		{"project = 3", []string{"pyproject.toml: "}},
		{"[project]", []string{"project.name"}},
		{"[project]\nname = 'a'\nrequires-python = 3", []string{"project.requires-python"}},
		{"[project]\nname = 'a'\nrequires-python = 'x'", []string{"project.requires-python"}},
		{"[project]\nname = 'a'\ndynamic = ['dependencies']", []string{"project.dependencies is dynamic", "folder"}},
		{"[project]\nname = 'a'\ndynamic = ['optional-dependencies']", []string{"project.optional-dependencies is dynamic", "folder"}},
		{"[project]\nname = 'a'\ndependencies = 'b'", []string{"project.dependencies is not a list"}},
		{"[project]\nname = 'a'\ndependencies = ['./b']", []string{"project.dependencies: ", "./b"}},
		{"[project]\nname = 'a'\noptional-dependencies = 1", []string{"project.optional-dependencies is not a table"}},
		{"[project]\nname = 'a'\n[project.optional-dependencies]\na_b = []\nA-b = []", []string{"more than one extra", "a-b"}},
		{"[project]\nname = 'a'\n[project.optional-dependencies]\n'-' = []", []string{"optional-dependencies"}},
		{"[project]\nname = 'a'", []string{"has no extra x"}},
		{"[tool.x]", []string{"no table [project]", "folder"}},
		{"[dependency-groups]\na_b = []\nA-b = []", []string{"more than one group", "a-b"}},
		{"[project]\nname = 'a'\n[project.optional-dependencies]\nx = []\n[dependency-groups]\n" + deep.String(), []string{"more than 1000 groups"}},
		{"[project]\nname = 'a'\n[project.optional-dependencies]\nx = []\n[dependency-groups]\n" + wide.String() + "g20 = []", []string{"more than 65536"}},
		{"\na = " + strings.Repeat("[", 101), []string{"line 2: nested"}},
		{"[" + strings.Repeat("a .", 101) + "b]", []string{"line 1: nested"}},
		{"#" + strings.Repeat(" ", maxPyproject), []string{"longer"}},
	}
	for _, test := range tests {
		p, err := ParsePyproject([]byte(test.text), "pyproject.toml")
		if err == nil {
			_, err = p.Requirements([]string{"x"})
		}
		if err == nil {
			_, err = p.Group("g0")
		}
		wantError(t, err, test.want...)
	}
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("accepted, no error with %q", parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

// FuzzParsePyproject: what is asked of it ends, with requirements or an error.
func FuzzParsePyproject(f *testing.F) {
	f.Add([]byte(pyproject))
	f.Add([]byte("[project]\nname='a'\noptional-dependencies={x=['a[x]','a[y];os_name==\"a\"'],y=['a[x]']}\n[dependency-groups]\nx=[{include-group='x'}]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePyproject(b, "pyproject.toml")
		if err != nil {
			return
		}
		lines, err := p.Requirements([]string{"x", "test"})
		groups, groupErr := p.Group("x")
		if err != nil || groupErr != nil {
			return
		}
		for _, l := range append(lines, groups...) {
			if l.Name == "" || !strings.HasPrefix(l.Where, "pyproject.toml: ") {
				t.Fatalf("%q: %+v", b, l)
			}
		}
	})
}
