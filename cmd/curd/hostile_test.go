//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"

	"golang.org/x/sync/errgroup"

	"curdling/internal/wheel/wheeltest"
)

// A hostile is something that an attacker serves. The package that is asked for is called evil.
type hostile struct {
	name  string
	serve func(b *box) site
	args  []string // of curd install, after its --python and -i; nil is "evil". BOX stands for the case's folder, URL/ for the server's, AUTH for that with a password
	env   []string
	want  []string // words of the error: the file's or project's name, and the cause
	// harmless says why the case may be installed, or "" where it must be refused;
	// check then looks at what was installed.
	harmless string
	check    func(t *testing.T, b *box)
}

// site is what the attacker's server has.
type site struct {
	files map[string][]byte                        // files of the page of evil, listed with their right hashes
	edit  func(file map[string]any)                // lies about each of them on the page
	get   func(w http.ResponseWriter, path string) // answers in the place of all that, path without the case's own prefix
}

// marker is in the names of all that an attacker tries to write: none may exist afterwards.
const marker = "pwned"

// secrets must not be seen in any output, nor by any build.
var secrets = []string{"hunter2", "s3cr3t"}

// The bounds of a case: how long curd may take, and how much memory more than an ordinary run.
const (
	maxTime   = 5 * time.Minute // the machine may be busy
	maxMemory = 300 << 20
)

// TestHostile runs curd against everything that a hostile index, cache server or author could think of.
// Whatever that is: curd ends with 1 and a sentence that names the file and the cause, in bounded
// time and memory, the environment is as it was, and nothing is written beside it.
func TestHostile(t *testing.T) {
	t.Parallel()
	a := newAttacker(t)
	var tried, refused, harmless atomic.Int64
	var group errgroup.Group
	group.SetLimit(2 * runtime.GOMAXPROCS(0)) // some wait for the network's retries
	for _, h := range slices.Concat(zipCases(), wheelCases(), sdistCases(), buildCases(), indexCases(), inputCases()) {
		group.Go(func() error {
			t.Run(h.name, func(t *testing.T) {
				tried.Add(1)
				switch a.try(t, h); {
				case t.Failed():
				case h.harmless != "":
					harmless.Add(1)
				default:
					refused.Add(1)
				}
			})
			return nil
		})
	}
	_ = group.Wait()
	t.Logf("tried %d, refused %d; harmless and so accepted %d", tried.Load(), refused.Load(), harmless.Load())
}

// attacker is the server, and the folders in which its victims run.
type attacker struct {
	url    string
	secure *httptest.Server // redirects to the other
	// stranger must not be told any password: it answers with 401, and with 418 to who tells it one.
	stranger *httptest.Server
	python   string // the interpreter below the environments
	lib      string // "python3.11"
	dir      string // of the boxes
	boxes    chan *box
	sites    chan map[string]site // one map, taken out for use
	memory   int64                // of an ordinary run
}

func newAttacker(t *testing.T) *attacker {
	out, err := exec.CommandContext(t.Context(), "python3", "-c", "import os,sys; print(os.path.realpath(sys.executable)); print('python%d.%d' % sys.version_info[:2])").Output()
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Fields(string(out))
	a := &attacker{python: said[0], lib: said[1], dir: t.TempDir(), boxes: make(chan *box, 100), sites: make(chan map[string]site, 1)}
	a.sites <- map[string]site{}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	a.url = server.URL
	a.secure = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, a.url+r.URL.Path, http.StatusFound)
	}))
	a.stranger = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(a.stranger.Close)
	a.secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(a.secure.Close)
	b := a.newBox(t)
	good := hostile{name: "good", serve: wheelOf(wheeltest.Build(evil()))}
	a.offer(b, good)
	r := a.run(b, good)
	if r.code != 0 {
		t.Fatalf("a good wheel: %d\n%s", r.code, r.stderr)
	}
	a.memory = r.memory
	return a
}

// A box is one victim: all that it may touch, and what lies beside that.
type box struct {
	dir, venv, site string
	url             string // of the case
	secure          string // of a server that redirects from https to there
	stranger        string // of another server
}

