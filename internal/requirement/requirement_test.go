package requirement

import (
	"slices"
	"strings"
	"testing"
)

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "foo bar", "foo=1", "foo>=1 <2", "foo_", "foo[a", "foo[a b]", "foo[a,]", "foo (>=1", "foo>=1)", "foo @", "foo>=1;",
		"foo @ https://x/y; os_name == 'nt'", "foo @ https://x/\x00", "foo @ https://x/\xff", "foo ; os_name == '\xff'", "foo\n",
		"./foo", "https://example.com/foo.zip", strings.Repeat("a", 256), "foo" + strings.Repeat(" ", maxLength),
	} {
		if r, err := Parse(text); err == nil {
			t.Errorf("Parse(%.80q) = %s", text, r)
		}
	}
}

func TestPasswordsAreHidden(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for _, text := range []string{
		"foo @ https://user:hunter2@example.com/foo.zip",
		"foo @ https://user:hunter2@example.com/foo@1.zip?x=a@b#egg=c@d ; os_name == 'posix'",
		"foo @ https://hunter2@example.com/foo.zip",
		"foo @ git+https://user:p@hunter2@example.com/foo.git@main",
		"foo @ https://user:hunter2@example.com", "foo @ https://:hunter2@[::1]:80/x",
	} {
		r, err := Parse(text)
		if err != nil {
			t.Error(err)
			continue
		}
		if strings.Contains(r.String(), secret) || !strings.Contains(r.String(), "****@") {
			t.Errorf("%s shows a password", r)
		}
		if !strings.Contains(r.URL, secret) {
			t.Errorf("%s: the URL has lost its password", r)
		}
		if _, err := Parse("? " + text); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("an error shows a password: %v", err)
		}
	}
}

// FuzzParse: what is printed is read again as the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"foo", "Foo_Bar [b,a, A] (>=1.0,<2) ; python_version < '3'", "foo @ https://u:p@example.com/a.zip ; os_name == 'nt'",
		"foo===1.0,,<2", "foo>=1,", "foo[", "foo ~= 1.0.* ", "a@b c",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			return
		}
		printed := r.String()
		if marker := r.Marker.String(); strings.ContainsAny(marker, "\\\n\r\x00") || len(printed) > maxLength {
			return // markers are printed without escapes
		}
		again, err := Parse(printed)
		if err != nil {
			t.Fatalf("%q prints as %q: %v", s, printed, err)
		}
		if again.String() != printed || again.Name != r.Name || !slices.Equal(again.Extras, r.Extras) {
			t.Fatalf("%q prints as %q, and that as %q", s, printed, again)
		}
	})
}
