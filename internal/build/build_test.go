package build

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/metadata"
	"curdling/internal/python"
	"curdling/internal/requirement"
	"curdling/internal/version"
)

// backend is a build backend in a few lines. Tests put their own below it.
const backend = `
import base64, hashlib, json, os, subprocess, sys, time, zipfile

NAME, VERSION, TAG = "pkg", "1.0", "py3-none-any"

def metadata():
    return "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (NAME, VERSION)

def wheel(directory):
    info = "%s-%s.dist-info/" % (NAME, VERSION)
    files = {"pkg.py": "x = 1\n", info + "METADATA": metadata()}
    files[info + "WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: %s\n" % TAG
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        record += "%s,sha256=%s,%d\n" % (path, digest, len(text))
    files[info + "RECORD"] = record + info + "RECORD,,\n"
    name = "%s-%s-%s.whl" % (NAME, VERSION, TAG)
    with zipfile.ZipFile(os.path.join(directory, name), "w") as z:
        for path, text in files.items():
            z.writestr(path, text)
    return name

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return wheel(wheel_directory)
`

const inTree = `[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
`

// project is a source whose backend is in its tree, with more as its last lines.
func project(more string) map[string]string {
	return map[string]string{"pyproject.toml": inTree, "backend.py": backend + more}
}

func writeTree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func writeArchive(t *testing.T, top string, files map[string]string) string {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: top + name, Size: int64(len(text)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pkg-1.0.tar.gz")
	if err := os.WriteFile(path, out.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

var interpreter = sync.OnceValues(func() (*python.Interpreter, error) {
	path, err := exec.LookPath("python3")
	if err != nil {
		return nil, err
	}
	return python.Inspect(context.Background(), path, nil)
})

// newBuilder builds in a folder that must be empty when the test ends.
func newBuilder(t testing.TB) *Builder {
	t.Helper()
	py, err := interpreter()
	if err != nil {
		t.Fatal(err)
	}
	temp := t.TempDir()
	t.Cleanup(func() {
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	})
	return &Builder{
		Python: py,
		Temp:   temp,
		LogDir: t.TempDir(),
		Provision: func(context.Context, []requirement.Requirement, *python.Interpreter) error {
			return errors.New("nothing was to be provisioned")
		},
	}
}

func source(dir string) Source {
	return Source{Name: "pkg", Version: version.MustParse("1.0"), Dir: dir}
}

func readLog(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestWheel(t *testing.T) {
	t.Parallel()
	files := project("print('hello from', os.getcwd())\nopen('byproduct', 'w').close()\n")
	below := map[string]string{"other/setup.py": "no"}
	for name, text := range files {
		below["sub/project/"+name] = text
	}
	dir := writeTree(t, files)
	for name, src := range map[string]Source{
		"folder":       {Dir: dir},
		"archive":      {Archive: writeArchive(t, "pkg-1.0/", files)},
		"subdirectory": {Archive: writeArchive(t, "repo/", below), Subdirectory: "sub/project"},
		"no top":       {Archive: writeArchive(t, "", files)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, out := newBuilder(t), t.TempDir()
			var steps []string
			b.Progress = func(_ Source, step string) { steps = append(steps, step) }
			r, err := b.Wheel(t.Context(), src, out)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"unpacking", "installing build requirements", "building wheel"}, steps); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"pkg-1.0-py3-none-any.whl"}, names(t, out)); diff != "" {
				t.Error(diff)
			}
			if r.Path != filepath.Join(out, "pkg-1.0-py3-none-any.whl") || r.Wheel.Metadata.Name != "pkg" || r.Backend != "backend" || len(r.SHA256) != 64 || r.Size == 0 || r.Seconds <= 0 {
				t.Errorf("%+v", r)
			}
			if log := readLog(t, r.LogPath); !strings.Contains(log, "== build_wheel of backend\nhello from "+b.Temp) {
				t.Error(log)
			}
		})
	}
	t.Cleanup(func() {
		if got := names(t, dir); len(got) != len(files) {
			t.Errorf("the source was changed: %v", got)
		}
	})
}

