package oidc

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/scope"
)

func TestParseRules(t *testing.T) {
	t.Parallel()
	const issuer = "[[issuer]]\nurl = \"https://ci.example.org\"\naudience = \"a\"\n"
	const rule = issuer + "[[issuer.rule]]\n"
	const claims = rule + "claims = { sub = \"job:x\" }\n"
	for _, test := range []struct{ name, text, says string }{
		{"good", claims, ""},
		{"loopback", strings.Replace(claims, "https://ci.example.org", "http://[::1]:8080", 1), ""},
		{"empty", "", "no [[issuer]]"},
		{"no TOML", "[", "line 1"},
		{"a slip", claims + "scopes = \"x\"\n", "line 6: there is no setting issuer.rule.scopes"},
		{"plain http", strings.Replace(claims, "https", "http", 1), "no address of an issuer"},
		{"a password", strings.Replace(claims, "ci.", "u:p@ci.", 1), "no address of an issuer"},
		{"twice", claims + claims, "comes twice"},
		{"no audience", strings.Replace(claims, "audience", "#", 1), "audience is needed"},
		{"empty audience", strings.Replace(claims, `"a"`, `""`, 1), "audience is needed"},
		{"audiences", strings.Replace(claims, `"a"`, `["a", "b"]`, 1), ""},
		{"no rule", issuer, "no [[issuer.rule]]"},
		{"no claims", rule, "no claim says whose job it is"},
		{"anybody's main", rule + "claims = { ref = \"refs/heads/main\" }", "no claim says whose job it is"},
		{"anybody's", rule + "claims = { repository = \"*\" }", "no claim says whose job it is"},
		{"everybody's repo", rule + "claims = { repository = \"*/repo\" }", "no claim says whose job it is"},
		{"anybody's sub", rule + "claims = { sub = \"repo:*\" }", "no claim says whose job it is"},
		{"one of many", rule + "claims = { repository = [\"O/R\", \"*\"] }", "no claim says whose job it is"},
		{"an owner's", rule + "claims = { repository = \"OWNER/*\" }", ""},
		{"a number", rule + "claims = { project_id = 7 }", "claim project_id: a string is needed"},
		{"a list of numbers", rule + "claims = { project_id = [7] }", "7 is no string"},
		{"an empty pattern", rule + "claims = { sub = \"\" }", "1 to 1000 bytes"},
		{"a brace", rule + "claims = { sub = \"a{b\" }", "a brace is alone"},
		{"another brace", rule + "claims = { sub = \"a}b\" }", "a brace is alone"},
		{"no name", rule + "claims = { sub = \"a{}\" }", "in braces stands a name"},
		{"a long one in the middle", rule + "claims = { sub = \"a{b...}c\" }", "stands at the end"},
		{"a name twice", rule + "claims = { sub = \"a{b}{b}\" }", "each once"},
		{"a name in two claims", rule + "claims = { sub = \"a{b}\", ref = \"{b}\" }", "several things"},
		{"a name in one of several", rule + "claims = { sub = [\"a{b}\", \"b\"] }", "several things"},
		{"a scope", claims + "scope = \"x-{sub}\"", ""},
		{"main by name", claims + "scope = \"main\"", ""},
		{"a path", claims + "scope = \"../main\"", "no name of a scope"},
		{"capitals around a claim", claims + "scope = \"PR-{sub}\"", "a name can be made"},
		{"a hash of one's own", claims + "scope = \"a@{sub}\"", "a name can be made"},
		{"a template's brace", claims + "scope = \"{sub\"", "in braces stands"},
		{"rights", claims + "may = \"write\"", "a job may read or upload"},
		{"projects of a reader", claims + "projects = [\"x\"]", "who reads reads all"},
		{"a bad glob", claims + "may = \"upload\"\nprojects = [\"[\"]", "no glob"},
		{"a user", claims + "user = \"ci-{sub}\"", ""},
		{"large", strings.Repeat("#", maxRules+1), "larger than 1 MiB"},
	} {
		_, err := parseRules([]byte(test.text))
		if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %q", test.name, err, test.says)
		}
	}
}

func TestPattern(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		pattern, value string
		want           map[string]string // nil: it does not fit
	}{
		{"refs/heads/main", "refs/heads/main", map[string]string{}},
		{"refs/heads/main", "refs/heads/main2", nil},
		{"refs/heads/main", "xrefs/heads/main", nil},
		{"refs/heads/main", "refs/heads/main\n", nil},
		{"a.c", "abc", nil},
		{"a[b]c", "abc", nil},
		{"(a|b)", "a", nil},
		{"O/*", "O/R", map[string]string{}},
		{"O/*", "O/R/S", nil},
		{"O/*", "O/", map[string]string{}},
		{"refs/pull/{pr}/merge", "refs/pull/12/merge", map[string]string{"pr": "12"}},
		{"refs/pull/{pr}/merge", "refs/pull//merge", nil},
		{"refs/pull/{pr}/merge", "refs/pull/1/2/merge", nil},
		{"refs/heads/{b...}", "refs/heads/a/b\nc", map[string]string{"b": "a/b\nc"}},
		{"{a}-{b}", "x-y-z", map[string]string{"a": "x-y", "b": "z"}},
		{"é{x}", "éü", map[string]string{"x": "ü"}},
	} {
		compiled, _, err := compile(test.pattern)
		if err != nil {
			t.Fatal(err)
		}
		w, got := wanted{"c", nil}, map[string]string{}
		w.patterns = append(w.patterns, compiled)
		if why := w.judge(&claims{all: map[string]any{"c": test.value}}, got); why != "" {
			got = nil
		}
		if !cmp.Equal(got, test.want) {
			t.Errorf("%q, %q: %v, want %v", test.pattern, test.value, got, test.want)
		}
	}
}

// FuzzRules: whatever a file says and a token claims, a scope that comes out is a name, and never main unless a rule says main.
func FuzzRules(f *testing.F) {
	f.Add(strings.ReplaceAll(githubRules, "ISSUER", "https://ci.example.org"), "OWNER/REPO", "refs/heads/feature/x")
	f.Add(strings.ReplaceAll(gitlabRules, "ISSUER", "https://ci.example.org"), "GROUP/PROJECT", "refs/merge-requests/7/head")
	f.Add("[[issuer]]\nurl=\"https://x\"\naudience=\"a\"\n[[issuer.rule]]\nclaims={repository=\"a{x...}\"}\nscope=\"{x}{ref}\"\n", "a../..", "main")
	f.Fuzz(func(t *testing.T, text, repository, ref string) {
		rules, err := parseRules([]byte(text))
		if err != nil {
			return
		}
		c := &claims{all: map[string]any{
			"repository": repository, "project_path": repository, "sub": repository, "ref": ref, "ref_path": ref,
			"event_name": "push", "pipeline_source": "merge_request_event", "ref_protected": true, "actor": "a",
		}}
		for _, i := range rules.issuers {
			for _, r := range i.rules {
				who := new(Identity)
				if r.judge(who, c) != "" {
					continue
				}
				if err := scope.Check(who.Scope); err != nil || who.Scope == scope.Main && len(r.scope.names) > 0 {
					t.Fatalf("scope %q of %q: %v", who.Scope, r.scope.text, err)
				}
			}
		}
	})
}

// TestManual: the rules that the manual shows are rules.
func TestManual(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/server.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```toml\n[[issuer]]")
	example, _, found := strings.Cut(example, "```")
	rules, err := parseRules([]byte("[[issuer]]" + example))
	if err != nil || !found || len(rules.issuers) != 2 {
		t.Errorf("%+v %v", rules, err)
	}
}
