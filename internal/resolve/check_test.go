package resolve

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	gocmp "github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
	"curdling/internal/requirement"
)

// assignment of versions to projects, judged by the rules alone: this knows
// nothing of how the solver works.
type versions map[dist.Name]*entry

// world is what a choice of versions brings into force.
type world struct {
	u        *universe
	chosen   versions
	demands  map[dist.Name][]requirement.Requirement
	extras   map[dist.Name]map[dist.Name]bool
	needs    map[dist.Name]map[dist.Name]bool
	neededBy map[dist.Name]map[string]bool
}

// inForce follows what is asked through the chosen versions. It fails where a
// project is needed and not chosen.
func (u *universe) inForce(chosen versions) (*world, error) {
	w := &world{
		u: u, chosen: chosen,
		demands:  map[dist.Name][]requirement.Requirement{},
		extras:   map[dist.Name]map[dist.Name]bool{},
		needs:    map[dist.Name]map[dist.Name]bool{},
		neededBy: map[dist.Name]map[string]bool{},
	}
	for _, ask := range u.problem.Requirements {
		if holds, _ := ask.Marker.Holds(u.problem.Markers, ""); holds {
			if err := w.demand(ask.Requirement, "", ask.where()); err != nil {
				return nil, err
			}
		}
	}
	return w, nil
}

