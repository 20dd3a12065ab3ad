package vcs

import (
	"net"
	"net/http"
	"net/http/cgi"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// check sees what a revision resolves to and what is fetched for it.
func check(t *testing.T, text, commit, content string) Checkout {
	t.Helper()
	s := source(t, text)
	if got, err := Resolve(t.Context(), s); got != commit || err != nil {
		t.Errorf("%s: resolved to %q, %v; want %q", text, got, err, commit)
	}
	c := fetched(t, s)
	if got := read(t, c.Dir, "a.txt"); c.Commit != commit || got != content {
		t.Errorf("%s: fetched %+v with %q; want %s, %q", text, c, got, commit, content)
	}
	return c
}

func newHg(t *testing.T, repo string) (first, second, third string) {
	t.Helper()
	need(t, "hg")
	do(t, "", "hg", "init", repo)
	put(t, filepath.Join(repo, "a.txt"), "first")
	do(t, repo, "hg", "commit", "-q", "-A", "-m", "1")
	first = do(t, repo, "hg", "log", "-r", ".", "-T", "{node}")
	do(t, repo, "hg", "bookmark", "-r", first, "mark")
	put(t, filepath.Join(repo, "a.txt"), "second")
	do(t, repo, "hg", "commit", "-q", "-m", "2")
	second = do(t, repo, "hg", "log", "-r", ".", "-T", "{node}")
	do(t, repo, "hg", "branch", "-q", "other")
	put(t, filepath.Join(repo, "a.txt"), "third")
	do(t, repo, "hg", "commit", "-q", "-m", "3") // the tip, which is not the default branch's
	return first, second, do(t, repo, "hg", "log", "-r", ".", "-T", "{node}")
}

func TestHg(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "with space é")
	first, second, third := newHg(t, repo)
	ran := filepath.Join(t.TempDir(), "ran")
	hooks := "[hooks]\n"
	for _, hook := range []string{"update", "incoming.x", "pretxnchangegroup", "outgoing", "pre-pull", "pre-identify", "pre-update"} {
		hooks += hook + " = touch '" + ran + "'\n"
	}
	put(t, filepath.Join(repo, ".hg", "hgrc"), hooks)
	rc := filepath.Join(t.TempDir(), "hgrc")
	put(t, rc, hooks)
	t.Setenv("HGRCPATH", rc)

	at := "hg+" + (&url.URL{Scheme: "file", Path: repo}).String()
	c := check(t, at, second, "second")
	check(t, at+"@mark", first, "first")
	for revision, want := range map[string]string{first: first, first[:10]: first, "other": third} {
		if got, err := Resolve(t.Context(), source(t, at+"@"+revision)); got != want || err != nil {
			t.Errorf("%s: resolved to %q, %v", revision, got, err)
		}
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a hook ran")
	}
	if got := refused(t, t.Context(), source(t, at+"@nope")); !strings.Contains(got, "unknown revision 'nope'") {
		t.Error(got)
	}
	if _, err := Resolve(t.Context(), source(t, at+"gone")); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Error(err)
	}
	do(t, c.Dir, "hg", "pull", "-q")
	if _, err := os.Stat(ran); err != nil {
		t.Error("this test's hooks do not work")
	}
}

func TestHgWithoutDefaultBranch(t *testing.T) {
	need(t, "hg")
	repo := filepath.Join(t.TempDir(), "r")
	do(t, "", "hg", "init", repo)
	s := source(t, "hg+file://"+repo)
	if got := refused(t, t.Context(), s); !strings.Contains(got, "no commit to take by itself") {
		t.Error(got)
	}
	do(t, repo, "hg", "branch", "-q", "other")
	put(t, filepath.Join(repo, "a.txt"), "x")
	do(t, repo, "hg", "commit", "-q", "-A", "-m", "1")
	if got, err := Resolve(t.Context(), s); got != "" || err != nil {
		t.Errorf("resolved to %q, %v", got, err)
	}
	if c := fetched(t, s); read(t, c.Dir, "a.txt") != "x" {
		t.Errorf("got %+v", c)
	}
}

func TestHgCredentials(t *testing.T) {
	root := t.TempDir()
	_, second, _ := newHg(t, filepath.Join(root, "r"))
	script := filepath.Join(root, "hgweb.cgi")
	program, _ := exec.LookPath("hg")
	first, _, _ := strings.Cut(read(t, program), "\n")
	put(t, script, first+"\nfrom mercurial.hgweb import hgweb, wsgicgi\nwsgicgi.launch(hgweb(b"+strconv.Quote(filepath.Join(root, "r"))+"))\n")
	g, private, public := serve(t, &cgi.Handler{Path: script, Root: "/r", InheritEnv: []string{"PATH", "HOME"}})
	c := check(t, "hg+"+private+"/r", second, "second")
	g.checkSecrets(t, c.Dir)
	if got := refused(t, t.Context(), source(t, "hg+"+strings.Replace(private, "p4ss", "p4sx", 1)+"/r")); strings.Contains(got, "p4s") || !strings.Contains(got, "authorization failed") {
		t.Error(got)
	}
	if got := refused(t, t.Context(), source(t, "hg+"+public+"/r")); !strings.Contains(got, "authorization required") {
		t.Error(got)
	}
}

