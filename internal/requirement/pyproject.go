package requirement

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"curdling/internal/dist"
	"curdling/internal/lazyregexp"
	"curdling/internal/marker"
	"curdling/internal/version"
)

const (
	maxPyproject = 4 << 20 // bytes
	maxItems     = 1 << 16 // that extras and groups may come to by including each other
	maxNested    = 1000    // extras and groups that include each other
)

// Pyproject is what a pyproject.toml asks for: its table [project] (PEP 621)
// and its dependency groups (PEP 735). Tables of tools are not heeded.
type Pyproject struct {
	Name           dist.Name          // of the project; "" where there is no table [project]
	RequiresPython version.Specifiers // without any where it is dynamic, too

	path    string
	project map[string]any
	groups  map[string]any // by normalised name
}

// ReadPyproject reads a pyproject.toml. What it requires is judged when it is
// asked for; a file without [project] may have groups. Limits: 4 MiB,
// nested at most 100 deep.
func ReadPyproject(path string) (*Pyproject, error) {
	b, err := readAtMost(path, maxPyproject+1) // one byte more shows that it is too long
	if err != nil {
		return nil, err
	}
	return ParsePyproject(b, path)
}

// readAtMost reads the first limit bytes of a file.
func readAtMost(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// ParsePyproject reads the text of a pyproject.toml; path stands in errors and
// in Where.
func ParsePyproject(b []byte, path string) (*Pyproject, error) {
	p := &Pyproject{path: path}
	if err := p.parse(b); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

func (p *Pyproject) parse(b []byte) error {
	if len(b) > maxPyproject {
		return fmt.Errorf("longer than %d bytes", maxPyproject)
	}
	file, err := ParseTOML(b)
	if err != nil {
		return err
	}
	project, groups := file["project"], file["dependency-groups"]
	var ok bool
	if p.project, ok = project.(map[string]any); !ok && project != nil {
		return errors.New("project is not a table")
	}
	if err := p.parseProject(); err != nil {
		return fmt.Errorf("project.%w", err)
	}
	table, ok := groups.(map[string]any)
	if !ok && groups != nil {
		return errors.New("dependency-groups is not a table")
	}
	p.groups = map[string]any{}
	for name, group := range table {
		normal := normalGroup(name)
		if _, ok := p.groups[normal]; ok {
			return fmt.Errorf("dependency-groups: more than one group has the name %s", normal)
		}
		p.groups[normal] = group
	}
	return nil
}

func (p *Pyproject) parseProject() (err error) {
	if p.project == nil {
		return nil
	}
	name, _ := p.project["name"].(string)
	if p.Name, err = dist.ParseName(name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if requires, ok := p.project["requires-python"]; ok {
		text, ok := requires.(string)
		if !ok {
			return errors.New("requires-python is not a string")
		}
		if p.RequiresPython, err = version.ParseSpecifiers(text); err != nil {
			return fmt.Errorf("requires-python: %w", err)
		}
	}
	return nil
}

// Requirements gives what the project requires, and what its extras require.
// An extra that requires extras of the project itself ("name[test]", as all of
// them together often do) gives what these require.
func (p *Pyproject) Requirements(extras []string) ([]Line, error) {
	lines, err := p.requirements(extras)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.path, err)
	}
	return lines, nil
}

func (p *Pyproject) requirements(extras []string) ([]Line, error) {
	if p.project == nil {
		return nil, errors.New("has no table [project] that tells what it requires; to install the project itself, name its folder instead")
	}
	dependencies, err := p.field("dependencies")
	if err != nil {
		return nil, err
	}
	e := expansion{p: p}
	if dependencies != nil {
		if err := e.list("project.dependencies", dependencies, marker.Marker{}); err != nil {
			return nil, err
		}
	}
	if len(extras) == 0 {
		return e.lines, nil
	}
	if e.optional, err = p.optional(); err != nil {
		return nil, err
	}
	for _, extra := range extras {
		name, err := dist.ParseName(extra)
		if err != nil {
			return nil, err
		}
		if err := e.extra(name, marker.Marker{}); err != nil {
			return nil, err
		}
	}
	return e.lines, nil
}

// field gives a field of [project] that the file itself must tell.
func (p *Pyproject) field(name string) (any, error) {
	dynamic, err := stringList(p.project["dynamic"])
	if err != nil {
		return nil, fmt.Errorf("project.dynamic %w", err)
	}
	if slices.Contains(dynamic, name) {
		return nil, fmt.Errorf("project.%s is dynamic: building the project tells it; name the project's folder instead of this file", name)
	}
	return p.project[name], nil
}

// optional gives project.optional-dependencies by normalised names.
func (p *Pyproject) optional() (map[dist.Name]any, error) {
	value, err := p.field("optional-dependencies")
	if err != nil {
		return nil, err
	}
	table, ok := value.(map[string]any)
	if !ok && value != nil {
		return nil, errors.New("project.optional-dependencies is not a table")
	}
	extras := map[dist.Name]any{}
	for name, list := range table {
		normal, err := dist.ParseName(name)
		if err != nil {
			return nil, fmt.Errorf("project.optional-dependencies: %w", err)
		}
		if _, ok := extras[normal]; ok {
			return nil, fmt.Errorf("project.optional-dependencies: more than one extra has the name %s", normal)
		}
		extras[normal] = list
	}
	return extras, nil
}

// expansion collects what a project and its extras require.
type expansion struct {
	p        *Pyproject
	optional map[dist.Name]any
	lines    []Line
	items    int
	stack    []dist.Name // the extras being read, the innermost last
}

// extra takes in what an extra requires, under a marker. One that includes
// itself adds nothing by that.
func (e *expansion) extra(name dist.Name, under marker.Marker) error {
	list, ok := e.optional[name]
	switch {
	case !ok:
		return fmt.Errorf("has no extra %s; it has: %s", name, strings.Join(sorted(e.optional), ", "))
	case slices.Contains(e.stack, name):
		return nil
	case len(e.stack) == maxNested:
		return fmt.Errorf("more than %d extras require each other", maxNested)
	}
	e.stack = append(e.stack, name)
	err := e.list("project.optional-dependencies."+string(name), list, under)
	e.stack = e.stack[:len(e.stack)-1]
	return err
}

// list takes in a list of requirements, all of which are meant under a marker.
func (e *expansion) list(where string, value any, under marker.Marker) error {
	texts, err := stringList(value)
	if err != nil {
		return fmt.Errorf("%s %w", where, err)
	}
	if e.items += len(texts); e.items > maxItems {
		return fmt.Errorf("%s: more than %d requirements", where, maxItems)
	}
	for _, text := range texts {
		line, err := e.p.line(where, text)
		if err == nil {
			line.Marker, err = and(under, line.Marker)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
		if len(e.stack) == 0 || line.Name != e.p.Name || line.URL != "" {
			e.lines = append(e.lines, line)
			continue
		}
		for _, extra := range line.Extras {
			if err := e.extra(extra, line.Marker); err != nil {
				return err
			}
		}
	}
	return nil
}

// and gives the marker that holds where both do.
func and(a, b marker.Marker) (marker.Marker, error) {
	switch {
	case a.IsZero() || a.Equal(b):
		return b, nil
	case b.IsZero():
		return a, nil
	}
	return marker.Parse("(" + a.String() + ") and (" + b.String() + ")")
}

// line reads a requirement of a pyproject.toml, which must be one of PEP 508.
func (p *Pyproject) line(where, text string) (Line, error) {
	r, err := Parse(text)
	if err != nil {
		return Line{}, err
	}
	line := Line{Requirement: r, Where: p.path + ": " + where}
	if r.URL != "" {
		err = line.reference()
	}
	return line, err
}

// Group gives the requirements of a dependency group (PEP 735) and of those
// that it includes, in their order. Names are normalised. A requirement of a
// group is never the project's own extra: it is asked of the index.
func (p *Pyproject) Group(name string) ([]Line, error) {
	i := inclusion{p: p}
	if err := i.group(normalGroup(name)); err != nil {
		return nil, fmt.Errorf("%s: dependency group %s: %w", p.path, name, err)
	}
	return i.lines, nil
}

// inclusion collects the requirements of a group.
type inclusion struct {
	p     *Pyproject
	lines []Line
	items int
	stack []string // the groups being read, the innermost last
}

func (i *inclusion) group(name string) error {
	value, ok := i.p.groups[name]
	list, isList := value.([]any)
	switch {
	case !ok:
		return fmt.Errorf("there is no group %q; there are: %s", name, strings.Join(sorted(i.p.groups), ", "))
	case !isList:
		return fmt.Errorf("the group %s is not a list", name)
	case slices.Contains(i.stack, name):
		return fmt.Errorf("groups include each other in a circle: %s -> %s", strings.Join(i.stack, " -> "), name)
	case len(i.stack) == maxNested:
		return fmt.Errorf("more than %d groups include each other", maxNested)
	}
	i.stack = append(i.stack, name)
	for _, item := range list {
		if err := i.item(name, item); err != nil {
			return err
		}
	}
	i.stack = i.stack[:len(i.stack)-1]
	return nil
}

func (i *inclusion) item(group string, item any) error {
	if i.items++; i.items > maxItems {
		return fmt.Errorf("more than %d requirements", maxItems)
	}
	switch item := item.(type) {
	case string:
		line, err := i.p.line("dependency-groups."+group, item)
		i.lines = append(i.lines, line)
		return err
	case map[string]any:
		if name, ok := item["include-group"].(string); ok && len(item) == 1 {
			return i.group(normalGroup(name))
		}
	}
	return fmt.Errorf("the group %s has an item that is neither a requirement nor {include-group = \"NAME\"}", group)
}

var separators = lazyregexp.New(`[-_.]+`)

// normalGroup normalises a group's name as PEP 503 does a project's.
func normalGroup(name string) string {
	return strings.ToLower(separators.ReplaceAllString(name, "-"))
}

func stringList(value any) ([]string, error) {
	list, ok := value.([]any)
	texts := make([]string, len(list))
	for i := range list {
		if texts[i], ok = list[i].(string); !ok {
			break
		}
	}
	if !ok && value != nil {
		return nil, errors.New("is not a list of strings")
	}
	return texts, nil
}

func sorted[K ~string, V any](m map[K]V) []string {
	names := make([]string, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		names = append(names, string(name))
	}
	return names
}
