package lock

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"curdling/internal/dist"
	"curdling/internal/marker"
	"curdling/internal/requirement"
	"curdling/internal/tag"
	"curdling/internal/version"
)

var compare = gocmp.Options{
	gocmp.Comparer(func(a, b version.Version) bool { return a.String() == b.String() }),
	gocmp.Comparer(func(a, b version.Specifiers) bool { return a.String() == b.String() }),
	gocmp.Comparer(func(a, b marker.Marker) bool { return a.Equal(b) }),
	cmpopts.EquateEmpty(),
	cmpopts.EquateNaNs(),
}

// checkRoundTrip sees that what is written of a lock is read as the same lock.
func checkRoundTrip(t *testing.T, l *Lock) {
	t.Helper()
	written := l.Encode()
	again, err := Parse(written)
	if err != nil {
		t.Fatalf("%v:\n%s", err, written)
	}
	if !bytes.Equal(again.Encode(), written) {
		t.Errorf("written again, it is another:\n%s\n%s", written, again.Encode())
	}
	sorted := *l
	sorted.Packages = l.sorted()
	if diff := gocmp.Diff(&sorted, again, compare); diff != "" {
		t.Errorf("read again, it is another (-was +is):\n%s", diff)
	}
}

func linux() Target {
	return Target{
		Environment: marker.Environment{"sys_platform": "linux", "os_name": "posix", "python_version": "3.11"},
		Python:      version.MustParse("3.11.7"),
		Tags: tag.Rank([]tag.Tag{
			{Python: "cp311", ABI: "cp311", Platform: "manylinux_2_17_x86_64"},
			{Python: "py3", ABI: "none", Platform: "manylinux_2_17_x86_64"},
			{Python: "py3", ABI: "none", Platform: "any"},
		}),
		Location: "app/pylock.toml",
	}
}

// describe tells what was chosen, without folders of files of the network.
func describe(chosen []Chosen) (all []string) {
	for _, c := range chosen {
		s := c.Source
		place := path.Base(s.URL)
		if s.Path != "" {
			place = filepath.ToSlash(s.Path)
		}
		kind := map[requirement.Kind]string{requirement.LocalFile: "file", requirement.Directory: "folder",
			requirement.Archive: "archive", requirement.Repository: s.VCS}[s.Kind]
		if c.Editable {
			kind = "editable " + kind
		}
		text := fmt.Sprintf("%s: %s %s", c.Package.Name, kind, place)
		if s.Revision != "" {
			text += "@" + s.Revision[:7]
		}
		if s.Subdirectory != "" {
			text += "#" + s.Subdirectory
		}
		all = append(all, text)
	}
	return all
}

