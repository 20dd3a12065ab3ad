package requirement

import (
	"fmt"
	"strings"
	"testing"
)

// TestCostlyLine: only what nests is counted.
func TestCostlyLine(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("[", 200) + strings.Repeat(".", 200)
	for _, text := range []string{
		`a = "` + many + `\"` + many + `"`, "a = '" + many + `\' # ` + many,
		`a = """` + "\n" + many + `\"""` + many + `"""""` + "\n", "a = '''\n" + many + `\'''`,
		"a = [" + strings.Repeat("1.5, {}, ", 200) + "]", strings.Repeat("# [.\n", 200), strings.Repeat("[[x.y]]\na.b = 1\n", 200),
	} {
		if _, err := ParseTOML([]byte(text)); err != nil {
			t.Errorf("%.50q: %v", text, err)
		}
		if line := costlyLine([]byte(text + "\nb = " + strings.Repeat("[", 101))); line != strings.Count(text, "\n")+2 {
			t.Errorf("%.50q: line %d", text, line)
		}
	}
}

func TestManyKeys(t *testing.T) {
	t.Parallel()
	lines := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for text, ok := range map[string]bool{
		lines(4000, "a%d = 1\n"):                       true,
		lines(5000, "a%d = 1\n"):                       false,
		"[x]\n" + lines(5000, "a%d = 1\n"):             false,
		lines(5000, "[a%d]\nx = 1\n"):                  false,
		lines(5000, "[a.b%d]\n"):                       false,
		lines(5000, "[[a]]\nx = %d\n[a.b]\ny = 1\n"):   true,
		"a = [" + lines(5000, "{x = %d},\n") + "]":     true,
		"a = {" + lines(5000, "x%d = 1, ") + "y = 1}":  false,
		"a = {" + lines(5000, "x%d = {}, ") + "y = 1}": false,
		lines(5000, "x.y%d = 1\n"):                     false,
	} {
		if _, err := ParseTOML([]byte(text)); (err == nil) != ok {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}
