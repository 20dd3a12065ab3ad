package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
	"curdling/internal/marker"
	"curdling/internal/tag"
	"curdling/internal/version"
)

func aQuestion() *PlanQuestion {
	return &PlanQuestion{
		Requirements: []string{"flask>=3"}, Python: version.MustParse("3.11.7"), Markers: marker.Environment{"python_version": "3.11"},
		Target: tag.Target{Implementation: "cpython", Version: [2]int{3, 11}, OS: "linux", Arch: "x86_64", Glibc: &[2]int{2, 36}},
	}
}

func TestParsePlanQuestion(t *testing.T) {
	text, err := json.Marshal(aQuestion())
	if err != nil {
		t.Fatal(err)
	}
	q, requirements, _, err := ParsePlanQuestion(text)
	if err != nil || len(requirements) != 1 || requirements[0].Name != "flask" || !q.Python.Equal(version.MustParse("3.11.7")) || *q.Target.Glibc != [2]int{2, 36} {
		t.Errorf("%+v, %v, %v", q, requirements, err)
	}
	for name, edit := range map[string]func(*PlanQuestion){
		"no python":            func(q *PlanQuestion) { q.Python = version.Version{} },
		"a URL":                func(q *PlanQuestion) { q.Requirements = []string{"flask @ https://example.org/flask.zip"} },
		"no requirement":       func(q *PlanQuestion) { q.Requirements = []string{"flask>"} },
		"no constraint":        func(q *PlanQuestion) { q.Constraints = []string{"-"} },
		"endless requirements": func(q *PlanQuestion) { q.Requirements = make([]string, maxPlanned+1) },
		"a glibc of any minor": func(q *PlanQuestion) { q.Target.Glibc = &[2]int{2, 1 << 40} },
		"a glibc of any major": func(q *PlanQuestion) { q.Target.Glibc = &[2]int{1 << 40, 1} },
		"a Python of any":      func(q *PlanQuestion) { q.Target.Version = [2]int{3, 1 << 40} },
		"a system of any":      func(q *PlanQuestion) { q.Target.OSVersion = [2]int{1 << 40, 0} },
		"a musl of any":        func(q *PlanQuestion) { q.Target.Musl = &[2]int{1, 1 << 40} },
		"modules":              func(q *PlanQuestion) { q.Target.NotManylinux = make([]string, 1001) },
		"below zero":           func(q *PlanQuestion) { q.Target.Version = [2]int{3, -1} },
		"too long": func(q *PlanQuestion) {
			q.Requirements = []string{"a; python_version == '" + strings.Repeat("3", MaxPlanQuestion) + "'"}
		},
	} {
		q := aQuestion()
		edit(q)
		text, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := ParsePlanQuestion(text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

const aPlan = `{"projects":[{"name":"flask","page":{"meta":{"api-version":"1.4"},"name":"flask","files":[{"filename":"flask-3.0-py3-none-any.whl",
"url":"../../p/flask-3.0-py3-none-any.whl","hashes":{"sha256":"1111111111111111111111111111111111111111111111111111111111111111"},"core-metadata":true}]},
"metadata":{"flask-3.0-py3-none-any.whl":"Name: flask\nVersion: 3.0\n"}}],"unknown":["absent"],"chosen":["flask-3.0-py3-none-any.whl"]}`

func TestParsePlan(t *testing.T) {
	p, err := ParsePlan([]byte(aPlan))
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.Render()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParsePlan(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(len(p.Projects), len(again.Projects)); diff != "" || again.Chosen[0] != "flask-3.0-py3-none-any.whl" || again.Unknown[0] != "absent" {
		t.Errorf("%+v", again)
	}
	for _, wrong := range []string{
		``, `[]`, `{"projects":[{"name":""}]}`, `{"projects":[{"name":"Flask"}]}`, `{"projects":[{"name":"../x"}]}`,
		`{"projects":[{"name":"a"},{"name":"a"}]}`, `{"projects":[{"name":"a"}],"unknown":["a"]}`, `{"unknown":["a/b"]}`,
		`{"projects":[{"name":"a","metadata":{"b-1-py3-none-any.whl":""}}]}`, `{"projects":[{"name":"a","metadata":{"a-1.tar.gz":""}}]}`,
		`{"projects":[{"name":"a","metadata":{"../a-1-py3-none-any.whl":""}}]}`,
	} {
		if _, err := ParsePlan([]byte(wrong)); err == nil {
			t.Errorf("%s: no error", wrong)
		}
	}
}

// TestClientPlan: what was planned is answered without a request, for that server alone.
func TestClientPlan(t *testing.T) {
	var asked []string
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		if r.URL.Path != "/plan" {
			http.NotFound(w, r)
			return
		}
		b, _ := io.ReadAll(r.Body)
		if _, _, _, err := ParsePlanQuestion(b); err != nil || r.Header.Get("Accept-Encoding") != "zstd, gzip" {
			t.Errorf("asked was %s: %v", b, err)
		}
		_, _ = io.WriteString(w, aPlan)
	})
	kept := new(memory)
	c := NewClient(Options{Cache: kept})
	t.Cleanup(c.Close)
	plan, err := c.Plan(t.Context(), base, aQuestion())
	if err != nil {
		t.Fatal(err)
	}
	page, err := c.Project(t.Context(), base+"/simple/", "flask")
	if err != nil || len(page.Files) != 1 || page.Files[0].URL != base+"/p/flask-3.0-py3-none-any.whl" {
		t.Fatalf("page: %+v, %v", page, err)
	}
	if _, err := c.Project(t.Context(), base+"/simple/", "absent"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	text, err := c.Metadata(t.Context(), page.Files[0])
	if err != nil || string(text) != "Name: flask\nVersion: 3.0\n" {
		t.Errorf("metadata: %q, %v", text, err)
	}
	if len(asked) != 1 || len(kept.m) != 0 {
		t.Errorf("asked was %q, kept %d", asked, len(kept.m))
	}
	if _, err := c.Project(t.Context(), base+"/other/simple/", "flask"); !errors.Is(err, fs.ErrNotExist) || len(asked) != 2 {
		t.Errorf("another server: %v", err)
	}

	c.KeepPlan(base, plan)
	off := NewClient(Options{Cache: kept, Offline: true})
	t.Cleanup(off.Close)
	if _, err := off.Project(t.Context(), base+"/simple/", "flask"); !errors.Is(err, ErrOffline) {
		t.Errorf("offline, for an interpreter that is not known: %v", err)
	}
	if _, err := off.Plan(t.Context(), base, aQuestion()); !errors.Is(err, ErrOffline) {
		t.Errorf("offline, the plan: %v", err)
	}
	if page, err = off.Project(t.Context(), base+"/simple/", "flask"); err != nil || len(page.Files) != 1 {
		t.Fatalf("offline: %+v, %v", page, err)
	}
	if text, err := off.Metadata(t.Context(), page.Files[0]); err != nil || len(text) == 0 {
		t.Errorf("offline, metadata: %q, %v", text, err)
	}

	c.ForgetPlan()
	if _, err := c.Project(t.Context(), base+"/simple/", "flask"); !errors.Is(err, fs.ErrNotExist) || len(asked) != 3 {
		t.Errorf("forgotten: %v, asked was %q", err, asked)
	}
}

// TestPlannedPageIsWrong: the server's own page is asked for.
func TestPlannedPageIsWrong(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/plan" {
			_, _ = io.WriteString(w, `{"projects":[{"name":"flask","page":["no page"]}]}`)
			return
		}
		w.Header().Set("Content-Type", TypeJSON)
		fmt.Fprint(w, `{"meta":{"api-version":"1.0"},"name":"flask","files":[]}`)
	})
	c := NewClient(Options{})
	t.Cleanup(c.Close)
	if _, err := c.Plan(t.Context(), base, aQuestion()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Project(t.Context(), base+"/simple/", dist.Name("flask")); err != nil {
		t.Error(err)
	}
}

// FuzzPlan: a plan that is read can be written and read again, and has names alone that can stand in a path.
func FuzzPlan(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePlan(b)
		if err != nil {
			return
		}
		for _, project := range p.Projects {
			if name, err := dist.ParseName(string(project.Name)); err != nil || name != project.Name {
				t.Errorf("name %q", project.Name)
			}
			for file := range project.Metadata {
				if strings.ContainsAny(file, `/\`) {
					t.Errorf("file %q", file)
				}
			}
		}
		text, err := p.Render()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParsePlan(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	})
}

// FuzzPlanQuestion: a question that is read has no more tags than a server can bear.
func FuzzPlanQuestion(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		q, requirements, constraints, err := ParsePlanQuestion(b)
		if err != nil {
			return
		}
		if n := len(tag.Supported(q.Target)); n > 1<<17 {
			t.Errorf("%d tags", n)
		}
		if len(requirements) != len(q.Requirements) || len(constraints) != len(q.Constraints) {
			t.Error("not all was read")
		}
	})
}
