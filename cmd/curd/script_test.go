package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"curdling/internal/index"
	"curdling/internal/store/storetest"
	"curdling/internal/wheel/wheeltest"
)

func TestMain(m *testing.M) {
	run := func() {
		defaultIndex = os.Getenv("TEST_DEFAULT_INDEX")
		os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	if os.Getenv("TEST_RUN_CURD") != "" {
		run()
	}
	testscript.Main(afterwards{m}, map[string]func(){"curd": run})
}

// TestScripts runs testdata/*.txtar: each tells one behaviour of curd as a user sees it, against
// servers on loopback. The commands beside testscript's own are documented at their functions.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("CURD_CACHE", filepath.Join(env.WorkDir, "home", ".curds"))
			env.Setenv("PIP_CONFIG_FILE", os.DevNull)
			env.Setenv("PYTHONDONTWRITEBYTECODE", "1")
			env.Setenv("PATH", os.Getenv("PATH")) // python3
			return os.MkdirAll(filepath.Join(env.WorkDir, "home"), 0o755)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"wheel":    makeWheel,
			"sdist":    makeSdist,
			"project":  makeProject,
			"serve":    serve,
			"fleet":    serveFleet,
			"jobs":     serveJobs,
			"deadend":  deadEnd,
			"dying":    serveDying,
			"tarballs": serveTarballs,
			"peer":     servePeer,
			"shows":    shows,
			"venv":     makeVenv,
			"inspect":  inspect,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// makeWheel: wheel DIR NAME VERSION [REQUIREMENT...] makes a wheel of a module
// NAME with __version__ and a command NAME. A word python=SPEC is Requires-Python, tag=TAG the
// wheel's tag, extra=NAME:REQUIREMENT a requirement of an extra. Where DIR is served, it waits
// until the server shows the wheel.
func makeWheel(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: wheel DIR NAME VERSION [REQUIREMENT|python=SPEC|tag=TAG|extra=NAME:REQUIREMENT]...")
	}
	module := strings.ReplaceAll(args[1], "-", "_")
	w := wheeltest.Wheel{
		Name: args[1], Version: args[2],
		Files: map[string]string{
			module + "/__init__.py": fmt.Sprintf("__version__ = %q\ndef main(): print(%q, __version__)\n", args[2], args[1]),
		},
		ConsoleScripts: map[string]string{args[1]: module + ":main"},
	}
	for _, a := range args[3:] {
		word, value, _ := strings.Cut(a, "=")
		switch word {
		case "python":
			w.RequiresPython = value
		case "tag":
			w.Tag = value
		case "extra":
			extra, req, _ := strings.Cut(value, ":")
			w.ProvidesExtra = append(w.ProvidesExtra, extra)
			w.Requires = append(w.Requires, fmt.Sprintf("%s; extra == '%s'", req, extra))
		default:
			w.Requires = append(w.Requires, a)
		}
	}
	path := filepath.Join(args[0], w.Filename())
	write(ts, path, wheeltest.Build(w))
	shown(ts, ts.MkAbs(path))
}

// makeSdist: sdist DIR SOURCE packs a folder, whose name is NAME-VERSION, as DIR/NAME-VERSION.tar.gz. Where DIR
// is served, it waits until the server shows the file.
func makeSdist(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: sdist DIR SOURCE")
	}
	root := ts.MkAbs(args[1])
	files := map[string]string{}
	ts.Check(filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(filepath.Dir(root), path)
		files[filepath.ToSlash(name)] = string(content)
		return err
	}))
	b, err := packSdist(files)
	ts.Check(err)
	path := filepath.Join(args[0], filepath.Base(root)+".tar.gz")
	write(ts, path, b)
	shown(ts, ts.MkAbs(path))
}

// packSdist makes a .tar.gz of files by their paths.
func packSdist(files map[string]string) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			return nil, err
		}
		if _, err := w.Write([]byte(files[name])); err != nil {
			return nil, err
		}
	}
	err := errors.Join(w.Close(), z.Close())
	return b.Bytes(), err
}

// makeProject: project DIR NAME VERSION [REQUIREMENT...] makes a project that builds itself. Its module NAME
// has __version__ and settings: those that the backend got.
func makeProject(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: project DIR NAME VERSION [REQUIREMENT]...")
	}
	requires := ""
	for _, r := range args[3:] {
		requires += "Requires-Dist: " + r + "\n"
	}
	constants := fmt.Sprintf("name, version, requires = %q, %q, %q\n", args[1], args[2], requires)
	write(ts, filepath.Join(args[0], "pyproject.toml"), []byte("[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n"))
	write(ts, filepath.Join(args[0], "backend.py"), []byte(constants+backend))
}

// backend is a build backend (PEP 517, 660) in one file.
const backend = `
import base64, hashlib, os, zipfile
module = name.replace("-", "_")

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    text = f"__version__ = {version!r}\nsettings = {config_settings!r}\n"
    return make(wheel_directory, {module + ".py": text})

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return make(wheel_directory, {module + ".pth": os.getcwd() + "\n"})

def make(wheel_directory, files):
    base = f"{module}-{version}"
    info = base + ".dist-info/"
    files[info + "METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"
    files[info + "WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = ""
    filename = base + "-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(wheel_directory, filename), "w") as z:
        for path, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{path},sha256={digest},{len(text)}\n"
            z.writestr(path, text)
        z.writestr(info + "RECORD", record + info + "RECORD,,\n")
    return filename
`

