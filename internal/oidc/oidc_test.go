package oidc

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"curdling/internal/oidc/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// open makes issuers of rules, in which ISSUER stands for the issuer's URL.
func open(t testing.TB, i *oidctest.Issuer, rules string) *Issuers {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules.toml")
	write(t, path, strings.ReplaceAll(rules, "ISSUER", i.URL))
	all, err := Open(path, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const githubRules = `
[[issuer]]
url = "ISSUER"
audience = "https://wheels.example.org"

[[issuer.rule]]
claims = { repository = "OWNER/REPO", ref = ["refs/heads/main", "refs/tags/v*"], event_name = ["push", "workflow_dispatch"] }
user = "ci-main"
may = "upload"
projects = ["Acme_*"]

[[issuer.rule]]
claims = { repository = "OWNER/REPO", event_name = "pull_request", ref = "refs/pull/{pr}/merge" }
scope = "pr-{pr}"
may = "upload"

[[issuer.rule]]
claims = { repository = "OWNER/REPO", ref = "refs/heads/{branch...}" }
scope = "{branch}"
user = "{actor}@{repository}"
`

const gitlabRules = `
[[issuer]]
url = "ISSUER"
audience = ["https://other.example.org", "https://wheels.example.org"]

[[issuer.rule]]
claims = { project_path = "GROUP/PROJECT", ref_path = "refs/heads/main", ref_protected = "true" }
may = "upload"

[[issuer.rule]]
claims = { project_path = "GROUP/*", pipeline_source = "merge_request_event", ref_path = "refs/merge-requests/{mr}/*" }
scope = "{project_path}-mr-{mr}"
may = "upload"
`

func TestIdentify(t *testing.T) {
	t.Parallel()
	i := oidctest.New(t)
	i.UseEC(t, "ec")
	host := strings.TrimPrefix(i.URL, "http://")
	github, gitlab := open(t, i, githubRules), open(t, i, gitlabRules)
	const repo, project = "OWNER/REPO", "GROUP/PROJECT"
	for _, test := range []struct {
		name   string
		rules  *Issuers
		claims map[string]any
		want   Identity // Refused is a part of it
	}{
		{"push to main", github, oidctest.GitHub(repo, "push", "refs/heads/main", nil),
			Identity{User: "ci-main", Scope: "main", Upload: true, Projects: []string{"acme-*"}}},
		{"tag", github, oidctest.GitHub(repo, "push", "refs/tags/v1.2", nil),
			Identity{User: "ci-main", Scope: "main", Upload: true, Projects: []string{"acme-*"}}},
		{"pull request", github, oidctest.GitHub(repo, "pull_request", "refs/pull/123/merge", nil),
			Identity{User: "oidc:" + host + ":repo:OWNER/REPO:pull_request", Scope: "pr-123", Upload: true}},
		{"a branch", github, oidctest.GitHub(repo, "push", "refs/heads/topic", nil),
			Identity{User: "someone@OWNER/REPO", Scope: "topic"}},
		{"a branch with a slash", github, oidctest.GitHub(repo, "push", "refs/heads/feature/X", nil),
			Identity{User: "someone@OWNER/REPO", Scope: "feature-x@55a5cb1a9ef3aadde09fad24e60b96cc"}},
		// The event is not one of those that may upload to main, and the scope is not main either.
		{"a pull request's code on main's ref", github, oidctest.GitHub(repo, "pull_request_target", "refs/heads/main", nil),
			Identity{User: "someone@OWNER/REPO", Scope: "main@2fc97b2f9eca1ee8ac9d1ed9a1ce59ad"}},
		{"another repository", github, oidctest.GitHub("OTHER/REPO", "push", "refs/heads/main", nil),
			Identity{User: "oidc:" + host + ":repo:OTHER/REPO:ref:refs/heads/main", Refused: "rule 1: claim repository is OTHER/REPO"}},
		{"a name around it", github, oidctest.GitHub("OWNER/REPO-evil", "push", "refs/heads/main", nil),
			Identity{User: "oidc:" + host + ":repo:OWNER/REPO-evil:ref:refs/heads/main", Refused: "claim repository is OWNER/REPO-evil"}},
		{"a number with more in it", github, oidctest.GitHub(repo, "pull_request", "refs/pull/1/2/merge", nil),
			Identity{User: "oidc:" + host + ":repo:OWNER/REPO:pull_request", Refused: "rule 2: claim ref is refs/pull/1/2/merge"}},
		{"no such claim", github, oidctest.GitHub(repo, "push", "refs/heads/main", map[string]any{"ref": nil}),
			Identity{User: "oidc:" + host + ":repo:OWNER/REPO:ref:refs/heads/main", Refused: "the token has no claim ref"}},
		{"a list for a string", github, oidctest.GitHub(repo, "push", "refs/heads/main", map[string]any{"repository": []string{repo}}),
			Identity{User: "oidc:" + host + ":repo:OWNER/REPO:ref:refs/heads/main", Refused: "the token has no claim repository"}},

		{"protected", gitlab, oidctest.GitLab(project, "push", "main", "refs/heads/main", map[string]any{"ref_protected": "true"}),
			Identity{User: "oidc:" + host + ":project_path:GROUP/PROJECT:ref_type:branch:ref:main", Scope: "main", Upload: true}},
		{"protected, as a truth", gitlab, oidctest.GitLab(project, "push", "main", "refs/heads/main", map[string]any{"ref_protected": true}),
			Identity{User: "oidc:" + host + ":project_path:GROUP/PROJECT:ref_type:branch:ref:main", Scope: "main", Upload: true}},
		{"unprotected", gitlab, oidctest.GitLab(project, "push", "main", "refs/heads/main", nil),
			Identity{User: "oidc:" + host + ":project_path:GROUP/PROJECT:ref_type:branch:ref:main", Refused: "rule 1: claim ref_protected is false"}},
		{"merge request", gitlab, oidctest.GitLab(project, "merge_request_event", "topic", "refs/merge-requests/7/head", nil),
			Identity{User: "oidc:" + host + ":project_path:GROUP/PROJECT:ref_type:branch:ref:topic", Scope: "group-project-mr-7@8e1f53e9e6ca4b2a", Upload: true}},
		{"merge request of a fork", gitlab, oidctest.GitLab("SOMEONE/PROJECT", "merge_request_event", "topic", "refs/merge-requests/7/head", nil),
			Identity{User: "oidc:" + host + ":project_path:SOMEONE/PROJECT:ref_type:branch:ref:topic", Refused: "rule 2: claim project_path is SOMEONE/PROJECT"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := test.rules.Rules().Identify(t.Context(), i.Token(test.claims))
			if err != nil {
				t.Fatal(err)
			}
			if until := time.Until(got.Until); until < 5*time.Minute || until > 7*time.Minute {
				t.Errorf("until %v", got.Until)
			}
			got.Until = time.Time{}
			if !strings.Contains(got.Refused, test.want.Refused) {
				t.Errorf("refused: %s", got.Refused)
			}
			if slug, _, altered := strings.Cut(test.want.Scope, "@"); altered && strings.HasPrefix(got.Scope, slug+"@") {
				test.want.Scope = got.Scope // what the hash is does not matter
			}
			if got.Refused = test.want.Refused; !cmp.Equal(*got, test.want) {
				t.Error(cmp.Diff(test.want, *got))
			}
		})
	}
}

// TestForged: what is no token of ours is not believed.
func TestForged(t *testing.T) {
	t.Parallel()
	i, other := oidctest.New(t), oidctest.New(t)
	rules := open(t, i, githubRules).Rules()
	claims := func(more map[string]any) map[string]any {
		return oidctest.GitHub("OWNER/REPO", "push", "refs/heads/main", more)
	}
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other.Use("first", stranger)
	now, good := time.Now(), i.Token(claims(nil))
	if _, err := rules.Identify(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(good, ".")
	body, signature, _ := strings.Cut(rest, ".")
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	unsigned := func(header string) string { return encode(header) + "." + body + "." }
	published, err := http.Get(i.URL + "/keys")
	if err != nil {
		t.Fatal(err)
	}
	defer published.Body.Close()
	public, err := io.ReadAll(published.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, token, says string }{
		{"another issuer", other.Token(claims(nil)), "claim iss: tokens of the issuer http://127.0.0.1"},
		{"another issuer that says it is ours", other.Token(claims(map[string]any{"iss": i.URL})), "signature is wrong"},
		{"another key under the name of ours", oidctest.Sign(stranger, "first", i.URL, claims(nil)), "signature is wrong"},
		{"a key that nobody has", oidctest.Sign(stranger, "no-such", i.URL, claims(nil)), "has no key no-such"},
		{"a key without a name", oidctest.Sign(stranger, "", i.URL, claims(nil)), "(kid)"},
		{"another audience", i.Token(claims(map[string]any{"aud": "https://other.example.org"})), "claim aud: the token is for https://other.example.org"},
		{"no audience", i.Token(claims(map[string]any{"aud": nil})), "claim aud"},
		{"expired", i.Token(claims(map[string]any{"exp": now.Add(-2 * time.Minute).Unix()})), "claim exp: the token expired"},
		{"without an end", i.Token(claims(map[string]any{"exp": nil})), "claim exp: the token has no end"},
		{"not yet", i.Token(claims(map[string]any{"nbf": now.Add(time.Hour).Unix()})), "claim nbf"},
		{"of tomorrow", i.Token(claims(map[string]any{"iat": now.Add(24 * time.Hour).Unix()})), "claim iat"},
		{"alg none", unsigned(`{"alg":"none","typ":"JWT","kid":"first"}`), "no JSON Web Token that is signed"},
		{"alg None", unsigned(`{"alg":"None","typ":"JWT","kid":"first"}`), "no JSON Web Token that is signed"},
		{"HS256 with the public key as its secret", oidctest.Sign(public, "first", i.URL, claims(nil)), "no JSON Web Token that is signed"},
		{"other claims", head + "." + encode(`{"iss":"`+i.URL+`","aud":"https://wheels.example.org","exp":9999999999}`) + "." + signature, "signature is wrong"},
		{"no signature", head + "." + body + ".", ""},
		{"critical", encode(`{"alg":"RS256","kid":"first","crit":["x"],"x":1}`) + "." + body + "." + signature, ""},
		{"its own key", encode(`{"alg":"RS256","kid":"first","jwk":{"kty":"oct","k":"AA"}}`) + "." + body + "." + signature, ""},
		{"nothing", "..", ""},
		{"huge", strings.Repeat("a", maxToken+1), "more than"},
	} {
		who, err := rules.Identify(t.Context(), test.token)
		var bad *TokenError
		if !errors.As(err, &bad) || !strings.Contains(bad.Reason, test.says) {
			t.Errorf("%s: %+v %v, want %q", test.name, who, err, test.says)
		}
		if err != nil && len(test.token) > 100 && strings.Contains(err.Error(), test.token[:100]) {
			t.Errorf("%s: the reason shows the token", test.name)
		}
	}
	for name, leeway := range map[string]map[string]any{
		"just over": {"exp": now.Add(-30 * time.Second).Unix()},
		"a moment":  {"nbf": now.Add(30 * time.Second).Unix(), "iat": now.Add(30 * time.Second).Unix()},
	} {
		if _, err := rules.Identify(t.Context(), i.Token(claims(leeway))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestKeys: keys are found, kept, and asked for anew, and no more often than may be.
func TestKeys(t *testing.T) {
	t.Parallel()
	i := oidctest.New(t)
	all := open(t, i, githubRules)
	var clock atomic.Int64 // seconds that went by
	all.now = func() time.Time { return time.Now().Add(time.Duration(clock.Load()) * time.Second) }
	identify := func() error {
		claims := map[string]any{"exp": all.now().Add(time.Minute).Unix()}
		_, err := all.Rules().Identify(t.Context(), i.Token(oidctest.GitHub("OWNER/REPO", "push", "refs/heads/main", claims)))
		return err
	}
	check := func(when string, asked int64, err error) {
		t.Helper()
		if got := i.Asked.Load(); got != asked || err != nil {
			t.Errorf("%s: asked %d times, want %d; %v", when, got, asked, err)
		}
	}
	var many sync.WaitGroup
	for range 20 {
		many.Go(func() {
			if err := identify(); err != nil {
				t.Error(err)
			}
		})
	}
	many.Wait()
	check("twenty at once", 1, nil)

	i.UseEC(t, "second")
	var bad *TokenError
	if err := identify(); !errors.As(err, &bad) {
		t.Errorf("a new key within seconds of the last question: %v", err)
	}
	check("at once", 1, nil)
	clock.Add(11)
	check("a new key", 2, identify())
	clock.Add(int64(freshFor/time.Second) - 20)
	check("within the hour", 2, identify())

	// While the issuer is down, known keys go on working, for days.
	i.Answer(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusServiceUnavailable) }, nil)
	for day := range 3 {
		clock.Add(24 * 3600)
		if err := identify(); err != nil {
			t.Errorf("day %d: %v", day, err)
		}
		<-all.keysOf(i.URL).last().done
	}
	check("down", 5, nil)
	i.UseEC(t, "third")
	clock.Add(11)
	var away *UnreachableError
	if err := identify(); !errors.As(err, &away) || !strings.Contains(err.Error(), "503") {
		t.Errorf("an unknown key while the issuer is down: %v", err)
	}
	i.Answer(nil, nil)
	clock.Add(11)
	check("up again", 7, identify())
}

// TestHostileIssuer: its documents are bounded and checked.
func TestHostileIssuer(t *testing.T) {
	t.Parallel()
	say := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	endless := func(w http.ResponseWriter, _ *http.Request) {
		for range 3 << 10 {
			_, _ = w.Write(bytes.Repeat([]byte(" "), 1<<10))
		}
	}
	for _, test := range []struct {
		name            string
		discovery, keys http.HandlerFunc
		says            string
	}{
		{"endless discovery", endless, nil, "more than 1048576 bytes"},
		{"endless keys", nil, endless, "more than 1048576 bytes"},
		{"another issuer", say(`{"issuer":"https://evil.example","jwks_uri":"https://evil.example/keys"}`), nil, "is of the issuer https://evil.example"},
		{"no JSON", say("<html>"), nil, "invalid character"},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, nil, "302"},
		{"no keys", nil, say(`{}`), "has no key"},
		{"too many keys", nil, say(`{"keys":[` + strings.Repeat("{},", maxKeys) + `{}]}`), "more than 100"},
		{"a secret for a key", nil, say(`{"keys":[{"kty":"oct","kid":"first","k":"c2VjcmV0"}]}`), "has no key"},
		{"a short key", nil, say(`{"keys":[{"kty":"RSA","kid":"first","n":"` + strings.Repeat("vw", 85) + `","e":"AQAB"}]}`), "has no key"},
		{"a key for encryption", nil, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"keys":[{"kty":"EC","crv":"P-256","use":"enc","kid":"first","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`)
		}, "has no key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			i := oidctest.New(t)
			i.Answer(test.discovery, test.keys)
			_, err := open(t, i, githubRules).Rules().Identify(t.Context(), i.Token(oidctest.GitHub("OWNER/REPO", "push", "refs/heads/main", nil)))
			var away *UnreachableError
			if !errors.As(err, &away) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want %q", err, test.says)
			}
		})
	}
	t.Run("plain http", func(t *testing.T) {
		t.Parallel()
		i := oidctest.New(t)
		i.Answer(say(`{"issuer":"`+i.URL+`","jwks_uri":"http://keys.example.org/"}`), nil)
		_, err := open(t, i, githubRules).Rules().Identify(t.Context(), i.Token(nil))
		if err == nil || !strings.Contains(err.Error(), "http://keys.example.org/ is no address") {
			t.Error(err)
		}
	})
	t.Run("impatient", func(t *testing.T) {
		t.Parallel()
		i, release := oidctest.New(t), make(chan struct{})
		defer close(release)
		i.Answer(func(http.ResponseWriter, *http.Request) { <-release }, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := open(t, i, githubRules).Rules().Identify(ctx, i.Token(nil)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestReadAgain(t *testing.T) {
	t.Parallel()
	i := oidctest.New(t)
	path := filepath.Join(t.TempDir(), "rules.toml")
	write(t, path, strings.ReplaceAll(githubRules, "ISSUER", i.URL))
	all, err := Open(path, quiet)
	if err != nil {
		t.Fatal(err)
	}
	token := i.Token(oidctest.GitHub("OWNER/REPO", "pull_request", "refs/pull/1/merge", nil))
	before := all.Rules()
	if _, err := before.Identify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	write(t, path, "broken")
	all.file.Refresh()
	if all.Rules() != before {
		t.Error("broken rules were taken")
	}
	write(t, path, strings.ReplaceAll(gitlabRules, "ISSUER", i.URL))
	all.file.Refresh()
	who, err := all.Rules().Identify(t.Context(), token)
	if err != nil || who.Refused == "" || i.Asked.Load() != 1 {
		t.Errorf("%+v %v, asked %d times", who, err, i.Asked.Load())
	}
}

// FuzzToken: no token but the issuer's is believed, whatever it looks like.
func FuzzToken(f *testing.F) {
	i := oidctest.New(f)
	rules := open(f, i, githubRules).Rules()
	token := i.Token(oidctest.GitHub("OWNER/REPO", "push", "refs/heads/main", nil))
	said := strings.Split(token, ".")[1]
	f.Add(token)
	f.Add("eyJhbGciOiJub25lIn0." + said + ".")
	f.Add("..")
	f.Fuzz(func(t *testing.T, s string) {
		if who, err := rules.Identify(t.Context(), s); err == nil {
			// The signature's last character has bits that do not count.
			if parts := strings.Split(s, "."); len(parts) != 3 || parts[1] != said {
				t.Fatalf("%q is %+v", s, who)
			}
		}
	})
}