// newBox makes a box with an empty virtual environment.
func (a *attacker) newBox(t *testing.T) *box {
	t.Helper()
	dir, err := os.MkdirTemp(a.dir, "")
	if err != nil {
		t.Fatal(err)
	}
	b := &box{dir: dir, venv: filepath.Join(dir, "venv")}
	b.site = filepath.Join(b.venv, "lib", a.lib, "site-packages")
	for _, d := range []string{b.site, filepath.Join(b.venv, "bin"), filepath.Join(dir, "home"), filepath.Join(dir, "tmp")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, text := range map[string]string{
		"venv/pyvenv.cfg": "home = " + filepath.Dir(a.python) + "\n",
		"home/cert.pem":   string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.secure.Certificate().Raw})),
		"home/.netrc":     "machine localhost login me password s3cr3t\n",
		"venv/bin/other":  "#!/bin/sh\n",
		"venv/lib/" + a.lib + "/site-packages/other.py":     "x = 1\n",
		"venv/lib/" + a.lib + "/site-packages/sub/other.py": "x = 1\n",
	} {
		path = filepath.Join(dir, filepath.FromSlash(path))
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(a.python, filepath.Join(b.venv, "bin", "python")); err != nil {
		t.Fatal(err)
	}
	return b
}

// takeBox gives a box that an earlier case left as it was, or a new one.
func (a *attacker) takeBox(t *testing.T) *box {
	select {
	case b := <-a.boxes:
		return b
	default:
		return a.newBox(t)
	}
}

// try runs one case and judges it.
func (a *attacker) try(t *testing.T, h hostile) {
	b := a.takeBox(t)
	a.offer(b, h)
	before := list(t, b.dir)
	r := a.run(b, h)
	bad := r.check(h)
	if bad == "" && h.harmless == "" {
		bad = changes(before, list(t, b.dir))
	}
	if bad == "" {
		bad = a.bounds(r, b, h)
	}
	again := bad == "" && h.harmless == ""
	if bad != "" {
		t.Errorf("%s\nexit code %d, %v, %d MiB, error:\n%s", bad, r.code, r.took, r.memory>>20, r.stderr)
	}
	if testing.Verbose() {
		t.Log(r.stderr)
	}
	if h.check != nil {
		h.check(t, b)
	}
	if again {
		a.boxes <- b
		return
	}
	if err := os.RemoveAll(b.dir); err != nil {
		t.Error(err)
	}
}

// result is what a run of curd came to.
type result struct {
	code           int
	stdout, stderr string
	took           time.Duration
	memory         int64 // bytes, at most at once
}

// offer puts what the attacker serves on the server.
func (a *attacker) offer(b *box, h hostile) {
	key := hex.EncodeToString([]byte(h.name))
	b.url, b.secure, b.stranger = a.url+"/"+key, a.secure.URL+"/"+key, a.stranger.URL
	served := site{}
	if h.serve != nil {
		served = h.serve(b)
	}
	sites := <-a.sites
	sites[key] = served
	a.sites <- sites
}

// run runs curd on it.
func (a *attacker) run(b *box, h hostile) result {
	args := []string{"install", "--python", b.venv}
	if h.args == nil {
		h.args = []string{"evil"}
	}
	if !slices.Contains(h.args, "-i") && !slices.Contains(h.args, "-r") {
		args = append(args, "-i", b.url+"/simple")
	}
	for _, arg := range h.args {
		args = append(args, b.fill(arg))
	}
	return a.curd(b, args, h.env)
}

// fill puts the case's folder and URL into an argument.
func (b *box) fill(s string) string {
	auth := strings.Replace(b.url, "://", "://me:hunter2@", 1)
	return strings.NewReplacer("BOX", b.dir, "AUTH", auth, "HTTPS", b.secure, "URL/", b.url+"/").Replace(s)
}

// command is curd as a process of its own, of which all files lie in the box.
func (a *attacker) command(ctx context.Context, b *box, args, env []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Dir = b.dir
	cmd.WaitDelay = time.Second
	cmd.Env = []string{
		"TEST_RUN_CURD=1", "PATH=" + os.Getenv("PATH"), "PYTHONDONTWRITEBYTECODE=1", "PIP_CONFIG_FILE=" + os.DevNull,
		"HOME=" + filepath.Join(b.dir, "home"), "TMPDIR=" + filepath.Join(b.dir, "tmp"), "CURD_CACHE=" + filepath.Join(b.dir, "cache"),
	}
	for _, e := range env {
		cmd.Env = append(cmd.Env, b.fill(e))
	}
	return cmd
}

func (a *attacker) curd(b *box, args, env []string) result {
	ctx, cancel := context.WithTimeout(context.Background(), maxTime)
	defer cancel()
	cmd := a.command(ctx, b, args, env)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err := cmd.Start()
	r := result{code: -1}
	if err == nil {
		r.memory = watchMemory(cmd)
		_ = cmd.Wait()
		r.code = cmd.ProcessState.ExitCode()
	}
	r.took, r.stdout, r.stderr = time.Since(began), stdout.String(), stderr.String()
	return r
}

