package version

import (
	"strings"
	"testing"
)

// FuzzParse: what Parse accepts prints as an equal version, in one way only.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		v, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(v.String())
		if err != nil {
			t.Fatalf("%q gives %q: %v", s, v, err)
		}
		if again != v {
			t.Errorf("%q gives %#v, that gives %#v", s, v, again)
		}
		p := v.Public()
		if p.Compare(v) > 0 || p.Local() != "" || (p.Compare(v) == 0) != (v.Local() == "") {
			t.Errorf("%q: public version %q", v, p)
		}
	})
}

// FuzzSpecifiers: Set admits what Contains does, and printing keeps the meaning.
func FuzzSpecifiers(f *testing.F) {
	f.Fuzz(func(t *testing.T, text, other string) {
		s, err := ParseSpecifiers(text)
		if err != nil {
			return
		}
		again, err := ParseSpecifiers(s.String())
		if err != nil || !again.Equal(s) || again.String() != s.String() {
			t.Fatalf("%q prints as %q, that as %q (%v)", text, s, again, err)
		}
		set := s.Set()
		if not := set.Complement(); !set.Intersect(not).IsEmpty() || !set.Union(not).IsAll() {
			t.Errorf("%q: %v and its complement %v", text, set, not)
		}
		for _, v := range around(s, other) {
			if set.Contains(v) != s.Contains(v) {
				t.Errorf("%q: Set %v and Contains differ on %v", text, set, v)
			}
		}
	})
}

// around gives the version that text spells, if any, those that s names, and
// their neighbours.
func around(s Specifiers, text string) []Version {
	texts := []string{text}
	for _, sp := range s.list {
		public := sp.version.Public().String()
		base := strings.TrimSuffix(strings.TrimLeft(sp.text, "=!"), ".*")
		for _, near := range []string{public, base} {
			for _, end := range []string{"", ".0", ".1", ".dev0", ".dev1", "a0", "rc1", ".post0.dev0", ".post0", ".post1", "+0", "+a"} {
				texts = append(texts, near+end)
			}
		}
	}
	var versions []Version
	for _, text := range texts {
		if v, err := Parse(text); err == nil {
			versions = append(versions, v)
		}
	}
	return versions
}
