package vcs

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"curdling/internal/requirement"
)

// commitTo writes a file, commits it, and gives the commit.
func commitTo(t *testing.T, repo, file, text string) string {
	t.Helper()
	put(t, filepath.Join(repo, file), text)
	do(t, repo, "git", "add", file)
	do(t, repo, "git", "commit", "-q", "-m", text)
	return do(t, repo, "git", "rev-parse", "HEAD")
}

// newRepo makes a repository of one commit.
func newRepo(t *testing.T, repo string) string {
	t.Helper()
	need(t, "git")
	if err := os.MkdirAll(repo, 0o755); err != nil {
		t.Fatal(err)
	}
	do(t, repo, "git", "init", "-q")
	do(t, repo, "git", "config", "uploadpack.allowFilter", "true")
	return commitTo(t, repo, "a.txt", "first")
}

// sample makes a repository with branches, tags and a pull request, and gives its commits.
func sample(t *testing.T, repo string) map[string]string {
	t.Helper()
	c := map[string]string{"first": newRepo(t, repo)}
	do(t, repo, "git", "tag", "-m", "annotated", "v1")
	do(t, repo, "git", "tag", "light")
	c["main"] = commitTo(t, repo, "a.txt", "second")
	do(t, repo, "git", "checkout", "-q", "-b", "feature/x", "v1")
	c["feature"] = commitTo(t, repo, "a.txt", "feature")
	do(t, repo, "git", "tag", "both", "v1^{}") // a tag, and a branch of that name
	do(t, repo, "git", "branch", "both")
	do(t, repo, "git", "checkout", "-q", "--detach", "v1")
	c["pull"] = commitTo(t, repo, "a.txt", "pull")
	do(t, repo, "git", "update-ref", "refs/pull/1/head", "HEAD")
	do(t, repo, "git", "checkout", "-q", "main")
	return c
}

// backend serves the repositories below root as git does.
func backend(t *testing.T, root string) http.Handler {
	t.Helper()
	need(t, "git")
	program := filepath.Join(do(t, root, "git", "--exec-path"), "git-http-backend")
	if _, err := os.Stat(program); err != nil {
		t.Skip(err)
	}
	return &cgi.Handler{Path: program, Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"}, InheritEnv: []string{"PATH", "HOME"}}
}

func TestGit(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "with space%41+é")
	c := sample(t, filepath.Join(root, "r.git"))
	server := httptest.NewServer(backend(t, root))
	t.Cleanup(server.Close)
	file := (&url.URL{Scheme: "file", Path: filepath.ToSlash(root)}).String()
	for _, test := range []struct{ revision, commit, branch, describe string }{
		{"", "main", "main", "v1-1"},
		{"HEAD", "main", "", "v1-1"},
		{"main", "main", "main", "v1-1"},
		{"feature/x", "feature", "feature/x", "v1-1"},
		{"both", "feature", "both", "v1-1"},
		{"v1", "first", "", "v1"},
		{"light", "first", "", "v1"},
		{"refs/heads/feature/x", "feature", "", "v1-1"},
		{"refs/tags/v1", "first", "", "v1"},
		{"refs/pull/1/head", "pull", "", "v1-1"},
		{c["first"], "first", "", "v1"},
		{strings.ToUpper(c["first"]), "first", "", "v1"},
		{c["pull"], "pull", "", "v1-1"}, // on no branch
		{c["feature"][:9], "feature", "", "v1-1"},
		{"main~1", "first", "", "v1"},
	} {
		for _, base := range []string{file, server.URL} {
			t.Run(test.revision+" "+base[:4], func(t *testing.T) {
				t.Parallel()
				s := source(t, "git+"+base+"/r.git")
				s.Revision = test.revision
				checkGit(t, s, c[test.commit])
				got := fetched(t, s)
				if got.Commit != c[test.commit] || do(t, got.Dir, "git", "rev-parse", "HEAD") != got.Commit {
					t.Errorf("got %s, want %s", got.Commit, c[test.commit])
				}
				if branch := do(t, got.Dir, "git", "branch", "--show-current"); branch != test.branch {
					t.Errorf("on branch %q, want %q", branch, test.branch)
				}
				if name := do(t, got.Dir, "git", "describe"); !strings.HasPrefix(name, test.describe) {
					t.Errorf("described as %s, want %s", name, test.describe)
				}
				if status := do(t, got.Dir, "git", "status", "--porcelain"); status != "" {
					t.Errorf("not clean: %s", status)
				}
				if text := read(t, got.Dir, "a.txt"); text != do(t, filepath.Join(root, "r.git"), "git", "show", got.Commit+":a.txt") {
					t.Errorf("a.txt: %s", text)
				}
			})
		}
	}
}