func newSvn(t *testing.T, root string) string {
	t.Helper()
	need(t, "svnadmin")
	need(t, "svn")
	repo, work := filepath.Join(root, "repo"), filepath.Join(t.TempDir(), "work")
	do(t, root, "svnadmin", "create", repo)
	do(t, root, "svn", "checkout", "-q", "file://"+repo, work)
	for _, text := range []string{"first", "second"} {
		put(t, filepath.Join(work, "trunk", "a.txt"), text)
		do(t, work, "svn", "add", "-q", "--force", "trunk")
		do(t, work, "svn", "commit", "-q", "-m", text)
	}
	return work
}

func TestSvn(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "with space é")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	work := newSvn(t, root)
	at := "svn+" + (&url.URL{Scheme: "file", Path: root + "/repo/trunk"}).String()
	check(t, at, "2", "second")
	check(t, at+"@1", "1", "first")
	check(t, at+"@HEAD", "2", "second")
	put(t, filepath.Join(work, "trunk", "é.txt"), "x") // needs UTF-8
	do(t, work, "env", "LC_ALL=C.UTF-8", "svn", "add", "-q", filepath.Join(work, "trunk", "é.txt"))
	do(t, work, "env", "LC_ALL=C.UTF-8", "svn", "commit", "-q", "-m", "x")
	if c := check(t, at, "3", "second"); read(t, c.Dir, "é.txt") != "x" {
		t.Error("no é.txt")
	}
	if got := refused(t, t.Context(), source(t, at+"@77")); !strings.Contains(got, "No such revision 77") {
		t.Error(got)
	}
	if _, err := Resolve(t.Context(), source(t, at+"/gone")); err == nil {
		t.Error("resolved")
	}
}

func TestSvnCredentials(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	work := newSvn(t, root)
	need(t, "svnserve")
	put(t, filepath.Join(root, "repo", "conf", "svnserve.conf"), "[general]\nanon-access = none\npassword-db = passwd\n")
	put(t, filepath.Join(root, "repo", "conf", "passwd"), "[users]\nbob = "+testPassword+"\n")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	g := &guard{}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				g.mu.Lock()
				g.look(listener.Addr().String())
				g.let++
				g.mu.Unlock()
				cmd := exec.Command("svnserve", "-i", "-r", root)
				cmd.Stdin, cmd.Stdout = conn, conn
				_ = cmd.Run()
			}()
		}
	}()
	private := "svn+svn://" + url.UserPassword("bob", testPassword).String() + "@" + listener.Addr().String() + "/repo/trunk"
	private = strings.ReplaceAll(private, "'", "%27")
	c := check(t, private, "2", "second")
	g.checkSecrets(t, c.Dir)
	if got := refused(t, t.Context(), source(t, strings.Replace(private, "p4ss", "p4sx", 1))); strings.Contains(got, "p4s") {
		t.Error(got)
	}

	do(t, work, "svn", "update", "-q")
	do(t, work, "svn", "propset", "-q", "svn:externals", "--", "-r2 file://"+root+"/repo/trunk ext", "trunk")
	do(t, work, "svn", "commit", "-q", "-m", "external")
	if got := refused(t, t.Context(), source(t, private)); !strings.Contains(got, "svn:externals") {
		t.Error(got)
	}
	if c := fetched(t, source(t, "svn+file://"+root+"/repo/trunk")); read(t, c.Dir, "ext", "a.txt") != "second" {
		t.Error("no external")
	}
}

func newBzr(t *testing.T, repo string) {
	t.Helper()
	need(t, "bzr")
	do(t, "", "bzr", "init", "-q", repo)
	for _, text := range []string{"first", "second"} {
		put(t, filepath.Join(repo, "a.txt"), text)
		do(t, repo, "bzr", "add", "-q")
		do(t, repo, "bzr", "commit", "-q", "-m", text)
	}
	do(t, repo, "bzr", "tag", "-q", "-r", "1", "v1")
}

func TestBzr(t *testing.T) {
	t.Parallel()
	repo := filepath.Join(t.TempDir(), "with space é")
	newBzr(t, repo)
	at := "bzr+" + (&url.URL{Scheme: "file", Path: repo}).String()
	check(t, at, "2", "second")
	check(t, at+"@1", "1", "first")
	check(t, at+"@tag:v1", "1", "first")
	if got := refused(t, t.Context(), source(t, at+"@77")); !strings.Contains(got, "77") {
		t.Error(got)
	}
}

func TestBzrCredentials(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	newBzr(t, filepath.Join(root, "r"))
	g, private, _ := serve(t, http.FileServer(http.Dir(root)))
	g.password = strings.ReplaceAll(testPassword, `"`, "")
	private = strings.ReplaceAll(private, "%22", "")
	c := check(t, "bzr+"+private+"/r", "2", "second")
	g.checkSecrets(t, c.Dir)
	if got := refused(t, t.Context(), source(t, "bzr+"+strings.Replace(private, "p4ss", "p4sx", 1)+"/r")); strings.Contains(got, "p4s") {
		t.Error(got)
	}
}
