package plan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/marker"
	"curdling/internal/requirement"
	"curdling/internal/tag"
	"curdling/internal/version"
)

// world is a server in memory: pages are written a file a line, with what it requires behind it.
type world struct {
	pages    map[dist.Name]*index.Project
	metadata map[string]string
	failing  dist.Name // is not known now
	expected []dist.Name
	asked    []dist.Name
}

var errNotNow = errors.New("the upstream is silent")

func (w *world) Page(ctx context.Context, name dist.Name) (*index.Project, error) {
	w.asked = append(w.asked, name)
	if name == w.failing {
		return nil, errNotNow
	}
	if p := w.pages[name]; p != nil {
		return p, ctx.Err()
	}
	return nil, fs.ErrNotExist
}

func (w *world) Metadata(_ context.Context, f dist.File) ([]byte, error) {
	text, ok := w.metadata[f.Filename]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(text), nil
}

func (w *world) Expect(_ context.Context, names []dist.Name) {
	w.expected = append(w.expected, names...)
}

// build reads a world: "FILE [yanked] [build] [python=SPEC] [: REQUIREMENT, ...]" on each line.
func build(t *testing.T, text string) *world {
	w := &world{pages: map[dist.Name]*index.Project{}, metadata: map[string]string{}}
	for line := range strings.Lines(strings.TrimSpace(text)) {
		head, needs, _ := strings.Cut(line, ": ")
		words := strings.Fields(head)
		f, err := dist.ParseFilename(words[0], "")
		if err != nil {
			t.Fatal(err)
		}
		f.URL, f.SHA256 = "../../p/"+f.Filename, strings.Repeat("1", 64)
		for _, word := range words[1:] {
			python, isPython := strings.CutPrefix(word, "python=")
			switch {
			case isPython:
				if f.RequiresPython, err = version.ParseSpecifiers(python); err != nil {
					t.Fatal(err)
				}
			case word == "yanked":
				f.Yanked = true
			case word == "build":
				f.BuiltFrom, f.BuildKey = strings.Repeat("2", 64), strings.Repeat("3", 64)
			}
		}
		if w.pages[f.Name] == nil {
			w.pages[f.Name] = &index.Project{Name: f.Name}
		}
		w.pages[f.Name].Files = append(w.pages[f.Name].Files, f)
		if f.Kind == dist.Wheel {
			md := fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\nSummary: long\n", f.Name, f.Version)
			for _, r := range strings.Split(strings.TrimSpace(needs), ", ") {
				if r != "" {
					md += "Requires-Dist: " + r + "\n"
				}
			}
			w.metadata[f.Filename] = md
		}
	}
	return w
}

func makePlan(t *testing.T, ctx context.Context, w *world, lines ...string) (*index.Plan, bool) {
	t.Helper()
	var requirements []requirement.Requirement
	for _, line := range lines {
		r, err := requirement.Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		requirements = append(requirements, r)
	}
	return Make(ctx, question(), requirements, nil, w)
}

// question is one without requirements.
func question() *index.PlanQuestion {
	return &index.PlanQuestion{
		Python: version.MustParse("3.11.7"), Markers: marker.Environment{"python_version": "3.11", "sys_platform": "linux"},
		Target: tag.Target{Implementation: "cpython", Version: [2]int{3, 11}, OS: "linux", Arch: "x86_64", Glibc: &[2]int{2, 31}},
	}
}