// watchMemory tells how much memory a process had at most, where the system tells, when it has
// ended. What it leaves behind when it is waited for would count the test's own memory in.
func watchMemory(cmd *exec.Cmd) (most int64) {
	for {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		_, rest, ok := strings.Cut(string(status), "VmHWM:")
		if err != nil || !ok {
			return most
		}
		var kib int64
		if _, err := fmt.Sscan(rest, &kib); err == nil {
			most = kib << 10
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// check tells what is wrong with an answer, "" where nothing is.
func (r result) check(h hostile) string {
	if h.harmless != "" {
		if r.code != 0 {
			return "is refused, though " + h.harmless
		}
		return ""
	}
	if r.code != exitFailed {
		return "is not refused"
	}
	for _, w := range h.want {
		if !strings.Contains(r.stderr, w) {
			return fmt.Sprintf("the error does not say %q", w)
		}
	}
	return ""
}

// bounds tells what went beyond the bounds that hold for every case.
func (a *attacker) bounds(r result, b *box, h hostile) string {
	output := r.stdout + r.stderr
	for _, s := range secrets {
		if strings.Contains(output, s) {
			return "the output holds a secret"
		}
	}
	control := func(c rune) bool { return c != '\n' && unicode.IsControl(c) || c == unicode.ReplacementChar }
	switch {
	case strings.ContainsFunc(output, control):
		return fmt.Sprintf("the output holds control characters: %q", output)
	case len(output) > 32<<10:
		return fmt.Sprintf("the output has %d bytes", len(output))
	case r.memory > a.memory+maxMemory && !raced: // the race detector takes many times as much
		return fmt.Sprintf("took %d MiB, an ordinary run %d", r.memory>>20, a.memory>>20)
	}
	var found string
	err := filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(b.dir, path)
		inside := h.harmless != "" && (strings.HasPrefix(rel, "venv/") || strings.HasPrefix(rel, "cache/trees/"))
		if strings.Contains(d.Name(), marker) && !inside || strings.HasPrefix(rel, "tmp/") {
			found = path
		}
		return err
	})
	if err != nil {
		return err.Error()
	}
	if found != "" {
		return found + " was written"
	}
	return ""
}

// list tells of every file below dir, the own cache aside, its mode, target and content.
func list(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if rel == "cache" {
			return fs.SkipDir
		}
		if strings.HasPrefix(d.Name(), ".curdling") || d.Name() == "__pycache__" { // the lock of the environment
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		all[rel] = info.Mode().String()
		var content []byte
		switch {
		case d.Type() == fs.ModeSymlink:
			all[rel], err = os.Readlink(path)
		case d.Type().IsRegular():
			content, err = os.ReadFile(path)
			all[rel] += fmt.Sprintf(" %x", sha256.Sum256(content))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	delete(all, ".")
	return all
}

// changes names the first file that differs.
func changes(before, after map[string]string) string {
	for _, path := range slices.Sorted(maps.Keys(after)) {
		if was, there := before[path]; !there {
			return path + " was made"
		} else if was != after[path] {
			return path + " was changed"
		}
		delete(before, path)
	}
	for path := range before {
		return path + " was removed"
	}
	return ""
}

// ServeHTTP answers /CASE/simple/evil/ with a page and /CASE/files/NAME with a file.
func (a *attacker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	sites := <-a.sites
	s := sites[key]
	a.sites <- sites
	name := strings.TrimPrefix(path, "files/")
	switch {
	case s.get != nil:
		s.get(w, path)
	case path == "simple/evil/":
		w.Header().Set("Content-Type", "application/vnd.pypi.simple.v1+json")
		_ = json.NewEncoder(w).Encode(s.page())
	case s.files[name] != nil:
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.files[name]))
	default:
		http.NotFound(w, r)
	}
}

// page lists the files.
func (s site) page() map[string]any {
	files := []any{}
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		if strings.HasSuffix(name, ".metadata") {
			continue
		}
		sum := sha256.Sum256(s.files[name])
		file := map[string]any{"filename": name, "url": "../../files/" + name, "hashes": map[string]any{"sha256": hex.EncodeToString(sum[:])}}
		if s.edit != nil {
			s.edit(file)
		}
		files = append(files, file)
	}
	return map[string]any{"meta": map[string]any{"api-version": "1.1"}, "name": "evil", "files": files}
}

// wheelOf serves a wheel of evil 1.0.
func wheelOf(b []byte) func(*box) site {
	return func(*box) site { return site{files: map[string][]byte{evil().Filename(): b}} }
}

// evil is a wheel with nothing wrong yet.
func evil() wheeltest.Wheel {
	return wheeltest.Wheel{Name: "evil", Version: "1.0", Files: map[string]string{
		"evil/__init__.py": "x = 1\n", "evil/data.txt": strings.Repeat("data\n", 1000),
	}}
}
