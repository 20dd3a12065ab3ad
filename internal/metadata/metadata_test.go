package metadata

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	m, err := Parse([]byte(`Metadata-Version: 2.1
Name: Ruamel.Yaml
Version: 0.18.6
Summary: a YAML
        parser
Home-page: UNKNOWN
Author: UNKNOWN
Author-email: someone@example.com
License: MIT
        and more
Keywords: yaml,
        parser
Classifier: Topic :: Text
Project-URL: Home, https://example.com/a,b
Dynamic: Requires-Dist
Description-Content-Type: text/markdown
Requires-Python: >=3.7
Requires-Dist: ruamel.yaml.clib (>=0.2.7) ; python_version < "3.13"
Requires-Dist: foo[B,a] @ https://user:hunter2@example.com/foo.zip
Provides-Extra: Docs_X
Provides-Extra: not a name

# Title

Name: not a header
`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"Name": "ruamel-yaml", "RawName": "Ruamel.Yaml", "Version": "0.18.6", "Summary": "a YAML parser", "HomePage": "",
		"Author": "someone@example.com", "License": "MIT\nand more", "Keywords": "yaml, parser",
		"ProjectURLs": [][2]string{{"Home", "https://example.com/a,b"}}, "Dynamic": []string{"requires-dist"},
		"Requires": `ruamel-yaml-clib>=0.2.7; python_version < "3.13"|foo[a,b] @ https://user:****@example.com/foo.zip`,
		"Extras":   "[docs-x]", "Description": "# Title\n\nName: not a header\n", "Type": "text/markdown",
	}
	got := map[string]any{
		"Name": string(m.Name), "RawName": m.RawName, "Version": m.Version.String(), "Summary": m.Summary, "HomePage": m.HomePage,
		"Author": m.Author, "License": m.License, "Keywords": m.Keywords, "ProjectURLs": m.ProjectURLs, "Dynamic": m.Dynamic,
		"Requires": m.RequiresDist[0].String() + "|" + m.RequiresDist[1].String(),
		"Extras":   fmt.Sprint(m.ProvidesExtra), "Description": m.Description, "Type": m.DescriptionContentType,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseOddities(t *testing.T) {
	t.Parallel()
	const head = "Name: foo\nVersion: 1.0\n"
	tests := []struct {
		name, text       string
		summary, body    string
		wrong            string // the field of the *FieldError, with metadata all the same
		requires, python string
	}{
		{name: "header description", text: head + "Description: one\n        two\n       |\n       | three\n", body: "one\ntwo\n\n three"},
		{name: "body goes before the header", text: head + "Description: one\n\ntwo", body: "two"},
		{name: "latin-1", text: head + "Summary: Gr\xfc\xdfe\n\nGr\xfc\xdfe", summary: "Grüße", body: "Grüße"},
		{name: "utf-8", text: head + "Summary: Grüße", summary: "Grüße"},
		{name: "carriage returns", text: "Name: foo\rVersion: 1.0\r\nRequires-Dist: a\r\rbody", requires: "a", body: "body"},
		{name: "license that was not folded", text: head + "License: some\ntext\nRequires-Dist: lost\n", body: "text\nRequires-Dist: lost\n"},
		{name: "wrong encoding of a requirement", text: head + "Requires-Dist: a ; os_name == '\xfc'\nRequires-Dist: b", wrong: "Requires-Dist", requires: "b"},
		{name: "wrong requirement", text: head + "Requires-Python: x\nRequires-Dist: a=1\nRequires-Dist: b", wrong: "Requires-Dist", requires: "b"},
		{name: "wrong python", text: head + "Requires-Python: 3\nRequires-Dist: b", wrong: "Requires-Python", requires: "b"},
		{name: "the first counts", text: head + "Name: bar\nVersion: 2\nRequires-Python: >=3\nRequires-Python: >=4\n", python: ">=3"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m, err := Parse([]byte(test.text))
			var wrong *FieldError
			if errors.As(err, &wrong) != (test.wrong != "") || wrong != nil && wrong.Field != test.wrong || m == nil {
				t.Fatalf("%v, %v; want an error in %q", m, err, test.wrong)
			}
			var requires []string
			for _, r := range m.RequiresDist {
				requires = append(requires, r.String())
			}
			want := []string{"foo", "1.0", test.summary, test.body, test.requires, test.python}
			got := []string{string(m.Name), m.Version.String(), m.Summary, m.Description, strings.Join(requires, " "), m.RequiresPython.String()}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"Name":             "Version: 1.0\n",
		"Version":          "Name: foo\n\nVersion: 1.0",
		"is missing":       "",
		"name \"foo bar\"": "Name: foo bar\nVersion: 1.0",
		"\"x\"":            "Name: foo\nVersion: x",
		"longer":           strings.Repeat("a", maxSize+1),
	} {
		if m, err := Parse([]byte(text)); m != nil || err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Parse(%.40q) = %v, %v; want an error with %q", text, m, err, name)
		}
	}
	many := "Name: foo\nVersion: 1.0\n" + strings.Repeat("Requires-Dist: a\n", maxRepeats+1)
	if m, err := Parse([]byte(many)); m == nil || err == nil || len(m.RequiresDist) > 0 {
		t.Errorf("%d requirements: %v", maxRepeats+1, err)
	}
}

// FuzzParse: there is metadata or an error, or both for a field that is wrong.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"Name: foo\nVersion: 1.0\nRequires-Dist: bar (>=1.0); extra == 'x'\nProvides-Extra: x\n\nbody",
		"From x\nName: a\r\n b\rVersion : 1\n: x\n\tc\nDescription: a\n       |b", "Name: a\nVersion: 1\nRequires-Dist: \xff\nRequires-Python: 3",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		var field *FieldError
		if m == nil && err == nil || m != nil && err != nil && !errors.As(err, &field) {
			t.Fatalf("%v, %v", m, err)
		}
		if m == nil {
			return
		}
		if m.Name == "" || m.Version.IsZero() {
			t.Fatalf("%q: no name or version", b)
		}
		for _, s := range append([]string{m.RawName, m.Summary, m.Description, m.License}, m.Classifiers...) {
			if s != strings.ToValidUTF8(s, "") {
				t.Fatalf("%q: %q is not UTF-8", b, s)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	text := []byte("Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n" +
		strings.Repeat("Requires-Dist: bar<2,>=1.0; python_version < \"3.8\" and extra == \"x\"\n", 50) + "\n" + strings.Repeat("text\n", 2000))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
