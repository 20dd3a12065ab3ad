package marker

import (
	"errors"
	"strings"
	"testing"
)

func linux() Environment {
	return Environment{
		"implementation_name": "cpython", "implementation_version": "3.11.7", "os_name": "posix",
		"platform_machine": "x86_64", "platform_python_implementation": "CPython", "platform_release": "6.1.0-18-amd64",
		"platform_system": "Linux", "platform_version": "#1 SMP", "python_full_version": "3.11.7",
		"python_version": "3.11", "sys_platform": "linux",
	}
}

func TestZeroMarkerHolds(t *testing.T) {
	t.Parallel()
	var m Marker
	if !m.IsZero() || m.String() != "" {
		t.Errorf("the zero marker prints as %q", m)
	}
	if holds, err := m.Holds(nil, ""); !holds || err != nil {
		t.Errorf("Holds = %v, %v", holds, err)
	}
	if holds, err := m.HoldsInLock(nil, nil, nil); !holds || err != nil {
		t.Errorf("HoldsInLock = %v, %v", holds, err)
	}
}

func TestEqual(t *testing.T) {
	t.Parallel()
	a, b, c := parse(t, `os_name=='nt'`), parse(t, `(os.name == "nt")`), parse(t, `os_name == "posix"`)
	if !a.Equal(b) || a.Equal(c) || a.Equal(Marker{}) || !(Marker{}).Equal(Marker{}) {
		t.Error("Equal is wrong")
	}
}

func TestUndefined(t *testing.T) {
	t.Parallel()
	tests := []struct {
		marker string
		want   error
	}{
		{`os_name ~= "posix"`, ErrUndefinedComparison},
		{`os_name == "posix" or os_name ~= "posix"`, ErrUndefinedComparison}, // though the left part decides
		{`"a" == "b"`, ErrUndefinedEnvironmentName},
		{`"a" in extras`, ErrUndefinedEnvironmentName}, // outside of a lock file
	}
	for _, test := range tests {
		if holds, err := parse(t, test.marker).Holds(linux(), ""); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, %v; want %v", test.marker, holds, err, test.want)
		}
	}
	if _, err := parse(t, `os_name == "posix"`).Holds(Environment{}, ""); !errors.Is(err, ErrUndefinedEnvironmentName) {
		t.Errorf("in an empty environment: %v", err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	nested := func(n int) string {
		return strings.Repeat("(", n) + `os_name == "nt"` + strings.Repeat(")", n)
	}
	parse(t, nested(maxDepth))
	for name, text := range map[string]string{
		"depth":    nested(maxDepth + 1),
		"bottom":   strings.Repeat("(", maxLength),
		"length":   `os_name == "` + strings.Repeat("x", maxLength) + `"`,
		"encoding": "os_name == '\xff'",
	} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%s: accepted", name)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
}

func parse(t testing.TB, s string) Marker {
	t.Helper()
	m, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// FuzzParse: what is printed is read again as the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`python_version<'3.9' and (extra == "Foo_Bar" or os.name in "nt posix")`,
		`"test" not in extras`, `'3.8' <= python_full_version`, `os_name == "\x41\101\t"`, `((os_name == "a"))`, `"a" == "os_name"`,
	} {
		f.Add(s)
	}
	env := linux()
	f.Fuzz(func(t *testing.T, s string) {
		m, err := Parse(s)
		if err != nil {
			return
		}
		holds, evalErr := m.Holds(env, "test")
		printed := m.String()
		if strings.ContainsAny(printed, "\\\n\r\x00") {
			return // packaging does not print escapes
		}
		again, err := Parse(printed)
		if len(printed) > maxLength {
			return
		}
		if err != nil {
			t.Fatalf("%q prints as %q: %v", s, printed, err)
		}
		if !again.Equal(m) {
			t.Fatalf("%q prints as %q, and that as %q", s, printed, again)
		}
		if againHolds, err := again.Holds(env, "test"); againHolds != holds || (err == nil) != (evalErr == nil) {
			t.Fatalf("%q is %v, %v; printed and read again %v, %v", s, holds, evalErr, againHolds, err)
		}
	})
}

func BenchmarkHolds(b *testing.B) {
	env := linux()
	for name, text := range map[string]string{
		"platform": `sys_platform == "win32" and platform_machine != "arm64"`,
		"version":  `python_version < "3.9"`,
		"extra":    `python_full_version >= "3.8.1" and extra == "dev"`,
	} {
		m := parse(b, text)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Holds(env, "dev"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