// TestOthersLocks reads locks that uv and pip wrote.
func TestOthersLocks(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{
		"uv.toml": {
			"flask: archive flask-3.1.3-py3-none-any.whl", "h2: archive h2-4.4.1-py3-none-any.whl", "iniconfig: archive iniconfig-2.0.0.tar.gz",
			"markupsafe: archive markupsafe-3.0.4-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl",
			"pytest: archive pytest-9.2.0-py3-none-any.whl", "ruff: archive ruff-0.17.6-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
			"x-ed: editable folder ed", "x-lib: folder lib", "x-repo: git x-repo.git@fd2b723",
		},
		"pip.toml": {
			"iniconfig: archive iniconfig-2.0.0.tar.gz",
			"markupsafe: archive markupsafe-3.0.4-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl",
			"x-ed: editable folder app/ed", "x-lib: folder app/lib", "x-repo: git x-repo.git@fd2b723",
		},
	}
	for name, want := range tests {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		l, err := Parse(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		checkRoundTrip(t, l)
		chosen, err := l.Select(linux())
		if diff := gocmp.Diff(want, describe(chosen)); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// TestEncode shows the form.
func TestEncode(t *testing.T) {
	t.Parallel()
	hashes := map[string]string{"sha256": digest}
	m, err := marker.Parse("sys_platform == 'linux'")
	if err != nil {
		t.Fatal(err)
	}
	l := &Lock{
		CreatedBy: "curd", Extras: []dist.Name{"x"}, DefaultGroups: []string{"a", "b"}, Environments: []marker.Marker{m},
		Tool: map[string]any{"curd": map[string]any{"a b": "\"\\\n'é", "n": []any{int64(1), 1.0, 1e30, true, "x"}}},
		Packages: []Package{
			{Name: "foo", Version: version.MustParse("1.0"), Marker: m, Index: "https://index.example.com/simple",
				Sdist: &File{URL: "https://example.com/foo-1.0.tar.gz", Hashes: hashes, Size: 3, UploadTime: time.Date(2024, 1, 2, 3, 4, 5, 6000, time.UTC)},
				Wheels: []File{
					{Name: "foo-1.0-py3-none-any.whl", Path: "./w", Hashes: hashes},
					{Name: "foo-1.0-cp311-none-any.whl", URL: "https://example.com/x", Hashes: hashes},
				}},
			{Name: "bar", VCS: &VCS{Type: "git", URL: "https://example.com/r.git", CommitID: digest, Subdirectory: "b"}},
			{Name: "baz", Directory: &Directory{Path: ".", Editable: true}, Dependencies: []map[string]any{{"name": "foo"}}},
		},
	}
	want := `lock-version = "1.0"
environments = ['sys_platform == "linux"']
extras = ["x"]
default-groups = [
    "a",
    "b",
]
created-by = "curd"
tool = { curd = { "a b" = "\"\\\u000A'é", n = [1, 1.0, 1e+30, true, "x"] } }

[[packages]]
name = "bar"
vcs = { type = "git", url = "https://example.com/r.git", commit-id = "` + digest + `", subdirectory = "b" }

[[packages]]
name = "baz"
dependencies = [{ name = "foo" }]
directory = { path = ".", editable = true }

[[packages]]
name = "foo"
version = "1.0"
marker = 'sys_platform == "linux"'
index = "https://index.example.com/simple"
sdist = { url = "https://example.com/foo-1.0.tar.gz", upload-time = 2024-01-02T03:04:05.000006Z, size = 3, hashes = { sha256 = "` + digest + `" } }
wheels = [
    { name = "foo-1.0-cp311-none-any.whl", url = "https://example.com/x", hashes = { sha256 = "` + digest + `" } },
    { name = "foo-1.0-py3-none-any.whl", path = "./w", hashes = { sha256 = "` + digest + `" } },
]
`
	if diff := gocmp.Diff(want, string(l.Encode())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	l.Version = version.MustParse("1.0")
	checkRoundTrip(t, l)
	empty := (&Lock{}).Encode()
	if _, err := Parse(empty); err != nil {
		t.Errorf("%v:\n%s", err, empty)
	}
}

// packages gives a lock of TOML tables in one line each.
func packages(head string, tables ...string) string {
	text := "lock-version = '1.0'\ncreated-by = 'x'\n" + head + "\n"
	for _, table := range tables {
		text += "[[packages]]\n" + strings.ReplaceAll(strings.ReplaceAll(table, "HASHES", "hashes = {sha256 = '"+digest+"'}"), "; ", "\n") + "\n"
	}
	return text
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	sdist := func(text string) string { return packages("", "name = 'foo'; sdist = {"+text+"}") }
	vcs := func(text string) string {
		return packages("", "name = 'foo'; vcs = {commit-id = '"+digest[:40]+"', "+text+"}")
	}
	tests := []struct {
		text string
		want []string // parts of the error
	}{
		{"x = \n=", []string{"line 1"}},
		{"created-by = 'x'\npackages = []", []string{"lock-version: is missing"}},
		{"lock-version = 1.0", []string{"lock-version: must be a string"}},
		{"lock-version = '2.0'", []string{"lock-version: 2.0", "newer"}},
		{"lock-version = '1.0'\npackages = []", []string{"created-by: is missing"}},
		{"lock-version = '1.0'\ncreated-by = 'x'", []string{"packages: is missing"}},
		{packages("environments = ['x']"), []string{"environments[0]: marker"}},
		{packages("extras = ['Foo_Bar']", "name = 'foo'"), []string{`extras[0]: "Foo_Bar" is not normalised: foo-bar`}},
		{packages("", "name = 'Foo'"), []string{"packages[0]: name: ", "foo"}},
		{packages("", "name = 'foo'"), []string{"packages[0] (foo): must have wheels or sdist"}},
		{packages("", "name = 'foo'; directory = {path = 'x'}; archive = {path = 'x', HASHES}"), []string{"packages[0] (foo): ", "exactly one"}},
		{packages("", "name = 'foo'; directory = {path = 'x'}; sdist = {path = 'foo-1.zip', HASHES}"), []string{"packages[0] (foo): must not have"}},
		{packages("", "name = 'foo'; wheels = [{path = 'bar-1-py3-none-any.whl', HASHES}]"), []string{"packages[0] (foo): wheels[0]: ", "belongs to bar"}},
		{packages("", "name = 'foo'; version = '2'; wheels = [{path = 'foo-1-py3-none-any.whl', HASHES}]"), []string{"wheels[0]: ", "is not version 2"}},
		{packages("", "name = 'foo'; wheels = [{path = 'foo-1.tar.gz', HASHES}]"), []string{"wheels[0]: ", "is no wheel"}},
		{packages("", "name = 'foo'; attestation-identities = [{x = 1}]; directory = {path = 'x'}"), []string{"attestation-identities", "kind"}},
		{sdist("name = '../foo-1.zip', path = 'x', HASHES"), []string{"sdist: file name"}},
		{sdist("path = 'foo-1.zip'"), []string{"sdist: hashes: is missing"}},
		{sdist("path = 'foo-1.zip', hashes = {sha256 = '00'}"), []string{"sdist: hashes: sha256: ", "no digest"}},
		{sdist("path = 'foo-1.zip', hashes = {x = '../..'}"), []string{"sdist: hashes: x: ", "no digest"}},
		{sdist("path = 'foo-1.zip', size = -1, HASHES"), []string{"sdist: size: "}},
		{sdist("path = 'foo-1.zip', upload-time = 2024-01-02, HASHES"), []string{"sdist: upload-time: "}},
		{sdist(`path = "x\u0000/foo-1.zip", HASHES`), []string{"sdist: path: ", "control"}},
		{sdist("path = '-foo-1.zip', HASHES"), []string{"sdist: path: ", `"-"`}},
		{sdist("url = 'ftp://u:hunter2@example.com/foo-1.zip', HASHES"), []string{"sdist: url: ", `"ftp"`}},
		{sdist("url = 'https://u:hunter2@:%/foo-1.zip', HASHES"), []string{"sdist: url: not a URL"}},
		{sdist("url = 'https:///foo-1.zip', HASHES"), []string{"sdist: url: ", "host"}},
		{sdist("url = 'https://example.com/foo-1 .zip', HASHES"), []string{"sdist: url: ", "spaces"}},
		{sdist("HASHES"), []string{"sdist: must have a path or a url"}},
		{vcs("type = 'cvs', url = 'https://example.com/'"), []string{"vcs: type: ", `"cvs"`}},
		{vcs("type = 'git', url = 'ext::sh -c x'"), []string{"vcs: url: "}},
		{vcs("type = 'git', url = '--upload-pack=x'"), []string{"vcs: url: "}},
		{vcs("type = 'git', url = 'ssh://-oProxyCommand=x/y'"), []string{"vcs: url: ", "host"}},
		{vcs("type = 'git', url = 'https://example.com/', subdirectory = '../x'"), []string{"vcs: subdirectory: "}},
		{vcs("type = 'svn', url = 'https://example.com/'"), []string{"vcs: commit-id: "}},
		{packages("", "name = 'foo'; vcs = {type = 'git', url = 'https://example.com/', commit-id = '-x'}"), []string{"vcs: commit-id: "}},
		{packages("", "name = 'foo'; archive = {path = 'x', subdirectory = '/etc', HASHES}"), []string{"archive: subdirectory: "}},
		{packages("", "name = 'foo'; directory = {path = 'x', subdirectory = 'a/../../b'}"), []string{"directory: subdirectory: "}},
		{"x = " + strings.Repeat("[", 1<<20), []string{"nested"}},
		{strings.Repeat(" ", maxSize+1), []string{"longer"}},
		{"lock-version = '1'\ncreated-by = ''\npackages = [" + strings.Repeat("{},", maxPackages+1) + "]", []string{"more than 100000"}},
	}
	for _, test := range tests {
		text := strings.ReplaceAll(test.text, "HASHES", "hashes = {sha256 = '"+digest+"'}")
		_, err := Parse([]byte(text))
		if err == nil {
			t.Errorf("accepted:\n%.300s", text)
			continue
		}
		for _, part := range test.want {
			if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%.300q does not say %q:\n%.300s", err, part, text)
			}
		}
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	const wheels = "name = 'foo'; wheels = [{path = 'foo-1-py3-none-any.whl', HASHES}, {path = 'foo-1-2-py3-none-any.whl', HASHES}, {path = 'foo-1-1-py3-none-any.whl', HASHES}]"
	const both = wheels + "; sdist = {url = 'https://u:hunter2@example.com/foo-1.tar.gz', size = 7, HASHES}"
	const sdist = "name = 'foo'; sdist = {path = 'foo-1.tar.gz', HASHES}"
	const vcs = "type = 'git', commit-id = '" + digest + "'}"
	yes := func(dist.Name) bool { return true }
	tests := []struct {
		name   string
		text   string
		change func(*Target)
		want   string // what is chosen, or part of the error
	}{
		{"highest build", packages("", wheels), nil, "foo: file app/foo-1-2-py3-none-any.whl"},
		{"no wheels wanted", packages("", both), func(t *Target) { t.NoWheels = yes }, "foo: archive foo-1.tar.gz"},
		{"no wheels wanted, but nothing else", packages("", wheels), func(t *Target) { t.NoWheels = yes }, "foo: file app/foo-1-2-py3-none-any.whl"},
		{"no sdists wanted", packages("", sdist), func(t *Target) { t.NoSdists = yes }, "must not be built"},
		{"no wheel fits", packages("", wheels), func(t *Target) { t.Tags = nil }, "packages[0] (foo): has no wheel for this target"},
		{"sdist instead", packages("", both), func(t *Target) { t.Tags = nil }, "foo: archive foo-1.tar.gz"},
		{"weak hash", packages("", "name = 'foo'; sdist = {path = 'foo-1.tar.gz', hashes = {md5 = '00'}}"), nil, "(md5); sha256 would be"},
		{"lock's Python", packages("requires-python = '>=3.12'", sdist), nil, "it is for Python >=3.12, not 3.11.7"},
		{"package's Python", packages("", sdist+"; requires-python = '<3'"), nil, "packages[0] (foo): needs Python <3, not 3.11.7"},
		{"environment", packages("environments = [\"os_name == 'posix'\"]", sdist), nil, "foo: file app/foo-1.tar.gz"},
		{"other environments", packages("environments = ["+strings.Repeat("\"os_name == 'nt'\",", 5)+"]", sdist), nil, `os_name == "nt"; and 2 more`},
		{"marker", packages("", sdist+"; marker = \"os_name == 'nt'\""), nil, ""},
		{"unknown variable", packages("", sdist+"; marker = \"platform_machine == 'x'\""), nil, "packages[0] (foo): undefined environment name"},
		{"two", packages("", sdist, sdist), nil, "packages[1] (foo): is locked more than once"},
		{"two for others", packages("", sdist, sdist+"; marker = \"os_name == 'nt'\""), nil, "foo: file app/foo-1.tar.gz"},
		{"extra", packages("extras = ['x-y']", sdist+"; marker = \"'x-y' in extras\""), func(t *Target) { t.Extras = []string{"X.Y"} }, "foo: file app/foo-1.tar.gz"},
		{"unknown extra", packages("packages = []\nextras = ['x', 'y']"), func(t *Target) { t.Extras = []string{"z"} }, `no extra "z"; it has: x, y`},
		{"default groups", packages("default-groups = ['A_b']", sdist+"; marker = \"'a-b' in dependency_groups\""), nil, "foo: file app/foo-1.tar.gz"},
		{"no groups", packages("default-groups = ['a']", sdist+"; marker = \"'a' in dependency_groups\""), func(t *Target) { t.Groups = []string{} }, ""},
		{"unknown group", packages("packages = []"), func(t *Target) { t.Groups = []string{"z"} }, `no group "z"; it has: none`},
		{"absolute path", packages("", "name = 'foo'; archive = {path = '/x/y.zip', subdirectory = 'z', HASHES}"), nil, "foo: file /x/y.zip#z"},
		{"file URL", packages("", "name = 'foo'; archive = {url = 'file:///x/a%20b.zip', HASHES}"), nil, "foo: file /x/a b.zip"},
		{"other host's file", packages("", "name = 'foo'; archive = {url = 'file://example.com/x', HASHES}"), nil, "example.com"},
		{"path before URL", packages("", "name = 'foo'; archive = {path = 'a', url = 'https://example.com/b', HASHES}"), nil, "foo: file app/a"},
		{"repository's path", packages("", "name = 'foo'; vcs = {path = '/x/r', "+vcs), nil, "foo: git r@0123456"},
		{"remote path", packages("", sdist), remote, "foo: archive foo-1.tar.gz"},
		{"remote repository's path", packages("", "name = 'foo'; vcs = {path = '../r', "+vcs), remote, "foo: git r@0123456"},
		{"remote path outside", packages("", "name = 'foo'; archive = {path = '/etc/x', HASHES}"), remote, "came from the network"},
		{"remote path elsewhere", packages("", "name = 'foo'; archive = {path = '//evil/x', HASHES}"), remote, "came from the network"},
		{"remote path of Windows", packages("", `name = 'foo'; archive = {path = 'C:\x', HASHES}`), remote, "came from the network"},
		{"remote folder", packages("", "name = 'foo'; directory = {path = 'x'}"), remote, "came from the network"},
		{"remote file URL", packages("", "name = 'foo'; archive = {url = 'file:///x', HASHES}"), remote, "came from the network"},
		{"remote repository file URL", packages("", "name = 'foo'; vcs = {url = 'file:///x', "+vcs), remote, "came from the network"},
	}
	for _, test := range tests {
		l, err := Parse([]byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		target := linux()
		if test.change != nil {
			test.change(&target)
		}
		chosen, err := l.Select(target)
		if err != nil {
			if !strings.Contains(err.Error(), cmp.Or(test.want, "nothing")) {
				t.Errorf("%s: %v, not %s", test.name, err, test.want)
			}
		} else if got := strings.Join(describe(chosen), "; "); got != test.want {
			t.Errorf("%s: %s, not %s", test.name, got, test.want)
		}
	}
}

func remote(t *Target) { t.Location = "https://example.com/a/pylock.toml" }

// TestChosenFile sees what is known of a file.
func TestChosenFile(t *testing.T) {
	t.Parallel()
	l, err := Parse([]byte(packages("", "name = 'foo'; index = 'https://index.example.com/'; attestation-identities = [{kind = 'x'}]; "+
		"sdist = {url = 'https://u:p@example.com/foo-1.tar.gz', size = 7, upload-time = 2024-01-02T03:04:05, hashes = {md5 = '00', sha256 = '"+
		strings.ToUpper(digest)+"', sha512 = '"+digest+digest+"'}}")))
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := l.Select(linux())
	if err != nil {
		t.Fatal(err)
	}
	c := chosen[0]
	want := dist.File{
		Name: "foo", Version: version.MustParse("1"), Kind: dist.Sdist, Filename: "foo-1.tar.gz",
		URL: "https://example.com/foo-1.tar.gz", Size: 7, SHA256: digest, UploadTime: time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	if diff := gocmp.Diff(want, c.File, compare); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff([]string{"sha512:" + digest + digest, "sha256:" + digest}, c.Hashes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c.Source.URL != "https://u:p@example.com/foo-1.tar.gz" || len(c.Package.AttestationIdentities) != 1 {
		t.Errorf("%+v", c)
	}
}

func TestIsFilename(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"pylock.toml": true, "a/b/pylock.dev.toml": true, "https://example.com/pylock.toml": true,
		"pylock.a.b.toml": false, "pylock..toml": false, "pylock.tomlx": false, "xpylock.toml": false, "pyproject.toml": false, "": false,
	} {
		if IsFilename(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

// FuzzParse: what is written of a lock is read as the same, and what is chosen
// from it can be fetched safely.
func FuzzParse(f *testing.F) {
	for _, table := range []string{
		"name = 'foo'; version = '1'; sdist = {path = 'foo-1.zip', HASHES}; marker = \"'d' in dependency_groups\"",
		"name = 'foo'; requires-python = '>=3'; wheels = [{url = 'https://u:p@e.com/foo-1-py3-none-any.whl?a#b', size = 1, upload-time = 2024-01-02T03:04:05.6+07:00, HASHES}]",
		"name = 'a'; vcs = {type = 'svn', url = 'svn+ssh://e.com/x', commit-id = '7', subdirectory = 'a/./b', requested-revision = 'x'}",
		"name = 'a'; vcs = {type = 'git', path = '../x', commit-id = '" + digest + "'}",
		"name = 'a'; directory = {path = '../x', editable = true, subdirectory = 'a'}; dependencies = [{name = 'b'}]",
		"name = 'a'; archive = {url = 'file:///x', HASHES}; index = 'https://e.com/'; attestation-identities = [{kind = 'x'}]",
		"name = 'a'; directory = {path = '.'}; tool = {\"a b\" = [1.5, -inf, 2024-01-02, 03:04:05, '''\"''', \"\\\\\\u007f\"]}",
	} {
		f.Add([]byte(packages("", table)))
		f.Add([]byte(packages("environments = ['os_name == \"posix\"']\nextras = ['x']\ndefault-groups = ['d']\nrequires-python = '>3'", table, table)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Parse(b)
		if err != nil {
			return
		}
		markers := l.Environments
		for _, p := range l.Packages {
			markers = append(markers, p.Marker)
		}
		if slices.ContainsFunc(markers, func(m marker.Marker) bool { return strings.Contains(m.String(), `\`) }) {
			return // markers are printed without escapes
		}
		checkRoundTrip(t, l)
		target := linux()
		for _, location := range []string{target.Location, "https://example.com/a/b"} {
			target.Location = location
			chosen, err := l.Select(target)
			if err != nil {
				return
			}
			for _, c := range chosen {
				if s := c.Source; strings.HasPrefix(s.URL, "-") || strings.HasPrefix(s.Path, "-") || s.Path == "" && s.URL == "" ||
					s.Subdirectory != "" && !filepath.IsLocal(s.Subdirectory) || location != "app/pylock.toml" && s.Path != "" {
					t.Fatalf("%+v of:\n%s", s, b)
				}
			}
		}
	})
}
