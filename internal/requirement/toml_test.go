package requirement

import (
	"strings"
	"testing"
)

// TestDeepLine: only what nests is counted.
func TestDeepLine(t *testing.T) {
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
		if line := deepLine([]byte(text + "\nb = " + strings.Repeat("[", 101))); line != strings.Count(text, "\n")+2 {
			t.Errorf("%.50q: line %d", text, line)
		}
	}
}
