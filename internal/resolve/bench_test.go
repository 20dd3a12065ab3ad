package resolve

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"testing"

	"curdling/internal/dist"
	"curdling/internal/requirement"
	"curdling/internal/version"
)

// memory is a Source that costs next to nothing.
type memory struct {
	files    map[dist.Name][]Candidate // newest first
	requires map[string][]requirement.Requirement
	reads    int
}

func (m *memory) Files(_ context.Context, name dist.Name, _ version.Set) ([]Candidate, error) {
	if files, ok := m.files[name]; ok {
		return files, nil
	}
	return nil, fs.ErrNotExist
}

func (m *memory) Requires(_ context.Context, f dist.File) ([]requirement.Requirement, error) {
	m.reads++
	return m.requires[f.Filename], nil
}

func newMemory() *memory {
	return &memory{files: map[dist.Name][]Candidate{}, requires: map[string][]requirement.Requirement{}}
}

// add puts a version behind those that are there.
func (m *memory) add(name dist.Name, v string, requires ...string) {
	f := dist.File{Name: name, Version: version.MustParse(v), Kind: dist.Wheel, Filename: fmt.Sprintf("%s-%s.whl", name, v)}
	m.files[name] = append(m.files[name], Candidate{File: f})
	for _, r := range requires {
		m.requires[f.Filename] = append(m.requires[f.Filename], mustParse(r))
	}
}

func mustParse(s string) requirement.Requirement {
	r, err := requirement.Parse(s)
	if err != nil {
		panic(err)
	}
	return r
}

func ask(requirements ...string) Problem {
	p := Problem{Markers: markers("3.11")}
	for _, r := range requirements {
		p.Requirements = append(p.Requirements, Wanted{Requirement: mustParse(r)})
	}
	return p
}

// manyProjects makes projects p0, p1, ... with versions 1 to n of which each
// needs some later projects; newer versions ask for newer ones, and now and
// then forbid the newest.
func manyProjects(projects, versions int) *memory {
	m := newMemory()
	random := rand.New(rand.NewPCG(1, 2))
	for p := range projects {
		name := dist.Name(fmt.Sprintf("p%d", p))
		var needs []int
		for len(needs) < 8 && p+1 < projects {
			needs = append(needs, p+1+random.IntN(min(40, projects-p-1)))
			if len(needs) == projects-p-1 {
				break
			}
		}
		for v := versions; v > 0; v-- {
			var requires []string
			for i, q := range needs {
				r := fmt.Sprintf("p%d >=%d.0", q, max(1, v-10))
				switch {
				case i == 0 && v > versions-3 && random.IntN(4) == 0:
					r += fmt.Sprintf(", <%d.0", versions-1)
				case i == 1:
					r += fmt.Sprintf(", !=%d.1", v)
				case i == 2:
					r += ` ; python_version >= "3.8"`
				case i == 3:
					r += ` ; extra == "test"`
				}
				requires = append(requires, r)
			}
			m.add(name, fmt.Sprintf("%d.0", v), requires...)
		}
	}
	return m
}

// staircase makes front and back, whose versions need each other's twin, and
// base, which only the oldest of back can live with.
func staircase(versions int) *memory {
	m := newMemory()
	for v := versions; v > 0; v-- {
		m.add("front", fmt.Sprintf("1.%d", v), fmt.Sprintf("back >=1.%d, <1.%d", v, v+1), "jmes >=0.7, <2")
		m.add("back", fmt.Sprintf("1.%d", v), fmt.Sprintf("base >=1.%d, <2", v/20), "date >=2")
	}
	for v := versions / 20; v >= 0; v-- {
		m.add("base", fmt.Sprintf("1.%d", v))
	}
	m.add("jmes", "1.0")
	m.add("date", "2.0")
	return m
}

// tangle makes columns of projects that all must agree on a version of the
// core, for which only the oldest are left.
func tangle(projects, versions int) *memory {
	m := newMemory()
	for v := versions; v > 0; v-- {
		for p := range projects {
			requires := []string{fmt.Sprintf("core >=1.%d, <=1.%d", max(v-p, 0), v)}
			if p > 0 {
				requires = append(requires, fmt.Sprintf("t%d >=1.%d, <1.%d", p-1, v-1, v+1))
			}
			m.add(dist.Name(fmt.Sprintf("t%d", p)), fmt.Sprintf("1.%d", v), requires...)
		}
		if v <= versions/2 {
			m.add("core", fmt.Sprintf("1.%d", v), "leaf")
		}
	}
	m.add("leaf", "1.0")
	return m
}

