// Package marker implements environment markers (PEP 508, with the set-valued
// variables of PEP 751), as Python's packaging parses, prints and evaluates them.
//
// Limits: a marker has at most 64 KiB and parentheses nest at most 64 deep; a quoted string may not hold a
// character named by \N{...}, a lone surrogate, or both kinds of quotes (such
// a marker could not be printed).
package marker

import (
	"errors"
	"fmt"
	"strings"
)

// Environment holds the values of the marker variables: "python_version",
// "sys_platform", ... as PEP 508 names them. "extra" is not among them.
type Environment map[string]string

// What Holds and HoldsInLock may fail with; packaging calls them by the same names.
var (
	ErrUndefinedComparison      = errors.New("undefined comparison")
	ErrUndefinedEnvironmentName = errors.New("undefined environment name")
)

// Marker is a parsed marker: an immutable value. The zero value holds everywhere.
type Marker struct{ root *expression }

// expression is a list of alternatives ("or"), each of which is a list of
// terms ("and").
type expression struct{ alternatives [][]term }

// term is a comparison, or an expression in parentheses.
type term struct {
	comparison *comparison
	group      *expression
}

// onlyTerm gives the term that e consists of, nil where there are several.
func (e *expression) onlyTerm() *term {
	if len(e.alternatives) == 1 && len(e.alternatives[0]) == 1 {
		return &e.alternatives[0][0]
	}
	return nil
}

// Parse reads a marker: `python_version < "3.9" and extra == "test"`.
func Parse(s string) (Marker, error) {
	if len(s) > maxLength {
		return Marker{}, fmt.Errorf("marker of %d bytes: longer than %d", len(s), maxLength)
	}
	p := parser{source: s}
	e := p.expression(0)
	if p.pos < len(s) {
		p.fail(`expected "and", "or" or the end`)
	}
	if p.err != nil {
		return Marker{}, fmt.Errorf("marker %.200q: %w", s, p.err)
	}
	if only := e.onlyTerm(); only != nil && only.group != nil {
		e = only.group
	}
	return Marker{e}, nil
}

// IsZero tells whether m is the zero value, which holds everywhere.
func (m Marker) IsZero() bool { return m.root == nil }

// Equal tells whether two markers are printed alike.
func (m Marker) Equal(n Marker) bool { return m.root == n.root || m.String() == n.String() }

// String prints the marker as packaging does; "" for the zero value.
func (m Marker) String() string {
	if m.IsZero() {
		return ""
	}
	var b strings.Builder
	m.root.print(&b)
	return b.String()
}

func (e *expression) print(b *strings.Builder) {
	for i, terms := range e.alternatives {
		if i > 0 {
			b.WriteString(" or ")
		}
		for j, t := range terms {
			if j > 0 {
				b.WriteString(" and ")
			}
			t.print(b)
		}
	}
}

func (t term) print(b *strings.Builder) {
	if t.group == nil {
		t.comparison.print(b)
		return
	}
	b.WriteByte('(')
	t.group.print(b)
	b.WriteByte(')')
}
