package version

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The numbers that are drawn are few, so that versions meet.
var (
	numbers  = rapid.SampledFrom([]string{"0", "1", "2", "10", "300", "99999999999999999999"})
	releases = rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"", "", "", "1!"}).Draw(t, "epoch") +
			strings.Join(rapid.SliceOfN(numbers, 1, 3).Draw(t, "release"), ".")
	})
	publics = rapid.Custom(func(t *rapid.T) string {
		s := releases.Draw(t, "release")
		for _, segment := range [][]string{{"a", "rc"}, {".post"}, {".dev"}} {
			if rapid.IntRange(0, 3).Draw(t, "segment") == 0 {
				s += rapid.SampledFrom(segment).Draw(t, "word") + numbers.Draw(t, "number")
			}
		}
		return s
	})
	versions = rapid.Custom(func(t *rapid.T) Version {
		local := rapid.SampledFrom([]string{"", "", "", "+0", "+1", "+ab", "+ab.1"}).Draw(t, "local")
		return MustParse(publics.Draw(t, "public") + local)
	})
	clauses = rapid.Custom(func(t *rapid.T) string {
		switch op := rapid.SampledFrom([]string{">=", "<=", "==", "!=", ">", "<", "~=", "===", ".*"}).Draw(t, "operator"); op {
		case "==", "!=", "===":
			return op + versions.Draw(t, "version").String()
		case "~=":
			return op + "1." + strings.TrimPrefix(publics.Draw(t, "version"), "1!")
		case ".*":
			return rapid.SampledFrom([]string{"==", "!="}).Draw(t, "operator") + releases.Draw(t, "release") + ".*"
		default:
			return op + publics.Draw(t, "version")
		}
	})
	sets = rapid.Custom(func(t *rapid.T) Set {
		var set Set
		for range rapid.IntRange(0, 3).Draw(t, "intervals") {
			s, err := ParseSpecifiers(strings.Join(rapid.SliceOfN(clauses, 0, 3).Draw(t, "clauses"), ","))
			if err != nil {
				t.Fatal(err)
			}
			set = set.Union(s.Set())
		}
		if rapid.Bool().Draw(t, "complement") {
			set = set.Complement()
		}
		return set
	})
)

func TestSetIsContains(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, err := ParseSpecifiers(strings.Join(rapid.SliceOfN(clauses, 0, 4).Draw(t, "clauses"), ","))
		if err != nil {
			t.Fatal(err)
		}
		set := s.Set()
		for _, v := range rapid.SliceOfN(versions, 1, 20).Draw(t, "versions") {
			if set.Contains(v) != s.Contains(v) {
				t.Errorf("%v: Set %v and Contains differ on %v", s, set, v)
			}
		}
	})
}

func TestSetAlgebra(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := sets.Draw(t, "a"), sets.Draw(t, "b")
		both, either, not := a.Intersect(b), a.Union(b), a.Complement()
		for _, v := range rapid.SliceOfN(versions, 1, 20).Draw(t, "versions") {
			inA, inB := a.Contains(v), b.Contains(v)
			if both.Contains(v) != (inA && inB) || either.Contains(v) != (inA || inB) || not.Contains(v) == inA {
				t.Errorf("%v, %v: wrong on %v", a, b, v)
			}
			if one := Exactly(v); one.SubsetOf(a) != inA || one.Disjoint(a) == inA || !one.Contains(v) {
				t.Errorf("%v: wrong on exactly %v", a, v)
			}
		}
		if !not.Complement().Equal(a) || !both.Complement().Equal(not.Union(b.Complement())) {
			t.Errorf("%v, %v: De Morgan", a, b)
		}
		if a.SubsetOf(b) != both.Equal(a) || a.Disjoint(b) != both.IsEmpty() || !both.SubsetOf(a) || !a.SubsetOf(either) {
			t.Errorf("%v, %v: subsets", a, b)
		}
		if !a.Union(not).IsAll() || !a.Intersect(not).IsEmpty() || !a.Intersect(All()).Equal(a) || !a.Union(Set{}).Equal(a) {
			t.Errorf("%v: complement", a)
		}
	})
}

func TestSetString(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ set, want string }{
		{"", "*"},
		{"===?", "none"},
		{">=2,<1", "none"},
		{">=0.dev0", "*"},
		{">=1.0,<2.0", ">=1.0,<2.0"},
		{">=1.0,<2.0 or ==3.0", ">=1.0,<2.0 or ==3.0"},
		{"===1.0", "==1.0"},
		{"==1.0+cpu", "==1.0+cpu"},
		{"~=1.4.2", ">=1.4.2,<1.5"},
		{"==1.4.*", "==1.4.*"},
		{"!=1.5,!=2.*,>1", ">1,!=1.5,!=2.*"},
		{"!=1.5,<3,>=1", ">=1,<3,!=1.5"},
		{"==1.4.*,<1.4.5", ">=1.4.dev0,<1.4.5"},
		{"<=1.0 or >2.0rc1", "<=1.0 or >2.0rc1"},
		{"<1.0.post2,>=1.0.post1.dev0", ">=1.0.post1.dev0,<1.0.post2"},
	} {
		var set Set
		for part := range strings.SplitSeq(test.set, " or ") {
			s, err := ParseSpecifiers(part)
			if err != nil {
				t.Fatal(err)
			}
			set = set.Union(s.Set())
		}
		if got := set.String(); got != test.want {
			t.Errorf("%q: %q, want %q", test.set, got, test.want)
		}
	}
	if got, want := Exactly(MustParse("1.0")).Complement().String(), "!=1.0"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
