package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/vectortest"
)

// A vector is described in testdata/vectors.py.
type vector struct {
	Text    *string
	Files   map[string]string
	Env     map[string]string
	Command string
	Want    json.RawMessage
}

func TestVectors(t *testing.T) {
	counts := map[string]int{}
	for line := range vectortest.Lines(t, "config") {
		var v vector
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatal(err)
		}
		if v.Text != nil {
			counts["texts"]++
			testText(t, v)
		} else {
			counts["situations"]++
			testSituation(t, v)
		}
	}
	if counts["texts"] < 1000 || counts["situations"] < 1000 {
		t.Errorf("there are too few vectors: %v", counts)
	}
}

func testText(t *testing.T, v vector) {
	var want [][3]string
	if err := json.Unmarshal(v.Want, &want); err != nil {
		t.Fatal(err)
	}
	entries, err := parseINI("pip.conf", []byte(*v.Text))
	if refused := string(v.Want) == "null"; refused != (err != nil) {
		t.Errorf("%q: pip refuses it: %v, we: %v", *v.Text, refused, err)
		return
	}
	values := map[[2]string]string{}
	for _, e := range entries {
		values[[2]string{e.section, e.name}] = e.value
	}
	wanted := map[[2]string]string{}
	for _, w := range want {
		wanted[[2]string{w[0], w[1]}] = w[2]
	}
	if d := cmp.Diff(wanted, values); d != "" {
		t.Errorf("%q: -pip +we:\n%s", *v.Text, d)
	}
}

func testSituation(t *testing.T, v vector) {
	root := t.TempDir()
	here := func(s string) string { return strings.ReplaceAll(s, "$ROOT", root) }
	for path, text := range v.Files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"VIRTUAL_ENV": filepath.Join(root, "venv")}
	for name, value := range v.Env {
		env[name] = here(value)
	}
	c, err := Load(Options{
		Getenv: func(name string) string { return env[name] }, Command: v.Command,
		Dir: root, Home: filepath.Join(root, "home"), Etc: filepath.Join(root, "etc"), DefaultIndex: "https://default.example.org/",
	})
	var want map[string]any
	if err := json.Unmarshal([]byte(here(string(v.Want))), &want); err != nil {
		t.Fatal(err)
	}
	got, usable := map[string][]string{}, err
	for i := range keys {
		if k := &keys[i]; err == nil && k.pip != "" {
			for _, value := range c.settings[k.name].values {
				got[k.name] = append(got[k.name], value.text)
				_, known := want[k.name]
				if (k.kind == boolean || k.kind == number) && usable == nil && (known || want == nil) {
					s := c.settings[k.name]
					usable = s.usable(k, value)
				}
			}
		}
	}
	if want == nil {
		// pip refuses a wrong value even where another goes before it.
		if usable == nil && !wrong(v.String()) {
			t.Errorf("pip refuses %s, we do not", v)
		}
		return
	}
	if usable != nil {
		t.Errorf("%s: %v", v, usable)
		return
	}
	maps.DeleteFunc(got, func(name string, values []string) bool {
		_, known := want[name]
		return !known && name != "index" || slices.Equal(values, []string{"false"}) // to pip that is as if it were not set
	})
	if d := cmp.Diff(expected(want), got); d != "" {
		t.Errorf("%s: -pip +we:\n%s", v, d)
	}
}

var wrong = regexp.MustCompile(`(?m)[=:] *(maybe|2|tru|soon|many)$|:"(maybe|2|tru|soon|many)"`).MatchString

// expected makes of pip's options what we should set.
func expected(want map[string]any) map[string][]string {
	all := map[string][]string{}
	for name, value := range want {
		switch value := value.(type) {
		case string:
			all[name] = []string{value}
		case float64:
			all[name] = []string{fmt.Sprint(value)}
		case bool:
			all[name] = map[bool][]string{true: {"true"}}[value]
		case []any:
			for _, item := range value {
				all[name] = append(all[name], item.(string))
			}
		}
	}
	extra := all["extra-index-url"]
	if all["index"] = all["index-url"]; extra != nil && all["index"] == nil {
		all["index"] = []string{"https://default.example.org/"}
	}
	all["index"] = append(all["index"], extra...)
	delete(all, "index-url")
	delete(all, "extra-index-url")
	if p := all["keyring-provider"]; p != nil && (p[0] == "auto" || p[0] == "import") {
		delete(all, "keyring-provider")
	}
	maps.DeleteFunc(all, func(_ string, v []string) bool { return len(v) == 0 })
	return all
}

func (v vector) String() string {
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(v.Files)) {
		b.WriteString("-- " + path + " --\n" + v.Files[path])
	}
	env, _ := json.Marshal(v.Env)
	return "curd " + v.Command + "\n" + b.String() + string(env)
}
