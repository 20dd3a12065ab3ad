package marker

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"curdling/internal/version"
)

// operand is a variable, or the text of a quoted string.
type operand struct {
	text     string
	variable bool
}

func (o operand) String() string {
	switch {
	case o.variable:
		return o.text
	case strings.Contains(o.text, `"`):
		return "'" + o.text + "'"
	}
	return `"` + o.text + `"`
}

// comparison is "left op right". One side is looked up in the environment: the
// left one if it is a variable, else the right one, whatever it is.
type comparison struct {
	left, right operand
	op          string
	// specifier is op and right together, read once where right is a literal
	// that a version is compared with.
	specifier *specifier
}

func newComparison(left operand, op string, right operand) *comparison {
	switch {
	case left == extra && !right.variable:
		right.text = normalize(right.text)
	case (right == extra || right.variable && isSet(right.text)) && !left.variable:
		left.text = normalize(left.text)
	}
	c := &comparison{left: left, op: op, right: right}
	if left.variable && isVersion(left.text) {
		c.specifier = parseSpecifier(op, right.text)
	}
	return c
}

var extra = operand{"extra", true}

// isVersion tells whether a variable's value is compared as a version where possible.
func isVersion(variable string) bool {
	switch variable {
	case "implementation_version", "platform_release", "python_full_version", "python_version":
		return true
	}
	return false
}

// isSet tells whether a variable is a set of names (PEP 751).
func isSet(variable string) bool { return variable == "extras" || variable == "dependency_groups" }

func (c *comparison) print(b *strings.Builder) {
	b.WriteString(c.left.String())
	b.WriteByte(' ')
	b.WriteString(c.op)
	b.WriteByte(' ')
	b.WriteString(c.right.String())
}

// scope is where a marker is evaluated.
type scope struct {
	env    Environment
	extra  string
	locked bool // in a lock file: there are extras and groups, and no extra
	extras []string
	groups []string
}

// Holds evaluates the marker as core metadata's (packaging's context
// "metadata"); extra is the value of the variable "extra" ("" for none). An
// error is ErrUndefinedComparison ("~=" between strings) or
// ErrUndefinedEnvironmentName (a variable that env lacks). It is reported even
// where another part of the marker decides.
func (m Marker) Holds(env Environment, extra string) (bool, error) {
	if m.IsZero() {
		return true, nil
	}
	return m.root.holds(&scope{env: env, extra: extra})
}

// HoldsInLock evaluates the marker as a lock file's (PEP 751, packaging's
// context "lock_file"): extras and groups are what is asked to be installed,
// and there is no variable "extra". Errors are those of Holds.
func (m Marker) HoldsInLock(env Environment, extras, groups []string) (bool, error) {
	if m.IsZero() {
		return true, nil
	}
	return m.root.holds(&scope{env: env, locked: true, extras: extras, groups: groups})
}

func (e *expression) holds(s *scope) (bool, error) {
	some := false
	for _, terms := range e.alternatives {
		every := true
		for _, t := range terms {
			holds, err := t.holds(s)
			if err != nil {
				return false, err
			}
			every = every && holds
		}
		some = some || every
	}
	return some, nil
}

func (t term) holds(s *scope) (bool, error) {
	if t.group != nil {
		return t.group.holds(s)
	}
	return t.comparison.holds(s)
}

func (c *comparison) holds(s *scope) (bool, error) {
	if c.left.variable {
		if s.locked && isSet(c.left.text) {
			return false, fmt.Errorf("%w: %s is a set; ask for \"name\" in %s", ErrUndefinedComparison, c.left.text, c.left.text)
		}
		value, err := s.lookup(c.left.text)
		if err != nil {
			return false, err
		}
		if c.specifier != nil {
			return c.specifier.contains(value), nil
		}
		return compare(value, c.op, c.right.text)
	}
	key := c.right.text
	if s.locked && isSet(key) {
		return c.holdsOnSet(s)
	}
	value, err := s.lookup(key)
	if err != nil {
		return false, err
	}
	if isVersion(key) {
		if spec := parseSpecifier(c.op, value); spec != nil {
			return spec.contains(c.left.text), nil
		}
	}
	return compare(c.left.text, c.op, value)
}

func (s *scope) lookup(key string) (string, error) {
	if key == "extra" && !s.locked {
		return normalize(s.extra), nil
	}
	value, ok := s.env[key]
	if !ok {
		return "", fmt.Errorf("%w: %s", ErrUndefinedEnvironmentName, key)
	}
	if key == "python_full_version" && strings.HasSuffix(value, "+") {
		value += "local" // a build of a checkout says "3.14.0+"
	}
	return value, nil
}

// holdsOnSet evaluates `"name" in extras`.
func (c *comparison) holdsOnSet(s *scope) (bool, error) {
	set := s.extras
	if c.right.text == "dependency_groups" {
		set = s.groups
	}
	name := normalize(c.left.text)
	in := slices.ContainsFunc(set, func(member string) bool { return normalize(member) == name })
	switch c.op {
	case "in":
		return in, nil
	case "not in":
		return !in, nil
	case "!=":
		return true, nil // a name is no set
	case "==", "<=", ">=", "<", ">":
		return false, nil
	}
	return false, fmt.Errorf("%w: %q %s %s", ErrUndefinedComparison, c.left.text, c.op, c.right.text)
}

// compare compares strings; order between strings is not defined, and is no error.
func compare(left, op, right string) (bool, error) {
	switch op {
	case "in":
		return strings.Contains(right, left), nil
	case "not in":
		return !strings.Contains(right, left), nil
	case "==", "<=", ">=":
		return left == right, nil
	case "!=":
		return left != right, nil
	case "<", ">":
		return false, nil
	}
	return false, fmt.Errorf("%w: %q %s %q", ErrUndefinedComparison, left, op, right)
}

// specifier is one version specifier. "===" compares strings.
type specifier struct {
	versions  version.Specifiers
	arbitrary bool
	text      string // of "===", in lower case
}

// parseSpecifier gives nil where op and text together are no version
// specifier. Together: ">" and "=3.9" are ">=3.9".
func parseSpecifier(op, text string) *specifier {
	if op == "in" || op == "not in" {
		return nil
	}
	s := op + text
	if after, ok := strings.CutPrefix(s, "==="); ok {
		after = strings.TrimSpace(after)
		if strings.ContainsAny(after, " \t\n\v\f\r;)") {
			return nil
		}
		return &specifier{arbitrary: true, text: strings.ToLower(after)}
	}
	if strings.Contains(s, ",") {
		return nil
	}
	versions, err := version.ParseSpecifiers(s)
	if err != nil {
		return nil
	}
	return &specifier{versions: versions}
}

func (s *specifier) contains(value string) bool {
	if s.arbitrary {
		return strings.ToLower(value) == s.text
	}
	v, err := version.Parse(value)
	return err == nil && s.versions.Contains(v)
}

// normalize is PEP 503's normalisation, of extras that need not be valid names.
func normalize(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool {
		return r == '_' || r == '.' || r >= utf8.RuneSelf || unicode.IsUpper(r)
	}) && !strings.Contains(name, "--") {
		return name
	}
	var b strings.Builder
	dash := false
	for _, r := range strings.ToLower(name) {
		isDash := r == '-' || r == '_' || r == '.'
		switch {
		case !isDash:
			b.WriteRune(r)
		case !dash:
			b.WriteByte('-')
		}
		dash = isDash
	}
	return b.String()
}
