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
	got := string(entryScript("#!/venv/bin/python\n", wheel.EntryPoint{Name: "flask", Module: "flask.cli", Attr: "App.main"}))
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