// checkGit sees what Resolve says: nothing of what only a checkout tells.
func checkGit(t *testing.T, s requirement.Source, want string) {
	t.Helper()
	if len(s.Revision) == 9 && s.Revision != "feature/x" || s.Revision == "main~1" {
		want = ""
	}
	if got, err := Resolve(t.Context(), s); got != want || err != nil {
		t.Errorf("resolved to %q, %v; want %q", got, err, want)
	}
}

// A branch that is called as a commit must not be taken for it.
func TestGitCommitIsNoBranch(t *testing.T) {
	t.Parallel()
	repo := filepath.Join(t.TempDir(), "r")
	first := newRepo(t, repo)
	second := commitTo(t, repo, "a.txt", "evil")
	do(t, repo, "git", "update-ref", "refs/heads/"+first, second)
	do(t, repo, "git", "update-ref", "refs/tags/"+first, second)
	s := source(t, "git+file://"+repo+"@"+first)
	if c := fetched(t, s); c.Commit != first || read(t, c.Dir, "a.txt") != "first" {
		t.Errorf("got %+v", c)
	}
}

func TestGitErrors(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	newRepo(t, filepath.Join(root, "r"))
	do(t, root, "git", "init", "-q", "empty")
	for text, want := range map[string]string{
		"/r@nope":             `no branch, tag or commit "nope"`,
		"/r@refs/pull/7/head": "refs/pull/7/head",
		"/r@0123456":          `no branch, tag or commit "0123456"`,
		"/r@0123456789012345678901234567890123456789": "git fetch failed",
		"/gone":  "git clone failed (exit status 128); it said:\n",
		"/empty": "no commit to take by itself",
	} {
		s := source(t, "git+file://"+root+text)
		if got := refused(t, t.Context(), s); !strings.Contains(got, want) || !strings.HasPrefix(got, "git+file://"+root+text+": ") {
			t.Errorf("%s: %s", text, got)
		}
	}
	for _, text := range []string{"/gone", "/empty"} {
		if got, err := Resolve(t.Context(), source(t, "git+file://"+root+text)); err == nil {
			t.Errorf("%s resolved to %q", text, got)
		}
	}
	s := source(t, "git+file://"+root+"/r")
	if _, err := Fetch(t.Context(), s, filepath.Join(root, "r")); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if _, err := Fetch(t.Context(), s, filepath.Join(root, "none", "out")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestGitCredentials(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	c := sample(t, filepath.Join(root, "r"))
	newRepo(t, filepath.Join(root, "sub"))
	put(t, filepath.Join(root, "r", ".gitmodules"), "[submodule \"sub\"]\n\tpath = sub\n\turl = ../sub\n")
	do(t, filepath.Join(root, "r"), "git", "add", ".gitmodules")
	do(t, filepath.Join(root, "r"), "git", "update-index", "--add", "--cacheinfo", "160000", do(t, filepath.Join(root, "sub"), "git", "rev-parse", "HEAD"), "sub")
	c["main"] = commitTo(t, filepath.Join(root, "r"), "b.txt", "with submodule")

	g, private, public := serve(t, backend(t, root))
	s := source(t, "git+"+private+"/r@main")
	if got, err := Resolve(t.Context(), s); got != c["main"] || err != nil {
		t.Errorf("resolved to %q, %v", got, err)
	}
	got := fetched(t, s)
	if got.Commit != c["main"] || read(t, got.Dir, "sub", "a.txt") != "first" {
		t.Errorf("got %+v", got)
	}
	g.checkSecrets(t, got.Dir)
	if at := do(t, got.Dir, "git", "config", "remote.origin.url"); at != public+"/r" || PublicURL(s) != at {
		t.Errorf("origin is %s, public %s", at, PublicURL(s))
	}
	s.Revision = c["pull"] // asks once more, for what the clone does not hold
	if got := fetched(t, s); got.Commit != c["pull"] {
		t.Errorf("got %+v", got)
	}

	s.Revision = ""
	s.URL = strings.Replace(s.URL, "p4ss", "p4ssx", 1)
	if text := refused(t, t.Context(), s); showsSecret(text) || strings.Contains(text, "p4ss") || !strings.Contains(text, public[len("http://"):]) {
		t.Error(text)
	}
	s.URL = public + "/r"
	if text := refused(t, t.Context(), s); !strings.Contains(text, "terminal prompts disabled") || !strings.Contains(text, "hint: ") {
		t.Error(text)
	}
}

// A token may be the user, with a password that is empty.
func TestGitToken(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	newRepo(t, filepath.Join(root, "r"))
	g := &guard{next: backend(t, root), user: "tokentoken"}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	fetched(t, source(t, "git+http://tokentoken:@"+server.Listener.Addr().String()+"/r"))
}

// With a user alone, the user's credential helpers are asked for the password;
// with a password they are neither asked nor told.
func TestGitCredentialHelpers(t *testing.T) {
	root := t.TempDir()
	newRepo(t, filepath.Join(root, "r"))
	g, private, public := serve(t, backend(t, root))
	dir := t.TempDir()
	config, helper, log := filepath.Join(dir, "config"), filepath.Join(dir, "helper"), filepath.Join(dir, "log")
	put(t, helper, "#!/bin/sh\n(echo $1; cat) >>"+log+"\ncat "+dir+"/password\n")
	put(t, filepath.Join(dir, "password"), "password="+testPassword+"\n")
	put(t, config, "[credential]\n\thelper = "+helper+"\n")
	t.Setenv("GIT_CONFIG_GLOBAL", config)

	got := fetched(t, source(t, "git+"+private+"/r"))
	if _, err := os.Stat(log); err == nil {
		t.Errorf("a helper was told: %s", read(t, log))
	}
	user := url.PathEscape(testUser)
	user = strings.ReplaceAll(user, "@", "%40")
	got = fetched(t, source(t, "git+"+strings.Replace(public, "://", "://"+user+"@", 1)+"/r"))
	if text := read(t, log); !strings.Contains(text, "username="+testUser+"\n") {
		t.Errorf("the helper was asked %s", text)
	}
	g.checkSecrets(t, got.Dir)
}

// Hooks of the user's do not run, neither from a template nor from a folder of theirs.
func TestGitHooks(t *testing.T) {
	root := t.TempDir()
	newRepo(t, filepath.Join(root, "sub"))
	newRepo(t, filepath.Join(root, "r"))
	do(t, filepath.Join(root, "r"), "git", "-c", "protocol.file.allow=always", "submodule", "-q", "add", "file://"+root+"/sub", "sub")
	commitTo(t, filepath.Join(root, "r"), "b.txt", "with submodule")
	for _, setting := range []string{"init.templateDir", "core.hooksPath"} {
		dir := t.TempDir()
		ran := filepath.Join(dir, "ran")
		for _, hook := range []string{"post-checkout", "reference-transaction", "post-index-change", "fsmonitor"} {
			put(t, filepath.Join(dir, "hooks", hook), "#!/bin/sh\ntouch "+ran+"\n")
		}
		value := dir
		if setting == "core.hooksPath" {
			value = filepath.Join(dir, "hooks")
		}
		config := filepath.Join(dir, "config")
		do(t, dir, "git", "config", "-f", config, setting, value)
		do(t, dir, "git", "config", "-f", config, "core.fsmonitor", filepath.Join(dir, "hooks", "fsmonitor"))
		t.Setenv("GIT_CONFIG_GLOBAL", config)
		c := fetched(t, source(t, "git+file://"+root+"/r"))
		if _, err := os.Stat(ran); err == nil {
			t.Errorf("%s: a hook ran", setting)
		}
		if _, err := os.Stat(filepath.Join(c.Dir, ".git", "hooks")); err == nil {
			t.Errorf("%s: the checkout has hooks", setting)
		}
		if read(t, c.Dir, "sub", "a.txt") != "first" {
			t.Error("no submodule")
		}
		do(t, dir, "git", "clone", "-q", "file://"+root+"/r", "c")
		if _, err := os.Stat(ran); err != nil {
			t.Errorf("%s: this test's hooks do not work", setting)
		}
	}
}

// A repository on the network must not reach into this machine by its submodules.
func TestGitSubmoduleTransports(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	server := httptest.NewServer(backend(t, root))
	t.Cleanup(server.Close)
	secret := newRepo(t, filepath.Join(root, "secret"))
	for i, at := range []string{"file://" + root + "/secret", root + "/secret", "ext::sh -c 'touch " + root + "/pwned'", "../secret"} {
		name := "r" + strconv.Itoa(i)
		repo := filepath.Join(root, name)
		newRepo(t, repo)
		do(t, repo, "git", "config", "-f", ".gitmodules", "submodule.sub.path", "sub")
		do(t, repo, "git", "config", "-f", ".gitmodules", "submodule.sub.url", at)
		do(t, repo, "git", "add", ".gitmodules")
		do(t, repo, "git", "update-index", "--add", "--cacheinfo", "160000", secret, "sub")
		commitTo(t, repo, "b.txt", "with submodule")
		local, network := source(t, "git+file://"+root+"/"+name), source(t, "git+"+server.URL+"/"+name)
		if strings.HasPrefix(at, "..") {
			fetched(t, network)
		} else if text := refused(t, t.Context(), network); !strings.Contains(text, "not allowed") || !strings.Contains(text, "git submodule failed") {
			t.Errorf("%s: %s", at, text)
		}
		if strings.HasPrefix(at, "ext") {
			refused(t, t.Context(), local)
		} else if c := fetched(t, local); read(t, c.Dir, "sub", "a.txt") != "first" {
			t.Errorf("%s: %+v", at, c)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "pwned")); err == nil {
		t.Error("a submodule's URL was run")
	}
}

// Variables that choose another repository do not count, nor does the repository around.
func TestGitSurroundings(t *testing.T) {
	root := t.TempDir()
	want := newRepo(t, filepath.Join(root, "r"))
	newRepo(t, filepath.Join(root, "other"))
	other := filepath.Join(root, "other", ".git")
	do(t, filepath.Join(root, "other"), "git", "config", "url.file:///nowhere.insteadOf", "file://")
	t.Chdir(filepath.Join(root, "other"))
	t.Setenv("TMPDIR", filepath.Join(root, "other"))
	for name, value := range map[string]string{
		"GIT_DIR": other, "GIT_WORK_TREE": root, "GIT_INDEX_FILE": other + "/index", "GIT_OBJECT_DIRECTORY": other + "/objects",
		"GIT_COMMON_DIR": other, "GIT_NAMESPACE": "x", "GIT_CONFIG_PARAMETERS": "'core.bare=true'", "GIT_TRACE": "1", "GIT_TEMPLATE_DIR": other,
	} {
		t.Setenv(name, value)
	}
	s := source(t, "git+file://"+root+"/r")
	if got, err := Resolve(t.Context(), s); got != want || err != nil {
		t.Errorf("resolved to %q, %v", got, err)
	}
	c, err := Fetch(t.Context(), s, "sub") // within the other's tree
	if err != nil || c.Commit != want || c.Dir != filepath.Join(root, "other", "sub") {
		t.Errorf("got %+v, %v", c, err)
	}
	t.Setenv("GIT_ALLOW_PROTOCOL", "https")
	if text := refused(t, t.Context(), s); !strings.Contains(text, "'file' not allowed") {
		t.Error(text)
	}
}

// ssh is the user's, and has no terminal to ask at.
func TestGitSSH(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	dir := t.TempDir()
	want := newRepo(t, filepath.Join(dir, "r"))
	ssh := filepath.Join(dir, "ssh")
	put(t, ssh, "#!/bin/sh\necho \"$@\" >"+dir+"/args\ncut -d' ' -f6 /proc/self/stat >"+dir+"/session\n"+
		"env >"+dir+"/env\nfor last; do :; done\ncd "+dir+"; exec sh -c \"$last\"\n")
	t.Setenv("GIT_SSH_COMMAND", ssh)
	t.Setenv("SSH_ASKPASS", "/bin/false")
	t.Setenv("DISPLAY", ":0")
	s := source(t, "git+ssh://git@example.org:2222"+dir+"/r")
	if c := fetched(t, s); c.Commit != want {
		t.Errorf("got %+v", c)
	}
	if args := read(t, dir, "args"); !strings.Contains(args, "git@example.org") || !strings.Contains(args, "2222") {
		t.Errorf("ssh %s", args)
	}
	stat := strings.Fields(read(t, "/proc/self/stat"))
	if session := strings.TrimSpace(read(t, dir, "session")); session == stat[5] {
		t.Error("ssh has our terminal")
	}
	if env := read(t, dir, "env"); strings.Contains(env, "SSH_ASKPASS=") || strings.Contains(env, "DISPLAY=") {
		t.Error("ssh may ask in a window")
	}
}

func FuzzParseRefs(f *testing.F) {
	const commit = "0123456789012345678901234567890123456789"
	f.Add(commit + "\trefs/heads/main\n" + commit + "\trefs/tags/v1^{}\r\n")
	f.Add("\t\n\t")
	f.Fuzz(func(t *testing.T, out string) {
		for name, commit := range parseRefs(out) {
			if strings.ContainsAny(name, "\n") || !strings.Contains(out, commit+"\t"+name) {
				t.Errorf("%q: %q", name, commit)
			}
		}
	})
}
