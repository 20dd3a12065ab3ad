package resolve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"curdling/internal/dist"
	"curdling/internal/marker"
	"curdling/internal/requirement"
)

// drawUniverse writes a small random universe in the language.
func drawUniverse(t *rapid.T) string {
	var b strings.Builder
	pick := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	maybe := func(label string, oneIn int) bool { return rapid.IntRange(1, oneIn).Draw(t, label) == oneIn }
	names := []string{"a", "b", "c", "d", "e"}[:rapid.IntRange(2, 5).Draw(t, "projects")]
	extras := maybe("extras", 2)
	odd := maybe("odd", 2) // prereleases, yanked, barred and unusable versions
	sdists := maybe("sdists", 2)
	req := func() string {
		r := pick("name", append(names, "nowhere")[:len(names)+rapid.IntRange(0, 19).Draw(t, "nowhere")/19]...)
		if extras && maybe("extra", 4) {
			r += pick("extra", "[x]", "[y]", "[x,y]")
		}
		spec := []string{"", "", "", "", ">=1.0", "<4.0", "!=1.0", "==1.0", "==2.0", "==3.0", ">=2.0", "<3.0", "<2.0", "!=2.0", ">1.0,<3.0"}
		if odd {
			spec = append(spec, ">=2.0rc1", "==2.0rc1", "<2.0rc1", "===3.0")
		}
		return r + pick("spec", spec...)
	}
	write := func() {
		for _, n := range names {
			pool := []string{"1.0", "2.0", "3.0"}
			if odd {
				pool = append(pool, "2.0rc1", "3.1a1")
			}
			for _, v := range rapid.SliceOfNDistinct(rapid.SampledFrom(pool), 2, 3, rapid.ID[string]).Draw(t, "versions") {
				var needs []string
				for range rapid.IntRange(0, 2).Draw(t, "needs") {
					need := req()
					if extras && maybe("under extra", 3) {
						need = pick("which", "[x] ", "[y] ") + need
					}
					needs = append(needs, need)
				}
				fmt.Fprintf(&b, "%s %s", n, v)
				if sdists && maybe("sdist", 3) {
					b.WriteString(" sdist")
				}
				if len(needs) > 0 {
					fmt.Fprintf(&b, " needs %s", strings.Join(needs, " & "))
				}
				if odd && maybe("flawed", 6) {
					fmt.Fprintf(&b, "\n%s %s %s flaw", n, v, pick("flaw", "barred", "yanked", "unusable"))
				}
				b.WriteByte('\n')
			}
		}
	}
	write()
	if maybe("two places", 4) {
		b.WriteString("place second\n")
		write()
	}
	for range rapid.IntRange(1, 3).Draw(t, "asked") {
		fmt.Fprintf(&b, "ask %s\n", req())
	}
	for range rapid.IntRange(0, 1).Draw(t, "limits") {
		fmt.Fprintf(&b, "limit %s\n", req())
	}
	b.WriteString(pick("order", "", "", "lowest\n", "lowest direct\n"))
	if odd && maybe("pre", 6) {
		b.WriteString("pre\n")
	}
	return b.String()
}

// TestRandomUniverses holds the solver against trying everything.
func TestRandomUniverses(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := drawUniverse(t)
		universes, err := parseUniverses(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if err := checkUniverse(t, universes[0]); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}

// testContext is a test of any kind.
type testContext interface{ Context() context.Context }

// checkUniverse solves, and tells what is wrong with the answer.
func checkUniverse(t testContext, u *universe) error {
	if u.inTwoMinds() {
		return nil
	}
	traced := u.problem
	traced.Trace = func(step Step) { _ = step.String() }
	s := newSolver(t.Context(), traced, newUniverseSource(u))
	solution, err := s.solve()
	var conflict *Conflict
	switch {
	case err != nil && u.failure != "":
		return nil
	case err == nil:
		if err := u.check(solution); err != nil {
			return fmt.Errorf("%q: %w", solution.render(), err)
		}
	case !errors.As(err, &conflict):
		return err // of a marker
	default:
		permits := anyVersion
		if s.withheldSome() {
			permits = u.static
		}
		if u.size() > 10000 {
			break
		}
		if found := u.search(permits); found != nil {
			return fmt.Errorf("%w\nbut there is %v", err, found)
		}
		if f := s.untrue(u); f != nil {
			return fmt.Errorf("%w\nbut it is not true that %s", err, f.sentence())
		}
	}
	again, err2 := Solve(t.Context(), u.problem, newUniverseSource(u))
	if diff := cmp.Diff(solution, again); diff != "" || fmt.Sprint(err) != fmt.Sprint(err2) {
		return fmt.Errorf("not deterministic: %s\n%v\n%v", diff, err, err2)
	}
	once, err := Solve(t.Context(), u.problem, newUniverseSource(u.inOnePlace()))
	if diff := cmp.Diff(solution, once); diff != "" {
		return fmt.Errorf("another solution where all places are listed at once: %s\n%v", diff, err)
	}
	return nil
}

// inOnePlace gives the universe with all candidates in one place, those of the
// first place first.
func (u *universe) inOnePlace() *universe {
	flat := *u
	all := &place{name: "all", files: map[dist.Name][]*entry{}, names: u.names()}
	for _, name := range all.names {
		for _, p := range u.places {
			all.files[name] = append(all.files[name], p.files[name]...)
		}
	}
	flat.places = []*place{all}
	return &flat
}

// untrue gives a fact of the explanation that does not hold, nil where all do.
func (s *solver) untrue(u *universe) *fact {
	for _, f := range simplify(closed(factsOf(s.empty))) {
		if f.kind != needed || f.to.base != nil {
			continue
		}
		for _, e := range u.entries(f.from.name) {
			if f.in.has(f.from.byKey[e.Version.Key()].place) && !u.needs(e, f) {
				return f
			}
		}
	}
	return nil
}

// needs tells whether an entry needs one of the versions that a fact names.
func (u *universe) needs(e *entry, f *fact) bool {
	extra := ""
	if f.extra != nil {
		extra = string(f.extra.extra)
	}
	return slices.ContainsFunc(e.requires, func(r requirement.Requirement) bool {
		holds, _ := r.Marker.Holds(u.problem.Markers, extra)
		return r.Name == f.to.name && holds && !slices.ContainsFunc(u.entries(r.Name), func(to *entry) bool {
			listed := f.to.byKey[to.Version.Key()]
			return listed != nil && r.Specifiers.Contains(to.Version) && !f.set.has(listed.place)
		})
	})
}

// withheldSome tells whether the rules on prereleases and yanked files kept the
// solver from something.
func (s *solver) withheldSome() bool {
	for _, p := range s.projects {
		for _, inc := range p.incompatibilities {
			if inc.fact != nil && (inc.fact.kind == prerelease || inc.fact.kind == yanked) {
				return true
			}
		}
	}
	return false
}

func (v versions) String() string {
	var all []string
	for name, e := range v {
		all = append(all, string(name)+" "+e.Version.String())
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// FuzzSolve solves universes that nobody thought of.
func FuzzSolve(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, u := range strings.Split(string(text), "\n== ") {
			f.Add("== " + u)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 2000 {
			return
		}
		universes, err := parseUniverses(text)
		if err != nil {
			return
		}
		for _, u := range universes {
			if err := checkUniverse(t, u); err != nil && !errors.Is(err, marker.ErrUndefinedComparison) {
				t.Fatal(err)
			}
		}
	})
}
