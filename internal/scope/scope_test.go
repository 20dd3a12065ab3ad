package scope

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"main", "a", "7", "pr-123", "mr-1.2_x", "feature-x@00ff", strings.Repeat("a", MaxName)} {
		if err := Check(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"", ".", "..", "../main", "a/b", `a\b`, "/a", "a/", "%2e%2e", "a%2fb", "-a", "a-", ".a", "a.", "a..b", "A", "pr-1 ", " pr-1",
		"pr-１", "ﬁ", "a\u0301", "pr\u200b-1", "pr:1", "pr\x00", "pr\n", "K", strings.Repeat("a", MaxName+1), "~a", "a~1",
	} {
		if Check(name) == nil {
			t.Errorf("%q is taken", name)
		}
	}
}

func TestFor(t *testing.T) {
	t.Parallel()
	if got := For("pr-{n}", "pr-123", "123"); got != "pr-123" {
		t.Errorf("%q, though it is a name as it is", got)
	}
	seen := make(map[string]string)
	for _, value := range []string{
		"main", "Main", "MAIN", "../main", "main/", "feature/x", "feature-x", "Feature-x", "feature/X", "feature//x", "%2e%2e", "..", "ｍain",
		strings.Repeat("long-", 40), strings.Repeat("long-", 41), "a@b", "a-b", "\x00", "",
	} {
		got := For("{branch}", value, value)
		if err := Check(got); err != nil || got == Main {
			t.Errorf("%.20q gives %q: %v", value, got, err)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q share %q", value, other, got)
		}
		seen[got] = value
	}
	// Somebody calls his branch as another's was made to be called.
	made := For("{branch}", "feature/x", "feature/x")
	if again := For("{branch}", made, made); again == made {
		t.Errorf("%q can be had in two ways", made)
	}
	if a, b := For("{a}-{b}", "x-y-z", "x-y", "z"), For("{a}-{b}", "x-y-z", "x", "y-z"); a == b {
		t.Errorf("two pairs share %q", a)
	}
}

func FuzzFor(f *testing.F) {
	f.Add("pr-", "1", "2")
	f.Add("", "main", "..")
	f.Add("x", "feature/A", "feature/a")
	f.Add("pr-", "１", "1")
	f.Fuzz(func(t *testing.T, prefix, a, b string) {
		if strings.Contains(prefix, "@") {
			return
		}
		x, y := For(prefix+"{v}", prefix+a, a), For(prefix+"{v}", prefix+b, b)
		for _, name := range []string{x, y} {
			if err := Check(name); err != nil || name == Main || !filepath.IsLocal(name) || filepath.Base(name) != name {
				t.Fatalf("%q: %v", name, err)
			}
		}
		if (x == y) != (a == b) {
			t.Fatalf("%q gives %q, %q gives %q", a, x, b, y)
		}
	})
}
