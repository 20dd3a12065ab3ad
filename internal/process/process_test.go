package process

import (
	"fmt"
	"strings"
	"testing"
)

func TestLastLines(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	for i := range 30 {
		fmt.Fprintf(&many, "%d\n", i)
	}
	for _, test := range []struct{ log, first, last string }{
		{many.String(), "10", "29"},
		{"a\n\n  \n", "a", "a"},
		{"\x1b[1;31mred\x1b[0m\x1b]0;title\x07 \x1b(Bplain\x00\x07\u202e", "red plain", "red plain"},
		{"10%\r20%\r\n100%\n", "10%", "100%"},
		{"\xff\xfe\n", "?", "?"},
		{strings.Repeat("x", 400), strings.Repeat("x", 300), strings.Repeat("x", 300)},
	} {
		lines := LastLines(Plain([]byte(test.log)))
		if len(lines) == 0 || lines[0] != test.first || lines[len(lines)-1] != test.last {
			t.Errorf("%q: %q", test.log, lines)
		}
	}
	if lines := LastLines(""); len(lines) != 0 {
		t.Error(lines)
	}
}
