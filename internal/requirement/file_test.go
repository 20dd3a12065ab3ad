package requirement

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// opener opens what files holds by slash-separated path.
func opener(files map[string]string) func(string) (io.ReadCloser, error) {
	return func(path string) (io.ReadCloser, error) {
		text, ok := files[filepath.ToSlash(path)]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		return io.NopCloser(strings.NewReader(text)), nil
	}
}

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestReadFile(t *testing.T) {
	t.Setenv("TOKEN", "hunter2")
	t.Setenv("EMPTY", "")
	file, err := ReadFile("requirements.txt", opener(map[string]string{
		"requirements.txt": "\ufeff# what we need\r\n" +
			"-i https://user:${TOKEN}@example.com/simple\r\n" +
			"--extra-index-url=https://${EMPTY}${lower}.example.com/ --pre\r\n" +
			"flask>=3.0 \\\r\n  --hash=sha256:" + strings.ToUpper(digest) + " \\\r\n  --hash sha256:" + digest + " # pinned\r\n" +
			"foo @ https://${TOKEN}@example.com/foo.zip#egg=foo ; python_version > '3'\r\n" +
			"-r sub/more.txt\r\n-c constraints.txt",
		"sub/more.txt":    "-r ../again.txt\n--requirement='../a b.txt'\n",
		"again.txt":       "numpy\n# comment \\\nscipy",
		"a b.txt":         "pandas",
		"constraints.txt": "numpy<2\n-r again.txt",
	}))
	if err != nil {
		t.Fatal(err)
	}
	type line struct{ Requirement, Where, Hashes string }
	lines := func(from []Line) (lines []line) {
		for _, l := range from {
			lines = append(lines, line{l.String(), filepath.ToSlash(l.Where), strings.Join(l.Hashes, " ")})
		}
		return lines
	}
	want := []line{
		{"flask>=3.0", "requirements.txt:4", "sha256:" + digest + " sha256:" + digest},
		{`foo @ https://****@example.com/foo.zip#egg=foo ; python_version > "3"`, "requirements.txt:7", ""},
		{"numpy", "again.txt:1", ""}, {"scipy", "again.txt:3", ""}, {"pandas", "a b.txt:1", ""},
	}
	if diff := cmp.Diff(want, lines(file.Requirements)); diff != "" {
		t.Errorf("requirements (-want +got):\n%s", diff)
	}
	want = []line{{"numpy<2", "constraints.txt:1", ""}, {"numpy", "again.txt:1", ""}, {"scipy", "again.txt:3", ""}}
	if diff := cmp.Diff(want, lines(file.Constraints)); diff != "" {
		t.Errorf("constraints (-want +got):\n%s", diff)
	}
	if file.IndexURL != "https://user:hunter2@example.com/simple" || !file.Pre {
		t.Errorf("index %q, pre %v", file.IndexURL, file.Pre)
	}
	if diff := cmp.Diff([]string{"https://${EMPTY}${lower}.example.com/"}, file.ExtraIndexURLs); diff != "" {
		t.Errorf("extra indexes (-want +got):\n%s", diff)
	}
}

