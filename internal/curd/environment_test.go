package curd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
	"curdling/internal/marker"
	"curdling/internal/python"
	"curdling/internal/resolve"
	"curdling/internal/tag"
	"curdling/internal/version"
	"curdling/internal/wheel/wheeltest"
)

// installed is a distribution to put into a test's environment.
type installed struct {
	name, version string
	metadata      string            // further lines of METADATA
	files         map[string]string // in .dist-info, beside METADATA
}

// testEnvironment makes an environment of a Python that is not there.
func testEnvironment(t *testing.T, all ...installed) *Environment {
	t.Helper()
	prefix := realPath(t.TempDir())
	site := filepath.Join(prefix, "lib", "site-packages")
	e := &Environment{
		Python: &python.Interpreter{
			Executable: filepath.Join(prefix, "bin", "python"), Version: version.MustParse("3.11.7"),
			Markers: marker.Environment{"python_version": "3.11", "sys_platform": "linux"},
			Target:  tag.Target{Implementation: "cpython", Version: [2]int{3, 11}, OS: "linux", Arch: "x86_64", Glibc: &[2]int{2, 31}},
			Prefix:  prefix, BasePrefix: "/usr",
			Purelib: site, Platlib: site, Scripts: filepath.Join(prefix, "bin"), Data: prefix, Include: filepath.Join(prefix, "include"),
		},
	}
	e.warn = func(format string, args ...any) { t.Logf("warning: "+format, args...) }
	put(t, filepath.Join(site, "README.txt"), "")
	for _, i := range all {
		info := filepath.Join(site, strings.ReplaceAll(i.name, "-", "_")+"-"+i.version+".dist-info")
		put(t, filepath.Join(info, "METADATA"), fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\n%s", i.name, i.version, i.metadata))
		for name, content := range i.files {
			put(t, filepath.Join(info, name), content)
		}
	}
	if err := e.list(); err != nil {
		t.Fatal(err)
	}
	return e
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func directURL(json string) map[string]string { return map[string]string{"direct_url.json": json} }

// TestFreeze has what pip 26.3 prints.
func TestFreeze(t *testing.T) {
	t.Parallel()
	all := []installed{
		{name: "Zope.Interface", version: "8.0"},
		{name: "b-small", version: "1.0"},
		{name: "A_Large", version: "1.00"},
		{name: "pip", version: "26.3"}, {name: "wheel", version: "0.46"}, {name: "argparse", version: "1.4"},
		{name: "Legacy", version: "2004b.x"},
		{name: "archive", version: "1", files: directURL(`{"url": "https://u:p@example.org/a.zip", "archive_info": {"hashes": {"sha512": "b", "sha256": "a"}}, "subdirectory": "x/y"}`)},
		{name: "nohash", version: "1", files: directURL(`{"url": "https://${USER}:${PASS}@example.org/a.zip", "archive_info": {}}`)},
		{name: "oldhash", version: "1", files: directURL(`{"url": "file:///a.zip", "archive_info": {"hash": "md5=c"}}`)},
		{name: "folder", version: "1", files: directURL(`{"url": "file:///src/folder", "dir_info": {}}`)},
		{name: "git", version: "1", files: directURL(`{"url": "ssh://git@example.org/r.git", "subdirectory": "sub", "vcs_info": {"vcs": "git", "requested_revision": "v1", "commit_id": "c0ffee"}}`)},
		{name: "nothing", version: "1", files: directURL(`{"url": "file:///src/folder"}`)},
		{name: "broken", version: "1", files: directURL(`{`)},
		{name: "lines", version: "1", files: directURL(`{"url": "https://x\n--index-url https://evil", "archive_info": {}}`)},
		{name: "Editable-One", version: "1", files: directURL(`{"url": "file:///no%20where/", "dir_info": {"editable": true}}`)},
	}
	want := `A_Large==1.0
archive @ https://example.org/a.zip#sha256=a&subdirectory=x/y
b-small==1.0
broken==1
# Editable install with no version control (Editable-One==1)
-e /no where
folder @ file:///src/folder
git @ git+ssh://git@example.org/r.git@c0ffee#subdirectory=sub
Legacy===2004b.x
lines==1
nohash @ https://${USER}:${PASS}@example.org/a.zip
nothing==1
oldhash @ file:///a.zip#md5=c
Zope.Interface==8.0`
	e := testEnvironment(t, all...)
	got, err := e.Freeze(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), got); diff != "" {
		t.Error(diff)
	}
	withTools, err := e.Freeze(t.Context(), true)
	if err != nil || len(withTools) != len(got)+2 {
		t.Errorf("%d lines with pip and wheel, %d without: %v", len(withTools), len(got), err)
	}
	e.Python.Target.Version[1] = 12
	if lines, _ := e.Freeze(t.Context(), false); len(lines) != len(got)+1 {
		t.Errorf("Python 3.12 does not list wheel: %q", lines)
	}
}

// TestFreezeRepositories makes repositories with git, and with scripts that speak like the other programs.
func TestFreezeRepositories(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the other programs are shell scripts here")
	}
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("no git")
	}
	programs := t.TempDir()
	script := func(name, text string) {
		put(t, filepath.Join(programs, name), "#!/bin/sh\n"+text)
		if err := os.Chmod(filepath.Join(programs, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script("git", `exec `+git+` "$@"`)
	script("hg", `case $1 in root) echo "$HG_TOP";; showconfig) echo https://u:secret@example.org/hg;; parents) printf %s abc;; esac`)
	script("svn", `echo '<entry revision="12"><url>https://example.org/svn</url><commit revision="9"/></entry>'`)
	script("bzr", `case $1 in info) echo ' parent branch: /srv/a b';; revno) printf 'note\n42\n';; esac`)
	t.Setenv("PATH", programs+string(filepath.ListSeparator)+"/usr/bin:/bin")
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	t.Setenv("GIT_DIR", "/nowhere") // of whoever runs us; not of the project
	repos := realPath(t.TempDir())
	t.Setenv("HG_TOP", filepath.Join(repos, "hg"))
	commits := map[string]string{}
	for _, r := range []struct{ name, remote string }{
		{"plain", "https://user:secret@example.org/r.git"},
		{"scp", "git@example.org:a/b.git"},
		{"none", ""},
		{"wrong", "../other.git"},
		{"deep", "ssh://git@example.org/r.git"},
	} {
		dir := filepath.Join(repos, r.name)
		put(t, filepath.Join(dir, "setup.py"), "")
		put(t, filepath.Join(dir, "sub", "pyproject.toml"), "")
		run := func(args ...string) string {
			t.Helper()
			cmd := exec.Command(git, append([]string{"-c", "user.name=a", "-c", "user.email=a@b"}, args...)...)
			cmd.Dir = dir
			cmd.Env = []string{"HOME=" + repos}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("git %q: %v: %s", args, err, out)
			}
			return strings.TrimSpace(string(out))
		}
		run("init", "-q")
		run("add", "-A")
		run("commit", "-q", "-m", "x")
		if r.remote != "" {
			run("remote", "add", "origin", r.remote)
		}
		commits[r.name] = run("rev-parse", "HEAD")
	}
	for _, path := range []string{"hg/.hg/x", "hg/lib/setup.py", "svn/.svn/entries", "svn/setup.py", "bzr/.bzr/x"} {
		put(t, filepath.Join(repos, path), "")
	}
	var all []installed
	for _, at := range []string{"plain", "scp", "none", "wrong", "deep/sub", "hg/lib", "svn", "bzr"} {
		name, _, _ := strings.Cut(at, "/")
		url := fmt.Sprintf(`{"url": "file://%s/%s", "dir_info": {"editable": true}}`, repos, at)
		all = append(all, installed{name: "my-" + name, version: "1", files: directURL(url)})
	}
	want := []string{
		"-e bzr+file:///srv/a%20b@42#egg=my_bzr",
		"-e git+ssh://git@example.org/r.git@" + commits["deep"] + "#egg=my_deep&subdirectory=sub",
		"-e hg+https://example.org/hg@abc#egg=my_hg&subdirectory=lib",
		"# Editable Git install with no remote (my-none==1)",
		"-e " + repos + "/none",
		"-e git+https://example.org/r.git@" + commits["plain"] + "#egg=my_plain",
		"-e git+ssh://git@example.org/a/b.git@" + commits["scp"] + "#egg=my_scp",
		"-e svn+https://example.org/svn@12#egg=my_svn",
		"# Editable Git install (my-wrong==1) with either a deleted local remote or invalid URI:",
		"# '../other.git'",
		"-e " + repos + "/wrong",
	}
	got, err := testEnvironment(t, all...).Freeze(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWithoutSecrets(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://user:password@host/x@1":     "https://host/x@1",
		"https://token@host":                 "https://host",
		"https://git@host/x":                 "https://git@host/x",
		"ssh://me:password@host/x":           "ssh://me@host/x",
		"git+ssh://me@host/x":                "git+ssh://me@host/x",
		"https://${A_B}@host/x":              "https://${A_B}@host/x",
		"https://${A}:secret@host/x":         "https://host/x",
		"https://host/x?a=b@c":               "https://host/x?a=b@c",
		"file:///x/y@1":                      "file:///x/y@1",
		"git@host:x":                         "git@host:x",
		"https://a:b@c:d@host:80/x#egg=user": "https://host:80/x#egg=user",
	} {
		if got := withoutSecrets(raw); got != want {
			t.Errorf("%s: got %s, want %s", raw, got, want)
		}
	}
}

func FuzzWithoutSecrets(f *testing.F) {
	const secret = "S3cr3t"
	f.Add("https", "user", "%40word", "host/path?query#fragment")
	f.Add("git+ssh", "git", "", "[::1]:22/x@rev")
	f.Add("https", "${A}", "}", "")
	f.Fuzz(func(t *testing.T, scheme, user, password, rest string) {
		if strings.ContainsAny(user+password, "/?#") || strings.ContainsAny(scheme, ":/") {
			t.Skip("such a URL has no credentials")
		}
		got := withoutSecrets(scheme + "://" + user + ":" + secret + password + "@" + rest)
		if strings.Contains(got, secret) && !strings.Contains(scheme+user+rest, secret) {
			t.Error(got)
		}
		if again := withoutSecrets(got); again != got {
			t.Errorf("%s becomes %s", got, again)
		}
	})
}

func TestEnvironmentFolders(t *testing.T) {
	t.Parallel()
	e := testEnvironment(t, installed{name: "here", version: "1"})
	site := e.Python.Purelib
	elsewhere, project, base := realPath(t.TempDir()), realPath(t.TempDir()), filepath.Join(realPath(t.TempDir()), "site-packages")
	info := func(dir, name, version string) {
		put(t, filepath.Join(dir, name+"-"+version+".dist-info", "METADATA"), "Name: "+name+"\nVersion: "+version+"\n")
	}
	info(elsewhere, "elsewhere", "1")
	info(elsewhere, "here", "2") // hidden by the one in front
	info(base, "base", "1")
	info(site, "twice", "1")
	info(site, "twice", "2")
	info(site, "~emoved", "1")
	put(t, filepath.Join(project, "My.Project.egg-info", "PKG-INFO"), "Name: My.Project\nVersion: 3\n")
	put(t, filepath.Join(site, "My.Project.egg-link"), project+"\n.")
	put(t, filepath.Join(site, "old-0.1-py3.11.egg-info"), "Name: Old\nVersion: 0.1\n")
	put(t, filepath.Join(site, "x.pth"), "# comment\nimport os; print()\n"+elsewhere+"\n/nowhere\n"+project+"\n")
	put(t, filepath.Join(site, ".hidden.pth"), t.TempDir())
	e.Python.BasePrefix = filepath.Dir(base)
	e.Python.SysPath = []string{"", "/nowhere", base, filepath.Join(t.TempDir(), "site-packages")}
	e.Distributions = nil
	if err := e.list(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range e.Distributions {
		got = append(got, fmt.Sprintf("%s %t %t", d.Spelled(), d.Own, d.Project == project))
	}
	want := []string{"base==1 false false", "elsewhere==1 false false", "here==1 true false", "My.Project==3 true true", "Old==0.1 true false", "twice==1 true false"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(e.Repeated) != 1 || e.Repeated[0].RawVersion != "2" {
		t.Errorf("repeated: %v", e.Repeated)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	pure := map[string]string{"WHEEL": "Wheel-Version: 1.0\nTag: py2-none-any\nTag: py3-none-any\n"}
	for _, tt := range []struct {
		name string
		all  []installed
		want []string
		bad  bool // though nothing is to be said but a warning
	}{
		{name: "nothing"},
		{name: "sound", all: []installed{
			{name: "App", version: "1", metadata: "Requires-Dist: Lib.Two>=1\nRequires-Dist: win; sys_platform == 'win32'\nRequires-Dist: x; extra == 'fast'\nProvides-Extra: fast\n", files: pure},
			{name: "lib-two", version: "1.5"},
		}},
		{name: "missing and wrong", all: []installed{
			{name: "App", version: "1", metadata: "Requires-Dist: Lib.Two<1,>=0.5\nRequires-Dist: gone\nRequires-Dist: gone>2\nRequires-Dist: also; python_version > '3'\n"},
			{name: "lib-two", version: "1.5", metadata: "Requires-Dist: app[x]!=1; python_version > '3'\n"},
		}, want: []string{
			"app 1 requires also, which is not installed.",
			"app 1 requires gone, which is not installed.",
			"app 1 has requirement lib-two<1,>=0.5, but you have lib-two 1.5.",
			`lib-two 1.5 has requirement app[x]!=1; python_version > "3", but you have app 1.`,
		}},
		{name: "a prerelease counts", all: []installed{
			{name: "app", version: "1", metadata: "Requires-Dist: lib>=1\n"}, {name: "lib", version: "2.0rc1"},
		}},
		{name: "extras of others", all: []installed{
			{name: "app", version: "1", metadata: "Requires-Dist: lib[fast,unknown]\n"},
			{name: "lib", version: "1", metadata: "Requires-Dist: turbo; extra == 'fast'\nRequires-Dist: app[more]; extra == 'fast'\nRequires-Dist: slow; extra == 'slow'\n"},
		}, want: []string{"lib[fast] 1 requires turbo, which is not installed."}},
		{name: "another platform", all: []installed{
			{name: "Win-Only", version: "1", files: map[string]string{"WHEEL": "Tag: cp311-cp311-win_amd64\n"}},
			{name: "without", version: "1", files: map[string]string{"WHEEL": "Wheel-Version: 1.0\n\nTag: py3-none-any\n"}},
		}, want: []string{"Win-Only 1 is not supported on this platform", "without 1 is not supported on this platform"}},
		{name: "another Python", all: []installed{{name: "new", version: "1", metadata: "Requires-Python: >=3.12\n"}},
			want: []string{"new 1 requires Python >=3.12, but you have Python 3.11.7."}},
		{name: "unreadable", bad: true, all: []installed{
			{name: "app", version: "1", metadata: "Requires-Dist: ???\nRequires-Dist: gone\n"},
			{name: "old", version: "2004b.x"},
			{name: "python", version: "1", metadata: "Requires-Python: whatever\n"},
		}, want: []string{"app 1 requires gone, which is not installed."}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := testEnvironment(t, tt.all...)
			got, ok := e.Check()
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if bad := tt.bad || tt.want != nil; ok == bad {
				t.Errorf("ok is %t", ok)
			}
		})
	}
}

func TestRemovalRefuses(t *testing.T) {
	t.Parallel()
	project := realPath(t.TempDir())
	e := testEnvironment(t,
		installed{name: "good", version: "1", files: map[string]string{"RECORD": "good-1.dist-info/RECORD,,\n"}},
		installed{name: "debian-one", version: "1", files: map[string]string{"INSTALLER": "debian\n"}},
		installed{name: "bare", version: "1"})
	put(t, filepath.Join(e.Python.Purelib, "old-0.1-py3.11.egg-info"), "Name: old\nVersion: 0.1\n")
	put(t, filepath.Join(e.Python.Purelib, "linked.egg-link"), project)
	put(t, filepath.Join(project, "linked.egg-info", "PKG-INFO"), "Name: linked\nVersion: 0.1\n")
	var warnings []string
	e.warn = func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	e.Distributions = nil
	if err := e.list(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"good": "", "debian-one": "was installed by debian", "bare": "has no RECORD", "old": "distutils", "linked": "setup.py develop",
	} {
		o := Options{Requirements: []resolve.Wanted{{}, {}}}
		o.Requirements[0].Name, o.Requirements[1].Name = dist.Name(name), "good"
		plan, err := e.removal(o, &Removal{})
		switch {
		case want == "" && (err != nil || len(plan.Remove) != 1):
			t.Errorf("%s: %v, %v", name, plan, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || len(plan.Remove) > 0):
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
	if len(warnings) > 0 {
		t.Errorf("warnings: %q", warnings)
	}
}

// TestDescribeRemoval tells what goes and what stays.
func TestDescribeRemoval(t *testing.T) {
	t.Parallel()
	w := wheeltest.Wheel{Name: "app", Version: "1"}
	record := "app/__init__.py,,\napp/sub/__init__.py,,\napp/sub/x.py,,\napp/__pycache__/x.pyc,,\nns/app/mod.py,,\nshared.py,,\ngone.py,,\n../../bin/app,,\n/etc/passwd,,\n" +
		w.Name + "-1.dist-info/METADATA,,\n"
	e := testEnvironment(t,
		installed{name: "app", version: "1", files: map[string]string{"RECORD": record}},
		installed{name: "other", version: "1", files: map[string]string{"RECORD": "shared.py,,\napp/plugin.py,,\n"}})
	for _, path := range []string{
		"app/__init__.py", "app/sub/__init__.py", "app/sub/x.py", "app/mine.txt", "app/plugin.py", "app/__pycache__/x.pyc", "app/__pycache__/mine.pyc",
		"ns/app/mod.py", "shared.py", "../../bin/app", "app-1.dist-info/unlisted",
	} {
		put(t, filepath.Join(e.Python.Purelib, path), "")
	}
	var warnings []string
	e.warn = func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	o := Options{Requirements: make([]resolve.Wanted, 1)}
	o.Requirements[0].Name = "app"
	var r Removal
	if _, err := e.removal(o, &r); err != nil {
		t.Fatal(err)
	}
	site := e.Python.Purelib + "/"
	want := []Removed{{
		Name: "app", Version: version.MustParse("1"),
		Goes:  []string{e.Python.Scripts + "/app", site + "app-1.dist-info/*", site + "app/*", site + "ns/app/mod.py"},
		Stays: []string{site + "app/mine.txt"},
	}}
	if diff := cmp.Diff(want, r.Removed, cmp.Comparer(version.Version.Equal)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{site + "shared.py belongs to other too and stays"}, warnings); diff != "" {
		t.Error(diff)
	}
}