// The backend comes from outside: by what pyproject.toml requires, by what the
// backend asks for, and for a project that has setup.py alone.
func TestProvision(t *testing.T) {
	t.Parallel()
	asks := "\ndef get_requires_for_build_wheel(config_settings=None):\n    return ['more>1; python_version<\"3\"', 'extra-thing>=2', 'outer']\n"
	for name, test := range map[string]struct {
		files   map[string]string
		module  string // of the environment
		text    string
		want    [][]string
		backend string
	}{
		"pyproject": {
			map[string]string{"pyproject.toml": "[build-system]\nrequires = ['outer', 'never; python_version<\"3\"']\nbuild-backend = 'outer.api:inner'\n"},
			"outer/api.py", backend + asks + "inner = sys.modules[__name__]\n",
			[][]string{{"outer"}, {"outer", "extra-thing>=2"}}, "outer.api:inner",
		},
		"setup.py": {
			map[string]string{"setup.py": ""}, "setuptools/build_meta.py", backend + "__legacy__ = sys.modules[__name__]\n",
			[][]string{{"setuptools>=40.8.0"}}, "setuptools.build_meta:__legacy__",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBuilder(t)
			var got [][]string
			b.Provision = func(_ context.Context, reqs []requirement.Requirement, env *python.Interpreter) error {
				var lines []string
				for _, r := range reqs {
					lines = append(lines, r.String())
				}
				got = append(got, lines)
				path := filepath.Join(env.Purelib, test.module)
				if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
					return err
				}
				return os.WriteFile(path, []byte(test.text), 0o666)
			}
			r, err := b.Wheel(t.Context(), source(writeTree(t, test.files)), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if len(r.BuildRequires) != len(got[len(got)-1]) || r.Backend != test.backend {
				t.Errorf("%s %v", r.Backend, r.BuildRequires)
			}
		})
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	prepare := `
def prepare_metadata_for_build_wheel(directory, config_settings=None):
    os.mkdir(os.path.join(directory, "pkg-1.0.dist-info"))
    with open(os.path.join(directory, "pkg-1.0.dist-info", "METADATA"), "w") as f:
        f.write(metadata() + %q)
    return "pkg-1.0.dist-info"
`
	for name, test := range map[string]struct {
		more     string
		built    bool
		requires string
		field    bool
	}{
		"prepared": {fmt.Sprintf(prepare, "Requires-Dist: b>1\n"), false, "[b>1]", false},
		"built":    {"", true, "[]", false},
		"wrong":    {fmt.Sprintf(prepare, "Requires-Dist: b>1,\nRequires-Dist: !\n"), false, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, out := newBuilder(t), t.TempDir()
			src := source(writeTree(t, project(test.more)))
			p, err := b.Metadata(t.Context(), src, out)
			m, r := p.Metadata, p.Built
			var field *metadata.FieldError
			if test.field {
				if !errors.As(err, &field) || m == nil {
					t.Errorf("%v, %v", m, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(m.RequiresDist); m.Name != "pkg" || got != test.requires {
				t.Errorf("%s requires %s", m.Name, got)
			}
			if (r != nil) != test.built || len(names(t, out)) > 0 != test.built {
				t.Errorf("result %v, in the folder %v", r, names(t, out))
			}
			if src.Prepared = p; r != nil {
				return
			}
			if _, err := b.Wheel(t.Context(), src, out); err != nil || len(names(t, out)) == 0 {
				t.Error(err)
			}
		})
	}
}

// A build that goes on where its metadata was prepared finds the source and the environment as they were left, and the
// metadata that was prepared; it leaves nothing, however it ends.
func TestPrepared(t *testing.T) {
	t.Parallel()
	prepare := `
def get_requires_for_build_wheel(config_settings=None):
    with open("asked", "a") as f:
        f.write("x")
    return []

def prepare_metadata_for_build_wheel(directory, config_settings=None):
    os.mkdir(os.path.join(directory, "pkg-1.0.dist-info"))
    with open(os.path.join(directory, "pkg-1.0.dist-info", "METADATA"), "w") as f:
        f.write(metadata())
    return "pkg-1.0.dist-info"

def build_wheel(directory, config_settings=None, metadata_directory=None):
    print("asked", len(open("asked").read()), "prepared", bool(metadata_directory) and open(os.path.join(metadata_directory, "METADATA")).read() == metadata())
    return wheel(directory)
`
	var followed []string
	b := newBuilder(t)
	b.Follow = func(log string) { followed = append(followed, log) }
	b.LogDir = t.TempDir()
	src := source(writeTree(t, project(prepare)))
	prepared := func() *Prepared {
		p, err := b.Metadata(t.Context(), src, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := prepared()
	p.Close()
	p.Close()
	src.Prepared = p // of which nothing is left
	for _, want := range []string{"asked 1 prepared False", "asked 1 prepared True"} {
		r, err := b.Wheel(t.Context(), src, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		if text := readLog(t, r.LogPath); !strings.Contains(text, want) || r.LogPath != followed[len(followed)-1] {
			t.Errorf("followed %v; the log, without %q:\n%s", followed, want, text)
		}
		src.Prepared = prepared()
	}
	src.Prepared.Close()
	src.Prepared = prepared()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Wheel(ctx, src, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if left := names(t, b.Temp); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEditable(t *testing.T) {
	t.Parallel()
	b := newBuilder(t)
	dir := writeTree(t, project("def build_editable(directory, config_settings=None, metadata_directory=None):\n    open('built-here', 'w').close()\n    return wheel(directory)\n"))
	if _, err := b.Editable(t.Context(), source(dir), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "built-here")); err != nil {
		t.Error(err)
	}
	_, err := b.Editable(t.Context(), Source{Archive: "x.tar.gz"}, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "needs a folder") {
		t.Error(err)
	}
	_, err = b.Editable(t.Context(), source(writeTree(t, project(""))), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "the backend has no such hook: build_editable") {
		t.Error(err)
	}
}

func TestConfigSettings(t *testing.T) {
	t.Parallel()
	b := newBuilder(t)
	b.ConfigSettings = map[string][]string{"one": {"1"}, "more": {"2", "3"}}
	dir := writeTree(t, project("def get_requires_for_build_wheel(settings):\n    print(json.dumps(settings, sort_keys=True))\n    return []\n"))
	r, err := b.Wheel(t.Context(), source(dir), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if log := readLog(t, r.LogPath); !strings.Contains(log, `{"more": ["2", "3"], "one": "1"}`) {
		t.Error(log)
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	b := newBuilder(t)
	b.Environ = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/home/someone", "CC=mycc", "NPY_BLAS_ORDER=none", "CMAKE_API_TOKEN=secret", "https_proxy=http://proxy.invalid",
		"CURD_CACHES=http://user:secret@cache.invalid", "PIP_INDEX_URL=secret", "AWS_SECRET_ACCESS_KEY=secret", "NETRC=secret", "XDG_CACHE_HOME=/secret",
		"CARGO_REGISTRY_TOKEN=secret", "CARGO_REGISTRIES_X_TOKEN=secret", "UV_INDEX=secret", "PYTHONPATH=/secret",
		"SSH_AUTH_SOCK=/secret", "GITHUB_TOKEN=secret", "CI_JOB_TOKEN=secret", "ACTIONS_ID_TOKEN_REQUEST_URL=secret", "AWS_PROFILE=secret", "KUBECONFIG=/secret",
		"GOOGLE_APPLICATION_CREDENTIALS=/secret", "DOCKER_CONFIG=/secret", "GIT_ASKPASS=/secret", "PIP_EXTRA_INDEX_URL=secret", "CURD_INDEX_URL=secret", "TWINE_PASSWORD=secret", "MINE=1", "TMPDIR=/secret",
		"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_PKG=1.0", "broken",
	}
	b.Pass = []string{"MINE"}
	dir := writeTree(t, project("print('ENV' + json.dumps(dict(os.environ)))\nprint('PATH0', sys.path[0])\nassert '' not in sys.path and not any('hook' in p for p in sys.path), sys.path\n"))
	r, err := b.Wheel(t.Context(), source(dir), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	log := readLog(t, r.LogPath)
	_, line, _ := strings.Cut(log, "ENV")
	line, _, _ = strings.Cut(line, "\n")
	var env map[string]string
	if err := json.Unmarshal([]byte(line), &env); err != nil {
		t.Fatal(err, log)
	}
	if strings.Contains(log, "secret") {
		t.Error(log)
	}
	for _, name := range []string{"HOME", "TMPDIR", "VIRTUAL_ENV", "PATH"} {
		if !strings.HasPrefix(env[name], b.Temp) {
			t.Errorf("%s is %s", name, env[name])
		}
		delete(env, name)
	}
	delete(env, "LC_CTYPE") // Python's own, in the C locale
	delete(env, "__CF_USER_TEXT_ENCODING")
	temp := env["TMP"]
	want := map[string]string{
		"CC": "mycc", "NPY_BLAS_ORDER": "none", "https_proxy": "http://proxy.invalid", "MINE": "1",
		"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_PKG": "1.0",
		"TMP":                                    temp, "TEMP": temp, "PYTHONNOUSERSITE": "1", "PYTHONIOENCODING": "utf-8:backslashreplace",
	}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Error(diff)
	}
}

func TestLocalLabel(t *testing.T) {
	t.Parallel()
	r, err := newBuilder(t).Wheel(t.Context(), source(writeTree(t, project("VERSION = '1.0+cpu'\n"))), t.TempDir())
	if err != nil || r.Wheel.Metadata.Version.String() != "1.0+cpu" {
		t.Error(r, err)
	}
}

// Whatever a build starts is gone when it is over: when it was cancelled, and when it just forgot.
func TestNothingGoesOn(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	start := fmt.Sprintf(`
def build_wheel(directory, *a):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with open(%q, "a") as f:
        f.write("%%d\n%%d\n" %% (os.getpid(), child.pid))
    os.mkdir("read-only")
    open("read-only/x", "w").close()
    os.chmod("read-only", 0o500)
`, pids)
	t.Run("cancelled", func(t *testing.T) {
		b := newBuilder(t)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for range 6000 {
				if b, _ := os.ReadFile(pids); bytes.Count(b, []byte("\n")) == 2 {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			cancel()
		}()
		_, err := b.Wheel(ctx, source(writeTree(t, project(start+"    time.sleep(60)\n"))), t.TempDir())
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("forgotten", func(t *testing.T) {
		if _, err := newBuilder(t).Wheel(t.Context(), source(writeTree(t, project(start+"    return wheel(directory)\n"))), t.TempDir()); err != nil {
			t.Error(err)
		}
	})
	list := strings.Fields(readLog(t, pids))
	if len(list) != 4 {
		t.Fatal(list)
	}
	for _, pid := range list {
		for deadline := time.Now().Add(time.Minute); alive(pid); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("process %s goes on", pid)
				break
			}
		}
	}
}

// alive tells whether a process runs; one that waits to be reaped does not.
func alive(pid string) bool {
	if runtime.GOOS == "linux" {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		_, state, _ := strings.Cut(string(stat), ") ")
		return err == nil && !strings.HasPrefix(state, "Z")
	}
	out, err := exec.Command("ps", "-o", "stat=", "-p", pid).Output()
	return err == nil && !strings.HasPrefix(strings.TrimSpace(string(out)), "Z")
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	b, out := newBuilder(t), t.TempDir()
	dir := writeTree(t, project("def get_requires_for_build_wheel(*a):\n    open('mine', 'x').close()\n    return []\n"))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := b.Wheel(context.Background(), source(dir), out); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := names(t, out); len(got) != 1 {
		t.Error(got)
	}
}

func TestChain(t *testing.T) {
	t.Parallel()
	b := newBuilder(t)
	needs := map[string]string{"a": "b", "b": "c", "c": "a"}
	dirs := map[string]string{}
	for name, need := range needs {
		dirs[name] = writeTree(t, map[string]string{"pyproject.toml": fmt.Sprintf("[build-system]\nrequires = [%q]\n", need)})
	}
	var chains []string
	b.Provision = func(ctx context.Context, reqs []requirement.Requirement, _ *python.Interpreter) error {
		chains = append(chains, strings.Join(Chain(ctx), " < "))
		name := reqs[0].Name
		_, err := b.Wheel(ctx, Source{Name: name, Dir: dirs[string(name)]}, t.TempDir())
		return err
	}
	_, err := b.Wheel(t.Context(), Source{Name: "a", Dir: dirs["a"]}, t.TempDir())
	cycle := new(CycleError)
	if !errors.As(err, &cycle) || !strings.Contains(err.Error(), "a needs b to build, b needs c to build, c needs a to build") {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"a", "a < b", "a < b < c"}, chains); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(err.Error(), "end of its log") {
		t.Error(err)
	}

	ctx := t.Context()
	for i := range maxChain + 1 {
		var enter error
		ctx, enter = Enter(ctx, Source{Name: "p", Version: version.MustParse(fmt.Sprint(i))})
		if (enter != nil) != (i == maxChain) {
			t.Fatal(i, enter)
		}
	}
}
