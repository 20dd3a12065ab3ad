package auth

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"curdling/internal/livefile"
	"curdling/internal/oidc"
	"curdling/internal/oidc/oidctest"
)

// rules let jobs of main and of pull requests upload, and others of the repository read.
const rules = `
[[issuer]]
url = "ISSUER"
audience = "https://wheels.example.org"
[[issuer.rule]]
claims = { repository = "OWNER/REPO", ref = "refs/heads/main", event_name = "push" }
user = "ci"
may = "upload"
projects = ["acme-*"]
[[issuer.rule]]
claims = { repository = "OWNER/REPO", ref = "refs/pull/{pr}/merge" }
scope = "pr-{pr}"
may = "upload"
[[issuer.rule]]
claims = { repository = "OWNER/REPO" }
`

func openCI(t *testing.T, i *oidctest.Issuer) (ci *oidc.Issuers, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "oidc.toml")
	write(t, path, strings.ReplaceAll(rules, "ISSUER", i.URL))
	ci, err := oidc.Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return ci, path
}

func TestIDTokens(t *testing.T) {
	t.Parallel()
	i := oidctest.New(t)
	ci, _ := openCI(t, i)
	g := NewGate(Policy{CI: ci})
	if !g.Closed(Read) || !g.Closed(Upload) {
		t.Error("rules do not close the server")
	}
	push := oidctest.GitHub("OWNER/REPO", "push", "refs/heads/main", nil)
	pull := oidctest.GitHub("OWNER/REPO", "pull_request", "refs/pull/12/merge", nil)
	branch := oidctest.GitHub("OWNER/REPO", "push", "refs/heads/topic", nil)
	for _, test := range []struct {
		name, header string
		user, scope  string
		read, upload string // why not; "" where he may
	}{
		{"main, as a bearer", "Bearer " + i.Token(push), "ci", "", "", ""},
		{"main, as a password", send("__token__", i.Token(push)), "ci", "", "", ""},
		{"main, as anybody's password", send("oidc", i.Token(push)), "ci", "", "", ""},
		{"a pull request", "Bearer " + i.Token(pull), "oidc:" + i.URL[len("http://"):] + ":repo:OWNER/REPO:pull_request", "pr-12", "", ""},
		{"a branch", "Bearer " + i.Token(branch), "oidc:" + i.URL[len("http://"):] + ":repo:OWNER/REPO:ref:refs/heads/topic", "", "", "is for reading only"},
		{"another repository", "Bearer " + i.Token(oidctest.GitHub("OTHER/REPO", "push", "refs/heads/main", nil)),
			"oidc:" + i.URL[len("http://"):] + ":repo:OTHER/REPO:ref:refs/heads/main", "", "claim repository is OTHER/REPO", "claim repository is OTHER/REPO"},
	} {
		for range 2 { // found out, and remembered
			for action, reason := range map[Action]string{Read: test.read, Upload: test.upload} {
				who, err := g.Authorize(test.header, here, action)
				if who == nil || who.User != test.user || who.Scope != test.scope || (err == nil) != (reason == "") || err != nil && !strings.Contains(err.Error(), reason) {
					t.Errorf("%s: %+v %v", test.name, who, err)
				}
			}
		}
	}
	who, err := g.Authorize("Bearer "+i.Token(push), here, Upload)
	if err != nil {
		t.Fatal(err)
	}
	if err := who.MayUpload("acme-x"); err != nil {
		t.Error(err)
	}
	if err := who.MayUpload("flask"); err == nil || err.Error() != "the token is for uploads of acme-*, not of flask" {
		t.Error(err)
	}

	// What is wrong is told, and counted; what is right is not held up by that.
	for n := range 15 {
		_, err := g.Authorize("Bearer "+i.Token(oidctest.GitHub("O/R", "push", "x", map[string]any{"aud": "another", "jti": strconv.Itoa(n)})), here, Read)
		var limited *LimitedError
		switch {
		case n < 5 && (!errors.Is(err, ErrUnauthenticated) || !strings.Contains(err.Error(), "claim aud")):
			t.Errorf("the %dth: %v", n, err)
		case n == 14 && !errors.As(err, &limited):
			t.Errorf("15 wrong tokens were looked at: %v", err)
		}
	}
	if _, err := g.Authorize("Bearer "+i.Token(push), here, Upload); err != nil {
		t.Error(err)
	}
}

