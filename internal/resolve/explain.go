package resolve

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Bounds on what a person can read. Where a proof has more steps, or one of
// them is longer, a summary takes its place.
const (
	maxLine     = 160 // bytes of two sentences in one line
	maxAtOnce   = 12  // sentences that are told without the steps from them to the contradiction
	maxSteps    = 25  // lines
	maxStep     = 400 // bytes of a line
	maxStated   = 20  // of the user's requirements, in a summary
	maxInvolved = 8   // projects, in a summary
	maxHints    = 3
)

// explain writes a proof, and the facts that it rests on, as sentences. Few facts
// speak for themselves: they are told in the order in which one comes to them
// from what the user asks for. Of more the steps are told too: a line for each,
// with a number where a later line refers to it.
func explain(proof *incompatibility, facts []*fact, hints []string) string {
	lines := sentences(facts)
	switch last := len(lines) - 1; {
	case len(lines) > maxAtOnce:
		e := explainer{root: proof, uses: map[*incompatibility]int{}, numbers: map[*incompatibility]int{}}
		e.count(proof)
		e.visit(proof)
		lines = e.lines
	case last > 0:
		lines[last] = "but " + lines[last]
		if line := strings.Join(lines, ", "); last == 1 && len(line) <= maxLine {
			lines = []string{line}
		}
	}
	if len(lines) > maxSteps || slices.ContainsFunc(lines, func(s string) bool { return len(s) > maxStep }) {
		lines = summary(facts)
	}
	text := "the requirements cannot be met:\n  " + strings.Join(lines, "\n  ")
	for _, hint := range hints[:min(len(hints), maxHints)] {
		text += "\nhint: " + hint
	}
	return text
}

// summary tells of a proof that is too long what it is about.
func summary(facts []*fact) []string {
	var stated []*fact
	var involved []string
	for _, f := range facts {
		switch {
		case f.kind == asked || f.kind == limited:
			stated = append(stated, f)
		case f.kind == needed && !slices.Contains(involved, string(f.from.name)):
			involved = append(involved, string(f.from.name))
		}
	}
	lines := sentences(stated[:min(len(stated), maxStated)])
	if more := len(stated) - maxStated; more > 0 {
		lines = append(lines, fmt.Sprintf("and there are %d more requirements", more))
	}
	if more := len(involved) - maxInvolved; more > 0 {
		involved = append(involved[:maxInvolved], fmt.Sprintf("%d more projects", more))
	}
	return append(lines, "but what "+enumerate(involved, " and ")+" need does not fit together, whatever versions are chosen")
}

// fromTheUser sorts facts: what is asked for, then needs, each followed by those
// of what it needs, then all others.
func fromTheUser(facts []*fact) []*fact {
	facts = inOrder(slices.Clone(facts))
	told := make([]*fact, 0, len(facts))
	known := map[*fact]bool{}
	tell := func(which func(*fact) bool) []*fact {
		before := len(told)
		for _, f := range facts {
			if !known[f] && which(f) {
				known[f] = true
				told = append(told, f)
			}
		}
		return told[before:]
	}
	var follow func(p *project)
	follow = func(p *project) {
		for _, f := range facts {
			if f.kind == needed && f.from.name == p.name && !known[f] {
				for _, g := range tell(f.sameTeller) {
					follow(g.to)
				}
			}
		}
	}
	for _, f := range tell(func(f *fact) bool { return f.kind == asked }) {
		follow(f.to)
	}
	tell(func(*fact) bool { return true })
	return told
}

type explainer struct {
	root    *incompatibility
	lines   []string
	uses    map[*incompatibility]int // how many steps need it
	numbers map[*incompatibility]int // of the lines that end with it
}

// causes gives what inc was derived from: facts, then what was derived itself.
func (inc *incompatibility) causes() (facts []*fact, derived []*incompatibility) {
	for _, cause := range []*incompatibility{inc.left, inc.right} {
		if cause.fact != nil {
			facts = append(facts, cause.fact)
		} else {
			derived = append(derived, cause)
		}
	}
	return inOrder(facts), derived
}

// inOrder sorts facts by kind, and then in the order in which they came up.
func inOrder(facts []*fact) []*fact {
	slices.SortFunc(facts, func(a, b *fact) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.order, b.order))
	})
	return facts
}

