// Package tag implements the compatibility tags of wheels (PEP 425), with the
// Linux platforms of PEP 600 and PEP 656, and tells which tags an interpreter
// supports, in order of preference, as Python's packaging.tags does.
package tag

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// maxTags bounds how many tags one compressed set may stand for.
const maxTags = 1024

// Tag is one triple, in lower case: "cp311-cp311-manylinux_2_17_x86_64".
type Tag struct{ Python, ABI, Platform string }

// String gives the triple with hyphens; it is what Parse reads.
func (t Tag) String() string { return t.Python + "-" + t.ABI + "-" + t.Platform }

// Compare orders tags by Python, ABI and platform, bytewise.
func (t Tag) Compare(u Tag) int {
	return cmp.Or(
		strings.Compare(t.Python, u.Python),
		strings.Compare(t.ABI, u.ABI),
		strings.Compare(t.Platform, u.Platform))
}

// Parse reads a tag or a compressed set ("py2.py3-none-any") and gives its
// members sorted and without repetition. A set of more than 1024 is refused.
func Parse(s string) ([]Tag, error) {
	fields := strings.Split(strings.ToLower(s), "-")
	if len(fields) != 3 {
		return nil, fmt.Errorf("invalid tag %.80q: want PYTHON-ABI-PLATFORM, like py3-none-any", s)
	}
	var lists [3][]string
	size := 1
	for i, field := range fields {
		lists[i] = strings.Split(field, ".")
		size *= len(lists[i])
		if slices.Contains(lists[i], "") {
			return nil, fmt.Errorf("invalid tag %.80q: a part is empty", s)
		}
		if size > maxTags {
			return nil, fmt.Errorf("invalid tag %.80q: it stands for more than %d tags", s, maxTags)
		}
	}
	tags := make([]Tag, 0, size)
	for _, python := range lists[0] {
		if !isIdentifier(python) {
			return nil, fmt.Errorf("invalid tag %.80q: %.80q names no interpreter", s, python)
		}
		for _, abi := range lists[1] {
			for _, platform := range lists[2] {
				tags = append(tags, Tag{python, abi, platform})
			}
		}
	}
	slices.SortFunc(tags, Tag.Compare)
	return slices.Compact(tags), nil
}

// isIdentifier is Python's str.isidentifier, for a string that is not empty.
func isIdentifier(s string) bool {
	for i, r := range s {
		switch {
		case r == '_' || unicode.In(r, unicode.L, unicode.Nl, unicode.Other_ID_Start):
		case i > 0 && unicode.In(r, unicode.Mn, unicode.Mc, unicode.Nd, unicode.Pc, unicode.Other_ID_Continue):
		default:
			return false
		}
	}
	return true
}

// Ranking tells the place of each tag in Supported's order; lower is better.
type Ranking map[Tag]int

// Rank gives each tag its place; the first counts where one repeats.
func Rank(tags []Tag) Ranking {
	r := make(Ranking, len(tags))
	for i, t := range tags {
		if _, ok := r[t]; !ok {
			r[t] = i
		}
	}
	return r
}

// Best gives the lowest rank among tags, and false where none is supported.
func (r Ranking) Best(tags []Tag) (int, bool) {
	best, found := 0, false
	for _, t := range tags {
		if rank, ok := r[t]; ok && (!found || rank < best) {
			best, found = rank, true
		}
	}
	return best, found
}