// TestIDTokenAndLists: the lists of names hold for ID tokens by the user of their rule.
func TestIDTokenAndLists(t *testing.T) {
	t.Parallel()
	i := oidctest.New(t)
	ci, _ := openCI(t, i)
	uploaders, err := OpenNames([]string{"ci"}, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	g := NewGate(Policy{CI: ci, Uploaders: uploaders})
	if _, err := g.Authorize("Bearer "+i.Token(oidctest.GitHub("OWNER/REPO", "push", "refs/heads/main", nil)), here, Upload); err != nil {
		t.Error(err)
	}
	var forbidden *ForbiddenError
	if _, err := g.Authorize("Bearer "+i.Token(oidctest.GitHub("OWNER/REPO", "pull_request", "refs/pull/1/merge", nil)), here, Upload); !errors.As(err, &forbidden) {
		t.Error(err)
	}
}

// TestIDTokenEnds: what is remembered of a token ends with it, and with its rule.
func TestIDTokenEnds(t *testing.T) {
	t.Parallel()
	i := oidctest.New(t)
	ci, path := openCI(t, i)
	g := NewGate(Policy{CI: ci})
	claims := oidctest.GitHub("OWNER/REPO", "push", "refs/heads/main", map[string]any{"exp": time.Now().Add(-55 * time.Second).Unix()})
	short := "Bearer " + i.Token(claims)
	if _, err := g.Authorize(short, here, Read); err != nil {
		t.Fatal(err)
	}
	if err := waitFor(func() bool { _, err := g.Authorize(short, here, Read); return errors.Is(err, ErrUnauthenticated) }); err != nil {
		t.Error("a token outlives its end")
	}
	long := "Bearer " + i.Token(oidctest.GitHub("OWNER/REPO", "push", "refs/heads/main", nil))
	if _, err := g.Authorize(long, here, Read); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(strings.ReplaceAll(rules, "ISSUER", i.URL), "OWNER/REPO", "OWNER/NEW")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := waitFor(func() bool { _, err := g.Authorize(long, here, Read); return err != nil }); err != nil {
		t.Error("a token outlives its rule")
	}
}

func waitFor(done func() bool) error {
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("it did not come")
		}
	}
	return nil
}

// TestBoundTokens: a token that is bound to a scope says so, where everybody may read too.
func TestBoundTokens(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.json")
	plain, _, err := CreateToken(t.Context(), livefile.Path(path), Token{User: "a", Scope: ScopeUpload, In: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || !strings.Contains(string(b), `"version": 1`) || strings.Contains(string(b), `"in"`) {
		t.Errorf("%s %v", b, err)
	}
	bound, _, err := CreateToken(t.Context(), livefile.Path(path), Token{User: "b", Scope: ScopeRead, In: "pr-1"})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || !strings.Contains(string(b), `"version": 2`) || !strings.Contains(string(b), `"in": "pr-1"`) {
		t.Errorf("a program that does not know of scopes would take it for a token of main: %s %v", b, err)
	}
	tokens, err := OpenTokens(path, true, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	for _, anonymous := range []bool{false, true} {
		g := NewGate(Policy{Tokens: tokens, AnonymousRead: anonymous})
		for range 2 {
			who, err := g.Authorize("Bearer "+bound, here, Read)
			if err != nil || who.Scope != "pr-1" || who.User != "b" {
				t.Errorf("anonymous %v: %+v %v", anonymous, who, err)
			}
		}
		if _, err := g.Authorize("Bearer "+bound, here, Upload); err == nil {
			t.Error("a reader may upload")
		}
		if who, err := g.Authorize("Bearer "+plain, here, Upload); err != nil || who.Scope != "" {
			t.Errorf("%+v %v", who, err)
		}
	}
	g := NewGate(Policy{Tokens: tokens, AnonymousRead: true})
	for range 30 { // wrong ones are nobody's, and hold nobody up
		if who, err := g.Authorize(send("x", "y"+bound[1:]), here, Read); err != nil || who.User != "" {
			t.Errorf("%+v %v", who, err)
		}
	}
}
