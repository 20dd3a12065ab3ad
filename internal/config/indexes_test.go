package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
)

func TestIndexes(t *testing.T) {
	const file = "project/curd.toml"
	const torch = "[[index]]\nname = 'pytorch'\nurl = 'http://torch'\nexplicit = true\n"
	const inner = "[[index]]\nname = 'inner'\nurl = 'http://inner'\n"
	for _, c := range []struct {
		name     string
		s        situation
		line     []string
		want     []string
		explicit string
		sources  string
	}{
		{name: "none"},
		{name: "one", s: situation{files: map[string]string{file: "index = 'http://a'"}}, want: []string{"http://a"}},
		{name: "several", s: situation{files: map[string]string{file: "index = ['http://a', 'b=http://b']"}}, want: []string{"http://a", "b=http://b"}},
		{name: "tables", s: situation{files: map[string]string{file: "[[index]]\nurl = 'http://a'\n" + inner}}, want: []string{"http://a", "inner=http://inner"}},
		{name: "variable", s: situation{files: map[string]string{file: inner}, env: map[string]string{"CURD_INDEX_URL": "http://m b=http://n"}}, want: []string{"http://m", "b=http://n"}},
		{name: "the default beside an explicit one", s: situation{files: map[string]string{file: torch}}, want: []string{publicIndex, "pytorch=http://torch"}, explicit: "pytorch"},
		{name: "pip's beside an explicit one", s: situation{files: map[string]string{file: torch}, env: map[string]string{"PIP_INDEX_URL": "http://mirror"}},
			want: []string{"http://mirror", "pytorch=http://torch"}, explicit: "pytorch"},
		{name: "a farther file's beside an explicit one", s: situation{files: map[string]string{file: torch, "etc/curd.toml": "index = 'http://mirror'"}},
			want: []string{"http://mirror", "pytorch=http://torch"}, explicit: "pytorch"},
		{name: "an explicit one beside the command line", s: situation{files: map[string]string{file: torch}}, line: []string{"http://l"}, want: []string{"http://l", "pytorch=http://torch"}, explicit: "pytorch"},
		{name: "the command line replaces by name", s: situation{files: map[string]string{file: torch}}, line: []string{"pytorch=http://l"}, want: []string{publicIndex, "pytorch=http://l"}, explicit: "pytorch"},
		{name: "a variable replaces by name", s: situation{files: map[string]string{file: torch}, env: map[string]string{"CURD_INDEX_URL": "http://m pytorch=http://n"}},
			want: []string{"http://m", "pytorch=http://n"}, explicit: "pytorch"},
		{name: "a nearer file replaces by name", s: situation{files: map[string]string{file: "[[index]]\nname='pytorch'\nurl='http://near'", "etc/curd.toml": torch}}, want: []string{"pytorch=http://near"}},
		{name: "an empty list is the default", s: situation{files: map[string]string{file: "index = []", "etc/curd.toml": "index = 'http://a'"}}},
		{name: "pinned", s: situation{files: map[string]string{file: torch + inner + "[sources]\nTorch = 'pytorch'\nacme = 'inner'"}},
			want: []string{"inner=http://inner", "pytorch=http://torch"}, explicit: "pytorch", sources: "acme=inner torch=pytorch"},
		{name: "pinned to what is replaced", s: situation{files: map[string]string{file: inner + "[sources]\nacme = 'inner'"}}, line: []string{"http://l"},
			want: []string{"http://l", "inner=http://inner"}, explicit: "inner", sources: "acme=inner"},
		{name: "pinned to a farther file's", s: situation{files: map[string]string{file: "index='http://a'\n[sources]\nacme = 'inner'", "etc/curd.toml": inner}},
			want: []string{"http://a", "inner=http://inner"}, explicit: "inner", sources: "acme=inner"},
		{name: "sources are not merged", s: situation{files: map[string]string{file: "sources = {}", "etc/curd.toml": inner + "[sources]\nacme = 'inner'"}}, want: []string{"inner=http://inner"}},
		{name: "a wrong one is the command's to refuse", line: []string{"nowhere"}, want: []string{"nowhere"}},
		{name: "pip's main and extra", s: situation{files: map[string]string{"etc/pip.conf": "[global]\nindex-url = http://p\nextra-index-url =\n  http://q\n  http://r"}}, want: []string{"http://p", "http://q", "http://r"}},
		{name: "pip's extra", s: situation{env: map[string]string{"PIP_EXTRA_INDEX_URL": "http://q"}}, want: []string{publicIndex, "http://q"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, _, err := c.s.load(t)
			if err != nil {
				t.Fatal(err)
			}
			var line []string
			for _, u := range c.line {
				line = append(line, "--index="+u)
			}
			got, err := apply(t, config, "index", line...)
			if err != nil || strings.Join(got, " ") != strings.Join(c.want, " ") {
				t.Errorf("--index: %q, %v; want %q", got, err, c.want)
			}
			var explicit []string
			for name, is := range config.Explicit() {
				if is {
					explicit = append(explicit, name)
				}
			}
			if s := strings.Join(explicit, " "); s != c.explicit {
				t.Errorf("explicit: %q, want %q", s, c.explicit)
			}
			want := map[dist.Name]string{}
			for _, pin := range strings.Fields(c.sources) {
				project, index, _ := strings.Cut(pin, "=")
				want[dist.Name(project)] = index
			}
			if d := cmp.Diff(want, config.Sources()); d != "" {
				t.Errorf("sources: %s", d)
			}
		})
	}
}

func TestCutIndex(t *testing.T) {
	for in, want := range map[string][2]string{
		"http://a/?b=c":    {"", "http://a/?b=c"},
		"b=http://a/?b=c":  {"b", "http://a/?b=c"},
		"=http://a":        {"", "=http://a"},
		"a b=http://a":     {"", "a b=http://a"},
		"py_torch-2.0=x=y": {"py_torch-2.0", "x=y"},
	} {
		if name, url := CutIndex(in); name != want[0] || url != want[1] {
			t.Errorf("CutIndex(%s) = %q, %q", in, name, url)
		}
	}
}
