package resolve

import (
	"math/bits"

	"curdling/internal/version"
)

// set is a set of versions of one package: of those that are listed, a bit
// each, and of all others, a version.Set. So a set that lacks hundreds of listed
// versions costs no more than another, and a version that is listed later was in
// the set all the time, or was not.
type set struct {
	listed []uint64    // by their place in pkg.versions; nothing after the n-th
	n      int         // of pkg.versions, how many listed covers
	rest   version.Set // of the others; what it says of listed ones is meaningless
}

// only gives the set of the version at a place.
func only(p *pkg, place int) set {
	s := nothing(p)
	s.add(place)
	return s
}

// nothing gives the empty set.
func nothing(p *pkg) set {
	return set{n: len(p.versions), listed: make([]uint64, words(len(p.versions)))}
}

// words tells how many words hold n bits.
func words(n int) int { return (n + 63) / 64 }

func (s *set) add(place int) { s.listed[place/64] |= 1 << (place % 64) }

// fit extends s to all versions of p that are listed by now.
func (s *set) fit(p *pkg) {
	if s.n == len(p.versions) {
		return
	}
	listed := make([]uint64, words(len(p.versions)))
	copy(listed, s.listed)
	if !s.rest.IsEmpty() {
		all := s.rest.IsAll()
		for i := s.n; i < len(p.versions); i++ {
			if all || s.rest.Contains(p.versions[i]) {
				listed[i/64] |= 1 << (i % 64)
			}
		}
	}
	s.listed, s.n = listed, len(p.versions)
}

// has tells whether the version at a place is in s.
func (s *set) has(place int) bool { return s.listed[place/64]&(1<<(place%64)) != 0 }

// first gives the least place of a version in s, -1 where no listed one is.
func (s *set) first() int {
	for i, w := range s.listed {
		if w != 0 {
			return i*64 + bits.TrailingZeros64(w)
		}
	}
	return -1
}

func (s *set) isEmpty() bool { return s.first() < 0 && s.rest.IsEmpty() }

// isAll tells whether s, which fits, holds all versions.
func (s *set) isAll() bool {
	n := 0
	for _, w := range s.listed {
		n += bits.OnesCount64(w)
	}
	return n == s.n && s.rest.IsAll()
}

// The sets of the following belong to one package and fit it.

func (s *set) complement() set {
	t := set{listed: make([]uint64, len(s.listed)), n: s.n, rest: s.rest.Complement()}
	for i, w := range s.listed {
		t.listed[i] = ^w
	}
	if s.n%64 != 0 {
		t.listed[len(t.listed)-1] &= 1<<(s.n%64) - 1
	}
	return t
}

func (s *set) and(t *set) set {
	u := set{listed: make([]uint64, len(s.listed)), n: s.n}
	for i, w := range s.listed {
		u.listed[i] = w & t.listed[i]
	}
	switch {
	case s.rest.IsAll():
		u.rest = t.rest
	case t.rest.IsAll():
		u.rest = s.rest
	case !s.rest.IsEmpty() && !t.rest.IsEmpty():
		u.rest = s.rest.Intersect(t.rest)
	}
	return u
}

func (s *set) or(t *set) set {
	u := set{listed: make([]uint64, len(s.listed)), n: s.n}
	for i, w := range s.listed {
		u.listed[i] = w | t.listed[i]
	}
	switch {
	case s.rest.IsEmpty():
		u.rest = t.rest
	case t.rest.IsEmpty():
		u.rest = s.rest
	default:
		u.rest = s.rest.Union(t.rest)
	}
	return u
}

func (s *set) subsetOf(t *set) bool {
	for i, w := range s.listed {
		if w&^t.listed[i] != 0 {
			return false
		}
	}
	return s.rest.IsEmpty() || t.rest.IsAll() || s.rest.SubsetOf(t.rest)
}

func (s *set) disjoint(t *set) bool {
	for i, w := range s.listed {
		if w&t.listed[i] != 0 {
			return false
		}
	}
	return s.rest.IsEmpty() || t.rest.IsEmpty() || s.rest.Disjoint(t.rest)
}
