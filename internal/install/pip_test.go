package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"curdling/internal/python"
	"curdling/internal/wheel/wheeltest"
)

// TestAgainstPip installs wheels with the pip that comes with Python and with
// us, and compares all that is in the virtualenv.
func TestAgainstPip(t *testing.T) {
	t.Parallel()
	pip := bundledPip(t)
	dir := t.TempDir()
	venv := filepath.Join(dir, "venv") // the same path for both: it stands in scripts
	pips := small("pip", "99")
	pips.ConsoleScripts = map[string]string{"pip": "pip:main", "pip3.8": "pip:main", "other": "pip:main"}
	platform := small("platform_one", "1.0.post1")
	platform.Platlib = true
	platform.Data = map[string]string{"purelib/pure.py": "", "scripts/run": "#!python\n", "headers/foo.h": "", "headers/sub/bar.h": ""}
	args := []string{pip, "install", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir"}
	var plan Plan
	for _, w := range []wheeltest.Wheel{rich("1.0"), pips, platform} {
		file, content := filepath.Join(dir, w.Filename()), wheeltest.Build(w)
		write(t, file, string(content))
		args = append(args, file)
		sum := sha256.Sum256(content)
		u := DirectURL{
			URL:     "file://" + (&url.URL{Path: file}).EscapedPath(),
			Archive: &ArchiveInfo{map[string]string{"sha256": hex.EncodeToString(sum[:])}},
		}
		plan.Install = append(plan.Install, Item{Tree: tree(t, w), Requested: true, DirectURL: u.Encode()})
	}
	run(t, makeVenv(t, venv).Executable, args...)
	want := snapshot(t, venv)

	apply(t, Env{makeVenv(t, venv)}, plan)
	got := snapshot(t, venv)
	forgetInstaller(want, got)
	same(t, want, got)

	run(t, filepath.Join(venv, "bin", "python"), pip, "uninstall", "-y", "platform-one", "foo-bar", "pip")
	for _, path := range files(snapshot(t, venv), "lib/python") {
		t.Errorf("after pip uninstall %s is there", path)
	}
}

// forgetInstaller takes out of two snapshots what may differ: who was the
// installer, the text of entry points' scripts if pip is older, and the row
// that pip leaves in RECORD for a script that it did not install.
func forgetInstaller(want, got map[string]string) {
	differ := map[string]bool{}
	for path, what := range want {
		if strings.HasSuffix(path, "/INSTALLER") || strings.Contains(what, "\nimport re\nimport sys\n") {
			differ[filepath.Base(path)] = true
			mode, _, _ := strings.Cut(what, " ")
			want[path], got[path] = mode, strings.Split(got[path], " ")[0]
		}
	}
	for path := range want {
		if !strings.HasSuffix(path, "/RECORD") {
			continue
		}
		for _, snapshot := range []map[string]string{want, got} {
			lines := strings.SplitAfter(snapshot[path], "\n")
			for i, line := range lines {
				switch name, _, _ := strings.Cut(line, ","); {
				case strings.HasSuffix(name, ".data/scripts/foo"):
					lines[i] = ""
				case differ[filepath.Base(name)]:
					lines[i] = name + ",differs\r\n"
				}
			}
			snapshot[path] = strings.Join(lines, "")
		}
	}
}

// bundledPip finds the wheel of pip that Python has for its virtualenvs. It runs from it.
func bundledPip(t *testing.T) string {
	t.Helper()
	const find = `
import ensurepip, glob, os
folder = getattr(ensurepip, '_WHEEL_PKG_DIR', None) or os.path.join(os.path.dirname(ensurepip.__file__), '_bundled')
print(glob.glob(os.path.join(folder, 'pip-*.whl'))[0])`
	out, err := exec.Command("python3", "-c", find).Output()
	if err != nil {
		t.Skipf("no python3 with ensurepip: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "pip")
}

func makeVenv(t *testing.T, dir string) *python.Interpreter {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	run(t, "python3", "-m", "venv", "--without-pip", dir)
	interpreter, err := python.Inspect(context.Background(), filepath.Join(dir, "bin", "python"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return interpreter
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), "PIP_CONFIG_FILE=/dev/null", "PIP_DISABLE_PIP_VERSION_CHECK=1", "PYTHONDONTWRITEBYTECODE=1")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", c.Args, err, out)
	}
}
