package sdist

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// TestPax: what readers of tar archives read differently is refused, in whichever way it differs.
func TestPax(t *testing.T) {
	t.Parallel()
	inner := string(tarOf(t, member{name: "p/hidden", body: "x"})[:1024])
	for name, test := range map[string]struct {
		archive []byte
		want    string
	}{
		"a size that hides a file":  {pax(t, 'x', "size=1024", member{name: "p/x", body: inner}), `"p/x": has a size in a pax header`},
		"a size that shows a file":  {pax(t, 'x', "size=0", member{name: "p/x", body: inner}), `"p/x": has a size in a pax header`},
		"a name for all":            {pax(t, 'g', "path=p/y", member{name: "p/x"}), "has a path in a pax header"},
		"a target for all":          {pax(t, 'g', "linkpath=y", member{name: "p/x", kind: tar.TypeSymlink, link: "z"}), "has a linkpath in a pax header"},
		"a size for all":            {pax(t, 'g', "size=0", member{name: "p/x", body: inner}), "has a size in a pax header"},
		"a long part of a name":     {tarOf(t, member{name: "p/" + strings.Repeat("x", 256)}), "a part of its name is longer than 255 bytes"},
		"a long part of its folder": {tarOf(t, member{name: strings.Repeat("x", 256) + "/p"}), "a part of its name is longer than 255 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refused(t, test.archive, "p.tar", test.want)
		})
	}
	for _, harmless := range [][]byte{
		pax(t, 'g', "comment=0123456789abcdef", member{name: "p/x"}), // as git archive writes
		pax(t, 'x', "mtime=1.5", member{name: "p/x"}),
		tarOf(t, member{name: "p/" + strings.Repeat("x", 255)}),
	} {
		if err := Verify(bytes.NewReader(harmless), "p.tar"); err != nil {
			t.Error(err)
		}
	}
}

// pax puts a pax header with one record before a member.
func pax(t *testing.T, kind byte, record string, m member) []byte {
	n := len(record) + 3
	for len(fmt.Sprint(n))+len(record)+2 != n {
		n++
	}
	b := tarOf(t, member{name: "pax", body: fmt.Sprintf("%d %s\n", n, record)}, m)
	b[156] = kind
	sum := 8 * int(' ')
	for i, c := range b[:512] {
		if i < 148 || i >= 156 {
			sum += int(c)
		}
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}
