package marker

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxLength = 64 << 10 // bytes
	maxDepth  = 64
)

// variables maps the spellings of the marker variables to their names; the
// dotted ones and python_implementation are older than PEP 508.
var variables = map[string]string{
	"python_version":                 "python_version",
	"python_full_version":            "python_full_version",
	"os_name":                        "os_name",
	"os.name":                        "os_name",
	"sys_platform":                   "sys_platform",
	"sys.platform":                   "sys_platform",
	"platform_release":               "platform_release",
	"platform_system":                "platform_system",
	"platform_version":               "platform_version",
	"platform.version":               "platform_version",
	"platform_machine":               "platform_machine",
	"platform.machine":               "platform_machine",
	"platform_python_implementation": "platform_python_implementation",
	"platform.python_implementation": "platform_python_implementation",
	"python_implementation":          "platform_python_implementation",
	"implementation_name":            "implementation_name",
	"implementation_version":         "implementation_version",
	"extra":                          "extra",
	"extras":                         "extras",
	"dependency_groups":              "dependency_groups",
}

// parser descends recursively. The first error stays in err; after it every
// step is harmless and its result is of no use.
type parser struct {
	source string
	pos    int
	err    error
}

func (p *parser) fail(expected string) {
	if p.err == nil {
		p.err = fmt.Errorf("at byte %d: %s", p.pos, expected)
	}
}

func (p *parser) rest() string { return p.source[p.pos:] }

func (p *parser) space() {
	p.pos = len(p.source) - len(strings.TrimLeft(p.rest(), " \t"))
}

// take moves past s if it stands here.
func (p *parser) take(s string) bool {
	if !strings.HasPrefix(p.rest(), s) {
		return false
	}
	p.pos += len(s)
	return true
}

// word moves past the keyword s if it stands here as a whole word.
func (p *parser) word(s string) bool {
	if p.peekWord() != s {
		return false
	}
	p.pos += len(s)
	return true
}

// peekWord gives the run of ASCII letters, digits and underscores that stands here.
func (p *parser) peekWord() string {
	rest := p.rest()
	return rest[:len(rest)-len(strings.TrimLeftFunc(rest, isWord))]
}

func isWord(r rune) bool {
	return r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r >= utf8.RuneSelf
}

// expression = term (("and" | "or") term)*
func (p *parser) expression(depth int) *expression {
	if depth > maxDepth {
		p.fail("parentheses nest too deep")
		return nil
	}
	e := &expression{alternatives: [][]term{{p.term(depth)}}}
	for p.err == nil {
		last := &e.alternatives[len(e.alternatives)-1]
		switch {
		case p.word("and"):
			*last = append(*last, p.term(depth))
		case p.word("or"):
			e.alternatives = append(e.alternatives, []term{p.term(depth)})
		default:
			return e
		}
	}
	return e
}

// term = "(" expression ")" | comparison
func (p *parser) term(depth int) term {
	p.space()
	if !p.take("(") {
		c := p.comparison()
		p.space()
		return term{comparison: c}
	}
	e := p.expression(depth + 1)
	if !p.take(")") {
		p.fail(`expected ")"`)
	}
	p.space()
	if p.err != nil {
		return term{}
	}
	if only := e.onlyTerm(); only != nil {
		return *only // parentheses around one term say nothing
	}
	return term{group: e}
}

// comparison = operand operator operand
func (p *parser) comparison() *comparison {
	left := p.operand()
	op := p.operator()
	right := p.operand()
	if p.err != nil {
		return nil
	}
	return newComparison(left, op, right)
}

func (p *parser) operator() string {
	p.space()
	for _, op := range []string{"===", "==", "~=", "!=", "<=", ">=", "<", ">"} {
		if p.take(op) {
			return op
		}
	}
	if p.word("in") {
		return "in"
	}
	if p.word("not") {
		before := p.pos
		if p.space(); p.pos > before && p.word("in") {
			return "not in"
		}
	}
	p.fail("expected one of <=, <, !=, ==, >=, >, ~=, ===, in, not in")
	return ""
}

func (p *parser) operand() operand {
	p.space()
	if rest := p.rest(); rest != "" && (rest[0] == '"' || rest[0] == '\'') {
		return p.quoted(rest)
	}
	rest := p.rest()
	word := rest[:len(rest)-len(strings.TrimLeftFunc(rest, func(r rune) bool { return r == '.' || isWord(r) }))]
	name, ok := variables[word]
	if !ok {
		p.fail("expected a marker variable or a quoted string")
	}
	p.pos += len(word)
	return operand{text: name, variable: true}
}

func (p *parser) quoted(rest string) operand {
	end := strings.IndexByte(rest[1:], rest[0])
	if end < 0 {
		p.fail("the quoted string does not end")
		return operand{}
	}
	text, err := unescape(rest[1 : end+1])
	if err == nil && strings.Contains(text, `"`) && strings.Contains(text, `'`) {
		err = errors.New("both kinds of quotes in one string")
	}
	if err != nil {
		p.fail(err.Error())
	}
	p.pos += end + 2
	return operand{text: text}
}

// unescape reads the inside of a Python string literal.
func unescape(s string) (string, error) {
	if strings.ContainsAny(s, "\n\r\x00") || !utf8.ValidString(s) {
		return "", errors.New("a quoted string must be one line of UTF-8")
	}
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, `\`)
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		r, size, err := escape(after)
		if err != nil {
			return "", err
		}
		if size == 0 { // no escape of Python's: the backslash stands for itself
			b.WriteByte('\\')
		} else {
			b.WriteRune(r)
		}
		s = after[size:]
	}
}

// escape reads what follows a backslash: the character and how many bytes it
// took, 0 where Python knows no such escape.
func escape(s string) (r rune, size int, err error) {
	if s == "" {
		return 0, 0, errors.New("a quoted string must not end with a backslash")
	}
	if i := strings.IndexByte(`\'"abfnrtv`, s[0]); i >= 0 {
		return rune("\\'\"\a\b\f\n\r\t\v"[i]), 1, nil
	}
	switch s[0] {
	case 'x':
		return hex(s, 2)
	case 'u':
		return hex(s, 4)
	case 'U':
		return hex(s, 8)
	case 'N':
		return 0, 0, errors.New(`\N{...} in a quoted string is not supported`)
	}
	octal := s[:min(len(s), 3)]
	octal = octal[:len(octal)-len(strings.TrimLeft(octal, "01234567"))]
	if octal == "" {
		return 0, 0, nil
	}
	n, err := strconv.ParseUint(octal, 8, 32)
	return rune(n), len(octal), err
}

func hex(s string, digits int) (rune, int, error) {
	if len(s) <= digits {
		return 0, 0, errors.New("a truncated escape in a quoted string")
	}
	n, err := strconv.ParseUint(s[1:digits+1], 16, 32)
	if err != nil || n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
		return 0, 0, fmt.Errorf(`a wrong escape \%s in a quoted string`, s[:digits+1])
	}
	return rune(n), digits + 1, nil
}