func TestReadFileErrors(t *testing.T) {
	t.Parallel()
	many := map[string]string{"a.txt": strings.Repeat("-r b.txt\n", maxFiles)}
	many["b.txt"] = ""
	tests := []struct {
		name  string
		files map[string]string
		want  []string // parts of the error
	}{
		{"missing", nil, []string{"a.txt", "not exist"}},
		{"missing nested", map[string]string{"a.txt": "\n-r b.txt"}, []string{"a.txt:2: ", "b.txt"}},
		{"cycle", map[string]string{"a.txt": "-r b.txt", "b.txt": "x\n-c a.txt"}, []string{"a.txt:1: b.txt:2: ", "a.txt includes itself"}},
		{"wrong requirement", map[string]string{"a.txt": "-r b.txt", "b.txt": "# c\nfoo=1"}, []string{"a.txt:1: b.txt:2: ", `"foo=1"`}},
		{"editable archive", map[string]string{"a.txt": "-e x.zip"}, []string{"a.txt:1: ", "-e needs a folder"}},
		{"editable twice", map[string]string{"a.txt": "-e x -e y"}, []string{"a.txt:1: ", "--editable", "behind a requirement"}},
		{"editable with a hash", map[string]string{"a.txt": "-e x --hash=sha256:" + digest}, []string{"a.txt:1: ", "--hash", "editable"}},
		{"editable behind", map[string]string{"a.txt": "foo -e x"}, []string{"a.txt:1: ", "--editable", "behind a requirement"}},
		{"URL's password", map[string]string{"a.txt": "ftp://u:hunter2@example.com/foo"}, []string{"u:****@example.com", "not supported"}},
		{"option that is no more", map[string]string{"a.txt": "foo --global-option=x"}, []string{"a.txt:1: ", "--global-option", "--config-settings"}},
		{"unclear option", map[string]string{"a.txt": "--requ x"}, []string{"a.txt:1: ", "--require-hashes or --requirement"}},
		{"settings", map[string]string{"a.txt": "foo -C x"}, []string{"a.txt:1: ", "KEY=VALUE"}},
		{"settings alone", map[string]string{"a.txt": "-C x=y"}, []string{"a.txt:1: ", "--config-settings", "no requirement"}},
		{"names", map[string]string{"a.txt": "--no-binary a,,b"}, []string{"a.txt:1: "}},
		{"hashes and none", map[string]string{"a.txt": "--require-hashes --no-require-hashes"}, []string{"a.txt", "contradict"}},
		{"marker behind options", map[string]string{"a.txt": "--pre ; os_name == 'nt'"}, []string{"a.txt:1: ", "marker"}},
		{"standard input", map[string]string{"a.txt": "-r -"}, []string{"a.txt:1: ", "standard input"}},
		{"other host", map[string]string{"a.txt": "-r file://example.com/x"}, []string{"a.txt:1: ", "example.com"}},
		{"option behind", map[string]string{"a.txt": "foo --pre"}, []string{"--pre", "behind a requirement"}},
		{"requirement behind", map[string]string{"a.txt": "--pre foo"}, []string{`"foo" behind an option`}},
		{"no value", map[string]string{"a.txt": "foo\n-r"}, []string{"a.txt:2: option --requirement needs a value"}},
		{"quote", map[string]string{"a.txt": "-r 'b.txt"}, []string{"a.txt:1: a quote does not end"}},
		{"hash alone", map[string]string{"a.txt": "--hash=sha256:" + digest}, []string{"no requirement"}},
		{"weak hash", map[string]string{"a.txt": "foo --hash=md5:d41d8cd98f00b204e9800998ecf8427e"}, []string{"sha256"}},
		{"short hash", map[string]string{"a.txt": "foo --hash=sha256:00"}, []string{"sha256"}},
		{"constraint with extras", map[string]string{"a.txt": "-c b.txt", "b.txt": "foo[x]<1"}, []string{"b.txt:1: constraint foo[x]<1"}},
		{"constraint without a name", map[string]string{"a.txt": "-c b.txt", "b.txt": "./x.zip"}, []string{"b.txt:1: constraint ./x.zip"}},
		{"editable constraint", map[string]string{"a.txt": "-c b.txt", "b.txt": "-e ./x"}, []string{"b.txt:1: constraint -e ./x"}},
		{"not UTF-16", map[string]string{"a.txt": "\xff\xfef\x00x"}, []string{"a.txt is not text"}},
		{"not UTF-8", map[string]string{"a.txt": "# coding: utf-8\n# \xff"}, []string{"a.txt declares", "utf-8", "not UTF-8"}},
		{"unknown encoding", map[string]string{"a.txt": "# coding: rot13\n"}, []string{"a.txt declares", "rot13"}},
		{"too long", map[string]string{"a.txt": strings.Repeat("#", maxFileSize+1)}, []string{"a.txt: longer than"}},
		{"too many", many, []string{fmt.Sprintf("a.txt:%d: more than", maxFiles)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := ReadFile("a.txt", opener(test.files))
			if err == nil {
				t.Fatal("accepted")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q shows a password", err)
			}
		})
	}
	if _, err := ReadFile("a.txt", opener(nil)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
}

// TestReadFileElsewhere: files of the network and of standard input.
func TestReadFileElsewhere(t *testing.T) {
	t.Parallel()
	const base = "https://user:hunter2@example.com/a/"
	files := map[string]string{
		base + "r.txt":     "-r sub/s.txt\n-c ../c.txt\n-f links\n./x\n",
		base + "sub/s.txt": "-r /t.txt?x=y",
		"https://user:hunter2@example.com/t.txt?x=y": "flask",
		"https://user:hunter2@example.com/c.txt":     "flask<4",
		"-":                                          "-r nested.txt\n-r https://example.com/r.txt",
		"nested.txt":                                 "a",
		"https://example.com/r.txt":                  "b",
		filepath.ToSlash(filepath.Join("/etc", "r.txt")): "c",
		"https://example.com/local":                      "-r file:///etc/r.txt",
		"https://example.com/unclear":                    "-r gopher://example.com/",
	}
	open := opener(files)
	where := func(lines []Line) (where []string) {
		for _, l := range lines {
			where = append(where, l.String()+" "+l.Where)
		}
		return where
	}
	file, err := ReadFile(base+"r.txt", open)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"flask https://user:****@example.com/t.txt?x=y:1", "./x https://user:****@example.com/a/r.txt:4"}, where(file.Requirements)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"flask<4 https://user:****@example.com/c.txt:1"}, where(file.Constraints)); diff != "" {
		t.Error(diff)
	}
	if file, err = ReadFile("-", open); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a nested.txt:1", "b https://example.com/r.txt:1"}, where(file.Requirements)); diff != "" {
		t.Error(diff)
	}
	if file, err = ReadFile("file:///etc/r.txt", open); err != nil || len(file.Requirements) != 1 {
		t.Errorf("file: URL: %v, %v", file.Requirements, err)
	}
	for _, path := range []string{"https://example.com/local", "https://example.com/unclear", "file://example.com/etc/r.txt"} {
		if _, err := ReadFile(path, open); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestReadFileUnlikePip: what the vectors cannot hold against pip.
func TestReadFileUnlikePip(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "links"), 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "r.txt")
	file, err := ReadFile(name, func(string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("-e ./a ; os_name == 'nt' -C x=y\n-e 'b @ ./c ; os_name == \"nt\"'\n" +
			"-f links -f other -f https://example.com/\n--prefer-binary --use-feature x\n-i x --no-index --extra-index-url y\n")), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`-e ./a; os_name == "nt"`, `-e b @ ./c ; os_name == "nt"`}
	for i, l := range file.Requirements {
		if l.String() != want[i] || l.Source.Kind != Directory {
			t.Errorf("%s, not %s: %+v", l, want[i], l.Source)
		}
	}
	if diff := cmp.Diff(map[string][]string{"x": {"y"}}, file.Requirements[0].ConfigSettings); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{filepath.Join(dir, "links"), "other", "https://example.com/"}, file.FindLinks); diff != "" {
		t.Error(diff)
	}
	if len(file.Ignored) != 2 || !strings.HasPrefix(file.Ignored[0], name+":4: --prefer-binary: ") {
		t.Error(file.Ignored)
	}
	if file.IndexURL != "" || file.ExtraIndexURLs != nil {
		t.Errorf("--no-index leaves %q and %q", file.IndexURL, file.ExtraIndexURLs)
	}
}

