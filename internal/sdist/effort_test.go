package sdist

import (
	"bytes"
	"strings"
	"testing"
)

func TestEffort(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("x", 100)
	c, cython, crates := member{name: "p/x.c", body: text}, member{name: "p/X.PYX", body: text}, member{name: "p/src/Cargo.lock", body: text}
	python := member{name: "p/x.py", body: text}
	whole := tarOf(t, c, c, python)
	for name, test := range map[string]struct {
		filename string
		archive  []byte
		want     int64
	}{
		"Python":      {"p.tar", tarOf(t, python), 0},
		"C":           {"p.tar", tarOf(t, c, python), 100},
		"Cython":      {"p.tar.gz", gz(t, tarOf(t, cython, c)), 2_100},
		"Rust":        {"p.zip", zipOf(t, crates, c), 100_100},
		"no lock":     {"p.tar", tarOf(t, member{name: "p/cargo.lock", body: text}, member{name: "p/c", body: text}), 0},
		"tests":       {"p.tar", tarOf(t, c, member{name: "p/deps/tests/x.c", body: text}, member{name: "p/test_x.c", body: text}), 100},
		"cut short":   {"p.tar", whole[:1300], 100},
		"no archive":  {"p.zip", []byte("x"), 0},
		"what is odd": {"p.exe", whole, 0},
		"beyond":      {"p.tar", tarOf(t, c, member{name: "p/data", body: strings.Repeat("x", maxEffort)}, c), 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Effort(bytes.NewReader(test.archive), test.filename); got != test.want {
				t.Errorf("%d, want %d", got, test.want)
			}
		})
	}
}
