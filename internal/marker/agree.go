package marker

import (
	"slices"
	"strings"

	"curdling/internal/version"
)

// Agree gives a marker for the environments in which all markers come out as
// they do in env, whatever extras and groups are asked for: each comparison that
// they make has the same outcome there. It may leave such environments out, but
// never lets another one in; env itself is one of them. The zero value says that the
// markers compare nothing of the environment. Comparisons that fail in env are passed over.
func Agree(env Environment, markers []Marker) Marker {
	var terms []*comparison
	s := &scope{env: env}
	for _, m := range markers {
		if m.root != nil {
			m.root.each(func(c *comparison) {
				if c = c.agree(s); c != nil {
					terms = append(terms, c)
				}
			})
		}
	}
	if terms = tightest(terms); terms == nil {
		return Marker{}
	}
	all := make([]term, len(terms))
	for i, c := range terms {
		all[i] = term{comparison: c}
	}
	return Marker{&expression{[][]term{all}}}
}

// each visits all comparisons.
func (e *expression) each(visit func(*comparison)) {
	for _, terms := range e.alternatives {
		for _, t := range terms {
			if t.group != nil {
				t.group.each(visit)
			} else {
				visit(t.comparison)
			}
		}
	}
}

// opposites are the operators that hold where the others do not.
var opposites = map[string]string{
	"<": ">=", ">=": "<", ">": "<=", "<=": ">", "==": "!=", "!=": "==", "in": "not in", "not in": "in",
}

// agree gives a comparison that holds in scope, and elsewhere only where c comes out alike; nil
// where c says nothing of the environment.
func (c *comparison) agree(s *scope) *comparison {
	variable := c.left
	if !variable.variable {
		variable = c.right
	}
	if !variable.variable || variable == extra || isSet(variable.text) || c.left.variable && c.right.variable {
		return nil
	}
	holds, err := c.holds(s)
	if err != nil {
		return nil
	}
	// Strings have no order: what "<" says of them is false everywhere.
	ordered := c.left.variable && c.specifier != nil
	if holds {
		return c
	}
	if op := opposites[c.op]; op != "" && (ordered || !strings.ContainsAny(c.op, "<>")) {
		opposite := newComparison(c.left, op, c.right)
		if holds, err := opposite.holds(s); err == nil && holds {
			return opposite
		}
	}
	return newComparison(variable, "==", operand{text: s.env[variable.text]})
}

// tightest leaves out what others of the comparisons imply, and sorts them.
func tightest(all []*comparison) []*comparison {
	slices.SortFunc(all, func(a, b *comparison) int { return strings.Compare(a.String(), b.String()) })
	all = slices.CompactFunc(all, func(a, b *comparison) bool { return a.String() == b.String() })
	return slices.DeleteFunc(slices.Clone(all), func(c *comparison) bool {
		return slices.ContainsFunc(all, func(d *comparison) bool { return d != c && d.implies(c) })
	})
}

// implies tells, of two comparisons that both hold somewhere, whether c cannot hold without d. Of two
// that imply each other it is said for one only.
func (c *comparison) implies(d *comparison) bool {
	if c.left != d.left || !c.left.variable || c.right.variable || d.right.variable {
		return false
	}
	if c.specifier == nil {
		return c.op == "==" && d.op == "!="
	}
	v, err1 := version.Parse(c.right.text)
	w, err2 := version.Parse(d.right.text)
	if err1 != nil || err2 != nil || v.IsPrerelease() || w.IsPrerelease() {
		return false
	}
	switch order := v.Compare(w); c.op + " " + d.op {
	case "< <", "<= <=":
		return order < 0
	case "> >", ">= >=":
		return order > 0
	}
	return false
}

func (c *comparison) String() string {
	var b strings.Builder
	c.print(&b)
	return b.String()
}
