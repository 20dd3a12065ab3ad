package build

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/python"
)

// Each Python that is to be had here gets an environment, and the environment's
// Python says of itself what we derived; a virtual environment's Python too.
func TestNewEnv(t *testing.T) {
	t.Parallel()
	found := 0
	for _, name := range []string{"python3", "python3.8", "python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14", "pypy3", "/usr/bin/python3"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		base, err := python.Inspect(t.Context(), path, nil)
		if err != nil {
			t.Logf("%s: %v", path, err) // a version manager's name for what is not chosen
			continue
		}
		found++
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sameEnv(t, sameEnv(t, base))
			if runtime.GOOS == "windows" {
				return
			}
			link := filepath.Join(t.TempDir(), "python")
			if err := os.Symlink(base.Executable, link); err != nil {
				t.Fatal(err)
			}
			elsewhere := *base
			elsewhere.Executable = link
			sameEnv(t, &elsewhere)
		})
	}
	if found == 0 {
		t.Error("no Python to try")
	}
}

func sameEnv(t *testing.T, base *python.Interpreter) *python.Interpreter {
	t.Helper()
	env, err := newEnv(filepath.Join(t.TempDir(), "env"), base)
	if err != nil {
		t.Fatal(err)
	}
	got, err := python.Inspect(t.Context(), env.Executable, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := func(i *python.Interpreter) (m map[string]any) {
		b, err := json.Marshal(i)
		if err == nil {
			err = json.Unmarshal(b, &m)
		}
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if diff := cmp.Diff(text(got), text(env)); diff != "" {
		t.Errorf("said -, derived +\n%s", diff)
	}
	return env
}

func TestNewEnvWithoutBase(t *testing.T) {
	t.Parallel()
	py, err := interpreter()
	if err != nil {
		t.Fatal(err)
	}
	orphan := *py
	orphan.Prefix, orphan.BasePrefix = t.TempDir(), t.TempDir()
	if _, err := newEnv(filepath.Join(t.TempDir(), "env"), &orphan); err == nil || !strings.Contains(err.Error(), "make the environment anew") {
		t.Error(err)
	}
	gone := *py
	gone.Executable = filepath.Join(t.TempDir(), "python")
	if _, err := newEnv(filepath.Join(t.TempDir(), "env"), &gone); err == nil || !strings.Contains(err.Error(), "the interpreter is gone") {
		t.Error(err)
	}
}

func TestCopyTree(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege")
	}
	from := writeTree(t, map[string]string{
		"setup.py": "x", "deep/run": "y", "venv/pyvenv.cfg": "", "venv/big": "", ".tox/x": "", "deep/__pycache__/x": "", "out/temp/x": "",
	})
	old := time.Unix(1_000_000_000, 0)
	err := errors.Join(
		os.Chtimes(filepath.Join(from, "setup.py"), old, old),
		os.Chmod(filepath.Join(from, "deep/run"), 0o555),
		os.Symlink("../setup.py", filepath.Join(from, "deep/in")),
		os.Symlink("../beside", filepath.Join(from, "out/../leaves")),
		os.Symlink("/absolute", filepath.Join(from, "absolute")),
		exec.Command("mkfifo", filepath.Join(from, "fifo")).Run(),
	)
	if err != nil {
		t.Fatal(err)
	}
	to, link := filepath.Join(t.TempDir(), "to"), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(from, link); err != nil {
		t.Fatal(err)
	}
	if err := copyTree(t.Context(), link, to, filepath.Join(from, "out", "temp")); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	err = filepath.Walk(to, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(to, path)
		if link, err := os.Readlink(path); err == nil {
			got[rel] = link
		} else {
			got[rel] = fmt.Sprint(info.Mode().Perm()&0o700, " ", info.ModTime().Equal(old))
		}
		return nil
	})
	want := map[string]string{
		"setup.py": "-rw------- true", "deep/run": "-rwx------ false",
		"deep/in": "../setup.py", "leaves": filepath.Join(filepath.Dir(from), "beside"), "absolute": "/absolute",
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, err := os.Stat(filepath.Join(to, "out")); err != nil {
		t.Error("an empty folder is a part of the source: ", err)
	}
}

func TestBuildLog(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	l := &buildLog{file: f}
	line := bytes.Repeat([]byte("x"), 1<<20)
	for range maxLog>>20 + 2 {
		if _, err := l.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprint(l, "\nthe end\n")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() < maxLog || info.Size() > maxLog+3*keptTail {
		t.Errorf("%d bytes", info.Size())
	}
	if !strings.HasSuffix(string(l.tail), "\nthe end\n") || len(l.tail) > 2*keptTail {
		t.Errorf("%d bytes of the end", len(l.tail))
	}
}