func (w *world) demand(r requirement.Requirement, from dist.Name, by string) error {
	if w.chosen[r.Name] == nil {
		return fmt.Errorf("%s is needed and not chosen", r.Name)
	}
	first := w.extras[r.Name] == nil
	if first {
		w.extras[r.Name] = map[dist.Name]bool{}
		w.needs[r.Name] = map[dist.Name]bool{}
		w.neededBy[r.Name] = map[string]bool{}
	}
	w.demands[r.Name] = append(w.demands[r.Name], r)
	if r.Name != from {
		w.neededBy[r.Name][by] = true
		if from != "" {
			w.needs[from][r.Name] = true
		}
	}
	if first {
		if err := w.follow(r.Name, ""); err != nil {
			return err
		}
	}
	for _, e := range r.Extras {
		if !w.extras[r.Name][e] {
			w.extras[r.Name][e] = true
			if err := w.follow(r.Name, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// follow demands what the chosen version of a project needs for an extra.
func (w *world) follow(name, extra dist.Name) error {
	e := w.chosen[name]
	by := string(name)
	if extra != "" {
		by += "[" + string(extra) + "]"
	}
	for _, r := range e.requires {
		plain, _ := r.Marker.Holds(w.u.problem.Markers, "")
		holds, _ := r.Marker.Holds(w.u.problem.Markers, string(extra))
		if extra != "" && plain || !holds {
			continue
		}
		if err := w.demand(r, name, by+" "+e.Version.String()); err != nil {
			return err
		}
	}
	return nil
}

// admits tells whether the demands on a project and the constraints admit an
// entry, without the rules on prereleases and yanked files.
func (u *universe) admits(e *entry, demands []requirement.Requirement) bool {
	for _, r := range demands {
		if !r.Specifiers.Contains(e.Version) {
			return false
		}
	}
	return u.usable(e)
}

func (u *universe) usable(e *entry) bool {
	return e.Barred == "" && e.unusable == "" && !slices.ContainsFunc(e.requires, func(r requirement.Requirement) bool {
		_, err := r.Marker.Holds(u.problem.Markers, "")
		return err != nil
	})
}

// demandsWith adds the constraints.
func (u *universe) demandsWith(name dist.Name, demands []requirement.Requirement) []requirement.Requirement {
	demands = slices.Clone(demands)
	for _, l := range u.problem.Constraints {
		if holds, _ := l.Marker.Holds(u.problem.Markers, ""); holds && l.Name == name {
			demands = append(demands, l.Requirement)
		}
	}
	return demands
}

// permits tells whether the demands allow an entry that is a prerelease or yanked.
func (u *universe) permits(e *entry, demands []requirement.Requirement) bool {
	pinned := func(e *entry) bool {
		return slices.ContainsFunc(demands, func(r requirement.Requirement) bool {
			_, pins := r.Specifiers.Pinned()
			return pins && r.Specifiers.Contains(e.Version)
		})
	}
	if e.Yanked && !pinned(e) {
		return false
	}
	if !e.Version.IsPrerelease() || u.problem.Prereleases {
		return true
	}
	for _, r := range demands {
		if r.Specifiers.NamesPrerelease() || r.URL != "" {
			return true
		}
	}
	for _, f := range u.entries(e.Name) {
		if !f.Version.IsPrerelease() && u.admits(f, demands) && (!f.Yanked || pinned(f)) {
			return false
		}
	}
	return true
}

// entries gives the candidates of a project; of several of one version the
// first that can be used.
func (u *universe) entries(name dist.Name) []*entry {
	var all []*entry
	for _, p := range u.places {
		for _, e := range p.files[name] {
			i := slices.IndexFunc(all, func(o *entry) bool { return o.Version.Equal(e.Version) })
			switch {
			case i < 0:
				all = append(all, e)
			case u.usable(e) && !u.usable(all[i]):
				all[i] = e
			}
		}
	}
	return all
}

// inTwoMinds tells whether a version is yanked in one place and not in another.
func (u *universe) inTwoMinds() bool {
	yanked := map[string]bool{}
	for _, p := range u.places {
		for name, entries := range p.files {
			for _, e := range entries {
				key := string(name) + " " + e.Version.Key()
				if is, known := yanked[key]; known && is != e.Yanked {
					return true
				}
				yanked[key] = e.Yanked
			}
		}
	}
	return false
}

func (u *universe) names() []dist.Name {
	var all []dist.Name
	for _, p := range u.places {
		all = append(all, p.names...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// size tells how many choices of versions there are.
func (u *universe) size() int {
	size := 1
	for _, name := range u.names() {
		size = min(size*(len(u.entries(name))+1), 1<<30)
	}
	return size
}

// valid tells what is wrong with a choice: something needed is missing or does
// not fit, or something is superfluous. permits says which prereleases and
// yanked versions are allowed.
func (u *universe) valid(chosen versions, permits func(*entry, []requirement.Requirement) bool) (*world, error) {
	w, err := u.inForce(chosen)
	if err != nil {
		return nil, err
	}
	for name, e := range chosen {
		demands := u.demandsWith(name, w.demands[name])
		switch {
		case w.demands[name] == nil:
			return nil, fmt.Errorf("%s is superfluous", name)
		case !u.admits(e, demands):
			return nil, fmt.Errorf("%s %s is not admitted by %v", name, e.Version, demands)
		case !permits(e, demands):
			return nil, fmt.Errorf("%s %s (prerelease or yanked) is not permitted by %v", name, e.Version, demands)
		}
	}
	return w, nil
}

// check tells what is wrong with a solution.
func (u *universe) check(s *Solution) error {
	chosen := versions{}
	for _, c := range s.Chosen {
		for _, e := range u.entries(c.File.Name) {
			if fileKey(&e.File) == fileKey(&c.File) {
				chosen[c.File.Name] = e
			}
		}
	}
	w, err := u.valid(chosen, u.permits)
	if err != nil {
		return err
	}
	if !slices.IsSortedFunc(s.Chosen, func(a, b Choice) int { return cmp.Compare(a.File.Name, b.File.Name) }) {
		return errors.New("not sorted")
	}
	unknown := 0
	for _, c := range s.Chosen {
		name := c.File.Name
		want := Choice{File: c.File, Requested: c.Requested}
		for _, e := range slices.Sorted(maps.Keys(w.extras[name])) {
			if slices.ContainsFunc(chosen[name].requires, func(r requirement.Requirement) bool {
				return strings.Contains(r.Marker.String(), fmt.Sprintf("%q", e))
			}) {
				want.Extras = append(want.Extras, e)
			} else {
				unknown++
			}
		}
		want.Needs = slices.Sorted(maps.Keys(w.needs[name]))
		want.NeededBy = slices.Sorted(maps.Keys(w.neededBy[name]))
		c.NeededBy = slices.Sorted(slices.Values(c.NeededBy))
		want.Requested = slices.ContainsFunc(u.problem.Requirements, func(ask Wanted) bool {
			return w.neededBy[name][ask.where()]
		})
		if diff := gocmp.Diff(fmt.Sprint(want.Extras, want.Needs, want.NeededBy, want.Requested), fmt.Sprint(c.Extras, c.Needs, c.NeededBy, c.Requested)); diff != "" {
			return fmt.Errorf("choice of %s (-want +got):\n%s", name, diff)
		}
	}
	if len(warnings(s)) != unknown {
		return fmt.Errorf("%d extras do not exist; warnings: %q", unknown, warnings(s))
	}
	return nil
}

// search tries all choices of versions and gives one that is valid.
func (u *universe) search(permits func(*entry, []requirement.Requirement) bool) versions {
	names := u.names()
	chosen := versions{}
	var try func(i int) bool
	try = func(i int) bool {
		if i == len(names) {
			_, err := u.valid(chosen, permits)
			return err == nil
		}
		for _, e := range u.entries(names[i]) {
			chosen[names[i]] = e
			if try(i + 1) {
				return true
			}
		}
		delete(chosen, names[i])
		return try(i + 1)
	}
	if try(0) {
		return chosen
	}
	return nil
}

// static permits prereleases and yanked versions where what the user states
// permits them, whatever else is chosen.
func (u *universe) static(e *entry, _ []requirement.Requirement) bool {
	var asked []requirement.Requirement
	for _, r := range u.problem.Requirements {
		if holds, _ := r.Marker.Holds(u.problem.Markers, ""); holds && r.Name == e.Name {
			asked = append(asked, r.Requirement)
		}
	}
	return u.permits(e, u.demandsWith(e.Name, asked))
}

func anyVersion(*entry, []requirement.Requirement) bool { return true }

// warnings says which extras a solution does not have.
func warnings(s *Solution) (all []string) {
	for _, c := range s.Chosen {
		for _, extra := range c.Unmentioned {
			all = append(all, fmt.Sprintf("%s %s has no extra %s", c.File.Name, c.File.Version, extra))
		}
	}
	return all
}
