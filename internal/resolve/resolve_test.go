package resolve

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
	"curdling/internal/marker"
	"curdling/internal/requirement"
	"curdling/internal/version"
)

var update = flag.Bool("update", false, "write the texts of conflicts and steps into testdata")

// TestUniverses solves every case under testdata.
func TestUniverses(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		universes, err := parseUniverses(string(text))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if *update {
			writeTexts(t, file, string(text), universes)
			continue
		}
		for _, u := range universes {
			t.Run(filepath.Base(file)+"/"+u.title, func(t *testing.T) {
				t.Parallel()
				testUniverse(t, u)
			})
		}
	}
}

func testUniverse(t *testing.T, u *universe) {
	solution, src, err := u.solve(t)
	var conflict *Conflict
	switch {
	case errors.As(err, &conflict):
		if diff := cmp.Diff(u.conflict, err.Error()); diff != "" {
			t.Errorf("conflict (-want +got):\n%s\n%s", diff, err)
		}
		if u.solution != nil {
			t.Errorf("no solution; want %q", u.solution)
		}
	case err != nil:
		if err.Error() != u.failure {
			t.Errorf("error %v; want %q", err, u.failure)
		}
	default:
		if diff := cmp.Diff(u.solution, solution.render()); diff != "" {
			t.Errorf("solution (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(u.warnings, warnings(solution)); diff != "" {
			t.Errorf("warnings (-want +got):\n%s", diff)
		}
	}
	if u.trace != nil {
		if diff := cmp.Diff(u.trace, u.steps); diff != "" {
			t.Errorf("steps (-want +got):\n%s", diff)
		}
	}
	if read := strings.Join(src.read, ", "); u.read != "-" && u.read != read {
		t.Errorf("read %s\nwant %s", read, u.read)
	}
	for place, want := range u.asked {
		var names []string
		for _, n := range src.asked[place] {
			names = append(names, string(n))
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s asked for %q; want %q", place, got, want)
		}
	}
}

// writeTexts puts the conflicts and steps that come out now into a file of cases.
func writeTexts(t *testing.T, file, text string, universes []*universe) {
	t.Helper()
	for _, u := range universes {
		title := "== " + u.title + "\n"
		before, rest, _ := strings.Cut(text, title)
		replace := func(word, old, by string) {
			block := func(s string) string { return "\n" + word + "\n    " + strings.ReplaceAll(s, "\n", "\n    ") + "\n" }
			rest = strings.Replace(rest, block(old), block(by), 1)
		}
		if _, _, err := u.solve(t); err != nil && u.conflict != "" {
			replace("conflict", u.conflict, err.Error())
		}
		if u.trace != nil {
			replace("trace", strings.Join(u.trace, "\n"), strings.Join(u.steps, "\n"))
		}
		text = before + title + rest
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fakeSource answers with functions.
type fakeSource struct {
	files    func(dist.Name) ([]Candidate, error)
	requires func(dist.File) ([]requirement.Requirement, error)
}

func (f fakeSource) Files(_ context.Context, name dist.Name, _ version.Set) ([]Candidate, error) {
	return f.files(name)
}

func (f fakeSource) Requires(_ context.Context, file dist.File) ([]requirement.Requirement, error) {
	return f.requires(file)
}

func candidate(filename string) Candidate {
	name, rest, _ := strings.Cut(filename, "-")
	v, _, _ := strings.Cut(rest, "-")
	return Candidate{File: dist.File{Name: dist.Name(name), Version: version.MustParse(v), Filename: filename}}
}

func TestSourceErrors(t *testing.T) {
	t.Parallel()
	down := errors.New("index is down")
	for _, test := range []struct {
		name            string
		files, requires error
		want            string
	}{
		{"files", down, nil, "a: index is down"},
		{"requires", nil, down, "a 1.0: index is down"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := Solve(t.Context(), ask("a"), fakeSource{
				func(dist.Name) ([]Candidate, error) { return []Candidate{candidate("a-1.0-py3.whl")}, test.files },
				func(dist.File) ([]requirement.Requirement, error) { return nil, test.requires },
			})
			if !errors.Is(err, down) || err.Error() != test.want {
				t.Errorf("got %v; want %s", err, test.want)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Solve(ctx, ask("a"), newMemory()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v; want context.Canceled", err)
	}
}

func TestMarkerOfTheUser(t *testing.T) {
	t.Parallel()
	wrong := Wanted{mustParse(`a ; os_name ~= "posix"`), "requirements.txt:2"}
	for _, p := range []Problem{
		{Requirements: []Wanted{wrong}, Markers: markers("3.11")},
		{Constraints: []Wanted{wrong}, Markers: markers("3.11")},
	} {
		_, err := Solve(t.Context(), p, newMemory())
		if !errors.Is(err, marker.ErrUndefinedComparison) || !strings.HasPrefix(err.Error(), "requirements.txt:2: a") {
			t.Errorf("got %v; want an error with the place and the requirement", err)
		}
	}
}

func TestNoCandidates(t *testing.T) {
	t.Parallel()
	_, err := Solve(t.Context(), ask("a"), fakeSource{files: func(dist.Name) ([]Candidate, error) { return nil, nil }})
	want := "the requirements cannot be met:\n  the command line asks for a, but there is no version of a"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// TestFilesOfOneVersion takes the first file that can be used, and one that is
// not yanked before one that is.
func TestFilesOfOneVersion(t *testing.T) {
	t.Parallel()
	barred, broken, yanked, good := candidate("a-2.0-barred.whl"), candidate("a-2.0-broken.whl"), candidate("a-2.0-yanked.whl"), candidate("a-2.0-good.whl")
	barred.Barred = "no wheel for this platform"
	yanked.Yanked = true
	last := candidate("a-2.0-last.whl")
	var read []string
	s, err := Solve(t.Context(), ask("a"), fakeSource{
		func(dist.Name) ([]Candidate, error) { return []Candidate{barred, broken, yanked, good, last}, nil },
		func(f dist.File) ([]requirement.Requirement, error) {
			read = append(read, f.Filename)
			if f.Filename == broken.Filename {
				return nil, &Unusable{Reason: "its metadata is broken", Err: fs.ErrInvalid}
			}
			return nil, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Chosen[0].File.Filename; got != good.Filename {
		t.Errorf("chose %s; want %s", got, good.Filename)
	}
	if diff := cmp.Diff([]string{broken.Filename, good.Filename}, read); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
}

// TestReport holds the facts about each choice that reports need.
func TestReport(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.add("flask", "3.0.0", "werkzeug>=3", `asgiref ; extra == "async"`, "click", "click>=8")
	m.add("werkzeug", "3.0.1", "markupsafe")
	m.add("asgiref", "3.7")
	m.add("click", "8.1")
	m.add("markupsafe", "2.1")
	p := ask("flask[async]", "click", "werkzeug")
	p.Requirements[2].Where = "requirements.txt:3"
	s, err := Solve(t.Context(), p, m)
	if err != nil {
		t.Fatal(err)
	}
	got := map[dist.Name]Choice{}
	for _, c := range s.Chosen {
		got[c.File.Name] = Choice{Extras: c.Extras, Requested: c.Requested, Needs: c.Needs, NeededBy: c.NeededBy}
	}
	want := map[dist.Name]Choice{
		"asgiref":    {NeededBy: []string{"flask[async] 3.0.0"}},
		"click":      {Requested: true, NeededBy: []string{"the command line", "flask 3.0.0"}},
		"flask":      {Extras: []dist.Name{"async"}, Requested: true, Needs: []dist.Name{"asgiref", "click", "werkzeug"}, NeededBy: []string{"the command line"}},
		"markupsafe": {NeededBy: []string{"werkzeug 3.0.1"}},
		"werkzeug":   {Requested: true, Needs: []dist.Name{"markupsafe"}, NeededBy: []string{"requirements.txt:3", "flask 3.0.0"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("choices (-want +got):\n%s", diff)
	}
}

// TestGraph holds the graph that lock files need: what comes by extras, by a
// project's extras of its own, and by markers.
func TestGraph(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.add("web", "2.0", "core", `h2>=4 ; extra == "http"`, `cache[fast]>=5 ; extra == "redis" and sys_platform == "linux"`,
		`pywin ; extra == "redis" and sys_platform == "win32"`, `tomli ; python_version < "3.8"`, `web[http,redis] ; extra == "all"`)
	m.add("core", "1.0", `h2 ; python_version >= "3.8"`, `docs ; extra == "docs"`)
	m.add("h2", "4.1")
	m.add("cache", "5.0", `hiredis ; extra == "fast"`, `core ; extra == "fast"`, "web")
	m.add("hiredis", "3.0")
	s, err := Solve(t.Context(), ask("web[all]", `core[docs] ; sys_platform == "win32"`), m)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range s.Chosen {
		got = append(got, fmt.Sprintf("%s %v needs %v, needed by %q", c.File.Name, c.Extras, c.Needs, c.NeededBy))
	}
	want := []string{
		`cache [fast] needs [core hiredis web], needed by ["web[redis] 2.0"]`,
		`core [] needs [h2], needed by ["cache[fast] 5.0" "web 2.0"]`,
		`h2 [] needs [], needed by ["core 1.0" "web[http] 2.0"]`,
		`hiredis [] needs [], needed by ["cache[fast] 5.0"]`,
		`web [all http redis] needs [cache core h2], needed by ["the command line" "cache 5.0"]`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("choices (-want +got):\n%s", diff)
	}
}

// hinting notes what it is asked for advice on.
type hinting struct {
	*memory
	wants map[dist.Name]version.Set
}

func (h hinting) Hint(name dist.Name, want version.Set) string {
	h.wants[name] = want
	return ""
}

func TestHintWants(t *testing.T) {
	t.Parallel()
	m := newMemory()
	for _, v := range []string{"2.1", "2.0", "1.0"} {
		m.add("barred", v)
		m.add("short", v)
	}
	for i := range 2 {
		m.files["barred"][i].Barred = "no wheel for this platform"
	}
	for _, test := range []struct {
		ask     string
		name    dist.Name
		in, out string
	}{
		{"barred>=2", "barred", "2.1", "1.0"},
		{"short>=3", "short", "3.5", "2.1"},
		{"nowhere", "nowhere", "1.0", ""},
	} {
		h := hinting{m, map[dist.Name]version.Set{}}
		if _, err := Solve(t.Context(), ask(test.ask), h); err == nil {
			t.Fatalf("%s: no conflict", test.ask)
		}
		want, asked := h.wants[test.name]
		if !asked || !want.Contains(version.MustParse(test.in)) || test.out != "" && want.Contains(version.MustParse(test.out)) {
			t.Errorf("%s: advice on %s wanted (%v); want one on %s, not on %s", test.ask, want, asked, test.in, test.out)
		}
	}
}

// TestForeignTexts is about reasons that come from an index.
func TestForeignTexts(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.add("a", "1.0")
	m.files["a"][0].Yanked = true
	m.files["a"][0].YankedReason = "gone\n\x1b[2Jhint: pay " + strings.Repeat("long", 100)
	var steps []string
	p := ask("a")
	p.Trace = func(s Step) { steps = append(steps, s.String()) }
	_, err := Solve(t.Context(), p, m)
	if err == nil || !strings.Contains(err.Error(), "a 1.0 is yanked (gone  [2Jhint: pay long") || len(err.Error()) > 600 {
		t.Errorf("got %q", err)
	}
	m.add("a", "0.9")
	if _, err := Solve(t.Context(), p, m); err != nil || strings.ContainsAny(steps[0], "\n\x1b") {
		t.Errorf("got %v and %q", err, steps)
	}
}

// TestHugeConflict is about a text that stays readable.
func TestHugeConflict(t *testing.T) {
	t.Parallel()
	_, err := Solve(t.Context(), ask("front >=1.300", "base <1.5"), staircase(400))
	want := `the requirements cannot be met:
  the command line asks for front >=1.300 and base <1.5
  front >=1.300 needs back >=1.300
  but back >=1.300 needs base >=1.15`
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// TestReads bounds how much metadata is read where many versions do not fit:
// reading is what costs time in life.
func TestReads(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		ask    Problem
		source *memory
		want   int
	}{
		{"no conflict", ask("p0", "p1", "p2"), manyProjects(300, 34), 330},
		{"each version is tried, with its twin", ask("front", "base <1.5"), staircase(400), 2*(400-100) + 10},
		{"all agree on old versions", ask("t4", "t3", "t2", "t1", "t0"), tangle(5, 400), 220},
		{"what is rejected often is decided first", ask("lib", "user"), stubborn(300), 10},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, err := Solve(t.Context(), test.ask, test.source); err != nil {
				t.Fatal(err)
			}
			if test.source.reads > test.want {
				t.Errorf("read %d times; want at most %d", test.source.reads, test.want)
			}
		})
	}
}

// TestLongConflicts is about conflicts that no person could follow step by step.
func TestLongConflicts(t *testing.T) {
	t.Parallel()
	summaries := 0
	for seed := range uint64(30) {
		_, err := Solve(t.Context(), ask("p0", "p1", "p2"), knot(seed))
		if err == nil {
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) > 1+maxSteps+maxHints {
			t.Errorf("%d lines:\n%v", len(lines), err)
		}
		for _, line := range lines {
			if len(line) > maxStep+2 {
				t.Errorf("a line of %d bytes: %s", len(line), line)
			}
		}
		if strings.Contains(err.Error(), "more projects need does not fit together") {
			summaries++
		}
	}
	if summaries == 0 {
		t.Error("no summary")
	}
}