// files gives the names on a plan's page.
func files(t *testing.T, p *index.Plan, name dist.Name) (names []string) {
	t.Helper()
	for _, project := range p.Projects {
		if project.Name != name {
			continue
		}
		page, err := index.ParseProject(project.Page, index.TypeBuilds, &url.URL{Scheme: "http", Host: "cache", Path: "/simple/" + string(name) + "/"}, name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range page.Files {
			names = append(names, f.Filename)
		}
	}
	return names
}

func TestMake(t *testing.T) {
	w := build(t, `
app-1.0-py3-none-any.whl: lib>1, other; python_version < "3", absent2; extra == "x", lib>=9
lib-3.0-cp311-cp311-win_amd64.whl
lib-2.0-cp311-cp311-manylinux_2_17_x86_64.whl: absent, leaf[x]
lib-1.5-py3-none-any.whl
leaf-1.0-py3-none-any.whl: hidden; extra == "x"
leaf-2.0-py3-none-any.whl python=>=3.12
`)
	p, whole := makePlan(t, t.Context(), w, "app")
	if !whole {
		t.Error("it is not whole")
	}
	// What is not here, others are taken to have.
	if diff := cmp.Diff([]string{"app-1.0-py3-none-any.whl", "leaf-1.0-py3-none-any.whl", "lib-2.0-cp311-cp311-manylinux_2_17_x86_64.whl"}, p.Chosen); diff != "" {
		t.Errorf("chosen (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]dist.Name{"absent", "hidden"}, p.Unknown); diff != "" {
		t.Errorf("unknown (-want +got):\n%s", diff)
	}
	if !slices.Contains(w.expected, "lib") || slices.Contains(w.expected, "other") {
		t.Errorf("expected are %q", w.expected)
	}
	for i, name := range w.asked {
		if slices.Contains(w.asked[:i], name) || name == "other" || name == "absent2" {
			t.Errorf("asked are %q", w.asked)
		}
	}
	for _, project := range p.Projects {
		for file, text := range project.Metadata {
			if strings.Contains(text, "Summary") || !strings.Contains(text, "Name: "+string(project.Name)) {
				t.Errorf("metadata of %s: %s", file, text)
			}
		}
	}
}

// TestMakeNoDeps: what is not asked for is not looked at.
func TestMakeNoDeps(t *testing.T) {
	w := build(t, "app-1.0-py3-none-any.whl: lib\napp-0.5-py3-none-any.whl\nlib-1.0-py3-none-any.whl")
	app, err := requirement.Parse("app")
	if err != nil {
		t.Fatal(err)
	}
	q := question()
	q.NoDeps = true
	p, whole := Make(t.Context(), q, []requirement.Requirement{app}, nil, w)
	if !whole || len(p.Projects) != 1 || len(p.Projects[0].Metadata) != 1 || !slices.Equal(p.Chosen, []string{"app-1.0-py3-none-any.whl"}) || !slices.Equal(w.asked, []dist.Name{"app"}) {
		t.Errorf("%+v, %v; asked are %q", p, whole, w.asked)
	}
}

// TestMakePart: what cannot be found out now is left out, and the plan has the rest.
func TestMakePart(t *testing.T) {
	w := build(t, "app-1.0-py3-none-any.whl: lib\nlib-1.0-py3-none-any.whl: leaf")
	w.failing = "lib"
	p, whole := makePlan(t, t.Context(), w, "app")
	if whole || len(p.Projects) != 1 || len(p.Chosen) != 1 || len(p.Unknown) > 0 {
		t.Errorf("%+v, %v", p, whole)
	}
	w.failing = ""
	delete(w.metadata, "lib-1.0-py3-none-any.whl")
	if p, whole = makePlan(t, t.Context(), w, "app"); whole || len(p.Projects) != 2 || len(p.Projects[1].Metadata) > 0 {
		t.Errorf("%+v, %v", p, whole)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if p, whole = makePlan(t, ctx, w, "app"); whole || len(p.Chosen) > 0 {
		t.Errorf("%+v, %v", p, whole)
	}
}

// TestMakeConflict: what does not fit together is told as far as it was looked at.
func TestMakeConflict(t *testing.T) {
	w := build(t, "app-1.0-py3-none-any.whl: a, b\na-1.0-py3-none-any.whl: lib<2\nb-1.0-py3-none-any.whl: lib>1\nlib-1.0-py3-none-any.whl\nlib-2.0-py3-none-any.whl")
	p, whole := makePlan(t, t.Context(), w, "app")
	if !whole || len(p.Projects) != 4 || len(p.Chosen) > 0 {
		t.Errorf("%+v, %v", p, whole)
	}
}

// TestMakeHostile: metadata that goes on for ever ends at a bound, or with the context.
func TestMakeHostile(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	q := &index.PlanQuestion{Python: version.MustParse("3.11"), Target: tag.Target{Implementation: "cpython", Version: [2]int{3, 11}}}
	p, whole := Make(ctx, q, []requirement.Requirement{{Name: "p0"}}, nil, endless{})
	if whole || len(p.Projects) != maxProjects || ctx.Err() != nil {
		t.Errorf("%d projects, whole: %v", len(p.Projects), whole)
	}
}

// endless is a server on which each project needs the next.
type endless struct{}

func (endless) Page(_ context.Context, name dist.Name) (*index.Project, error) {
	f, err := dist.ParseFilename(string(name)+"-1-py3-none-any.whl", name)
	f.URL = "../../p/" + f.Filename
	return &index.Project{Name: name, Files: []dist.File{f}}, err
}

func (endless) Metadata(_ context.Context, f dist.File) ([]byte, error) {
	var n int
	_, err := fmt.Sscanf(string(f.Name), "p%d", &n)
	return fmt.Appendf(nil, "Name: %s\nVersion: 1\nRequires-Dist: p%d\n", f.Name, n+1), err
}

func (endless) Expect(context.Context, []dist.Name) {}

func TestCut(t *testing.T) {
	for _, test := range []struct{ name, world, want string }{
		{"a wheel that is sure", "a-1-py3-none-any.whl\na-1.tar.gz\na-1-cp311-cp311-win_amd64.whl", "a-1-py3-none-any.whl"},
		{"two of them", "a-1-py3-none-any.whl\na-1-cp311-cp311-manylinux_2_5_x86_64.whl\na-1.tar.gz", "a-1-py3-none-any.whl a-1-cp311-cp311-manylinux_2_5_x86_64.whl"},
		{"for another Python", "a-1-py3-none-any.whl python=<3\na-1.tar.gz", "a-1-py3-none-any.whl a-1.tar.gz"},
		{"yanked", "a-1-py3-none-any.whl yanked\na-1.tar.gz", "a-1-py3-none-any.whl a-1.tar.gz"},
		{"a build", "a-1-0b1-py3-none-any.whl build\na-1.tar.gz", "a-1-0b1-py3-none-any.whl a-1.tar.gz"},
		{"of one system", "a-1-cp311-cp311-linux_x86_64.whl\na-1.tar.gz", "a-1-cp311-cp311-linux_x86_64.whl a-1.tar.gz"},
		{"the last for others", "a-1-cp311-cp311-win_amd64.whl\na-1-cp310-cp310-win_amd64.whl\na-1.tar.gz", "a-1-cp310-cp310-win_amd64.whl a-1.tar.gz"},
		{"each version stays", "a-1-cp311-cp311-win_amd64.whl\na-2-py3-none-any.whl python=<3", "a-1-cp311-cp311-win_amd64.whl a-2-py3-none-any.whl"},
		{"spelled otherwise", "a-1.0-py3-none-any.whl\na-1.tar.gz", "a-1.0-py3-none-any.whl"},
	} {
		p, _ := makePlan(t, t.Context(), build(t, test.world), "a")
		if got := strings.Join(files(t, p, "a"), " "); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// TestSourceNeeds: what a source distribution needs is taken from a wheel of its version, and is else not known.
func TestSourceNeeds(t *testing.T) {
	w := build(t, "a-1.tar.gz\na-1-cp311-cp311-win_amd64.whl: b\nb-1.tar.gz")
	p, whole := makePlan(t, t.Context(), w, "a")
	if !whole || len(p.Projects) != 2 || len(p.Chosen) > 0 || p.Projects[0].Metadata["a-1-cp311-cp311-win_amd64.whl"] == "" {
		t.Errorf("%+v, %v", p, whole)
	}
}
