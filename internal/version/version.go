// Package version implements PEP 440: versions, their total order, specifier
// sets, and sets of versions as an algebra over that order.
//
// It agrees with Python's `packaging`, save for three things: a spelling over
// 4096 bytes is no version, a list of over 1000 specifiers is refused, and
// "===" compares versions, not strings (see [Specifiers.Contains]). Numbers
// have any size.
package version

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Version is a parsed PEP 440 version. It is an immutable value. The zero
// value is no version; it sorts before every version and prints as "".
type Version struct {
	point
	text string // normalised
	pre  bool
	post bool
}

// point is a place in the order of versions: a version's key, or a place between two.
type point struct {
	head uint64 // the first eight bytes of key, big-endian: it settles most comparisons
	key  string
}

func at(key string) point {
	var head [8]byte
	copy(head[:], key)
	return point{binary.BigEndian.Uint64(head[:]), key}
}

func (p point) compare(q point) int {
	switch {
	case p.head < q.head:
		return -1
	case p.head > q.head:
		return 1
	}
	return strings.Compare(p.key, q.key)
}

// Parse reads a version in any spelling that PEP 440 permits, with space
// around it.
func Parse(s string) (Version, error) {
	_, v, ok := read(strings.TrimFunc(s, isSpace))
	if !ok {
		return Version{}, fmt.Errorf("invalid version %.80q: PEP 440 asks for a form like 1.2, 1.2rc1 or 1.2.post1", s)
	}
	return v, nil
}

// MustParse is Parse for constants in programs and tests; it panics on an error.
func MustParse(s string) Version {
	v, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return v
}

// version makes the value; text and key share one allocation.
func (p *parts) version() Version {
	var buf [128]byte
	b := p.appendText(buf[:0])
	n := len(b)
	s := string(p.appendKey(b))
	return Version{at(s[n:]), s[:n], p.prerelease(), p.post != ""}
}

// String gives the normalised spelling, local label included: "1.0rc1+ubuntu.1".
func (v Version) String() string { return v.text }

// Key is equal for two versions exactly where Compare says 0 ("1.0" and
// "1.0.0"), so that a version can be a key of a map. Keys sort bytewise as
// versions do. They are not text, and no form to keep on disk.
func (v Version) Key() string { return v.key }

// IsZero tells whether v is the zero value.
func (v Version) IsZero() bool { return v.key == "" }

// Compare orders versions by PEP 440: -1, 0 or +1.
func (v Version) Compare(w Version) int { return v.compare(w.point) }

// Equal tells whether Compare says 0: "1.0" equals "1.0.0".
func (v Version) Equal(w Version) bool { return v.key == w.key }

// IsPrerelease tells whether v has a segment a, b, rc or dev.
func (v Version) IsPrerelease() bool { return v.pre }

// IsPostrelease tells whether v has a segment post.
func (v Version) IsPostrelease() bool { return v.post }

// Release gives the numbers of the release segment as they are spelled:
// [3 11 0]. A number too large for an int is given as the largest int.
func (v Version) Release() []int {
	if v.IsZero() {
		return nil
	}
	text := v.text
	if _, rest, ok := strings.Cut(text, "!"); ok {
		text = rest
	}
	end := strings.IndexFunc(text, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end >= 0 {
		text = text[:end]
	}
	var release []int
	for s := range strings.SplitSeq(strings.TrimSuffix(text, "."), ".") {
		n, err := strconv.Atoi(s)
		if err != nil {
			n = math.MaxInt
		}
		release = append(release, n)
	}
	return release
}

// Local gives the local label: "ubuntu.1" or "".
func (v Version) Local() string {
	_, local, _ := strings.Cut(v.text, "+")
	return local
}

// Public gives v without its local label.
func (v Version) Public() Version {
	public, _, ok := strings.Cut(v.text, "+")
	if !ok {
		return v
	}
	return MustParse(public)
}

// MarshalText gives String; "" for the zero value.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.text), nil }

// UnmarshalText parses; "" is the zero value.
func (v *Version) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*v = Version{}
		return nil
	}
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*v = parsed
	return nil
}
