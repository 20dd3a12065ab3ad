package resolve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"curdling/internal/dist"
	"curdling/internal/marker"
	"curdling/internal/requirement"
	"curdling/internal/version"
)

// A universe is what a Source knows, what is asked of the solver, and what it
// should answer. It is written so:
//
//	== title of the case
//	# a comment
//	flask 3.0 needs werkzeug>=3 & click ; python_version >= "3.8"
//	    [async] asgiref>=3.2         more needs; this one with the extra async
//	flask 2.0 1.0                    two versions without needs
//	flask 4.0 barred needs Python >=3.14
//	flask 3.1 yanked has a bug
//	flask 3.2 unusable its metadata is broken
//	flask 3.3 python >=3.12          barred where the Python does not fit
//	flask 3.4 sdist                  known only as a source distribution
//	flask 3.5 sdist fails no C compiler    its metadata cannot be had at all
//	hint flask try another index     what the source advises on a project
//	place index                      what follows is found in a second place
//	listed                           candidates in the order written, not newest first
//	lowest                           lowest first
//	lowest direct                    lowest first of what the user asks for
//	ask flask & click<9              requirements of the command line
//	ask flask from requirements.txt:3
//	limit werkzeug<4 from limits.txt:1
//	pre                              prereleases are admitted
//	python 3.8                       of the markers; 3.11 otherwise
//	solution                         what is expected, each line a choice,
//	    flask 3.0 [async]            with the extras
//	    werkzeug 3.1
//	conflict                         or the text of the error
//	    ...
//	error flask 3.5: no C compiler   or an error that is no conflict
//	trace                            expected steps, each a line
//	    took flask 3.0: the command line asks for flask
//	warning flask 3.0 has no extra x
//	read flask 3.0, werkzeug 3.1     expected calls of Requires, in order
//	index asked for flask            expected projects that were looked for in that place
type universe struct {
	title   string
	places  []*place
	listed  bool
	lowest  string // "", "all" or "direct"
	hints   map[dist.Name]string
	problem Problem

	solution []string
	conflict string
	failure  string
	trace    []string
	steps    []string // that were told
	warnings []string
	read     string // "-": not stated
	asked    map[string]string
}

type place struct {
	name  string
	files map[dist.Name][]*entry
	names []dist.Name // in the order of appearance
}

// entry is one version of a project in one place.
type entry struct {
	Candidate
	unusable string
	fails    string
	requires []requirement.Requirement
}

func (p *place) entry(name dist.Name, v version.Version) *entry {
	for _, e := range p.files[name] {
		if e.Version.Equal(v) {
			return e
		}
	}
	e := &entry{Candidate: Candidate{File: dist.File{
		Name: name, Version: v, Kind: dist.Wheel, Filename: fmt.Sprintf("%s-%s.whl", name, v), URL: "test://" + p.name + "/",
	}}}
	if p.files[name] == nil {
		p.names = append(p.names, name)
	}
	p.files[name] = append(p.files[name], e)
	return e
}

// parseUniverses reads a file of cases.
func parseUniverses(text string) ([]*universe, error) {
	var all []*universe
	var p *universeParser
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, " \t\r")
		if title, ok := strings.CutPrefix(line, "=="); ok {
			p = newUniverseParser(strings.TrimSpace(title))
			all = append(all, p.u)
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if p == nil {
			p = newUniverseParser("")
			all = append(all, p.u)
		}
		if err := p.line(line); err != nil {
			return nil, fmt.Errorf("line %d: %q: %w", i+1, line, err)
		}
	}
	for _, u := range all {
		u.fitPython()
		u.sort()
	}
	return all, nil
}

type universeParser struct {
	u        *universe
	place    *place
	entries  []*entry // that indented lines belong to
	expected *[]string
	conflict bool
}

func newUniverseParser(title string) *universeParser {
	u := &universe{title: title, read: "-", asked: map[string]string{}, hints: map[dist.Name]string{}}
	u.problem.Markers = markers("3.11")
	p := &universeParser{u: u}
	p.at("index")
	return p
}