// stubborn makes lib, and user, of which no version can live with a newer one.
func stubborn(versions int) *memory {
	m := newMemory()
	for v := versions; v > 0; v-- {
		m.add("lib", fmt.Sprintf("1.%d", v))
		m.add("user", fmt.Sprintf("1.%d", v), fmt.Sprintf("lib <1.%d", 2+v%2))
	}
	return m
}

// sudoku makes a project of each cell, with the digits as versions, of which
// each forbids itself to the cells that see it. It gives what is asked for too.
func sudoku(puzzle string) (*memory, []string) {
	m := newMemory()
	var asked []string
	cell := func(i int) string { return fmt.Sprintf("r%dc%d", i/9+1, i%9+1) }
	for i, clue := range puzzle {
		if asked = append(asked, cell(i)); clue != '.' {
			asked[i] += "==" + string(clue)
		}
		for digit := 9; digit > 0; digit-- {
			var requires []string
			for j := range puzzle {
				if j != i && (j/9 == i/9 || j%9 == i%9 || j/27 == i/27 && j%9/3 == i%9/3) {
					requires = append(requires, fmt.Sprintf("%s !=%d", cell(j), digit))
				}
			}
			m.add(dist.Name(cell(i)), fmt.Sprint(digit), requires...)
		}
	}
	return m, asked
}

// puzzle has one solution. No clue of it is superfluous.
const puzzle = "....9..1." +
	".....4..." +
	"2....84.7" +
	".5....3.." +
	".8.9.32.." +
	"....5..7." +
	".26..7.5." +
	"...53..8." +
	"..9......"

// pigeons makes projects, one more than they have versions to choose from, of
// which no two may choose alike. There is no short proof that this cannot be.
func pigeons(holes int) (*memory, []string) {
	m := newMemory()
	var asked []string
	for p := range holes + 1 {
		asked = append(asked, fmt.Sprintf("pigeon%d", p))
		for hole := holes; hole > 0; hole-- {
			var requires []string
			for other := range p {
				requires = append(requires, fmt.Sprintf("pigeon%d !=%d", other, hole))
			}
			m.add(dist.Name(asked[p]), fmt.Sprint(hole), requires...)
		}
	}
	return m, asked
}

// knot makes projects that need each other at random, in narrow ranges.
func knot(seed uint64) *memory {
	m := newMemory()
	random := rand.New(rand.NewPCG(seed, 7))
	projects, versions := 10+random.IntN(30), 3+random.IntN(8)
	for p := range projects {
		for v := versions; v > 0; v-- {
			var requires []string
			for range 1 + random.IntN(3) {
				low := max(1, v-random.IntN(3)+random.IntN(2))
				requires = append(requires, fmt.Sprintf("p%d >=%d.0, <%d.0", random.IntN(projects), low, low+1+random.IntN(3)))
			}
			m.add(dist.Name(fmt.Sprintf("p%d", p)), fmt.Sprintf("%d.0", v), requires...)
		}
	}
	return m
}

func BenchmarkSolve(b *testing.B) {
	cells, clues := sudoku(puzzle)
	birds, all := pigeons(6)
	for _, bm := range []struct {
		name    string
		problem Problem
		source  *memory
		chosen  int // 0: there is no solution
	}{
		{"300 projects, 10200 candidates", ask("p0", "p1", "p2"), manyProjects(300, 34), 290},
		{"staircase of 2000 versions", ask("front", "base <1.5"), staircase(2000), 5},
		{"staircase of 400 versions", ask("front", "base <1.5"), staircase(400), 5},
		{"tangle of 5 projects, 400 versions", ask("t4", "t3", "t2", "t1", "t0"), tangle(5, 400), 6},
		{"sudoku", ask(clues...), cells, 81},
		{"7 pigeons in 6 holes", ask(all...), birds, 0},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			bm.source.reads = 0
			for b.Loop() {
				s, err := Solve(b.Context(), bm.problem, bm.source)
				switch {
				case (err == nil) != (bm.chosen > 0):
					b.Fatal(err)
				case err == nil && len(s.Chosen) < bm.chosen:
					b.Fatalf("%d chosen; want %d", len(s.Chosen), bm.chosen)
				}
			}
			b.ReportMetric(float64(bm.source.reads)/float64(b.N), "reads/op")
		})
	}
}
