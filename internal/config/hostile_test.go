package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A file in a folder that others may write to, above the working folder, is not taken.
func TestTrap(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs to give files away")
	}
	s := situation{dir: "mine", files: map[string]string{"project/curd.toml": "offline = true"}}
	for _, c := range []struct {
		owner, folder int
		refused       bool
	}{{0, 1000, false}, {1000, 1000, false}, {1001, 1000, true}, {1001, 0, true}} {
		config, root, err := s.load(t)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(root, "project/curd.toml"), c.owner, c.owner); err != nil {
			t.Skip(err)
		}
		if err := os.Chown(filepath.Join(root, "project/mine"), c.folder, c.folder); err != nil {
			t.Fatal(err)
		}
		if _, err = Load(config.o); (err != nil) != c.refused {
			t.Errorf("%v: %v", c, err)
		}
		if c.owner == 1001 {
			link := filepath.Join(root, "project/curd.toml")
			if err := errors.Join(os.Remove(link), os.WriteFile(filepath.Join(root, "elsewhere"), nil, 0o644), os.Symlink(filepath.Join(root, "elsewhere"), link), os.Lchown(link, c.owner, c.owner)); err != nil {
				t.Fatal(err)
			}
			if _, err = Load(config.o); err == nil {
				t.Errorf("%v: a link of another user is followed", c)
			}
		}
		here := config.o
		here.Dir = filepath.Join(root, "project")
		if _, err := Load(here); err != nil {
			t.Errorf("in its own folder: %v", err)
		}
	}
}

// What is hostile costs no more than its size.
func TestHostileFiles(t *testing.T) {
	long := strings.Repeat("x", 1<<15)
	for path, text := range map[string]string{
		"project/curd.toml":            "[" + long + "." + long + "]\n" + many(1<<12, "k%d = 1\n"),
		"project/sub/curd.toml":        "[[a." + long + "]]\n" + strings.Repeat("[[a.b]]\n", 1<<13),
		"home/.config/curd/curd.toml":  long + " = 1",
		"etc/curd.toml":                "no-binary = '" + strings.Repeat(":all:,", 1<<14) + "'",
		"etc/pip.conf":                 "[a]\nb =\n" + strings.Repeat(" x\n", 1<<18),
		"etc/xdg/pip/pip.conf":         "[a]\nb = c\n" + strings.Repeat("\n", 1<<19),
		"home/.pip/pip.conf":           "[global]\nno-binary = " + strings.Repeat(":all:,", 1<<17),
		"home/.config/pip/pip.conf":    "[DEFAULT]\n" + many(1<<14, "k%d=1\n") + many(1<<14, "[s%d]\n"),
		"project/.venv/pip.conf":       "[" + long + "]\n" + long + " = 1",
		"project/sub/x/pyproject.toml": "[tool.curd." + long + "]\n" + many(1<<13, "k%d = 1\n"),
	} {
		start := time.Now()
		config, _, err := situation{dir: map[bool]string{true: "sub/x"}[strings.Contains(path, "/sub/")], files: map[string]string{path: text}}.load(t)
		if err == nil {
			err = config.Apply(declare())
		}
		if errors.Is(err, errTooLong) && filepath.Ext(path) == ".toml" {
			t.Errorf("%s is too long to show anything", path)
		}
		if err != nil && len(err.Error()) > 500 {
			t.Errorf("%s: the error has %d bytes", path, len(err.Error()))
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("%s: took %v", path, took)
		}
	}
}

// many writes a text with the numbers from 0.
func many(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"caches = ['http://a']\n[[index]]\nname = 'x'\nurl = 'http://${B}'\nexplicit = true\n[sources]\na = 'x'",
		"[tool.curd]\nconfig-settings = { a = ['b'], \"c\" = 'd' }\nexclude-newer = 2026-01-01",
		"[[index]]\n[[index]]\nurl = 1", "index = [{ url = 'http://a', nope = 1 }]", "[a.b.c]\nd.e = 1", "x",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, text string, project bool) {
		l := &loader{Options{Getenv: func(string) string { return "s3cret" }, Home: "/home/x"}}
		path := "/p/curd.toml"
		if project {
			path = "/p/pyproject.toml"
		}
		file, err := l.parseFile(path, []byte(text))
		if err == nil {
			_, err = file.layer()
		}
		if err != nil && !strings.HasPrefix(err.Error(), path+":") {
			t.Errorf("the error does not name the file: %v", err)
		}
	})
}

func FuzzINI(f *testing.F) {
	f.Add("[global]\nindex-url = https://a\n  b\n\n# c\n[DEFAULT]\nk: v")
	f.Add("[a]\nk\n=\r\n\x85")
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := parseINI("pip.conf", []byte(text))
		if err != nil {
			return
		}
		for _, e := range entries {
			if e.name == "" || e.section == "" || e.line < 1 || e.line > strings.Count(text, "\n")+strings.Count(text, "\r")+1 {
				t.Errorf("%+v", e)
			}
		}
	})
}