// FuzzReadFile: whatever is read, each line says where it stands, and its hashes are whole.
func FuzzReadFile(f *testing.F) {
	for _, s := range []string{
		"flask # c\n\n-r b.txt\n", "foo \\\n --hash=sha256:" + digest, "-i 'https://x' --pre\r--extra-index-url \"a\\\"b\"",
		"\ufeff-c b.txt\n${HOME}", "\\\n\\\n#\\\nfoo", "-r a.txt", "-cb.txt -r b.txt", "foo --hash", "./x", "-e x", "a @ b -- c",
		"-e ./a ; os_name == 'nt' -C a=b", "\xff\xfef\x00", "# coding: gbk\n\xd6\xd0", "--no-binary :all:,:none:,b --only-b a", "-f x --no-ind",
		"git+ssh://g@e.com/x.git@v1#egg=a[b]&subdirectory=c ; os_name", "flask\x85b\u2028c",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		file, err := ReadFile("a.txt", opener(map[string]string{"a.txt": s, "b.txt": "b\n"}))
		if err != nil {
			return
		}
		for _, l := range append(file.Requirements, file.Constraints...) {
			if l.Where != "b.txt:1" && !strings.HasPrefix(l.Where, "a.txt:") || l.Name == "" && l.Source.Kind == Named {
				t.Fatalf("%q: line %+v", s, l)
			}
			for _, h := range l.Hashes {
				if _, err := checkHash(h); err != nil {
					t.Fatalf("%q: %v", s, err)
				}
			}
		}
	})
}
