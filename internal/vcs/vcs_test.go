package vcs

import (
	"context"
	"encoding/base64"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"curdling/internal/requirement"
)

// The account of the tests' servers; what is read in a URL is spelled otherwise.
const (
	testUser     = "bob@example.org"
	testPassword = `p4ss'w"rd $HOME/%41`
)

func TestMain(m *testing.M) {
	home, err := os.MkdirTemp("", "vcs-test-home")
	if err != nil {
		panic(err)
	}
	for name, value := range map[string]string{
		"HOME": home, "XDG_CONFIG_HOME": home, "GIT_CONFIG_NOSYSTEM": "1", "HGUSER": "a", "BRZ_EMAIL": "a@example.org", "BZR_EMAIL": "a@example.org",
		"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org",
		"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "init.defaultBranch", "GIT_CONFIG_VALUE_0": "main",
	} {
		os.Setenv(name, value)
	}
	code := m.Run()
	os.RemoveAll(home)
	os.Exit(code)
}

// need skips where a program is missing.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skip(err)
	}
}

// do runs a program in dir and gives what it printed.
func do(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// source reads a requirement's URL, as users write it.
func source(t *testing.T, text string) requirement.Source {
	t.Helper()
	line, err := requirement.ParseArgument(text, false)
	if err != nil {
		t.Fatal(err)
	}
	return line.Source
}

// fetched fetches into a new folder and sees that nothing lies beside it.
func fetched(t *testing.T, s requirement.Source) Checkout {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	c, err := Fetch(t.Context(), s, dir)
	if err != nil {
		t.Fatal(err)
	}
	if c.Dir != dir || c.RequestedRevision != s.Revision {
		t.Errorf("got %+v", c)
	}
	if names := listed(t, filepath.Dir(dir)); names != "out" {
		t.Errorf("left behind: %s", names)
	}
	return c
}

// refused fetches in vain, sees that nothing is left, and gives the error's text.
func refused(t *testing.T, ctx context.Context, s requirement.Source) string {
	t.Helper()
	parent := t.TempDir()
	_, err := Fetch(ctx, s, filepath.Join(parent, "out"))
	if err == nil {
		t.Fatalf("%+v was fetched", s)
	}
	if names := listed(t, parent); names != "" {
		t.Errorf("left behind: %s", names)
	}
	return err.Error()
}

func listed(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// guard lets in who has the tests' account, and meanwhile looks whether any
// process shows the password. It counts who came in.
type guard struct {
	next     http.Handler
	user     string
	password string

	mu     sync.Mutex
	let    int
	bare   int // asked without credentials
	others int // processes seen that have a URL of this server on their command line
	shown  []string
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, ok := r.BasicAuth()
	g.mu.Lock()
	g.look(r.Host)
	if !ok {
		g.bare++
	} else if user == g.user && password == g.password {
		g.let++
	}
	g.mu.Unlock()
	if user != g.user || password != g.password {
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		http.Error(w, "you said "+r.Header.Get("Authorization")+" "+user+":"+password, http.StatusUnauthorized)
		return
	}
	g.next.ServeHTTP(w, r)
}

// look reads the command lines of all processes.
func (g *guard) look(host string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		b, _ := os.ReadFile(file)
		line := strings.ReplaceAll(string(b), "\x00", " ")
		if strings.Contains(line, host) {
			g.others++
			if showsSecret(line) {
				g.shown = append(g.shown, line)
			}
		}
	}
}

// showsSecret tells whether a text holds the password, or as much as four bytes in front of what needs an escape.
func showsSecret(text string) bool {
	return strings.Contains(text, testPassword[:4]) ||
		strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(testUser+":"+testPassword)))
}

