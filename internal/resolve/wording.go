package resolve

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Bounds on what is told one by one.
const (
	maxRuns    = 4 // of versions
	maxStock   = 5 // versions
	maxReasons = 3
	maxReason  = 200 // runes
)

// plain makes one line of a text that others wrote, without what a terminal may obey.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > maxReason {
		text = string(runes[:maxReason]) + "..."
	}
	return text
}

// enumerate writes "a, b and c".
func enumerate(items []string, conjunction string) string {
	last := len(items) - 1
	if last < 1 {
		return strings.Join(items, "")
	}
	return strings.Join(items[:last], ", ") + conjunction + items[last]
}

// describe writes a project, or one of its extras, with the versions in s:
// "flask", "flask 3.0", "flask[async] >=2.0", "flask 1.0 to 1.4 and 2.0".
func (p *project) describe(s *set, extra *project, conjunction string) string {
	name := label(p.name, p.extra)
	if extra != nil {
		name = label(extra.name, extra.extra)
	}
	runs := p.runs(s)
	switch in := p.sorted(s); {
	case len(runs) <= maxRuns:
		return strings.TrimSpace(name + " " + enumerate(runs, conjunction))
	case len(in) == 0:
		return name + " " + runs[0] + " or ... or " + runs[len(runs)-1]
	default:
		return fmt.Sprintf("%s (%d versions from %s to %s)", name, len(in), p.versions[in[0]], p.versions[in[len(in)-1]])
	}
}

// runs writes the versions in s, neighbours together: "1.0", "1.2 to 1.4",
// ">=2.0"; "" where s holds all of several that there are.
func (p *project) runs(s *set) []string {
	s.fit(&p.pkg)
	if s.first() < 0 && !s.rest.IsEmpty() {
		return joined(strings.Split(strings.Trim(s.rest.String(), "*"), " or "))
	}
	open := p.complete || !s.rest.IsEmpty()
	var runs []string
	all := p.sorted(p.every())
	for i := 0; i < len(all); i++ {
		if !s.has(all[i]) {
			continue
		}
		begin := i
		for i+1 < len(all) && s.has(all[i+1]) {
			i++
		}
		first, last := p.versions[all[begin]].String(), p.versions[all[i]].String()
		switch {
		case begin == i:
			runs = append(runs, first)
		case !open || begin > 0 && i < len(all)-1:
			runs = append(runs, first+" to "+last)
		case begin > 0:
			runs = append(runs, ">="+first)
		case i < len(all)-1:
			runs = append(runs, "<="+last)
		default:
			runs = append(runs, "")
		}
	}
	return runs
}

// joined takes ranges together of which one begins where the other ends:
// ">=1.2,<1.3" and ">=1.3,<1.4".
func joined(ranges []string) []string {
	var runs []string
	for _, next := range ranges {
		last := len(runs) - 1
		low, high, _ := strings.Cut(next, ",")
		if low, ok := strings.CutPrefix(low, ">="); ok && last >= 0 && strings.HasSuffix(runs[last], "<"+low) {
			runs[last] = strings.TrimSuffix(strings.TrimSuffix(runs[last], "<"+low)+high, ",")
			continue
		}
		runs = append(runs, next)
	}
	return runs
}

// every gives the set of all versions that are listed.
func (p *project) every() *set {
	s := nothing(&p.pkg)
	s = s.complement()
	return &s
}

// sorted gives the places of the listed versions in s, lowest version first.
func (p *project) sorted(s *set) []int {
	s.fit(&p.pkg)
	var places []int
	for i := range p.versions {
		if s.has(i) {
			places = append(places, i)
		}
	}
	slices.SortFunc(places, func(i, j int) int { return p.versions[i].Compare(p.versions[j]) })
	return places
}

// newest gives the release of the newest listed version in s.
func (p *project) newest(s *set) *release {
	places := p.sorted(s)
	return p.release(p.versions[places[len(places)-1]])
}

// stock tells which versions are listed: "are 1.0 and 2.0".
func (p *project) stock() string {
	var all []string
	for _, place := range p.sorted(p.every()) {
		all = append(all, p.versions[place].String())
	}
	switch {
	case len(all) == 1:
		return "is only " + all[0]
	case len(all) > maxStock:
		return fmt.Sprintf("are %d, from %s to %s", len(all), all[0], all[len(all)-1])
	}
	return "are " + enumerate(all, " and ")
}

// reasons tells why the versions in s cannot be used, the newest first.
func (p *project) reasons(s *set, why func(*release) string) string {
	var reasons []string
	of := map[string]*set{}
	for _, place := range slices.Backward(p.sorted(s)) {
		reason := plain(why(p.release(p.versions[place])))
		if of[reason] == nil {
			none := nothing(&p.pkg)
			of[reason] = &none
			reasons = append(reasons, reason)
		}
		of[reason].add(place)
	}
	if len(reasons) == 1 {
		return reasons[0]
	}
	for i, reason := range reasons {
		if i == maxReasons {
			return strings.Join(reasons[:i], "; ") + fmt.Sprintf("; and %d more reasons", len(reasons)-i)
		}
		reasons[i] = enumerate(p.runs(of[reason]), " and ") + ": " + cmp.Or(reason, "no reason is given")
	}
	return strings.Join(reasons, "; ")
}
