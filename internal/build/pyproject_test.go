package build

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadBuildSystem(t *testing.T) {
	t.Parallel()
	const legacy = "setuptools.build_meta:__legacy__"
	for name, test := range map[string]struct {
		text     string
		requires string // joined by " | "
		backend  string
		path     []string
		err      string
	}{
		"nothing":                {"", "setuptools>=40.8.0", legacy, nil, ""},
		"something else":         {"[project]\nname = 'x'\n[tool.x]\n", "setuptools>=40.8.0", legacy, nil, ""},
		"another case":           {"[Build-System]\nrequires = 3\n", "setuptools>=40.8.0", legacy, nil, ""},
		"requires alone":         {"[build-system]\nrequires = ['setuptools', 'wheel<1']", "setuptools | wheel<1", legacy, nil, ""},
		"requires nothing":       {"[build-system]\nrequires = []", "", legacy, nil, ""},
		"whole":                  {"build-system = {requires = ['a[x]>1; python_version > \"3\"'], build-backend = 'a.b:c.d', backend-path = ['sub/x', '.'], more = 1}", "a[x]>1; python_version > \"3\"", "a.b:c.d", []string{"sub/x", "."}, ""},
		"no TOML":                {"[build-system", "", "", nil, "pyproject.toml: is not valid TOML: "},
		"a key twice":            {"[build-system]\nrequires=[]\nrequires=[]", "", "", nil, "is not valid TOML: "},
		"no table":               {"build-system = 3", "", "", nil, "build-system is not a table"},
		"an array of tables":     {"[[build-system]]\nrequires = []", "", "", nil, "build-system is not a table"},
		"no requires":            {"[build-system]\nbuild-backend = 'a'", "", "", nil, "build-system has no \"requires\""},
		"requires a string":      {"[build-system]\nrequires = 'a'", "", "", nil, "build-system.requires is not a list of strings"},
		"requires numbers":       {"[build-system]\nrequires = ['a', 1]", "", "", nil, "build-system.requires is not a list of strings"},
		"requires nonsense":      {"[build-system]\nrequires = ['a', '>1']", "", "", nil, "build-system.requires: "},
		"backend a number":       {"[build-system]\nrequires = []\nbuild-backend = 1", "", "", nil, "is not of the form \"module:object\": \"1\""},
		"backend empty":          {"[build-system]\nrequires = []\nbuild-backend = ''", "", "", nil, "module:object"},
		"backend a path":         {"[build-system]\nrequires = []\nbuild-backend = '../x'", "", "", nil, "module:object"},
		"backend of three parts": {"[build-system]\nrequires = []\nbuild-backend = 'a:b:c'", "", "", nil, "module:object"},
		"path a string":          {"[build-system]\nrequires = []\nbackend-path = '.'", "", "", nil, "backend-path is not a list of strings"},
		"path out":               {"[build-system]\nrequires = []\nbackend-path = ['sub/../..']", "", "", nil, `backend-path: "sub/../.." does not lie inside the source`},
		"path absolute":          {"[build-system]\nrequires = []\nbackend-path = ['/']", "", "", nil, "does not lie inside the source"},
		"path by a link":         {"[build-system]\nrequires = []\nbackend-path = ['link']", "", "", nil, "does not lie inside the source"},
		"path missing":           {"[build-system]\nrequires = []\nbackend-path = ['gone']", "", "", nil, "does not lie inside the source"},
		"path a file":            {"[build-system]\nrequires = []\nbackend-path = ['pyproject.toml']", "", "", nil, "is not a folder"},
		"large":                  {strings.Repeat("#", maxPyproject+1), "", "", nil, "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := writeTree(t, map[string]string{"pyproject.toml": test.text, "sub/x/y": ""})
			if runtime.GOOS != "windows" {
				if err := os.Symlink(os.TempDir(), filepath.Join(dir, "link")); err != nil {
					t.Fatal(err)
				}
			}
			s, err := readBuildSystem(dir)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var requires []string
			for _, r := range s.requires {
				requires = append(requires, r.String())
			}
			if diff := cmp.Diff([]any{test.requires, test.backend, test.path}, []any{strings.Join(requires, " | "), s.backend, s.backendPath}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzBuildSystem(f *testing.F) {
	f.Add([]byte(inTree))
	f.Add([]byte("build-system = {requires = ['a[x]>1; python_version > \"3\"'], build-backend = 'a.b:c'}"))
	f.Add([]byte("[project]\nname='x'\n[[a.b]]\nc = 1979-05-27T07:32:00Z\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseBuildSystem(text)
		if err != nil {
			return
		}
		if module, _, _ := strings.Cut(s.backend, ":"); module == "" || strings.ContainsAny(s.backend, " /\\\n\x00") {
			t.Errorf("backend %q", s.backend)
		}
		for _, r := range s.requires {
			if r.Name == "" {
				t.Errorf("a requirement without a name: %v", r)
			}
		}
	})
}