func write(ts *testscript.TestScript, path string, b []byte) {
	path = ts.MkAbs(path)
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
	ts.Check(os.WriteFile(path, b, 0o644))
}

// serve: serve VARIABLE DIR [USER:PASSWORD] starts a curd-server on DIR and sets VARIABLE to its
// host and port. VARIABLE.log lists the requests that it got.
func serve(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: serve VARIABLE DIR [USER:PASSWORD]")
	}
	startIn(ts, args, func(h http.Handler) http.Handler { return h })
}

// serveFleet: fleet VARIABLE... starts a curd-server for each VARIABLE, all over one bucket, which is empty.
func serveFleet(ts *testscript.TestScript, _ bool, args []string) {
	raw := storetest.NewMemory(0, time.Second)
	for _, variable := range args {
		handler, stop := newBucketServer(ts, raw)
		start(ts, variable, handler, stop)
	}
}

// serveDying: dying VARIABLE DIR is a server whose pages can be had, but no files.
func serveDying(ts *testscript.TestScript, _ bool, args []string) {
	startIn(ts, args, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/p/") {
				panic(http.ErrAbortHandler)
			}
			h.ServeHTTP(w, r)
		})
	})
}

// serveTarballs: tarballs VARIABLE DIR is a server that keeps the tarball of each wheel in DIR.
func serveTarballs(ts *testscript.TestScript, _ bool, args []string) {
	handler, stop := newTarballServer(ts, ts.MkAbs(args[1]))
	start(ts, args[0], handler, stop)
}

// servePeer: peer VARIABLE DIR serves a machine's own cache, as curd-server --curds does.
func servePeer(ts *testscript.TestScript, _ bool, args []string) {
	handler, stop := newPeer(ts, ts.MkAbs(args[1]))
	start(ts, args[0], handler, stop)
}

// shows: shows HOST PROJECT TEXT waits until the project's page on that server holds the text; ! shows HOST PROJECT until
// there is no page.
func shows(ts *testscript.TestScript, neg bool, args []string) {
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+args[0]+"/simple/"+args[1]+"/", nil)
		ts.Check(err)
		r.Header.Set("Accept", index.TypeBuilds)
		resp, err := http.DefaultClient.Do(r)
		ts.Check(err)
		page, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		ts.Check(err)
		if neg && resp.StatusCode == http.StatusNotFound || !neg && strings.Contains(string(page), args[2]) {
			return
		}
		if time.Since(begun) > time.Minute {
			ts.Fatalf("%s: %s %s", args[1], resp.Status, page)
		}
	}
}

func startIn(ts *testscript.TestScript, args []string, wrap func(http.Handler) http.Handler) {
	handler, stop := newServer(ts, ts.MkAbs(args[1]), args[2:], 0)
	start(ts, args[0], wrap(handler), stop)
}

func start(ts *testscript.TestScript, variable string, handler http.Handler, stop func()) {
	log, err := os.OpenFile(ts.MkAbs(variable+".log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	ts.Check(err)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(log, r.Method, r.URL.Path)
		handler.ServeHTTP(w, r)
	}))
	ts.Defer(func() {
		srv.Close()
		stop()
		log.Close()
	})
	ts.Setenv(variable, strings.TrimPrefix(srv.URL, "http://"))
}

// deadEnd: deadend VARIABLE sets VARIABLE to a host and port where nobody listens.
func deadEnd(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], l.Addr().String())
	ts.Check(l.Close())
}

// makeVenv: venv DIR makes a virtualenv without pip.
func makeVenv(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(copyVenv(ts.MkAbs(args[0])))
}

// emptyVenv is a virtualenv without pip, to copy: Python takes long to make one.
var emptyVenv = sync.OnceValues(func() (venv string, err error) {
	if sharedDir, err = os.MkdirTemp("", "curd-venv-"); err != nil {
		return "", err
	}
	venv = filepath.Join(sharedDir, "venv")
	if out, err := exec.Command("python3", "-m", "venv", "--without-pip", venv).CombinedOutput(); err != nil {
		return "", fmt.Errorf("venv: %w\n%s", err, out)
	}
	return venv, nil
})

var sharedDir string // of emptyVenv, once it is asked for

// copyVenv makes a virtualenv without pip, in the place of what is there.
func copyVenv(dir string) error {
	venv, err := emptyVenv()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.CopyFS(dir, os.DirFS(venv))
}

// afterwards removes what the tests shared.
type afterwards struct{ *testing.M }

func (a afterwards) Run() int {
	code := a.M.Run()
	_ = os.RemoveAll(sharedDir)
	return code
}

// inspect: inspect VENV NAME==VERSION... checks that just these are installed, as Python sees it.
func inspect(ts *testscript.TestScript, _ bool, args []string) {
	const program = "import importlib.metadata as m\n" +
		"print(*sorted(f'{d.metadata[\"Name\"]}=={d.version}' for d in m.distributions()))"
	cmd := exec.Command(filepath.Join(ts.MkAbs(args[0]), "bin", "python"), "-c", program)
	out, err := cmd.Output()
	ts.Check(err)
	if got, want := strings.TrimSpace(string(out)), strings.Join(args[1:], " "); got != want {
		ts.Fatalf("installed: %s\nwant:      %s", got, want)
	}
}
