package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// situation is a machine with files, and variables of the environment. Paths
// begin with project, home or etc; $ROOT is where these are.
type situation struct {
	files map[string]string
	env   map[string]string
	dir   string // the working folder; "": project
}

const publicIndex = "https://public.example.org/simple"

// load reads the configuration of a situation.
func (s situation) load(t *testing.T) (c *Config, root string, err error) {
	t.Helper()
	root = t.TempDir()
	for path, text := range s.files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(root, "project", s.dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c, err = Load(Options{
		Getenv: func(name string) string { return strings.ReplaceAll(s.env[name], "$ROOT", root) },
		Dir:    dir, Home: filepath.Join(root, "home"), Etc: filepath.Join(root, "etc"),
		Command: "install", DefaultIndex: publicIndex,
	})
	return c, root, err
}

// declare makes the flags of all settings, as commands have them.
func declare() *pflag.FlagSet {
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	for _, k := range keys {
		switch {
		case k.flag == "":
		case k.kind == boolean:
			flags.Bool(k.flag, false, "")
		case k.kind == number:
			flags.Float64(k.flag, 7, "")
		case k.kind == text:
			flags.String(k.flag, "as declared", "")
		default:
			flags.StringArray(k.flag, nil, "")
		}
	}
	return flags
}

// apply gives what a flag is after a command line.
func apply(t *testing.T, c *Config, flag string, line ...string) ([]string, error) {
	t.Helper()
	flags := declare()
	if err := flags.Parse(line); err != nil {
		t.Fatal(err)
	}
	changed := flags.Changed(flag)
	err := c.Apply(flags)
	if flags.Changed(flag) != changed {
		t.Errorf("Changed of --%s does not tell any more what the command line says", flag)
	}
	value := flags.Lookup(flag).Value
	if slice, ok := value.(pflag.SliceValue); ok {
		return slice.GetSlice(), err
	}
	return []string{value.String()}, err
}

func TestPrecedence(t *testing.T) {
	type source struct{ file, env, text, origin string }
	url := func(host string) string { return "http://" + host + ":8000" }
	// The nearest first; each goes when it was seen to win.
	for _, c := range []struct {
		flag    string
		sources []source
		want    func(host string) string
		none    string
	}{
		{"proxy", []source{
			{env: "CURD_PROXY", text: url("a"), origin: "CURD_PROXY"},
			{file: "project/curd.toml", text: "\nproxy = '" + url("b") + "'", origin: "$ROOT/project/curd.toml:2"},
			{file: "project/pyproject.toml", text: "[tool.curd]\nproxy = '" + url("c") + "'", origin: "$ROOT/project/pyproject.toml:2"},
			{file: "pyproject.toml", text: "[tool]\ncurd.proxy = '" + url("d") + "'", origin: "$ROOT/pyproject.toml:2"},
			{file: "home/.config/curd/curd.toml", text: "proxy = '" + url("e") + "'", origin: "$ROOT/home/.config/curd/curd.toml:1"},
			{file: "etc/curd.toml", text: "proxy = '" + url("f") + "'", origin: "$ROOT/etc/curd.toml:1"},
			{env: "PIP_PROXY", text: url("g"), origin: "PIP_PROXY"},
			{file: "etc/pip.conf", text: "[global]\nproxy: " + url("x") + "\n[install]\nproxy: " + url("h"), origin: "$ROOT/etc/pip.conf:4"},
			{file: "project/.venv/pip.conf", text: "[global]\nproxy: " + url("i"), origin: "$ROOT/project/.venv/pip.conf:2"},
			{file: "home/.config/pip/pip.conf", text: "[global]\nproxy: " + url("j"), origin: "$ROOT/home/.config/pip/pip.conf:2"},
			{file: "home/.pip/pip.conf", text: "[global]\nproxy: " + url("k"), origin: "$ROOT/home/.pip/pip.conf:2"},
			{file: "etc/xdg/pip/pip.conf", text: "[global]\nproxy: " + url("l"), origin: "$ROOT/etc/xdg/pip/pip.conf:2"},
		}, url, "as declared"},
	} {
		for i := range c.sources {
			s := situation{files: map[string]string{}, env: map[string]string{"CURD_NO_INDEX": ""}}
			for _, from := range c.sources[i:] {
				if from.file != "" {
					s.files[from.file] = from.text
				} else {
					s.env[from.env] = from.text
				}
			}
			config, root, err := s.load(t)
			if err != nil {
				t.Fatal(err)
			}
			got, err := apply(t, config, c.flag)
			if want := []string{c.want(string(rune('a' + i)))}; err != nil || !cmp.Equal(got, want) {
				t.Errorf("--%s from %v: got %v, %v; want %v", c.flag, c.sources[i], got, err, want)
			}
			if got, err := apply(t, config, c.flag, "--"+c.flag+"=http://line"); err != nil || got[0] != "http://line" {
				t.Errorf("the command line does not go before %v: %v, %v", c.sources[i], got, err)
			}
			want := strings.ReplaceAll(c.sources[i].origin, "$ROOT", root)
			for _, setting := range config.Settings() {
				if setting.Flag == c.flag && setting.Origin != want {
					t.Errorf("origin %s, want %s", setting.Origin, want)
				}
			}
		}
		config, _, err := situation{}.load(t)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := apply(t, config, c.flag); err != nil || got[0] != c.none {
			t.Errorf("--%s where nothing is set: %v, %v", c.flag, got, err)
		}
	}
}

func TestValues(t *testing.T) {
	const file = "project/curd.toml"
	for _, c := range []struct {
		name string
		s    situation
		flag string
		want []string
	}{
		{"list", situation{files: map[string]string{file: `caches = ["http://a:1", "http://b:2/x"]`}}, "cache", []string{"http://a:1", "http://b:2/x"}},
		{"list of one", situation{files: map[string]string{file: `private = "acme-*"`}}, "private", []string{"acme-*"}},
		{"empty list replaces", situation{files: map[string]string{file: `caches = []`, "etc/curd.toml": `caches = "http://a:1"`}}, "cache", []string{}},
		{"lists are not joined", situation{files: map[string]string{file: `private = ["a"]`, "etc/curd.toml": `private = ["b"]`}}, "private", []string{"a"}},
		{"keys are merged", situation{files: map[string]string{file: `private = ["a"]`, "etc/curd.toml": `offline = true`}}, "offline", []string{"true"}},
		{"false replaces", situation{files: map[string]string{file: `no-index = false`}, env: map[string]string{"PIP_NO_INDEX": "1"}}, "no-index", []string{"false"}},
		{"words of a variable", situation{env: map[string]string{"CURD_PRIVATE": " a*  b\n"}}, "private", []string{"a*", "b"}},
		{"boolean variable", situation{env: map[string]string{"CURD_OFFLINE": "Yes"}}, "offline", []string{"true"}},
		{"empty variable", situation{env: map[string]string{"CURD_OFFLINE": ""}, files: map[string]string{file: "offline = true"}}, "offline", []string{"true"}},
		{"date", situation{files: map[string]string{file: "exclude-newer = 2026-11-01"}}, "exclude-newer", []string{"2026-11-01"}},
		{"time", situation{files: map[string]string{file: "exclude-newer = 2026-11-01 10:00:00Z"}}, "exclude-newer", []string{"2026-11-01T10:00:00Z"}},
		{"number", situation{files: map[string]string{file: "timeout = 0.5"}}, "timeout", []string{"0.5"}},
		{"whole number", situation{files: map[string]string{file: "retries = 10"}}, "retries", []string{"10"}},
		{"pip's second name", situation{env: map[string]string{"PIP_DEFAULT_TIMEOUT": "180"}}, "timeout", []string{"180"}},
		{"duration", situation{files: map[string]string{file: "exclude-newer = '7d'"}}, "exclude-newer", []string{"7d"}},
		{"table", situation{files: map[string]string{file: "[config-settings]\nz = 'a=b'\n--opt = ['1', '2']"}}, "config-settings", []string{"--opt=1", "--opt=2", "z=a=b"}},
		{"table in a variable", situation{env: map[string]string{"CURD_CONFIG_SETTINGS": "a=1 b="}}, "config-settings", []string{"a=1", "b="}},
		{"choice", situation{files: map[string]string{file: "link-mode = 'copy'"}}, "link-mode", []string{"copy"}},
		{"paths", situation{files: map[string]string{"project/pyproject.toml": "[tool.curd]\nfind-links = ['wheels', '../w', '/abs', 'https://x.example.org/w', '~/w']"}, dir: "a/b"}, "find-links",
			[]string{"$ROOT/project/wheels", "$ROOT/w", "/abs", "https://x.example.org/w", "$ROOT/home/w"}},
		{"path of the system's file", situation{files: map[string]string{"etc/curd.toml": "cert = 'ca.pem'"}}, "cert", []string{"$ROOT/etc/ca.pem"}},
		{"path of a variable", situation{env: map[string]string{"CURD_CERT": "ca.pem"}}, "cert", []string{"ca.pem"}},
		{"interpreter by version", situation{files: map[string]string{file: "python = '3.12'"}}, "python", []string{"3.12"}},
		{"interpreter by path", situation{files: map[string]string{file: "python = './env'"}, dir: "sub"}, "python", []string{"$ROOT/project/env"}},
		{"variables in URLs", situation{files: map[string]string{file: "caches = 'http://ci:${TOKEN}@${HOST_1}:8000/$TOKEN/${'"}, env: map[string]string{"TOKEN": "s3cret", "HOST_1": "h"}}, "cache",
			[]string{"http://ci:s3cret@h:8000/$TOKEN/${"}},
		{"no variables in paths", situation{files: map[string]string{file: "cert = '/${TOKEN}'"}}, "cert", []string{"/${TOKEN}"}},
		{"named file", situation{env: map[string]string{"CURD_CONFIG_FILE": "$ROOT/other.toml"}, files: map[string]string{
			"other.toml": "private = 'a'", file: "offline = true", "etc/curd.toml": "offline = true"}}, "offline", []string{"false"}},
		{"named file's", situation{env: map[string]string{"CURD_CONFIG_FILE": "$ROOT/other.toml"}, files: map[string]string{"other.toml": "private = 'a'", file: "private = 'b'"}}, "private", []string{"a"}},
		{"no files", situation{env: map[string]string{"CURD_CONFIG_FILE": os.DevNull}, files: map[string]string{file: "no = sense", "etc/curd.toml": "="}}, "offline", []string{"false"}},
		{"XDG_CONFIG_HOME", situation{env: map[string]string{"XDG_CONFIG_HOME": "$ROOT/xdg"}, files: map[string]string{"xdg/curd/curd.toml": "offline = true"}}, "offline", []string{"true"}},
		{"folders of these names", situation{files: map[string]string{file + "/x": "", "home/.config/curd/curd.toml/x": "", "etc/curd.toml": "offline = true"}}, "offline", []string{"true"}},
		{"no home", situation{files: map[string]string{"home": "", file: "offline = true"}}, "offline", []string{"true"}},
		{"the nearest project ends the search", situation{dir: "sub", files: map[string]string{"project/sub/curd.toml": "", file: "offline = true"}}, "offline", []string{"false"}},
		{"a pyproject.toml without us does not", situation{dir: "sub", files: map[string]string{"project/sub/pyproject.toml": "[tool.other]\nx = 'curd'", file: "offline = true"}}, "offline", []string{"true"}},
		{"nor does a broken one of others", situation{dir: "sub", files: map[string]string{"project/sub/pyproject.toml": "[[[", file: "offline = true"}}, "offline", []string{"true"}},
		{"pip's build isolation is the other way round", situation{env: map[string]string{"PIP_NO_BUILD_ISOLATION": "0"}}, "no-build-isolation", []string{"true"}},
		{"pip's providers that are not ours", situation{env: map[string]string{"PIP_KEYRING_PROVIDER": "import"}}, "keyring-provider", []string{"as declared"}},
		{"wrong settings of pip's that are replaced", situation{env: map[string]string{"PIP_INDEX_URL": "/srv", "CURD_INDEX_URL": "http://a"}}, "index", []string{"http://a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, root, err := c.s.load(t)
			if err != nil {
				t.Fatal(err)
			}
			got, err := apply(t, config, c.flag)
			for i, w := range c.want {
				c.want[i] = strings.ReplaceAll(w, "$ROOT", root)
			}
			if err != nil || !cmp.Equal(got, c.want) {
				t.Errorf("--%s: %q, %v; want %q", c.flag, got, err, c.want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		path, text string
		want       string // after the path
	}{
		{"project/curd.toml", "a = ", ": line 1: "},
		{"project/curd.toml", "\n\ncache = 'http://a'", `:3: unknown key "cache"; did you mean caches?`},
		{"project/curd.toml", "index_url = 'http://a'", `did you mean index?`},
		{"project/curd.toml", "extra-index-url = 'http://a'", `did you mean index?`},
		{"project/curd.toml", "find_links = 'x'", `did you mean find-links?`},
		{"project/curd.toml", "ofline = true", `did you mean offline?`},
		{"project/curd.toml", "offllinee = true", `did you mean offline?`},
		{"project/curd.toml", "nonsense = 1", `unknown key "nonsense"; 'curd config --help'`},
		{"project/curd.toml", strings.Repeat("x", 100) + " = 1", `unknown key "` + strings.Repeat("x", 60) + `"`},
		{"project/pyproject.toml", "[tool.curd]\nupload = true\n'off line' = 1", `:3: unknown key "off line"; did you mean offline?`},
		{"project/pyproject.toml", "[tool]\ncurd = 1", ":2: tool.curd is not a table"},
		{"project/pyproject.toml", "tool = 'curd'", ":1: tool is not a table"},
		{"etc/curd.toml", "offline = 'yes'", ":1: offline is not a boolean; write true or false"},
		{"home/.config/curd/curd.toml", "python = 3.10", ":1: python is not a string; write it in quotes"},
		{"project/curd.toml", "private = ['a', 1]", ":1: private is not a string"},
		{"project/curd.toml", "private = { a = 1 }", ":1: private is a table; write a string"},
		{"project/curd.toml", "retries = '1'", ":1: retries is not a number"},
		{"project/curd.toml", "timeout = -1", ":1: timeout is \"-1\", which is not a number from 0"},
		{"project/curd.toml", "timeout = nan", ":1: timeout is \"NaN\""},
		{"project/curd.toml", "proxy = ''", ":1: proxy is empty"},
		{"project/curd.toml", "resolution = 'newest'", `:1: resolution is "newest"; it may be highest or lowest or lowest-direct`},
		{"project/curd.toml", "config-settings = 'a=b'", ":1: config-settings is not a table; write config-settings = {"},
		{"project/curd.toml", "[config-settings]\na = 'x'\n\"b=c\" = 'x'", `:3: config-settings: the key "b=c"`},
		{"project/curd.toml", "[config-settings]\na = 1", ":2: config-settings: \"a\" is not a string"},
		{"project/curd.toml", "[config-settings]\na = ['x', 1]", ":2: config-settings: \"a\" is not a string"},
		{"project/curd.toml", "no-binary = 'num py'", ":1: no-binary: "},
		{"project/curd.toml", "caches = 'cache:8000'", `:1: caches: "cache:8000" is not a URL of a server`},
		{"project/curd.toml", "index = 'ftp://u:secret@x'", `:1: index: "ftp://u:****@x" is not a URL of a server`},
		{"project/curd.toml", "[index]\nname = 'a'", ":1: index is a table; write [[index]]"},
		{"project/pyproject.toml", "[tool.curd.index]\nname = 'a'", ":1: index is a table; write [[tool.curd.index]]"},
		{"project/curd.toml", "[[index]]\nurl = 'http://a'\n\n[[index]]\nurl = 'http://b'\nnane = 'x'", `:6: unknown key "nane" of an index`},
		{"project/curd.toml", "[[index]]\nurl = 'http://a'\n\n[[index]]\nurl = 'nowhere'", `:5: index: "nowhere" is not a URL`},
		{"project/curd.toml", "[[index]]\nname = 'a'", ":1: an index needs a url"},
		{"project/curd.toml", "[[index]]\nurl = 'a=http://a'", ":1: an index needs a url, without a name in it"},
		{"project/curd.toml", "[[index]]\nname = 'a b'\nurl = 'http://a'", ":2: an index's name is a word"},
		{"project/curd.toml", "[[index]]\nurl = 'http://a'\nexplicit = 1", ":3: explicit is not a boolean"},
		{"project/curd.toml", "[[index]]\nurl = 'http://a'\nexplicit = true", ":1: an explicit index has no name"},
		{"project/curd.toml", "index = ['a=http://a', 'a=http://b']", ":1: two indexes are named a"},
		{"project/curd.toml", "sources = 'a'", ":1: sources is not a table; write [sources]"},
		{"project/curd.toml", "[sources]\n\ntorch = 'pytorch'", `:3: torch is to come from the index "pytorch", which no [[index]] has as its name`},
		{"project/curd.toml", "[sources]\ntorch = 1", ":2: sources: \"torch\" is not the name of an index"},
		{"project/curd.toml", "[sources]\n'a b' = 'x'", ":2: sources: "},
		{"project/curd.toml", "[sources]\na_b = 'x'\nA-b = 'x'", ":2: sources: a-b stands there twice"},
		{"project/curd.toml", strings.Repeat("# long\n", maxCurdTOML/7+1), ": no configuration is so long"},
		{"project/pyproject.toml", strings.Repeat("# long\n", maxPyproject/7+1), ": no configuration is so long"},
		{"project/curd.toml", "a = " + strings.Repeat("[", 1000), ": line 1: nested more than"},
		{"etc/pip.conf", "a = b", ":1: there is no section"},
		{"etc/pip.conf", "[a]\nb", ":2: not of the form KEY = VALUE"},
		{"etc/pip.conf", "[a]\n= b", ":2: no key stands before the value"},
		{"etc/pip.conf", "[a]\n\n[a]", ":3: section [a] stands there twice"},
		{"etc/pip.conf", "[a]\nb_c=1\nB-c=2", ":3: b-c stands twice"},
		{"etc/pip.conf", "[a]\nb=\xff", ": is not UTF-8"},
		{"etc/pip.conf", strings.Repeat("# long\n", maxPip/7+1), ": no configuration is so long"},
	} {
		_, root, err := situation{files: map[string]string{c.path: c.text}}.load(t)
		if err == nil || !strings.HasPrefix(err.Error(), filepath.Join(root, c.path)+":") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %.80q:\n got %v\nwant %s", c.path, c.text, err, c.want)
		}
	}
}

func TestErrorsOfVariables(t *testing.T) {
	for name, c := range map[string]struct{ value, want string }{
		"CURD_OFFLINE":         {"maybe", `CURD_OFFLINE: offline is "maybe"; it may be true or false`},
		"CURD_PRE":             {"y", "CURD_PRE: "},
		"CURD_LINK_MODE":       {"symlink", `CURD_LINK_MODE: link-mode is "symlink"; it may be auto or clone or hardlink or copy`},
		"CURD_CACHES":          {"http://a:1 ci:secret@b", `CURD_CACHES: caches: "ci:****@b" is not a URL`},
		"CURD_INDEX_URL":       {"x=y", `CURD_INDEX_URL: index: "y" is not a URL`},
		"CURD_CONFIG_SETTINGS": {"a", "CURD_CONFIG_SETTINGS: config-settings holds \"a\", which is not of the form KEY=VALUE"},
		"CURD_NO_BINARY":       {"a,,b", "CURD_NO_BINARY: no-binary: "},
		"CURD_CONFIG_FILE":     {"/nonexistent/curd.toml", "CURD_CONFIG_FILE: open /nonexistent/curd.toml"},
	} {
		_, _, err := situation{env: map[string]string{name: c.value}}.load(t)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s=%s: %v", name, c.value, err)
		}
	}
}

// What is wrong elsewhere than in our own settings is an error only to commands that use it.
func TestErrorsWhereUsed(t *testing.T) {
	for _, c := range []struct {
		s     situation
		flag  string
		value string // of the command line, so that it is not used
		want  string
	}{
		{situation{files: map[string]string{"project/curd.toml": "\ncaches = 'http://ci:${NO_TOKEN}@a'"}}, "cache", "http://x", "/project/curd.toml:2: caches http://ci:****@a: the variable NO_TOKEN is not set"},
		{situation{files: map[string]string{"project/curd.toml": "\n[[index]]\nname='a'\nexplicit=true\nurl = 'http://${NO_TOKEN}@a'"}}, "index", "a=http://x", "/project/curd.toml:2: index a=http://****@a: the variable NO_TOKEN is not set"},
		{situation{env: map[string]string{"PIP_INDEX_URL": "/srv/pip"}}, "index", "http://x", `PIP_INDEX_URL: index: "/srv/pip" is not a URL of a server`},
		{situation{env: map[string]string{"PIP_EXTRA_INDEX_URL": "ftp:///srv"}}, "index", "http://x", `PIP_EXTRA_INDEX_URL: index: "ftp:///srv" is not a URL of a server`},
		{situation{files: map[string]string{"etc/pip.conf": "[global]\npre = maybe"}}, "pre", "true", `/etc/pip.conf:2: pre is "maybe"; it may be true or false`},
		{situation{env: map[string]string{"PIP_NO_BINARY": "a b"}}, "no-binary", "x", `PIP_NO_BINARY: no-binary a b: `},
	} {
		config, _, err := c.s.load(t)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := apply(t, config, c.flag); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
		if _, err := apply(t, config, c.flag, "--"+c.flag+"="+c.value); err != nil {
			t.Errorf("with --%s on the command line: %v", c.flag, err)
		}
		if err := config.Apply(pflag.NewFlagSet("none", pflag.ContinueOnError)); err != nil {
			t.Errorf("without --%s: %v", c.flag, err)
		}
	}
}

func TestSettings(t *testing.T) {
	config, root, err := situation{
		files: map[string]string{
			"project/curd.toml": "cache-dir = '.cache'\ncaches = ['http://ci:${TOKEN}@a/${TOKEN}', 'http://b?key=s3cret']\n" +
				"[[index]]\nname = 'pytorch'\nurl = 'http://torch'\nexplicit = true\n[sources]\ntorch = 'pytorch'",
			"etc/pip.conf": "[global]\nindex-url = http://s3cret@p\nextra-index-url = http://u:s3cret@q\nproxy = u:s3cret@proxy:3128",
		},
		env: map[string]string{"TOKEN": "s3cret", "CURD_OFFLINE": "on", "CURD_PYTHON": "\x1b[2J"},
	}.load(t)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Setting{}
	for _, s := range config.Settings() {
		got[s.Key] = s
		if strings.Contains(strings.Join(s.Values, " "), "s3cret") {
			t.Errorf("a secret is shown: %v", s)
		}
	}
	if len(got) != len(keys) {
		t.Errorf("%d settings, want %d", len(got), len(keys))
	}
	for _, want := range []Setting{
		{Key: "cache-dir", Values: []string{root + "/project/.cache"}, Origin: root + "/project/curd.toml:1"},
		{Key: "caches", Flag: "cache", Values: []string{"http://ci:****@a/${TOKEN}", "http://b?****"}, Origin: root + "/project/curd.toml:2"},
		{Key: "index", Flag: "index", Values: []string{"http://****@p", "http://u:****@q", "pytorch=http://torch (explicit)"},
			Origin: root + "/etc/pip.conf:2, " + root + "/etc/pip.conf:3, " + root + "/project/curd.toml:3"},
		{Key: "sources", Values: []string{"torch=pytorch"}, Origin: root + "/project/curd.toml:7"},
		{Key: "offline", Flag: "offline", Values: []string{"true"}, Origin: "CURD_OFFLINE"},
		{Key: "proxy", Flag: "proxy", Values: []string{"u:****@proxy:3128"}, Origin: root + "/etc/pip.conf:4"},
		{Key: "python", Flag: "python", Values: []string{`"\x1b[2J"`}, Origin: "CURD_PYTHON"},
		{Key: "pre", Flag: "pre", Origin: "default"},
	} {
		if d := cmp.Diff(want, got[want.Key]); d != "" {
			t.Errorf("%s: -want +got\n%s", want.Key, d)
		}
	}
	if dir, err := config.CacheDir(); err != nil || dir != root+"/project/.cache" {
		t.Errorf("CacheDir: %s, %v", dir, err)
	}
}

func TestNoHome(t *testing.T) {
	t.Setenv("HOME", "")
	config, err := Load(Options{Getenv: func(string) string { return "" }, Dir: t.TempDir(), Etc: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := config.CacheDir(); err == nil || !strings.Contains(err.Error(), "set CURD_CACHE to a folder") {
		t.Error(err)
	}
}

func TestCacheDir(t *testing.T) {
	for _, c := range []struct {
		s    situation
		want string
	}{
		{situation{}, "$ROOT/home/.curds"},
		{situation{env: map[string]string{"CURD_CACHE": "rel"}, files: map[string]string{"etc/curd.toml": "cache-dir = '/c'"}}, "rel"},
		{situation{files: map[string]string{"home/.config/curd/curd.toml": "cache-dir = '~/c'"}}, "$ROOT/home/c"},
	} {
		config, root, err := c.s.load(t)
		if err != nil {
			t.Fatal(err)
		}
		if dir, err := config.CacheDir(); err != nil || dir != strings.ReplaceAll(c.want, "$ROOT", root) {
			t.Errorf("%s, %v; want %s", dir, err, c.want)
		}
	}
}

func TestMask(t *testing.T) {
	for in, want := range map[string]string{
		"http://host/path":              "http://host/path",
		"http://user:pass@host:80/p":    "http://user:****@host:80/p",
		"http://token@host":             "http://****@host",
		"http://u:pa/ss@host/x":         "http://u:****@host/x",
		"http://u:p@ss@host/x":          "http://u:****@host/x",
		"http://u:p?ss@host/x":          "http://u:****@host/x",
		"a=http://u:p@host":             "a=http://u:****@host",
		"http://host/@scope/x":          "http://host/@scope/x",
		"http://host:80/@scope/x":       "http://host:80/@scope/x",
		"http://[::1]:80/@scope":        "http://[::1]:80/@scope",
		"http://host/x?token=secret&a#": "http://host/x?****",
		"wheels/a@b":                    "wheels/a@b",
		"http://":                       "http://",
		"":                              "",
		"u:p@proxy:3128":                "u:****@proxy:3128",
	} {
		if got := Mask(in); got != want {
			t.Errorf("Mask(%s) = %s, want %s", in, got, want)
		}
	}
}

// The manual names every setting by all its names.
func TestManual(t *testing.T) {
	b, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if cells := strings.Split(line, "|"); len(cells) > 5 {
			rows[strings.Trim(cells[1], " `")] = line
		}
	}
	for _, k := range keys {
		for _, name := range []string{"--" + k.flag, k.env, k.pip} {
			if name != "" && name != "--" && !strings.Contains(rows[k.name], "`"+name+"`") {
				t.Errorf("the row of %s in docs/configuration.md lacks %s", k.name, name)
			}
		}
		for _, choice := range k.choices {
			if !strings.Contains(rows[k.name], choice) {
				t.Errorf("the row of %s in docs/configuration.md lacks %s", k.name, choice)
			}
		}
	}
}