func (e *explainer) count(inc *incompatibility) {
	e.uses[inc]++
	if inc.fact == nil && e.uses[inc] == 1 {
		_, derived := inc.causes()
		for _, cause := range derived {
			e.count(cause)
		}
	}
}

// visit writes the lines that lead to inc; the last of them concludes it.
func (e *explainer) visit(inc *incompatibility) {
	facts, derived := inc.causes()
	// A step before that only adds another fact needs no line of its own.
	for len(derived) == 1 && e.uses[derived[0]] == 1 {
		more, further := derived[0].causes()
		more = inOrder(append(more, facts...))
		if len(further) == 2 || len(sentences(more)) > 2 {
			break
		}
		facts, derived = more, further
	}
	switch {
	case len(derived) == 2:
		e.visitBoth(inc, derived[0], derived[1])
		return
	case len(derived) == 1 && e.numbers[derived[0]] > 0:
		e.write(inc, facts, derived)
		return
	case len(derived) == 1:
		e.visit(derived[0])
	}
	e.write(inc, facts, nil)
}

// visitBoth writes what leads to a and to b, and then that inc follows.
func (e *explainer) visitBoth(inc, a, b *incompatibility) {
	if e.numbers[b] > 0 {
		a, b = b, a
	}
	if e.numbers[a] == 0 {
		e.uses[a] = 2 // has it numbered
		e.visit(a)
	}
	if e.numbers[b] > 0 {
		e.write(inc, nil, []*incompatibility{a, b})
		return
	}
	e.visit(b)
	e.write(inc, nil, []*incompatibility{a})
}

// write adds a line: facts, with those of earlier lines that are referred to
// and the line before, lead to inc.
func (e *explainer) write(inc *incompatibility, facts []*fact, earlier []*incompatibility) {
	parts := sentences(facts)
	var refs []string
	for _, ref := range earlier {
		refs = append(refs, fmt.Sprintf("(%d)", e.numbers[ref]))
	}
	var line string
	if inc == e.root {
		line = e.lastLine(parts, refs)
	} else {
		if len(refs) > 0 {
			parts = append(parts, "by "+enumerate(refs, " and "))
		}
		line = enumerate(parts, ", and ") + "; so " + inc.conclusion()
	}
	if e.uses[inc] > 1 {
		e.numbers[inc] = len(e.numbers) + 1
		line += fmt.Sprintf(" (%d)", e.numbers[inc])
	}
	e.lines = append(e.lines, line)
}

// lastLine writes what contradicts itself, or the line before.
func (e *explainer) lastLine(parts, refs []string) string {
	if len(refs) > 0 {
		return strings.Join(append(parts, "but see "+enumerate(refs, " and ")), ", ")
	}
	last := len(parts) - 1
	line := parts[last]
	if len(e.lines) > 0 || last > 0 {
		line = "but " + line
	}
	if last > 0 {
		line = enumerate(parts[:last], ", and ") + ", " + line
	}
	return line
}

// sentences tells facts; what one asks for or needs is told at once.
func sentences(facts []*fact) []string {
	var all []string
	for i := 0; i < len(facts); i++ {
		s, f := facts[i].sentence(), facts[i]
		if f.kind == asked || f.kind == needed {
			same := facts[i:]
			if end := slices.IndexFunc(same, func(g *fact) bool { return !f.sameTeller(g) }); end >= 0 {
				same = same[:end]
			}
			s = f.teller() + wishes(same)
			i += len(same) - 1
		}
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// wishes writes what several facts ask for, what does not exist at the end.
func wishes(facts []*fact) string {
	var wanted []string
	for _, exists := range []bool{true, false} {
		for _, f := range facts {
			if w := f.wanted(); strings.Contains(w, ", ") != exists {
				wanted = append(wanted, w)
			}
		}
	}
	// A need of an extra comes with one of the project.
	wanted = slices.DeleteFunc(slices.Compact(wanted), func(w string) bool {
		return slices.ContainsFunc(wanted, func(other string) bool { return strings.HasPrefix(other, w+"[") })
	})
	return enumerate(wanted, " and ")
}
