package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"curdling/internal/config"
)

// configured sets the environment to nothing but a curd.toml.
func configured(t *testing.T, text string) (path string) {
	t.Helper()
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if shared := strings.ToLower(name); strings.HasPrefix(name, "CURD_") || strings.HasPrefix(name, "PIP_") || strings.HasSuffix(shared, "_proxy") {
			t.Setenv(name, "")
		}
	}
	path = filepath.Join(t.TempDir(), "curd.toml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", filepath.Dir(path))
	t.Setenv("CURD_CONFIG_FILE", path)
	t.Setenv("PIP_CONFIG_FILE", os.DevNull)
	t.Setenv("NETRC", "/etc/netrc")
	return path
}

func runConfig(t *testing.T, args ...string) string {
	t.Helper()
	root := &cobra.Command{Use: "curd", SilenceUsage: true}
	root.AddCommand(newInstall(), newConfig())
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs(append([]string{"config"}, args...))
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestConfig(t *testing.T) {
	path := configured(t, "caches = ['http://ci:secret@a:8000', 'http://${CURD_TEST_NONE}@b']\nresolution = 'lowest'\n")
	t.Setenv("CURD_OFFLINE", "1")
	t.Setenv("https_proxy", "u:secret@proxy:3128")
	text := runConfig(t)
	for _, want := range []string{
		"cache-dir " + filepath.Dir(path) + "/.curds default",
		"caches http://ci:****@a:8000 " + path + ":1: the variable CURD_TEST_NONE is not set",
		"http://****@b",
		"resolution lowest " + path + ":2",
		"offline true CURD_OFFLINE",
		"index-strategy first-index default", // as the flag is declared
		"upload false default",
		"proxy - default",
		"https_proxy u:****@proxy:3128 https_proxy",
		"netrc /etc/netrc NETRC",
	} {
		if !strings.Contains("\n"+collapse(text), "\n"+want+"\n") {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	var rows []struct {
		Key, Origin, Error string
		Values             []string
	}
	text = runConfig(t, "--format", "json")
	if err := json.Unmarshal([]byte(text), &rows); err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.Values == nil || r.Origin == "" || r.Key == "caches" && r.Error != "the variable CURD_TEST_NONE is not set" {
			t.Errorf("%+v", r)
		}
	}
	if strings.Contains(text, "secret") {
		t.Error("a password is shown")
	}
}

// collapse puts one space between the words of each line.
func collapse(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n") + "\n"
}

// The example in the help is a curd.toml that works.
func TestConfigExample(t *testing.T) {
	_, example, _ := strings.Cut(newConfig().Long, "may be left out:\n")
	example, _, _ = strings.Cut(example, "Passwords in URLs")
	one, several, ok := strings.Cut(example, "or, with more than one index (in a pyproject.toml: [[tool.curd.index]] and [tool.curd.sources]):\n")
	if !ok {
		t.Fatal("the help is not as it was")
	}
	for _, text := range []string{one, several} {
		configured(t, text)
		t.Setenv("CACHE_TOKEN", "secret")
		c, err := config.Load(config.Options{})
		if err == nil {
			err = c.Apply(newInstall().Flags())
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func TestConfigure(t *testing.T) {
	configured(t, "private = ['a']\npre = true\n[[index]]\nname = 'x'\nurl = 'http://x'\nexplicit = true\n[sources]\nfoo = 'x'\n")
	cmd := newInstall()
	if err := cmd.ParseFlags([]string{"--pre=false", "-i", "http://l"}); err != nil {
		t.Fatal(err)
	}
	c, err := configure(cmd)
	if err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{"private": "[a]", "pre": "false", "index": "[http://l,x=http://x]", "cache": "[]"} {
		if got := cmd.Flags().Lookup(flag).Value.String(); got != want {
			t.Errorf("--%s: %s, want %s", flag, got, want)
		}
	}
	if cmd.Flags().Changed("private") || !cmd.Flags().Changed("pre") || !c.Explicit()["x"] || c.Sources()["foo"] != "x" {
		t.Errorf("explicit %v, sources %v", c.Explicit(), c.Sources())
	}
}

// Every setting with a flag goes to a command.
func TestConfigFlags(t *testing.T) {
	configured(t, "")
	c, err := config.Load(config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	install := newInstall().Flags()
	for _, s := range c.Settings() {
		if s.Flag != "" && install.Lookup(s.Flag) == nil {
			t.Errorf("%s: curd install has no flag --%s", s.Key, s.Flag)
		}
	}
}
