package version

import (
	"fmt"
	"slices"
	"strings"
)

// Specifiers is a set of version specifiers, all of which must hold:
// ">=1.2, <2, !=1.5". The zero value admits every version.
type Specifiers struct{ list []specifier }

// specifier is one operator with its version. It is immutable.
type specifier struct {
	op      string
	text    string  // operator and version as written, without space: "==1.2.*"
	version Version // zero for a wildcard, and for === with what is no version
	set     Set
}

// maxSpecifiers bounds how many specifiers one list may hold.
const maxSpecifiers = 1000

// ParseSpecifiers reads a comma-separated list; "" admits everything.
func ParseSpecifiers(s string) (Specifiers, error) {
	var list []specifier
	for item := range strings.SplitSeq(strings.Clone(s), ",") {
		item = strings.TrimFunc(item, isSpace)
		if item == "" {
			continue
		}
		if list == nil {
			list = make([]specifier, 0, 1+min(strings.Count(s, ","), maxSpecifiers))
		}
		sp, ok := parseSpecifier(item)
		if !ok {
			return Specifiers{}, fmt.Errorf("invalid version specifier %.80q: PEP 440 asks for a form like >=1.2, ==1.2.* or ~=1.2.3", item)
		}
		if list = append(list, sp); len(list) > maxSpecifiers {
			return Specifiers{}, fmt.Errorf("invalid version specifiers %.80q...: more than %d", s, maxSpecifiers)
		}
	}
	return Specifiers{canonical(list)}, nil
}

func parseSpecifier(s string) (specifier, bool) {
	for _, op := range [...]string{"===", "~=", "==", "!=", "<=", ">=", "<", ">"} {
		version, ok := strings.CutPrefix(s, op)
		if !ok {
			continue
		}
		sp := specifier{op: op, text: s}
		if trimmed := strings.TrimLeftFunc(version, isSpace); trimmed != version {
			version, sp.text = trimmed, op+trimmed
		}
		if op == "===" {
			return sp, sp.arbitrary(version)
		}
		return sp, sp.standard(version)
	}
	return specifier{}, false
}

// arbitrary sets the version of ===, which may be anything without space, ";" and ")".
func (sp *specifier) arbitrary(text string) bool {
	if v, err := Parse(text); err == nil {
		sp.version, sp.set = v, Exactly(v)
	}
	return !strings.ContainsFunc(text, func(r rune) bool { return isSpace(r) || r == ';' || r == ')' })
}

// standard sets the version of all other operators.
func (sp *specifier) standard(text string) bool {
	equality := sp.op == "==" || sp.op == "!="
	text, wildcard := strings.CutSuffix(text, ".*")
	p, v, ok := read(text)
	switch {
	case !ok,
		wildcard && (!equality || p.prerelease() || p.post != "" || p.local != ""),
		p.local != "" && !equality,
		sp.op == "~=" && !strings.Contains(p.release, "."):
		return false
	}
	if wildcard {
		sp.set = between(p.cut(v.text, belowPrereleases), p.nextRelease().cut("", belowPrereleases))
	} else {
		sp.version, sp.set = v, p.set(sp.op, v)
	}
	if sp.op == "!=" {
		sp.set = sp.set.Complement()
	}
	return true
}

// set gives the versions that the operator admits with p, whose value is v;
// for "!=", those of "==".
func (p *parts) set(op string, v Version) Set {
	self := cut{v.point, v.text, below}
	switch op {
	case ">=":
		return between(self, top)
	case "<=":
		return between(bottom, p.cut(v.text, above))
	case "<":
		return between(bottom, p.cut(v.text, belowPrereleases))
	case ">":
		return between(p.cut(v.text, abovePosts), top)
	case "~=":
		prefix := parts{epoch: p.epoch, release: p.release[:strings.LastIndexByte(p.release, '.')]}
		return between(self, prefix.nextRelease().cut("", belowPrereleases))
	}
	if p.local != "" {
		return Exactly(v)
	}
	return between(self, p.cut(v.text, above))
}

// same tells whether two specifiers mean the same by packaging's judgement.
func (sp specifier) same(other specifier) bool {
	switch {
	case sp.op != other.op, sp.version.IsZero() != other.version.IsZero():
		return false
	case sp.op == "===" || sp.version.IsZero():
		return sp.text == other.text
	case sp.op == "~=":
		return sp.version.text == other.version.text
	}
	return sp.version.Equal(other.version)
}

// canonical sorts by the printed form and drops repetitions.
func canonical(list []specifier) []specifier {
	slices.SortStableFunc(list, func(a, b specifier) int { return strings.Compare(a.text, b.text) })
	kept := list[:0]
	for _, sp := range list {
		if !slices.ContainsFunc(kept, sp.same) {
			kept = append(kept, sp)
		}
	}
	return kept
}

// String prints the set as `packaging` prints it: sorted, without spaces.
func (s Specifiers) String() string {
	var b strings.Builder
	for i, sp := range s.list {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(sp.text)
	}
	return b.String()
}

// Equal tells whether two sets hold the same specifiers; trailing zeros of
// their versions do not matter, as in packaging.
func (s Specifiers) Equal(t Specifiers) bool {
	return slices.EqualFunc(s.list, t.list, specifier.same)
}

// IsEmpty tells whether there is no specifier at all.
func (s Specifiers) IsEmpty() bool { return len(s.list) == 0 }

// Contains tells whether v satisfies every specifier. Prereleases are judged
// by the order alone, as packaging does with prereleases=True. "===" admits
// whatever equals its version, spelled otherwise or not (1.0.0 for ===1.0, but
// not 1.0+local), and nothing where its text is no version.
func (s Specifiers) Contains(v Version) bool {
	for i := range s.list {
		if !s.list[i].set.Contains(v) {
			return false
		}
	}
	return true
}

// NamesPrerelease tells whether a specifier itself names a prerelease
// (">=2.0rc1"), by which PEP 440 admits prereleases. "!=" does not count.
func (s Specifiers) NamesPrerelease() bool {
	return slices.ContainsFunc(s.list, func(sp specifier) bool { return sp.op != "!=" && sp.version.pre })
}

// Pinned tells whether one specifier is == without wildcard, or ===, and to what.
func (s Specifiers) Pinned() (Version, bool) {
	for _, sp := range s.list {
		if (sp.op == "==" || sp.op == "===") && !sp.version.IsZero() {
			return sp.version, true
		}
	}
	return Version{}, false
}

// Set gives the versions that Contains admits.
func (s Specifiers) Set() Set {
	set := All()
	for _, sp := range s.list {
		set = set.Intersect(sp.set)
	}
	return set
}

// MarshalText gives String.
func (s Specifiers) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText parses; "" is the zero value.
func (s *Specifiers) UnmarshalText(text []byte) error {
	parsed, err := ParseSpecifiers(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}
