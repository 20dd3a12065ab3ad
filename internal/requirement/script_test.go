package requirement

import (
	"strings"
	"testing"
)

func TestScript(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want, err string }{
		"none":    {text: "import os\n", err: "no inline metadata"},
		"other":   {text: "# /// other\n# x = 1\n# ///\n", err: "no inline metadata"},
		"two":     {text: "# /// script\n# x = 1\n# ///\n\n# /// script\n# x = 1\n# ///\n", err: "several blocks"},
		"open":    {text: "# /// script\n# dependencies = ['flask']\n", err: "no inline metadata"},
		"nothing": {text: "# /// script\n# requires-python = '>=3.9'\n# ///\n"},
		"some": {
			text: "#!/usr/bin/env python3\r\n# /// script\r\n# dependencies = [\r\n#   'flask>=3', # why\r\n#\r\n#   'rich[x]; python_version > \"3\"',\r\n# ]\r\n# ///\r\nimport flask\r\n",
			want: `flask>=3 | rich[x]; python_version > "3"`,
		},
		"wrong TOML":        {text: "# /// script\n# dependencies = [\n# ///\n", err: "line"},
		"wrong type":        {text: "# /// script\n# dependencies = 1\n# ///\n", err: "dependencies"},
		"wrong requirement": {text: "# /// script\n# dependencies = ['flask >']\n# ///\n", err: "dependencies[0]"},
	} {
		lines, err := parseScript(strings.ReplaceAll(test.text, "\r\n", "\n"), "x.py")
		var got []string
		for _, l := range lines {
			got = append(got, l.String())
		}
		if s := strings.Join(got, " | "); s != test.want {
			t.Errorf("%s: got %s, want %s", name, s, test.want)
		}
		if test.err == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: error %v, want %q", name, err, test.err)
		}
	}
}

func FuzzParseScript(f *testing.F) {
	f.Add("# /// script\n# dependencies = ['flask']\n# ///\n")
	f.Fuzz(func(t *testing.T, text string) {
		lines, err := parseScript(text, "x.py")
		if err == nil {
			for _, l := range lines {
				if l.Name == "" && l.URL == "" {
					t.Errorf("%q gives a nameless requirement", text)
				}
			}
		}
	})
}
