package resolve

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"curdling/internal/dist"
)

// solution reads off what was decided.
func (s *solver) solution() *Solution {
	var chosen []*project
	for _, p := range s.projects {
		if p.base == nil && p.decided {
			chosen = append(chosen, p)
		}
	}
	slices.SortFunc(chosen, func(p, q *project) int { return cmp.Compare(p.name, q.name) })

	out := &Solution{Chosen: make([]Choice, len(chosen))}
	choices := map[dist.Name]*Choice{}
	for i, p := range chosen {
		out.Chosen[i].File = *p.chosen.files[0]
		choices[p.name] = &out.Chosen[i]
	}
	for _, w := range s.problem.Requirements {
		if holds, _ := w.holds(s.problem.Markers); holds {
			choices[w.Name].Requested = true
			choices[w.Name].neededBy(w.where())
		}
	}
	for i, p := range chosen {
		c := &out.Chosen[i]
		c.Extras, c.Unmentioned = s.extras(p)
		for _, extra := range append([]dist.Name{""}, c.Extras...) {
			for _, n := range p.chosen.needs[s.byName[projectKey{p.name, extra}].orNil()].list {
				if n.Name != p.name {
					c.Needs = append(c.Needs, n.Name)
					choices[n.Name].neededBy(label(p.name, extra) + " " + p.chosen.version().String())
				}
			}
		}
		slices.Sort(c.Needs)
		c.Needs = slices.Compact(c.Needs)
	}
	return out
}

func (c *Choice) neededBy(who string) {
	if !slices.Contains(c.NeededBy, who) {
		c.NeededBy = append(c.NeededBy, who)
	}
}

// orNil gives the project where it is an extra.
func (p *project) orNil() *project {
	if p.base == nil {
		return nil
	}
	return p
}

// extras gives those of p that are needed: those that the chosen release
// mentions, and the others.
func (s *solver) extras(p *project) (known, unmentioned []dist.Name) {
	for _, e := range p.extras {
		switch {
		case !s.needed(&e.pkg):
		case p.chosen.mentions(e.extra):
			known = append(known, e.extra)
		default:
			unmentioned = append(unmentioned, e.extra)
		}
	}
	slices.Sort(known)
	slices.Sort(unmentioned)
	return known, unmentioned
}

// mentions tells whether a marker of r's requirements compares something with
// the extra, whether it holds here or not. Markers print extras normalised.
func (r *release) mentions(extra dist.Name) bool {
	quoted := strconv.Quote(string(extra))
	for _, req := range r.requires {
		if m := req.Marker.String(); strings.Contains(m, quoted) {
			return true
		}
	}
	return false
}

// label writes a project's name with its extra: "flask[async]".
func label(name, extra dist.Name) string {
	if extra == "" {
		return string(name)
	}
	return fmt.Sprintf("%s[%s]", name, extra)
}
