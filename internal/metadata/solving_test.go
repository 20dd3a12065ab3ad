package metadata

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestForSolving(t *testing.T) {
	text := "Metadata-Version: 2.4\nName: a\nLicense: long\n  very long\nVersion: 1\nRequires-Dist: b;\n  extra == 'x'\n" +
		"From nowhere\n  to here\nSummary: s\nRequires-Python: >=3\r\nprovides-extra: x\rKeywords: k\n\nRequires-Dist: no\n"
	want := "Metadata-Version: 2.4\nName: a\nVersion: 1\nRequires-Dist: b;\n  extra == 'x'\nRequires-Python: >=3\r\nprovides-extra: x\r"
	if diff := cmp.Diff(want, string(ForSolving([]byte(text)))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzForSolving: what is left is read as the whole is.
func FuzzForSolving(f *testing.F) {
	for _, seed := range []string{"Name: a\nVersion: 1\n", "Name: a\nX: y\n z\nVersion: 1\nRequires-Dist: b\n c\n\nd", "From x\n y\nname: a\rversion: 1\r\nFrom: b"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, err := Parse(b)
		part, partErr := Parse(ForSolving(b))
		read, readErr := ParseForSolving(b)
		if (err == nil) != (partErr == nil) || (err == nil) != (readErr == nil) {
			t.Fatalf("the whole: %v, the part: %v, what was read of it: %v", err, partErr, readErr)
		}
		if err != nil {
			return
		}
		facts := func(m *Metadata) []any {
			var requires []string
			for _, r := range m.RequiresDist {
				requires = append(requires, r.String())
			}
			return []any{m.MetadataVersion, m.Name, m.Version.String(), m.Dynamic, m.ProvidesExtra, m.RequiresPython.String(), requires}
		}
		for _, m := range []*Metadata{part, read} {
			if diff := cmp.Diff(facts(whole), facts(m)); diff != "" {
				t.Errorf("(-whole +part):\n%s", diff)
			}
		}
	})
}
