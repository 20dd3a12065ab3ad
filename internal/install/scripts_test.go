package install

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/python"
	"curdling/internal/version"
	"curdling/internal/wheel"
)

func TestShebang(t *testing.T) {
	t.Parallel()
	shim := filepath.Join(t.TempDir(), "python")
	write(t, shim, "#!/bin/sh\nexec python3\n")
	long := "/" + strings.Repeat("x", 124)
	for _, tt := range []struct{ executable, goos, want string }{
		{"/venv/bin/python", "linux", "#!/venv/bin/python\n"},
		{long[:124], "linux", "#!" + long[:124] + "\n"},
		{long, "linux", "#!/bin/sh\n'''exec' " + long + ` "$0" "$@"` + "\n' '''\n"},
		{long, "darwin", "#!" + long + "\n"},
		{"/my venv/bin/python", "linux", "#!/bin/sh\n'''exec' \"/my venv/bin/python\" \"$0\" \"$@\"\n' '''\n"},
		{shim, "linux", "#!/bin/sh\n'''exec' " + shim + ` "$0" "$@"` + "\n' '''\n"},
	} {
		if got := shebang(tt.executable, tt.goos); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.executable, got, tt.want)
		}
	}
}

func TestEntryScript(t *testing.T) {
	t.Parallel()
	got := string(entryScript("#!/venv/bin/python\n", wheel.EntryPoint{Name: "flask", Module: "flask.cli", Attr: "App.main"}, version.MustParse("3.9.0")))
	want := `#!/venv/bin/python
import sys
from flask.cli import App
if __name__ == '__main__':
    sys.argv[0] = sys.argv[0].removesuffix('.exe')
    sys.exit(App.main())
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	old := string(entryScript("#!/venv/bin/python\n", wheel.EntryPoint{Name: "flask", Module: "flask.cli", Attr: "App.main"}, version.MustParse("3.8.18")))
	if strings.Contains(old, "removesuffix") || !strings.Contains(old, "re.sub") {
		t.Errorf("Python 3.8 does not know str.removesuffix:\n%s", old)
	}
}

func TestConsoleScripts(t *testing.T) {
	t.Parallel()
	p := &python.Interpreter{Version: version.MustParse("3.13.1")}
	for have, want := range map[string]string{
		"flask":                           "flask",
		"x pip3.8 pip pip3 pipx":          "pip pip3 pip3.13 x pipx",
		"pip3.8":                          "pip3.8",
		"easy_install-3.8":                "easy_install-3.8",
		"easy_install-2.7 b":              "easy_install-2.7 b",
		"easy_install a easy_install-2.7": "easy_install easy_install-3.13 a",
	} {
		var points []wheel.EntryPoint
		for _, name := range strings.Fields(have) {
			points = append(points, wheel.EntryPoint{Name: name, Module: "m", Attr: "a"})
		}
		var got []string
		for _, e := range consoleScripts(points, p) {
			got = append(got, e.Name)
		}
		if diff := cmp.Diff(strings.Fields(want), got); diff != "" {
			t.Errorf("%s: %s", have, diff)
		}
	}
}

func TestIsWrapper(t *testing.T) {
	t.Parallel()
	m := &wheel.Manifest{ConsoleScripts: []wheel.EntryPoint{{Name: "foo"}}, GUIScripts: []wheel.EntryPoint{{Name: "bar"}}}
	for name, want := range map[string]bool{
		"foo": true, "bar": true, "foo.exe": true, "foo.EXE": true, "foo-script.py": true, "bar.pya": true,
		"foo.py": false, "foot": false, "exe": false, ".exe": false,
	} {
		if got := isWrapper(name, m); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestDirectURL has what pip 26.3 writes.
func TestDirectURL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		u    DirectURL
		want string
	}{
		{DirectURL{URL: "file:///x/größe\"\\\t\x7f😀"}, `{"url": "file:///x/gr\u00f6\u00dfe\"\\\t\u007f\ud83d\ude00"}`},
		{
			DirectURL{URL: "https://host/a.whl", Archive: &ArchiveInfo{map[string]string{"sha256": "ab"}}, Subdirectory: "sub"},
			`{"archive_info": {"hash": "sha256=ab", "hashes": {"sha256": "ab"}}, "subdirectory": "sub", "url": "https://host/a.whl"}`,
		},
		{DirectURL{URL: "https://host/a.whl", Archive: &ArchiveInfo{}}, `{"archive_info": {}, "url": "https://host/a.whl"}`},
		{DirectURL{URL: "file:///src", Dir: &DirInfo{}}, `{"dir_info": {}, "url": "file:///src"}`},
		{DirectURL{URL: "file:///src", Dir: &DirInfo{Editable: true}}, `{"dir_info": {"editable": true}, "url": "file:///src"}`},
		{
			DirectURL{URL: "https://host/r.git", VCS: &VCSInfo{VCS: "git", RequestedRevision: "v1", CommitID: "c0ffee"}},
			`{"url": "https://host/r.git", "vcs_info": {"commit_id": "c0ffee", "requested_revision": "v1", "vcs": "git"}}`,
		},
	} {
		if diff := cmp.Diff(tt.want, string(tt.u.Encode())); diff != "" {
			t.Error(diff)
		}
	}
}

func TestParseDirectURL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		want *DirectURL
	}{
		{`{"url": "https://host/a.whl", "archive_info": {}}`, &DirectURL{URL: "https://host/a.whl", Archive: &ArchiveInfo{}}},
		{
			`{"url": "https://host/a.whl", "archive_info": {"hash": "sha256=ab"}}`, // before PEP 610 was amended
			&DirectURL{URL: "https://host/a.whl", Archive: &ArchiveInfo{map[string]string{"sha256": "ab"}}},
		},
		{
			`{"url": "https://host/a.whl", "archive_info": {"hash": "md5=cd", "hashes": {"sha256": "ab"}}}`,
			&DirectURL{URL: "https://host/a.whl", Archive: &ArchiveInfo{map[string]string{"sha256": "ab"}}},
		},
		{`{"url": "https://host/a.whl", "archive_info": {"hash": "nonsense", "hashes": {}}}`, &DirectURL{URL: "https://host/a.whl", Archive: &ArchiveInfo{}}},
		{`{"url": "file:///src", "dir_info": {"editable": true}, "more": 1}`, &DirectURL{URL: "file:///src", Dir: &DirInfo{Editable: true}}},
		{
			`{"url": "https://host/r.git", "subdirectory": "s", "vcs_info": {"vcs": "git", "commit_id": "c0ffee"}}`,
			&DirectURL{URL: "https://host/r.git", Subdirectory: "s", VCS: &VCSInfo{VCS: "git", CommitID: "c0ffee"}},
		},
		{text: ``},
		{text: `[]`},
		{text: `{"url": 1, "dir_info": {}}`},
		{text: `{"url": "", "dir_info": {}}`},
		{text: `{"url": "file:///src"}`},
		{text: `{"url": "file:///src", "dir_info": {}, "archive_info": {}}`},
		{text: `{"url": "file:///src", "vcs_info": {"vcs": "git"}}`},
		{text: `{"url": "file:///src", "archive_info": {"hashes": ["x"]}}`},
		{text: `{"url": "file:///src\n--index-url", "dir_info": {}}`},
		{text: `{"url": "file:///src", "archive_info": {"hash": "sha256=\u001b"}}`},
		{text: `{"url": "file:///src", "dir_info": {}}` + strings.Repeat(" ", maxDirectURL)},
	} {
		got, err := ParseDirectURL([]byte(tt.text))
		if diff := cmp.Diff(tt.want, got); diff != "" || (err == nil) != (tt.want != nil) {
			t.Errorf("%.100s: %v\n%s", tt.text, err, diff)
		}
	}
}

// FuzzDirectURL: what is read is written so that it reads the same.
func FuzzDirectURL(f *testing.F) {
	for _, text := range []string{
		`{"url": "https://host/a.whl", "archive_info": {"hash": "sha256=ab", "hashes": {"sha256": "ab", "md5": "c"}}}`,
		`{"url": "https://host/a.whl", "archive_info": {"hash": "=x"}}`,
		`{"url": "file:///gr\u00f6\ud83d\ude00", "dir_info": {"editable": true}}`,
		`{"URL": "https://host/r.git", "subdirectory": "s", "vcs_info": {"vcs": "git", "requested_revision": "v1", "commit_id": "c0ffee"}}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseDirectURL([]byte(text))
		if err != nil {
			return
		}
		if strings.ContainsAny(u.URL, "\n\r\x1b") {
			t.Errorf("controls in %q", u.URL)
		}
		again, err := ParseDirectURL(u.Encode())
		if diff := cmp.Diff(u, again); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", text, err, diff)
		}
	})
}