func markers(python string) marker.Environment {
	full := python + ".0"
	if major, minor, ok := strings.Cut(python, "."); strings.Contains(minor, ".") && ok {
		minor, _, _ = strings.Cut(minor, ".")
		python, full = major+"."+minor, python
	}
	return marker.Environment{
		"python_version": python, "python_full_version": full,
		"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix",
		"platform_machine": "x86_64", "implementation_name": "cpython",
		"implementation_version": full, "platform_python_implementation": "CPython",
		"platform_release": "6.1.0", "platform_version": "#1 SMP",
	}
}

func (p *universeParser) at(name string) {
	p.place = &place{name: name, files: map[dist.Name][]*entry{}}
	p.u.places = append(p.u.places, p.place)
}

func (p *universeParser) line(line string) error {
	if rest := strings.TrimLeft(line, " \t"); rest != line {
		switch {
		case p.expected != nil:
			*p.expected = append(*p.expected, rest)
		case p.conflict:
			p.u.conflict = strings.TrimPrefix(p.u.conflict+"\n"+strings.TrimPrefix(line, "    "), "\n")
		default:
			return p.needs(rest)
		}
		return nil
	}
	p.expected, p.conflict, p.entries = nil, false, nil
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "ask":
		return wanted(rest, &p.u.problem.Requirements)
	case "limit":
		return wanted(rest, &p.u.problem.Constraints)
	case "place":
		if len(p.place.names) == 0 {
			p.u.places = p.u.places[:len(p.u.places)-1]
		}
		p.at(rest)
	case "listed":
		p.u.listed = true
	case "lowest":
		p.u.lowest = cmp.Or(rest, "all")
	case "hint":
		name, text, _ := strings.Cut(rest, " ")
		p.u.hints[dist.Name(name)] = text
	case "error":
		p.u.failure = rest
	case "trace":
		p.u.trace = []string{}
		p.expected = &p.u.trace
	case "pre":
		p.u.problem.Prereleases = true
	case "python":
		p.u.problem.Markers = markers(rest)
	case "solution":
		p.u.solution = []string{}
		p.expected = &p.u.solution
	case "conflict":
		p.conflict = true
	case "warning":
		p.u.warnings = append(p.u.warnings, rest)
	case "read":
		p.u.read = rest
	default:
		if names, ok := strings.CutPrefix(rest, "asked for"); ok {
			p.u.asked[word] = strings.TrimSpace(names)
			return nil
		}
		return p.releases(word, rest)
	}
	return nil
}

// releases reads "1.0 2.0 needs a & b", what follows the project's name.
func (p *universeParser) releases(word, rest string) error {
	name, err := dist.ParseName(word)
	if err != nil {
		return err
	}
	for rest != "" {
		word, rest, _ = strings.Cut(strings.TrimSpace(rest), " ")
		switch word {
		case "needs":
			return p.needs(rest)
		case "sdist":
			for _, e := range p.entries {
				e.Kind, e.Filename = dist.Sdist, fmt.Sprintf("%s-%s.tar.gz", e.Name, e.Version)
			}
			continue
		case "python":
			word, rest, _ = strings.Cut(rest, " ")
			spec, err := version.ParseSpecifiers(word)
			if err != nil {
				return err
			}
			for _, e := range p.entries {
				e.RequiresPython = spec
			}
			continue
		case "barred", "yanked", "unusable", "fails":
			for _, e := range p.entries {
				e.flaw(word, rest)
			}
			return nil
		}
		v, err := version.Parse(word)
		if err != nil {
			return err
		}
		p.entries = append(p.entries, p.place.entry(name, v))
	}
	return nil
}

func (e *entry) flaw(kind, why string) {
	switch kind {
	case "barred":
		e.Barred = why
	case "yanked":
		e.Yanked, e.YankedReason = true, why
	case "unusable":
		e.unusable = why
	case "fails":
		e.fails = why
	}
}

func (p *universeParser) needs(text string) error {
	for item := range strings.SplitSeq(text, " & ") {
		item, _, _ = strings.Cut(item, " #")
		item = strings.TrimSpace(item)
		if extra, rest, ok := strings.Cut(item, "]"); ok && strings.HasPrefix(item, "[") {
			req, mark, some := strings.Cut(rest, ";")
			item = fmt.Sprintf("%s ; extra == %q", req, extra[1:])
			if some {
				item += " and (" + mark + ")"
			}
		}
		r, err := requirement.Parse(item)
		if err != nil {
			return err
		}
		for _, e := range p.entries {
			e.requires = append(e.requires, r)
		}
	}
	return nil
}

