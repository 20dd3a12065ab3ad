package marker

import (
	"testing"

	"pgregory.net/rapid"
)

func parseAll(t interface{ Fatal(...any) }, texts []string) (all []Marker) {
	for _, text := range texts {
		m, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func TestAgree(t *testing.T) {
	for _, test := range []struct {
		markers []string
		want    string
	}{
		{nil, ""},
		{[]string{`extra == "test"`}, ""},
		{[]string{`sys_platform == "win32"`}, `sys_platform != "win32"`},
		{[]string{`sys_platform == "linux"`, `sys_platform != "win32"`}, `sys_platform == "linux"`},
		{[]string{`python_version < "3.12"`, `python_version < "3.13" and extra == "x"`}, `python_version < "3.12"`},
		{[]string{`python_version < "3.10"`, `python_version < "3.8"`}, `python_version >= "3.10"`},
		{[]string{`"win" in sys_platform or os_name == "nt"`}, `"win" not in sys_platform and os_name != "nt"`},
		{[]string{`python_version ~= "3.12"`}, `python_version == "3.11"`},
		{[]string{`platform_machine < "z"`}, `platform_machine == "x86_64"`},
		{[]string{`platform_system ~= "x"`}, ""}, // cannot be evaluated
		{[]string{`(python_version < "3.9" or implementation_name == "pypy") and sys_platform != "win32"`},
			`implementation_name != "pypy" and python_version >= "3.9" and sys_platform != "win32"`},
	} {
		if got := Agree(linux(), parseAll(t, test.markers)).String(); got != test.want {
			t.Errorf("Agree(%q) = %s, want %s", test.markers, got, test.want)
		}
	}
}

// Wherever the result holds, each marker comes out as in the environment that it was made for.
func TestAgreeLetsNobodyElseIn(t *testing.T) {
	versions := []string{"3.8", "3.9", "3.11", "3.11.2", "3.12", "3.12.0rc1", "4"}
	values := map[string][]string{
		"python_version": {"3.8", "3.9", "3.11", "3.12"}, "python_full_version": {"3.8.1", "3.11.2", "3.12.0rc1", "3.12.1"},
		"sys_platform": {"linux", "win32", "darwin"}, "platform_machine": {"x86_64", "arm64"},
	}
	names := []string{"python_version", "python_full_version", "sys_platform", "platform_machine"}
	rapid.Check(t, func(t *rapid.T) {
		environment := func(label string) Environment {
			e := Environment{}
			for _, name := range names {
				e[name] = rapid.SampledFrom(values[name]).Draw(t, label+name)
			}
			return e
		}
		var texts []string
		for range rapid.IntRange(1, 6).Draw(t, "n") {
			name := rapid.SampledFrom(names).Draw(t, "name")
			op := rapid.SampledFrom([]string{"<", "<=", ">", ">=", "==", "!=", "~=", "in", "not in"}).Draw(t, "op")
			literal := rapid.SampledFrom(append(versions, values[name]...)).Draw(t, "literal")
			text := name + " " + op + ` "` + literal + `"`
			if rapid.Bool().Draw(t, "swap") {
				text = `"` + literal + `" ` + op + " " + name
			}
			if rapid.Bool().Draw(t, "extra") {
				text += ` and extra == "x"`
			}
			texts = append(texts, text)
		}
		here, there := environment("here "), environment("there ")
		markers := parseAll(t, texts)
		agreed := Agree(here, markers)
		if ok, err := agreed.Holds(here, ""); !ok || err != nil {
			t.Fatalf("%s does not hold where it was made: %v", agreed, err)
		}
		if again, err := Parse(agreed.String()); !agreed.IsZero() && (err != nil || !again.Equal(agreed)) {
			t.Fatalf("%s is not read again: %v", agreed, err)
		}
		if ok, _ := agreed.Holds(there, ""); !ok {
			return
		}
		for _, m := range markers {
			a, err := m.Holds(here, "x")
			b, _ := m.Holds(there, "x")
			if err == nil && a != b {
				t.Fatalf("%s holds in %v, but %s is %v in %v", agreed, there, m, b, here)
			}
		}
	})
}
