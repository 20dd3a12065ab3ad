package lock

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"curdling/internal/lazyregexp"
)

// Encode writes the lock, and equal locks alike: packages are sorted by name,
// version and marker, their wheels by name, and what is not known
// has no line. Parse reads it again.
func (l *Lock) Encode() []byte {
	var b strings.Builder
	top := pairs{{"lock-version", cmp.Or(l.Version.String(), "1.0")}}
	top.add("environments", l.environments())
	top.add("requires-python", l.RequiresPython.String())
	top.add("extras", texts(l.Extras))
	top.add("dependency-groups", l.DependencyGroups)
	top.add("default-groups", l.DefaultGroups)
	top = append(top, pair{"created-by", l.CreatedBy})
	top.add("tool", l.Tool)
	if len(l.Packages) == 0 {
		top = append(top, pair{"packages", []any{}})
	}
	top.lines(&b)
	for _, p := range l.sorted() {
		b.WriteString("\n[[packages]]\n")
		p.pairs().lines(&b)
	}
	return []byte(b.String())
}

// sorted gives the packages in the order in which they are written.
func (l *Lock) sorted() []Package {
	packages := slices.SortedStableFunc(slices.Values(l.Packages), func(p, q Package) int {
		return cmp.Or(cmp.Compare(p.Name, q.Name), p.Version.Compare(q.Version), cmp.Compare(p.Marker.String(), q.Marker.String()))
	})
	for i := range packages {
		packages[i].Wheels = slices.SortedStableFunc(slices.Values(packages[i].Wheels), func(f, g File) int {
			return cmp.Or(cmp.Compare(f.base(), g.base()), cmp.Compare(f.Path, g.Path), cmp.Compare(f.URL, g.URL))
		})
	}
	return packages
}

// base is the file's name, or what its path or URL ends with.
func (f *File) base() string { return cmp.Or(f.Name, path.Base(cmp.Or(f.Path, f.URL))) }

func (l *Lock) environments() (all []string) {
	for _, m := range l.Environments {
		all = append(all, m.String())
	}
	return all
}

func (p *Package) pairs() pairs {
	t := pairs{{"name", string(p.Name)}}
	t.add("version", p.Version.String())
	t.add("marker", p.Marker.String())
	t.add("requires-python", p.RequiresPython.String())
	t.add("dependencies", p.Dependencies)
	if v := p.VCS; v != nil {
		table := pairs{{"type", v.Type}}
		table.add("url", v.URL)
		table.add("path", v.Path)
		table.add("requested-revision", v.RequestedRevision)
		table.add("commit-id", v.CommitID)
		table.add("subdirectory", v.Subdirectory)
		t.add("vcs", table)
	}
	if d := p.Directory; d != nil {
		table := pairs{{"path", d.Path}}
		table.add("editable", d.Editable)
		table.add("subdirectory", d.Subdirectory)
		t.add("directory", table)
	}
	if p.Archive != nil {
		t.add("archive", p.Archive.pairs())
	}
	t.add("index", p.Index)
	if p.Sdist != nil {
		t.add("sdist", p.Sdist.pairs())
	}
	var wheels []pairs
	for _, f := range p.Wheels {
		wheels = append(wheels, f.pairs())
	}
	t.add("wheels", wheels)
	t.add("attestation-identities", p.AttestationIdentities)
	t.add("tool", p.Tool)
	return t
}

func (f *File) pairs() pairs {
	var t pairs
	t.add("name", f.Name)
	t.add("url", f.URL)
	t.add("path", f.Path)
	t.add("upload-time", f.UploadTime)
	t.add("size", f.Size)
	t.add("hashes", f.Hashes)
	t.add("subdirectory", f.Subdirectory)
	return t
}

// pair is a line of a TOML table, pairs a table whose order is kept.
type (
	pair struct {
		key   string
		value any
	}
	pairs []pair
)

// add adds what says something.
func (t *pairs) add(key string, value any) {
	switch value := value.(type) {
	case time.Time:
		if !value.IsZero() {
			*t = append(*t, pair{key, value.UTC()})
		}
	default:
		if text := inline(value); text != `""` && text != "0" && text != "false" && text != "[]" && text != "{}" {
			*t = append(*t, pair{key, value})
		}
	}
}

// lines writes each pair on a line, lists of several things on a line for each.
func (t pairs) lines(b *strings.Builder) {
	for _, p := range t {
		items := listed(p.value)
		if len(items) < 2 {
			fmt.Fprintf(b, "%s = %s\n", key(p.key), inline(p.value))
			continue
		}
		fmt.Fprintf(b, "%s = [\n", key(p.key))
		for _, item := range items {
			fmt.Fprintf(b, "    %s,\n", item)
		}
		b.WriteString("]\n")
	}
}

// listed gives the items of a list as TOML, nil for anything else.
func listed(value any) []string {
	switch value := value.(type) {
	case []string:
		return inlineAll(value)
	case []any:
		return inlineAll(value)
	case []pairs:
		return inlineAll(value)
	case []map[string]any:
		return inlineAll(value)
	}
	return nil
}

func inlineAll[T any](values []T) []string {
	all := make([]string, len(values))
	for i, value := range values {
		all[i] = inline(value)
	}
	return all
}

// inline writes a value as TOML, on one line.
func inline(value any) string {
	switch value := value.(type) {
	case string:
		return quote(value)
	case time.Time:
		return value.Format(time.RFC3339Nano)
	case float64:
		return number(value)
	case map[string]string:
		return inlineTable(value)
	case map[string]any:
		return inlineTable(value)
	case pairs:
		fields := make([]string, len(value))
		for i, p := range value {
			fields[i] = key(p.key) + " = " + inline(p.value)
		}
		return braces(fields)
	case []string, []any, []pairs, []map[string]any:
		return "[" + strings.Join(listed(value), ", ") + "]"
	}
	return fmt.Sprint(value) // whole numbers, truth values, and local dates and times
}

func inlineTable[T any](table map[string]T) string {
	fields := make([]string, 0, len(table))
	for _, name := range slices.Sorted(maps.Keys(table)) {
		fields = append(fields, key(name)+" = "+inline(table[name]))
	}
	return braces(fields)
}

func braces(fields []string) string {
	if len(fields) == 0 {
		return "{}"
	}
	return "{ " + strings.Join(fields, ", ") + " }"
}

// number writes a float, which has a point, an exponent, or is none.
func number(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 0):
		return strings.TrimPrefix(strings.ToLower(strconv.FormatFloat(f, 'g', -1, 64)), "+")
	}
	text := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}

var bareKey = lazyregexp.New(`^[A-Za-z0-9_-]+$`)

func key(s string) string {
	if bareKey.MatchString(s) {
		return s
	}
	return quote(s)
}

// literal is what a TOML string in single quotes may hold, which has no escapes.
var literal = lazyregexp.New(`^[^'\x00-\x1f\x7f]*$`)

// quote writes a TOML string.
func quote(s string) string {
	if strings.Contains(s, `"`) && literal.MatchString(s) && utf8.ValidString(s) {
		return "'" + s + "'"
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s { // invalid UTF-8 becomes U+FFFD
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