func wanted(text string, to *[]Wanted) error {
	text, where, _ := strings.Cut(text, " from ")
	for item := range strings.SplitSeq(text, " & ") {
		r, err := requirement.Parse(strings.TrimSpace(item))
		if err != nil {
			return err
		}
		*to = append(*to, Wanted{r, where})
	}
	return nil
}

// fitPython bars what does not fit the Python, as sources do.
func (u *universe) fitPython() {
	python := version.MustParse(u.problem.Markers["python_full_version"])
	for _, p := range u.places {
		for _, entries := range p.files {
			for _, e := range entries {
				if !e.RequiresPython.Contains(python) {
					e.Barred = cmp.Or(e.Barred, "needs Python "+e.RequiresPython.String())
				}
			}
		}
	}
}

func (u *universe) sort() {
	if u.listed {
		return
	}
	for _, p := range u.places {
		for name, entries := range p.files {
			asked := slices.ContainsFunc(u.problem.Requirements, func(w Wanted) bool { return w.Name == name })
			slices.SortStableFunc(entries, func(a, b *entry) int {
				if u.lowest == "all" || u.lowest == "direct" && asked {
					a, b = b, a
				}
				return b.Version.Compare(a.Version)
			})
		}
	}
}

// universeSource answers from a universe and writes down what it was asked.
type universeSource struct {
	*universe
	places  map[dist.Name]int // asked so far
	entries map[string]*entry // by fileKey
	read    []string
	asked   map[string][]dist.Name
}

func newUniverseSource(u *universe) *universeSource {
	s := &universeSource{universe: u, places: map[dist.Name]int{}, entries: map[string]*entry{}, asked: map[string][]dist.Name{}}
	for _, p := range u.places {
		for _, entries := range p.files {
			for _, e := range entries {
				s.entries[fileKey(&e.File)] = e
			}
		}
	}
	return s
}

func (s *universeSource) Files(_ context.Context, name dist.Name, want version.Set) ([]Candidate, error) {
	var all []Candidate
	enough, exists := false, false
	for i, p := range s.universe.places {
		if i >= s.places[name] {
			if enough {
				break
			}
			s.places[name]++
			s.asked[p.name] = append(s.asked[p.name], name)
		}
		for _, e := range p.files[name] {
			exists = true
			all = append(all, e.Candidate)
			enough = enough || e.Barred == "" && want.Contains(e.Version)
		}
	}
	if !exists {
		return nil, fmt.Errorf("%s is not on the index: %w", name, fs.ErrNotExist)
	}
	return all, nil
}

func (s *universeSource) Requires(_ context.Context, f dist.File) ([]requirement.Requirement, error) {
	e := s.entries[fileKey(&f)]
	s.read = append(s.read, string(f.Name)+" "+f.Version.String())
	switch {
	case e.unusable != "":
		return nil, &Unusable{Reason: e.unusable}
	case e.fails != "":
		return nil, errors.New(e.fails)
	}
	return e.requires, nil
}

// Hint implements Hinter.
func (s *universeSource) Hint(name dist.Name, _ version.Set) string { return s.hints[name] }

// solve gives the solver's answer, and what it asked.
func (u *universe) solve(t testing.TB) (*Solution, *universeSource, error) {
	t.Helper()
	src := newUniverseSource(u)
	if u.trace != nil {
		u.steps, u.problem.Trace = nil, func(s Step) { u.steps = append(u.steps, s.String()) }
	}
	solution, err := Solve(t.Context(), u.problem, src)
	return solution, src, err
}

// render writes a solution as the language does.
func (s *Solution) render() []string {
	lines := []string{}
	for _, c := range s.Chosen {
		line := string(c.File.Name) + " " + c.File.Version.String()
		for i, e := range c.Extras {
			line += [...]string{" [", ","}[min(i, 1)] + string(e)
		}
		if len(c.Extras) > 0 {
			line += "]"
		}
		lines = append(lines, line)
	}
	return lines
}
