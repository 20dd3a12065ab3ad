package version

import (
	"slices"
	"strings"
)

// Set is a set of versions: a sorted list of disjoint intervals over the total
// order of PEP 440, whose ends can lie between versions (just below all
// prereleases of 1.0, just above all its local variants), so that every
// specifier is exact. The zero value is the empty set.
type Set struct {
	// cuts are the places where membership changes, ascending: the set holds
	// what lies at or above cuts[0] and below cuts[1], at or above cuts[2] ...
	// Each place has one key: that of the least version above it, or where
	// there is no least one, a key of its own. So equal sets have equal cuts,
	// and there is a version between any two cuts.
	cuts []cut
}

// cut is a place between versions, and how to name it.
type cut struct {
	point
	text string // the version that it lies beside
	side side
}

type side uint8

const (
	below            side = iota // just below the version
	belowPrereleases             // and below its prereleases, where it is none itself
	above                        // just above the version and all its local variants
	abovePosts                   // and above its postreleases, where it is none itself
)

var (
	bottom = cut{point: at("\x10\x01\x10")} // just below 0.dev0, the least version
	top    = cut{point: at("\xff")}         // never in a Set
)

// cut gives the place at the side of p, whose normalised spelling is text; ""
// stands for that of p.
func (p parts) cut(text string, s side) cut {
	if text == "" {
		text = string(p.appendText(nil))
	}
	final := false
	switch {
	case s == belowPrereleases && !p.prerelease():
		p.dev = "0"
	case s < above:
		s = below
	case p.dev != "":
		p.dev = increment(p.dev)
	case p.post != "":
		p.post, p.dev = increment(p.post), "0"
	case s == above:
		p.post, p.dev = "0", "0"
	case p.pre != "":
		p.pre, p.dev = increment(p.pre), "0"
	default:
		final = true
	}
	var room [64]byte
	var key []byte
	if final {
		key = append(p.appendRelease(room[:0]), cutRelease)
	} else {
		key = p.appendKey(room[:0])
	}
	return cut{at(string(key)), text, s}
}

// nextRelease counts the last number of the release up; the rest is gone.
func (p *parts) nextRelease() parts {
	last := strings.LastIndexByte(p.release, '.') + 1
	return parts{epoch: p.epoch, release: p.release[:last] + increment(p.release[last:])}
}

// between gives the versions from low up to, not including, high.
func between(low, high cut) Set {
	switch {
	case low.compare(high.point) >= 0:
		return Set{}
	case high == top:
		return Set{[]cut{low}}
	}
	return Set{[]cut{low, high}}
}

// All gives the set of all versions.
func All() Set { return Set{[]cut{bottom}} }

// Exactly gives the set of v alone, not its local variants; the empty set for
// the zero Version.
func Exactly(v Version) Set {
	if v.IsZero() {
		return Set{}
	}
	return between(cut{v.point, v.text, below}, cut{at(v.key + string(rune(cutAlone))), v.text, above})
}

// Contains tells whether v is in the set.
func (s Set) Contains(v Version) bool { return s.position(v.point)%2 == 1 }