// checkSecrets sees that the server was asked by programs that do not show the
// password, and that it stands nowhere in the tree.
func (g *guard) checkSecrets(t *testing.T, dir string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.shown) > 0 {
		t.Errorf("a process shows the password: %q", g.shown)
	}
	if g.others == 0 && runtime.GOOS == "linux" {
		t.Error("no process was seen that asks the server")
	}
	if g.let == 0 {
		t.Error("nobody came in")
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		if showsSecret(read(t, path)) {
			t.Errorf("%s holds the password", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// serve serves behind a guard, and gives its URL with and without the account.
func serve(t *testing.T, h http.Handler) (g *guard, private, public string) {
	t.Helper()
	g = &guard{next: h, user: testUser, password: testPassword}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(testUser, testPassword)
	return g, strings.ReplaceAll(u.String(), "'", "%27"), server.URL
}

func TestPublicURL(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"https://user:password@host/x?a=b":     "https://host/x?a=b",
		"https://token@host":                   "https://host",
		"ssh://git@host:22/x":                  "ssh://git@host:22/x",
		"ssh://me@host/x":                      "ssh://host/x",
		"ssh://git:password@host/x":            "ssh://host/x",
		"https://${A_B}:${C}@host/x":           "https://${A_B}:${C}@host/x",
		"https://${A}:secret@host/x":           "https://host/x",
		"https://host/x@y":                     "https://host/x@y",
		"file:///x/y":                          "file:///x/y",
		"lp:project":                           "lp:project",
		"https://a:b@c:d@[::1]:80/x%20y":       "https://[::1]:80/x%20y",
		"svn+ssh://me:password@host.example/x": "svn+ssh://host.example/x",
	} {
		if got := PublicURL(requirement.Source{URL: raw}); got != want {
			t.Errorf("%s: got %s, want %s", raw, got, want)
		}
	}
}

func FuzzPublicURL(f *testing.F) {
	const secret = "S3cr3t"
	f.Add("https", "user", "%40word", "host/path?query")
	f.Add("ssh", "git", "", "[::1]:22/x")
	f.Add("https", "${A}", "}", "")
	f.Fuzz(func(t *testing.T, scheme, user, password, rest string) {
		if strings.ContainsAny(user+password, "/?#") || strings.ContainsAny(scheme, ":/") {
			t.Skip("such a URL has no credentials")
		}
		s := requirement.Source{VCS: "git", URL: scheme + "://" + user + ":" + secret + password + "@" + rest}
		got := PublicURL(s)
		if strings.Contains(got+named(s, errEmpty).Error(), secret) && !strings.Contains(scheme+user+password+rest, secret) {
			t.Error(got)
		}
		if again := PublicURL(requirement.Source{URL: got}); again != got {
			t.Errorf("%s becomes %s", got, again)
		}
	})
}

// What programs could misunderstand is refused before any runs.
func TestRefused(t *testing.T) {
	ran := filepath.Join(t.TempDir(), "ran")
	bin := t.TempDir()
	for _, name := range []string{"git", "hg", "svn", "bzr", "brz"} {
		put(t, filepath.Join(bin, name), "#!/bin/sh\ntouch "+ran+"\nexit 1\n")
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	const commit = "0123456789012345678901234567890123456789"
	for _, c := range []struct{ vcs, url, revision, want string }{
		{"cvs", "https://host/x", "", "not a repository"},
		{"git", "ext::sh -c touch% pwned", "", "URL"},
		{"git", "ext::sh", "", "no host"},
		{"git", "fd://17/x", "", `no URLs that begin with "fd:"`},
		{"git", "ftp://host/x", "", "it has http, https, ssh, git, file"},
		{"git", "--upload-pack=touch", "", "no host"},
		{"git", "git@host:x", "", "URL"},
		{"git", "ssh://-oProxyCommand=x/y", "", `begin with "-"`},
		{"git", "https://host/x", "--upload-pack=touch", `begin with "-"`},
		{"git", "https://host/x", "main\nx", "control characters"},
		{"git", "https://host/x#y", "", "fragment"},
		{"git", "https://u:p@x.helper=!touch/y", "", "host is none"},
		{"git", "https://u:p@*/y", "", "host is none"},
		{"git", "https://u:p%0Ahost=x@host/y", "", "control characters"},
		{"git", "ssh://git:secret@host/x", "", "ssh takes no password"},
		{"git", "git://user@host/x", "", "has no user"},
		{"git", "file:relative", "", "absolute path"},
		{"git", "file://host/x", "", `of the host "host"`},
		{"hg", "git://host/x", "", "no URLs"},
		{"hg", "https://host/x", "--config=hooks.x=y", `begin with "-"`},
		{"hg", "https://host/x#branch", "", "fragment"},
		{"svn", "ssh://host/x", "", "no URLs"},
		{"svn", "svn+ssh://u:secret@host/x", "", "ssh takes no password"},
		{"bzr", "sftp://u:secret@host/x", "", "ssh takes no password"},
		{"bzr", "https://u:p%22%27@host/x", "", "quotation marks"},
	} {
		s := requirement.Source{Kind: requirement.Repository, VCS: c.vcs, URL: c.url, Revision: c.revision}
		got := refused(t, t.Context(), s)
		if !strings.Contains(got, c.want) || strings.Contains(got, "secret") {
			t.Errorf("%+v: %s", c, got)
		}
		s.Revision = commit
		if _, err := Resolve(t.Context(), s); err == nil && c.revision == "" {
			t.Errorf("%+v: resolved", c)
		}
	}
	if _, err := os.Lstat(ran); err == nil {
		t.Error("a program ran")
	}
	for vcs, commit := range map[string]string{"git": commit, "hg": commit, "svn": "17"} {
		s := requirement.Source{Kind: requirement.Repository, VCS: vcs, URL: "https://host.invalid/x", Revision: commit}
		if got, err := Resolve(t.Context(), s); got != commit || err != nil {
			t.Errorf("%s: a full commit gives %q, %v", vcs, got, err)
		}
	}
	if _, err := os.Lstat(ran); err == nil {
		t.Error("a program was asked for a full commit")
	}
}

// fake puts a shell script in PATH in the place of git.
func fake(t *testing.T, script string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	bin := t.TempDir()
	put(t, filepath.Join(bin, "git"), "#!/bin/sh\n"+script)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
}

func TestNotInstalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for vcs, want := range map[string]string{"git": "install Git", "hg": "install Mercurial", "svn": "install Subversion", "bzr": "install Breezy"} {
		got := refused(t, t.Context(), requirement.Source{Kind: requirement.Repository, VCS: vcs, URL: "https://example.org/x", Revision: "v1"})
		if !strings.HasPrefix(got, vcs+"+https://example.org/x@v1: ") || !strings.Contains(got, "not installed") || !strings.HasSuffix(got, want) {
			t.Error(got)
		}
	}
}

// The end of the context ends a program and what it started, even where these do not want to.
func TestContextEnds(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	fake(t, `trap "" TERM INT HUP
sh -c 'trap "" TERM INT HUP; echo $$ >>`+pids+`; while :; do sleep 0.1; done' &
while :; do sleep 0.1; done`)
	ctx, cancel := context.WithCancel(t.Context())
	var start time.Time
	go func() {
		for range 6000 {
			if b, _ := os.ReadFile(pids); len(b) > 0 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		start = time.Now()
		cancel()
	}()
	if got := refused(t, ctx, source(t, "git+https://example.org/x")); got != "git+https://example.org/x: context canceled" {
		t.Error(got)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("took %v", took)
	}
	pid := strings.TrimSpace(read(t, pids))
	for range 3000 {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if runtime.GOOS != "linux" || err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("process %s lives on", pid)
}

func TestOutputIsBounded(t *testing.T) {
	fake(t, `yes 0123456789012345678901234567890123456789`)
	_, err := Resolve(t.Context(), source(t, "git+https://example.org/x"))
	if err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Error(err)
	}
}

// What a program says reaches the user: its end, without secrets and controls.
func TestSaid(t *testing.T) {
	fake(t, `i=0; while [ $i -lt 5000 ]; do echo "line $i is long enough for it"; i=$((i+1)); done >&2
printf '\033[31mred\033[0m \007 %s\n' "$CURDLING_PASSWORD" >&2
echo "https://some:one@example.org/x https://git@example.org Authorization: Basic `+
		base64.StdEncoding.EncodeToString([]byte("tokentoken:secret/1"))+`" >&2
echo 'tokentoken secret%2F1 a=hidden' >&2
exit 3`)
	s := source(t, "git+https://tokentoken:secret%2F1@example.org/x?a=hidden")
	got := refused(t, t.Context(), s)
	if !strings.HasPrefix(got, "git+https://example.org/x: git clone failed (exit status 3); it said:\n  line 4983 is") ||
		!strings.Contains(got, `
  line 4999 is long enough for it
  red  ****
  https://****@example.org/x https://git@example.org Authorization: Basic ****
  **** **** ****
hint: `) {
		t.Error(got)
	}
}

// Half a secret would not be known for one.
func TestSaidBeginsInSecret(t *testing.T) {
	t.Parallel()
	j := job{hide: strings.NewReplacer("secret", "****")}
	if got := j.lastLines(tail{text: []byte("cret\nlast"), cut: true}); len(got) != 1 || got[0] != "last" {
		t.Errorf("got %q", got)
	}
}

func FuzzLastLines(f *testing.F) {
	const secret = "S3cr3t%40"
	s := requirement.Source{Kind: requirement.Repository, VCS: "git", URL: "https://me:" + secret + "@example.org/x"}
	j, err := open(s, f.TempDir()+"/x")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(j.close)
	f.Add("fatal: https://me:", "@example.org/x\r\x1b[0m", true)
	f.Add("", "", false)
	f.Fuzz(func(t *testing.T, before, after string, cut bool) {
		if strings.Contains(before+after, "S3cr3t@") {
			t.Skip()
		}
		for _, line := range j.lastLines(tail{text: []byte(before + secret + after), cut: cut}) {
			if strings.Contains(line, "S3cr3t@") || strings.Contains(line, secret) || len(line) > 300 || strings.ContainsAny(line, "\r\n\x1b") {
				t.Errorf("%q", line)
			}
		}
	})
}
