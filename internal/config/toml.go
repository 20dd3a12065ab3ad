package config

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"curdling/internal/dist"
	"curdling/internal/lazyregexp"
	"curdling/internal/requirement"
)

// file is a curd.toml, or the table [tool.curd] of a pyproject.toml, being read.
type file struct {
	path     string
	at       []string       // where the settings stand: nothing, or tool and curd
	settings map[string]any // nil: there are none for us
	lines    map[string]int // by spot
	loader   *loader
}

// parseFile reads the text of a TOML file.
func (l *loader) parseFile(path string, b []byte) (*file, error) {
	f := &file{path: path, loader: l}
	all, err := requirement.ParseTOML(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.lines = lineNumbers(b)
	f.settings = all
	if filepath.Base(path) != pyproject {
		if all == nil {
			f.settings = map[string]any{} // empty, but there
		}
		return f, nil
	}
	for _, name := range []string{"tool", "curd"} {
		f.at = append(f.at, name)
		value, ok := f.settings[name]
		if !ok {
			f.settings = nil
			return f, nil
		}
		if f.settings, ok = value.(map[string]any); !ok {
			return nil, f.errorf(nil, "%s is not a table", strings.Join(f.at, "."))
		}
	}
	return f, nil
}

// maxPath is how many parts the longest key of ours has: tool.curd.index.0.url.
const maxPath = 5

// lineNumbers gives the line on which each key and table of a TOML file that
// was parsed already stands first. The tables of an array count from 0.
func lineNumbers(b []byte) map[string]int {
	lines, tables := map[string]int{}, map[string]int{}
	line, counted := 1, 0
	var parser unstable.Parser
	parser.Reset(b)
	var table []string
	for parser.NextExpression() {
		e := parser.Expression()
		var path []string
		if e.Kind == unstable.KeyValue {
			path = slices.Clone(table)
		}
		for parts := e.Key(); parts.Next(); {
			part := parts.Node()
			path = append(path, string(part.Data))
			line += strings.Count(string(b[counted:part.Raw.Offset]), "\n")
			counted = int(part.Raw.Offset)
			if name := spot(path); len(path) <= maxPath && lines[name] == 0 {
				lines[name] = line
			}
		}
		if e.Kind == unstable.ArrayTable && len(path) < maxPath {
			name := spot(path)
			path = append(path, fmt.Sprint(tables[name]))
			tables[name]++
			lines[spot(path)] = line
		}
		if e.Kind != unstable.KeyValue {
			table = path
		}
	}
	return lines
}

// spot makes a key of a map of a path, however hostile: longer parts and paths are cut.
func spot(path []string) string {
	var b strings.Builder
	for _, part := range path[:min(len(path), maxPath)] {
		b.WriteString(part[:min(len(part), 100)])
		b.WriteByte(0)
	}
	return b.String()
}

// line gives the line of the innermost part of a path that has one of its own.
func (f *file) line(path []string) int {
	path = slices.Concat(f.at, path)
	for ; len(path) > 0; path = path[:len(path)-1] {
		if n := f.lines[spot(path)]; n > 0 {
			return n
		}
	}
	return 1
}

func (f *file) origin(path ...string) string { return fmt.Sprintf("%s:%d", f.path, f.line(path)) }

func (f *file) errorf(path []string, format string, args ...any) error {
	return fmt.Errorf("%s: %w", f.origin(path...), fmt.Errorf(format, args...))
}

// full is the name of a setting as the table of it is written.
func (f *file) full(k *key) string { return strings.Join(slices.Concat(f.at, []string{k.name}), ".") }

// layer reads all settings of the file.
func (f *file) layer() (layer, error) {
	found := layer{settings: map[string]setting{}, named: map[string]named{}}
	for _, name := range slices.Sorted(maps.Keys(f.settings)) {
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
		if i < 0 {
			hint := "; 'curd config --help' tells of all keys"
			if near := nearest(name); near != "" {
				hint = fmt.Sprintf("; did you mean %s?", near)
			}
			return found, f.errorf([]string{name}, "unknown key %.60q%s", name, hint)
		}
		if err := f.setting(&found, &keys[i], f.settings[name]); err != nil {
			return found, err
		}
	}
	return found, nil
}

// setting reads one setting into the layer.
func (f *file) setting(found *layer, k *key, from any) (err error) {
	s := setting{origin: f.origin(k.name)}
	switch {
	case k.name == "sources":
		return f.sources(found, k, from)
	case k.kind == indexes:
		return f.indexes(found, k, from)
	case k.kind == boolean:
		b, ok := from.(bool)
		if !ok {
			return f.errorf([]string{k.name}, "%s is not a boolean; write true or false", k.name)
		}
		s.values = []value{{text: fmt.Sprint(b)}}
	case k.kind == number:
		switch from.(type) {
		case int64, float64:
		default:
			return f.errorf([]string{k.name}, "%s is not a number", k.name)
		}
		s.values = []value{{text: fmt.Sprint(from)}}
		if err = k.check(s.values[0].text); err != nil {
			return f.errorf([]string{k.name}, "%w", err)
		}
	case k.kind == table:
		s.values, err = f.table(k, from)
	case k.kind == list:
		s.values, err = f.list(k, from)
	default:
		var v value
		v, err = f.text([]string{k.name}, k, from)
		s.values = []value{v}
	}
	found.settings[k.name] = s
	return err
}

// list reads a list of strings, or the only one of it.
func (f *file) list(k *key, from any) ([]value, error) {
	items, ok := from.([]any)
	if !ok {
		items = []any{from}
	}
	values := make([]value, len(items))
	for i, item := range items {
		var err error
		if values[i], err = f.text([]string{k.name}, k, item); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// table reads a table of strings and lists of strings.
func (f *file) table(k *key, from any) ([]value, error) {
	items, ok := from.(map[string]any)
	if !ok {
		return nil, f.errorf([]string{k.name}, "%s is not a table; write %s = { KEY = \"VALUE\" }", k.name, k.name)
	}
	var values []value
	for _, name := range slices.Sorted(maps.Keys(items)) {
		path := []string{k.name, name}
		if name == "" || strings.Contains(name, "=") {
			return nil, f.errorf(path, "%s: the key %.60q is empty or holds =", k.name, name)
		}
		texts, ok := items[name].([]any)
		if !ok {
			texts = []any{items[name]}
		}
		for _, item := range texts {
			s, ok := item.(string)
			if !ok {
				return nil, f.errorf(path, "%s: %.60q is not a string, or a list of strings", k.name, name)
			}
			values = append(values, value{text: name + "=" + s})
		}
	}
	return values, nil
}

// text reads a string, and makes of it what it means in this file.
func (f *file) text(path []string, k *key, from any) (value, error) {
	what := strings.Join(path, ".")
	var s string
	switch from := from.(type) {
	case string:
		s = from
	case toml.LocalDate, toml.LocalDateTime:
		s = fmt.Sprint(from)
	case time.Time:
		s = from.Format(time.RFC3339Nano)
	case map[string]any:
		return value{}, f.errorf(path, "%s is a table; write a string", what)
	default:
		return value{}, f.errorf(path, "%s is not a string; write it in quotes", what)
	}
	if k.content == secretKey && isSecretKey(s) {
		return value{}, f.errorf(path, "%s holds the key itself; write the path of a file that only its owner can read, and make a new key: this one is known to whoever can read this file", what)
	}
	v := value{text: s}
	switch {
	case k.content == publicKey && isPublicKey(s):
	case k.content == address, k.content == place && isURL(s):
		v = f.loader.expand(s)
	case k.content == place, k.content == publicKey, k.content == secretKey, k.content == interpreter && strings.ContainsAny(s, "/"+string(filepath.Separator)):
		v.text = f.loader.relative(filepath.Dir(f.path), s)
	}
	if s == "" || v.err == nil { // what cannot be expanded is judged where it is used
		if err := k.check(v.text); err != nil {
			return v, f.errorf(path, "%w", err)
		}
	}
	return v, nil
}

// Keys are those of golang.org/x/mod/sumdb/note.
var publicKeyForm = lazyregexp.New(`^[^+\s]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+$`)

func isPublicKey(s string) bool { return publicKeyForm.MatchString(s) }

func isSecretKey(s string) bool { return strings.HasPrefix(strings.TrimSpace(s), "PRIVATE+KEY+") }

func isURL(s string) bool { return strings.Contains(s, "://") || strings.HasPrefix(s, "file:") }

var braced = lazyregexp.New(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expand puts the values of environment variables in the place of ${VAR}.
func (l *loader) expand(s string) value {
	v := value{shown: s}
	v.text = braced.ReplaceAllStringFunc(s, func(reference string) string {
		name := braced.FindStringSubmatch(reference)[1]
		variable := l.Getenv(name)
		if variable == "" && v.err == nil {
			v.err = fmt.Errorf("the variable %s is not set", name)
		}
		return variable
	})
	return v
}

// relative gives a path as seen from the folder dir; ~ is the home folder.
func (l *loader) relative(dir, path string) string {
	switch rest, inHome := strings.CutPrefix(path, "~/"); {
	case path == "", filepath.IsAbs(path):
		return path
	case inHome && l.Home != "":
		return filepath.Join(l.Home, rest)
	}
	return filepath.Join(dir, path)
}

// indexes reads the indexes of a file. The explicit ones are no part of the
// setting that a nearer source replaces.
func (f *file) indexes(found *layer, k *key, from any) error {
	items, ok := from.([]any)
	if _, table := from.(map[string]any); table {
		return f.errorf([]string{k.name}, "index is a table; write [[%s]]", f.full(k))
	} else if !ok {
		items = []any{from}
	}
	s := setting{origin: f.origin(k.name)}
	for i, item := range items {
		path := []string{k.name, fmt.Sprint(i)}
		n, err := f.index(path, k, item)
		if err != nil {
			return err
		}
		n.origin = f.origin(path...) // of this one
		name, _ := CutIndex(n.text)
		if _, twice := found.named[name]; twice {
			return f.errorf(path, "two indexes are named %s", name)
		}
		if name != "" {
			found.named[name] = n
		}
		if !n.explicit {
			s.values = append(s.values, n.value)
		}
	}
	if len(s.values) > 0 || len(items) == 0 {
		found.settings[k.name] = s
	}
	return nil
}

// index reads a URL, NAME=URL, or a table of them.
func (f *file) index(path []string, k *key, from any) (n named, err error) {
	item, ok := from.(map[string]any)
	if !ok {
		n.value, err = f.text(path[:1], k, from)
		return n, err
	}
	name := ""
	for _, field := range slices.Sorted(maps.Keys(item)) {
		at := slices.Concat(path, []string{field})
		switch field {
		case "name":
			if name, ok = item[field].(string); !ok || !isIndexName(name) {
				return n, f.errorf(at, "an index's name is a word of letters, digits, dots, - and _")
			}
		case "url":
			if n.value, err = f.text([]string{k.name, path[1], field}, k, item[field]); err != nil {
				return n, err
			}
		case "explicit":
			if n.explicit, ok = item[field].(bool); !ok {
				return n, f.errorf(at, "explicit is not a boolean; write true or false")
			}
		default:
			return n, f.errorf(at, "unknown key %.60q of an index; there are name, url and explicit", field)
		}
	}
	inner, _ := CutIndex(n.text)
	switch {
	case n.text == "" || inner != "":
		return n, f.errorf(path, "an index needs a url, without a name in it")
	case n.explicit && name == "":
		return n, f.errorf(path, "an explicit index has no name, so that no package can come from it")
	case name != "":
		n.text, n.shown = name+"="+n.text, name+"="+n.shown
	}
	return n, nil
}

// sources reads which package comes from which index.
func (f *file) sources(found *layer, k *key, from any) error {
	items, ok := from.(map[string]any)
	if !ok {
		return f.errorf([]string{k.name}, "sources is not a table; write [%s] and under it PACKAGE = \"INDEX\"", f.full(k))
	}
	s := setting{origin: f.origin(k.name)}
	pins := map[dist.Name]pin{}
	for _, project := range slices.Sorted(maps.Keys(items)) {
		path := []string{k.name, project}
		name, err := dist.ParseName(project)
		if err != nil {
			return f.errorf(path, "sources: %w", err)
		}
		index, ok := items[project].(string)
		if !ok {
			return f.errorf(path, "sources: %.60q is not the name of an index in quotes", project)
		}
		if _, twice := pins[name]; twice {
			return f.errorf(path, "sources: %s stands there twice", name)
		}
		pins[name] = pin{index: index, origin: f.origin(path...)}
		s.values = append(s.values, value{text: string(name) + "=" + index})
	}
	found.pins = pins
	found.settings[k.name] = s
	return nil
}

var indexName = lazyregexp.New(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?$`)

func isIndexName(s string) bool { return indexName.MatchString(s) }

// CutIndex splits NAME=URL. A URL alone has the name "".
func CutIndex(s string) (name, url string) {
	if name, url, ok := strings.Cut(s, "="); ok && isIndexName(name) {
		return name, url
	}
	return "", s
}
