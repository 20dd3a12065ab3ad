package version

import (
	"encoding/json"
	"math"
	"strconv"
	"testing"

	"curdling/internal/vectortest"
)

// TestVectors holds the package against what Python's packaging said
// (testdata/vectors.py tells the form of the lines).
func TestVectors(t *testing.T) {
	t.Parallel()
	checks := map[string]func(*testing.T, fields) int{
		"parse": checkParse, "invalid": checkInvalid, "compare": checkCompare, "badspec": checkBadSpecifiers,
		"spec": checkSpecifiers, "contains": checkContains, "relate": checkRelation,
	}
	cases := 0
	for raw := range vectortest.Lines(t, "version") {
		var line fields
		if err := json.Unmarshal(raw, &line); err != nil {
			t.Fatal(err)
		}
		cases += checks[line.text(0)](t, line)
	}
	if cases < 20_000 {
		t.Errorf("only %d cases", cases)
	}
}

// fields is one line. Its checks give the number of cases that it holds.
type fields []any

func (f fields) text(i int) string { return f[i].(string) }
func (f fields) number(i int) int  { return int(f[i].(float64)) }
func (f fields) texts(i int) []string {
	var list []string
	for _, s := range f[i].([]any) {
		list = append(list, s.(string))
	}
	return list
}

func checkParse(t *testing.T, f fields) int {
	v, err := Parse(f.text(1))
	if err != nil {
		t.Error(err)
		return 1
	}
	if got, want := v.String(), f.text(2); got != want {
		t.Errorf("Parse(%q) = %q, want %q", f.text(1), got, want)
	}
	if got, want := v.Public().String(), f.text(3); got != want {
		t.Errorf("%q: Public = %q, want %q", f.text(1), got, want)
	}
	if got, want := v.Local(), f.text(4); got != want {
		t.Errorf("%q: Local = %q, want %q", f.text(1), got, want)
	}
	if got, want := v.IsPrerelease(), f.number(5) == 1; got != want {
		t.Errorf("%q: IsPrerelease = %v", f.text(1), got)
	}
	if got, want := v.IsPostrelease(), f.number(6) == 1; got != want {
		t.Errorf("%q: IsPostrelease = %v", f.text(1), got)
	}
	release := v.Release()
	for i, digits := range f.texts(7) {
		want, err := strconv.Atoi(digits)
		if err != nil {
			want = math.MaxInt
		}
		if i >= len(release) || release[i] != want {
			t.Errorf("%q: Release = %v, want %v", f.text(1), release, f.texts(7))
			break
		}
	}
	return 1
}

func checkInvalid(t *testing.T, f fields) int {
	if v, err := Parse(f.text(1)); err == nil {
		t.Errorf("Parse(%q) = %q, want an error", f.text(1), v)
	}
	return 1
}

func checkCompare(t *testing.T, f fields) int {
	a, b := MustParse(f.text(1)), MustParse(f.text(2))
	if got, want := a.Compare(b), f.number(3); got != want {
		t.Errorf("%q.Compare(%q) = %d, want %d", a, b, got, want)
	}
	if got, want := b.Compare(a), -f.number(3); got != want {
		t.Errorf("%q.Compare(%q) = %d, want %d", b, a, got, want)
	}
	if (a.Key() == b.Key()) != (f.number(3) == 0) {
		t.Errorf("keys of %q and %q", a, b)
	}
	return 1
}

func checkBadSpecifiers(t *testing.T, f fields) int {
	if s, err := ParseSpecifiers(f.text(1)); err == nil {
		t.Errorf("ParseSpecifiers(%q) = %q, want an error", f.text(1), s)
	}
	return 1
}

func mustParseSpecifiers(t *testing.T, s string) Specifiers {
	t.Helper()
	specifiers, err := ParseSpecifiers(s)
	if err != nil {
		t.Error(err)
	}
	return specifiers
}

func checkSpecifiers(t *testing.T, f fields) int {
	s := mustParseSpecifiers(t, f.text(1))
	if got, want := s.String(), f.text(2); got != want {
		t.Errorf("ParseSpecifiers(%q) = %q, want %q", f.text(1), got, want)
	}
	if got, want := s.NamesPrerelease(), f.number(3) == 1; got != want {
		t.Errorf("%q: NamesPrerelease = %v", f.text(1), got)
	}
	return 1
}

func checkContains(t *testing.T, f fields) int {
	s := mustParseSpecifiers(t, f.text(1))
	set := s.Set()
	for i, text := range f.texts(2) {
		v := MustParse(text)
		want := f.text(3)[i] == '1'
		// packaging compares the strings for ===, we the versions.
		for _, sp := range s.list {
			if sp.op == "===" && sp.version.Equal(v) && sp.text != "==="+v.String() {
				want = s.Contains(v)
			}
		}
		if got := s.Contains(v); got != want {
			t.Errorf("%q: Contains(%q) = %v", f.text(1), v, got)
		}
		if got := set.Contains(v); got != want {
			t.Errorf("%q: Set %v: Contains(%q) = %v", f.text(1), set, v, got)
		}
	}
	return len(f.texts(2))
}

func checkRelation(t *testing.T, f fields) int {
	a, b := mustParseSpecifiers(t, f.text(1)), mustParseSpecifiers(t, f.text(2))
	x, y := a.Set(), b.Set()
	for i, got := range []bool{x.Intersect(y).IsEmpty(), x.SubsetOf(y), y.SubsetOf(x), x.Disjoint(y)} {
		if want := f.number(3+i) == 1; got != want {
			what := []string{"empty together", "subset", "superset", "disjoint"}[i]
			t.Errorf("%q and %q: %s is %v", f.text(1), f.text(2), what, got)
		}
	}
	return 1
}