// position counts the cuts at or below p.
func (s Set) position(p point) int {
	low, high := 0, len(s.cuts)
	for low < high {
		mid := (low + high) / 2
		if s.cuts[mid].compare(p) <= 0 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// IsEmpty tells whether no version is in the set.
func (s Set) IsEmpty() bool { return len(s.cuts) == 0 }

// IsAll tells whether every version is in the set.
func (s Set) IsAll() bool { return len(s.cuts) == 1 && s.cuts[0].key == bottom.key }

// Complement gives the versions that are not in s.
func (s Set) Complement() Set {
	if len(s.cuts) > 0 && s.cuts[0].key == bottom.key {
		return Set{s.cuts[1:]}
	}
	return Set{append([]cut{bottom}, s.cuts...)}
}

// Intersect gives the versions that are in both sets.
func (s Set) Intersect(t Set) Set {
	return combine(s, t, func(inS, inT bool) bool { return inS && inT })
}

// Union gives the versions that are in either set.
func (s Set) Union(t Set) Set {
	return combine(s, t, func(inS, inT bool) bool { return inS || inT })
}

// SubsetOf tells whether every version of s is in t.
func (s Set) SubsetOf(t Set) bool {
	return !walk(s, t, func(_ cut, inS, inT bool) bool { return inS && !inT })
}

// Disjoint tells whether no version is in both sets.
func (s Set) Disjoint(t Set) bool {
	return !walk(s, t, func(_ cut, inS, inT bool) bool { return inS && inT })
}

// Equal tells whether the sets hold the same versions.
func (s Set) Equal(t Set) bool {
	return slices.EqualFunc(s.cuts, t.cuts, func(a, b cut) bool { return a.key == b.key })
}

// combine gives the versions for which keep, told of the membership in s and
// t, says so; keep(false, false) is false.
func combine(s, t Set, keep func(inS, inT bool) bool) Set {
	cuts := make([]cut, 0, len(s.cuts)+len(t.cuts))
	walk(s, t, func(c cut, inS, inT bool) bool {
		if keep(inS, inT) != (len(cuts)%2 == 1) {
			cuts = append(cuts, c)
		}
		return false
	})
	return Set{cuts}
}

// walk visits the cuts of both sets in order, each place once, with the
// membership just above it, until visit says true; it gives that back.
func walk(s, t Set, visit func(c cut, inS, inT bool) bool) bool {
	i, j := 0, 0
	for i < len(s.cuts) || j < len(t.cuts) {
		order := 0
		switch {
		case j == len(t.cuts):
			order = -1
		case i == len(s.cuts):
			order = 1
		default:
			order = s.cuts[i].compare(t.cuts[j].point)
		}
		var c cut
		if order >= 0 {
			c = t.cuts[j]
			j++
		}
		if order <= 0 {
			c = s.cuts[i]
			i++
		}
		if visit(c, i%2 == 1, j%2 == 1) {
			return true
		}
	}
	return false
}

// String writes the set as specifiers: ">=1.0,<2.0 or ==3.0"; "*" for all,
// "none" for the empty set. It is for people: an end that no specifier states
// exactly is written with the nearest one.
func (s Set) String() string {
	switch {
	case s.IsEmpty():
		return "none"
	case s.IsAll():
		return "*"
	}
	ends := s.cuts
	if len(ends)%2 == 1 {
		ends = append(slices.Clone(ends), top)
	}
	var groups []string
	for len(ends) > 0 {
		low, high := ends[0], ends[1]
		ends = ends[2:]
		var terms []string
		if name := span(low, high); name != "" {
			groups = append(groups, "=="+name)
			continue
		}
		for len(ends) > 0 && span(high, ends[0]) != "" {
			terms = append(terms, "!="+span(high, ends[0]))
			high, ends = ends[1], ends[2:]
		}
		if high != top {
			terms = append([]string{high.upper()}, terms...)
		}
		if low.key != bottom.key {
			terms = append([]string{low.lower()}, terms...)
		}
		groups = append(groups, strings.Join(terms, ","))
	}
	return strings.Join(groups, " or ")
}

// lower and upper write the specifier that ends an interval at the cut.
func (c cut) lower() string {
	switch c.side {
	case below:
		return ">=" + c.text
	case belowPrereleases:
		return ">=" + c.text + ".dev0"
	default:
		return ">" + c.text
	}
}

func (c cut) upper() string {
	if c.side < above {
		return "<" + c.text
	}
	return "<=" + c.text
}

// span writes what lies between two cuts as the version of one == or !=:
// "1.5" or "1.5.*"; "" where that cannot be.
func span(low, high cut) string {
	if low.side == below && high.side == above && high.text == low.text {
		return low.text
	}
	if low.side == belowPrereleases {
		p, ok := scan(low.text)
		if ok && p.post == "" && p.nextRelease().cut("", belowPrereleases).key == high.key {
			return low.text + ".*"
		}
	}
	return ""
}
