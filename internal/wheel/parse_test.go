package wheel

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseEntryPoints(t *testing.T) {
	t.Parallel()
	const text = "outside = ignored\n" +
		"[console_scripts]\r\n" +
		"# a comment = x:y\n" +
		"  foo = foo.cli:main \n" +
		"\n" +
		"bar=bar:Bar.run [extra, more]\n" +
		"foo = foo:other\n" +
		"größe-1.0 = gr\u00f6\u00dfe:m\u00e4in\n" +
		"[pytest11]\n" +
		"not even a pair\n" +
		"../x = y\n" +
		"[gui_scripts]\n" +
		"foo = foo:gui\f[console_scripts]\vlast = a:b"
	console, gui, err := parseEntryPoints(text)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]EntryPoint{
		{{"foo", "foo", "other"}, {"bar", "bar", "Bar.run"}, {"größe-1.0", "größe", "mäin"}, {"last", "a", "b"}},
		{{"foo", "foo", "gui"}},
	}
	if diff := cmp.Diff(want, [][]EntryPoint{console, gui}); diff != "" {
		t.Error(diff)
	}
}

func TestIsInterpreter(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"python": true, "python3": true, "python3.11": true, "Python": true, "python.exe": true, "pythonw": true,
		"python3.13t": true, "pypy3": true, "pypy3.10": true,
		"pythonic": false, "ipython": false, "python-config": false, "pip": false, "pypyr": false, "": false,
	} {
		if got := IsInterpreter(name); got != want {
			t.Errorf("%q: %t", name, got)
		}
	}
}

func TestParseRecord(t *testing.T) {
	t.Parallel()
	hash := "sha256=" + emptySHA256
	got, err := parseRecord("a," + hash + ",0\r\n" +
		"\"b, \"\"c\"\"\"," + hash + ",\n" +
		"\n" +
		"a," + hash + ",0\n" +
		"bare\n" +
		"x/RECORD,,")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]recordRow{"a": {hash, 0}, `b, "c"`: {hash, -1}, "bare": {"", -1}, "x/RECORD": {"", -1}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(recordRow{})); diff != "" {
		t.Error(diff)
	}
}
