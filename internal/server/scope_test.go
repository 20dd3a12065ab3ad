package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/audit"
	"curdling/internal/auth"
	"curdling/internal/catalog"
	"curdling/internal/index"
	"curdling/internal/lease"
	"curdling/internal/oidc"
	"curdling/internal/oidc/oidctest"
	"curdling/internal/record/recordtest"
	"curdling/internal/store/disk"
	"curdling/internal/wheel/wheeltest"
)

const ciRules = `
[[issuer]]
url = "ISSUER"
audience = "https://wheels.example.org"
[[issuer.rule]]
claims = { repository = "OWNER/REPO", ref = "refs/heads/main", event_name = "push" }
user = "ci"
may = "upload"
[[issuer.rule]]
claims = { repository = "OWNER/REPO", event_name = "pull_request", ref = "refs/pull/{pr}/merge" }
scope = "pr-{pr}"
may = "upload"
[[issuer.rule]]
claims = { repository = "OWNER/REPO", event_name = "pull_request", ref = "refs/heads/{branch...}" }
scope = "{branch}"
may = "upload"
`

// scoped is a site with an issuer.
type scoped struct {
	*site
	issuer *oidctest.Issuer
	audit  string
}

func newScoped(t *testing.T, policy auth.Policy, wheels ...wheeltest.Wheel) *scoped {
	t.Helper()
	x := &scoped{issuer: oidctest.New(t), audit: filepath.Join(t.TempDir(), "audit.jsonl")}
	path := filepath.Join(t.TempDir(), "oidc.toml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(ciRules, "ISSUER", x.issuer.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if policy.CI, err = oidc.Open(path, quiet); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	x.site = newSite(t, options{dir: dir, scopes: true, configure: func(c *Config) {
		c.Policy, c.Audit, c.Builds = policy, audit.New(x.audit), builders(dir, lease.Options{})
	}}, wheels...)
	return x
}

func (x *scoped) token(claims map[string]any) string { return "Bearer " + x.issuer.Token(claims) }

// pull is a job of a pull request, main one of the main branch.
func (x *scoped) pull(number string) string {
	return x.token(oidctest.GitHub("OWNER/REPO", "pull_request", "refs/pull/"+number+"/merge", nil))
}

func (x *scoped) main() string {
	return x.token(oidctest.GitHub("OWNER/REPO", "push", "refs/heads/main", nil))
}

func (x *scoped) put(t *testing.T, who, filename string, content []byte) (int, string) {
	t.Helper()
	r := x.do(http.MethodPut, "/p/"+filename, bytes.NewReader(content), "Authorization", who)
	return r.StatusCode, text(t, r)
}

func (x *scoped) read(t *testing.T, who, target string) (int, string) {
	t.Helper()
	r := x.get(target, "Authorization", who)
	return r.StatusCode, text(t, r)
}

// two wheels of one name and other content.
var (
	acme      = wheeltest.Wheel{Name: "acme", Version: "1.0", Summary: "main's"}
	evil      = wheeltest.Wheel{Name: "acme", Version: "1.0", Summary: "evil"}
	acmeFile  = acme.Filename()
	acmeBytes = wheeltest.Build(acme)
	evilBytes = wheeltest.Build(evil)
)

// TestPullRequestOverwritesMain is the first attack: main's wheel stays what it is, for everybody.
func TestPullRequestOverwritesMain(t *testing.T) {
	t.Parallel()
	x := newScoped(t, auth.Policy{}, acme)
	for range 2 {
		if status, body := x.put(t, x.pull("1"), acmeFile, evilBytes); status != http.StatusConflict || !strings.Contains(body, "other content is held") {
			t.Errorf("other bytes: %d %s", status, body)
		}
	}
	if status, body := x.put(t, x.pull("1"), acmeFile, acmeBytes); status != http.StatusOK {
		t.Errorf("the same bytes: %d %s", status, body)
	}
	for name, who := range map[string]string{"main": x.main(), "the request": x.pull("1"), "another": x.pull("2")} {
		for _, target := range []string{"/p/" + acmeFile, "/s/acme"} {
			if status, body := x.read(t, who, target); status != http.StatusOK || body != string(acmeBytes) {
				t.Errorf("%s, %s: %d", name, target, status)
			}
		}
	}
	if left, err := os.ReadDir(filepath.Join(x.dir, disk.ScopesDir, "pr-1", disk.StateDir, "tmp")); err != nil || len(left) != 0 {
		t.Errorf("what was refused is left: %v %v", left, err)
	}
	var got []string
	for _, e := range entries(t, x.audit) {
		got = append(got, e.Scope+" "+e.User+" "+e.File)
		if e.Scope != "pr-1" || !strings.HasPrefix(e.User, "oidc:127.0.0.1:") || !strings.HasSuffix(e.User, ":repo:OWNER/REPO:pull_request") {
			t.Errorf("%+v", e)
		}
	}
	if len(got) != 3 {
		t.Errorf("noted: %v", got)
	}
}

// TestPullRequestBuilds: those of a pull request build once what they need, and use what main built; main's machines wait for
// none of them, hear of no failure of theirs, and believe nothing that they prepared.
func TestPullRequestBuilds(t *testing.T) {
	t.Parallel()
	x := newScoped(t, auth.Policy{})
	one, two, main := x.pull("1"), x.pull("2"), x.main()
	at := "/builds/" + aFrom + "/" + aKey
	ask := func(who, path string, want int) index.BuildAnswer {
		t.Helper()
		code, a := x.ask(t, path, `{"name": "slow 1.0"}`, "Authorization", who)
		if code != want {
			t.Errorf("%s: %d %+v, want %d", path, code, a, want)
		}
		return a
	}
	do := func(who, method, path, body string, want int) {
		t.Helper()
		if got := x.status(method, path, body, "Authorization", who); got != want {
			t.Errorf("%s %s: %d, want %d", method, path, got, want)
		}
	}
	look := func(who string, want int) {
		t.Helper()
		if code, a := x.ask(t, at, `{"look": true}`, "Authorization", who); code != want {
			t.Errorf("%d %+v, want %d", code, a, want)
		}
	}

	// A lease of each scope.
	first := ask(one, at, http.StatusCreated)
	if a := ask(one, at, http.StatusAccepted); a.Holder == "" {
		t.Errorf("%+v", a)
	}
	second := ask(two, at, http.StatusCreated)
	look(main, http.StatusNoContent)
	do(two, "PUT", at+"/"+first.Lease, "log", http.StatusGone)
	do(one, "PUT", at+"/"+first.Lease, "log", http.StatusNoContent)

	// A failure is the scope's own.
	do(one, "DELETE", at+"/"+first.Lease+"?failed=broken", "", http.StatusNoContent)
	if a := ask(one, at, http.StatusFailedDependency); a.Failed == nil || a.Failed.Message != "broken" {
		t.Errorf("%+v", a)
	}
	look(two, http.StatusAccepted)
	look(main, http.StatusNoContent)

	// Main builds: those below wait for it, and cannot end it.
	mains := ask(main, at, http.StatusCreated)
	do(one, "DELETE", at+"/"+mains.Lease+"?failed=mine", "", http.StatusGone)
	do(one, "PUT", at+"/"+mains.Lease, "log", http.StatusGone)
	if a := ask(one, at, http.StatusAccepted); !strings.HasPrefix(a.Holder, "ci at ") {
		t.Errorf("%+v", a)
	}
	do(main, "DELETE", at+"/"+mains.Lease+"?abandoned=1", "", http.StatusNoContent)

	// What a scope built is its own.
	put := func(who, content string) string {
		t.Helper()
		name, wheel, text := recordtest.Build(t, "slow", "3.11.1", content, nil)
		body, contentType := form(t, name, name, wheel, name+catalog.RecordSuffix, string(text))
		if r := x.do(http.MethodPut, "/p/"+name, body, "Authorization", who, "Content-Type", contentType); r.StatusCode != http.StatusCreated {
			t.Fatalf("%s", r.Status)
		}
		return name
	}
	built := put(two, "two's")
	do(two, "DELETE", at+"/"+second.Lease, "", http.StatusNoContent)
	if a := ask(two, at, http.StatusOK); len(a.Files) != 1 || a.Files[0].Filename != built {
		t.Errorf("%+v", a)
	}
	ask(one, at, http.StatusFailedDependency)
	look(main, http.StatusNoContent)

	// What main built is everybody's, and hides what lies below it.
	put(main, "main's")
	want := ask(main, at, http.StatusOK)
	for _, who := range []string{one, two} {
		if diff := cmp.Diff(want.Files, ask(who, at, http.StatusOK).Files); diff != "" {
			t.Error(diff)
		}
	}
}

// TestPullRequestPrepares: METADATA of sources that a pull request prepared is its own, and main's is everybody's.
func TestPullRequestPrepares(t *testing.T) {
	t.Parallel()
	x := newScoped(t, auth.Policy{})
	one, two, main := x.pull("1"), x.pull("2"), x.main()
	at := "/builds/" + aFrom + "/" + aKey + "/metadata"
	metadata := func(summary string) string {
		return "Metadata-Version: 2.1\nName: slow\nVersion: 1.0\nSummary: " + summary + "\n"
	}
	put := func(who, summary string, want int) {
		t.Helper()
		if got := x.status("PUT", at, metadata(summary), "Authorization", who); got != want {
			t.Errorf("%s: %d, want %d", summary, got, want)
		}
	}
	get := func(who, want string) {
		t.Helper()
		if status, body := x.read(t, who, at); want == "" && status != http.StatusNotFound || want != "" && body != metadata(want) {
			t.Errorf("%d %s, want %s", status, body, want)
		}
	}
	put(one, "evil", http.StatusCreated)
	put(one, "evil", http.StatusOK)
	put(one, "other", http.StatusConflict)
	get(one, "evil")
	get(two, "")
	get(main, "")
	if code, a := x.ask(t, at, `{"name": "slow 1.0"}`, "Authorization", main); code != http.StatusCreated {
		t.Errorf("main prepares, too: %d %+v", code, a)
	}
	for i := range lease.MostApart { // one too many, with the first
		path := fmt.Sprintf("/builds/%064x/%s/metadata", i, aKey)
		want := http.StatusCreated
		if i == lease.MostApart-1 {
			want = http.StatusInsufficientStorage
		}
		if got := x.status("PUT", path, metadata("much"), "Authorization", one); got != want {
			t.Fatalf("%d of a scope: %d, want %d", i, got, want)
		}
	}
	put(main, "good", http.StatusCreated)
	for _, who := range []string{one, two, main} {
		get(who, "good")
	}
	put(two, "evil", http.StatusConflict)
	put(two, "good", http.StatusOK)
}

// TestPullRequestComesFirst is the second attack: a name that a pull request uploads first.
func TestPullRequestComesFirst(t *testing.T) {
	t.Parallel()
	x := newScoped(t, auth.Policy{})
	pull, main := x.pull("1"), x.main()
	if status, body := x.put(t, pull, acmeFile, evilBytes); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	// Only the request itself sees it, on every page.
	for _, target := range []string{"/p/" + acmeFile, "/p/" + acmeFile + ".metadata", "/simple/acme/", "/s/acme", "/api/acme", "/project/acme", "/project/acme/1.0"} {
		if status, _ := x.read(t, pull, target); status != http.StatusOK {
			t.Errorf("%s: %d for the request", target, status)
		}
		for name, who := range map[string]string{"main": main, "another request": x.pull("2")} {
			if status, body := x.read(t, who, target); status != http.StatusNotFound || strings.Contains(body, sum(evilBytes)) {
				t.Errorf("%s: %d for %s", target, status, name)
			}
		}
	}
	for _, target := range []string{"/simple/", "/api/", "/", "/?q=acme", "/search?q=acme"} {
		for name, who := range map[string]string{"main": main, "another request": x.pull("2")} {
			// The page repeats what was searched for.
			if _, body := x.read(t, who, target); strings.Contains(strings.ReplaceAll(body, `value="acme"`, ""), "/acme") || strings.Contains(body, `"acme"`) && !strings.HasPrefix(target, "/?q") {
				t.Errorf("%s shows it to %s: %s", target, name, body)
			}
		}
		if _, body := x.read(t, pull, target); !strings.Contains(body, "acme") {
			t.Errorf("%s does not show it to the request", target)
		}
	}

	// Main comes later, and has its own; the request's is hidden from the request, too.
	_, before := x.read(t, pull, "/simple/acme/")
	if status, body := x.put(t, main, acmeFile, acmeBytes); status != http.StatusCreated {
		t.Fatalf("main, later: %d %s", status, body)
	}
	for name, who := range map[string]string{"main": main, "the request": pull, "another request": x.pull("2")} {
		if status, body := x.read(t, who, "/p/"+acmeFile); status != http.StatusOK || body != string(acmeBytes) {
			t.Errorf("%s: %d", name, status)
		}
		if _, body := x.read(t, who, "/simple/acme/"); !strings.Contains(body, sum(acmeBytes)) || strings.Contains(body, sum(evilBytes)) {
			t.Errorf("%s's page: %s", name, body)
		}
		if _, body := x.read(t, who, "/p/"+acmeFile+".metadata"); !strings.Contains(body, "main's") {
			t.Errorf("%s's metadata: %s", name, body)
		}
	}
	if !strings.Contains(before, sum(evilBytes)) {
		t.Errorf("before: %s", before)
	}
	if status, _ := x.put(t, pull, acmeFile, evilBytes); status != http.StatusConflict {
		t.Errorf("the hidden one again: %d", status)
	}
}

// TestOtherScopes: a request neither reads nor writes another's.
func TestOtherScopes(t *testing.T) {
	t.Parallel()
	x := newScoped(t, auth.Policy{})
	if status, body := x.put(t, x.pull("1"), acmeFile, evilBytes); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	if status, body := x.put(t, x.pull("2"), acmeFile, acmeBytes); status != http.StatusCreated {
		t.Fatalf("a name is free in each: %d %s", status, body)
	}
	for number, want := range map[string][]byte{"1": evilBytes, "2": acmeBytes} {
		if _, body := x.read(t, x.pull(number), "/p/"+acmeFile); body != string(want) {
			t.Errorf("request %s reads another's", number)
		}
	}
	for _, path := range []string{
		"/.curdling-scopes/pr-1/" + acmeFile, "/p/.curdling-scopes/pr-1/" + acmeFile, "/p/..%2f.curdling-scopes%2fpr-1%2f" + acmeFile,
		"/p/%2e%2e/pr-1/" + acmeFile, "/p/pr-1%2f" + acmeFile, "/p/%2e%2e%2fpr-1%2f" + acmeFile, "/simple/%2e%2e%2fpr-1/",
	} {
		for _, who := range []string{x.pull("3"), x.main()} {
			if r := x.get(path, "Authorization", who); r.StatusCode == http.StatusOK {
				t.Errorf("%s is served", path)
			}
			if r := x.do(http.MethodPut, path, bytes.NewReader(acmeBytes), "Authorization", who); r.StatusCode < 300 {
				t.Errorf("%s is taken", path)
			}
		}
	}
	if x.catalog.Stats().Files != 0 {
		t.Error("main holds something")
	}
}

// TestPathsForScopes: whatever a branch is called, its scope is a folder of its own, and not main.
func TestPathsForScopes(t *testing.T) {
	t.Parallel()
	x := newScoped(t, auth.Policy{}, acme)
	names := []string{
		"main", "MAIN", "..", "../..", "../../main", "/", "//", ".", "%2e%2e", "%2e%2e%2f", "a/../../b", `..\..`, "con", "NUL.txt", "a\x00b", "\u202e", "ｍａｉｎ",
		"ma\u0131n", "K", "k", "\u212a", "e\u0301", "\u00e9", strings.Repeat("x", 4000), strings.Repeat("../", 1000), ".curdling", ".removed-1", "pr-1", "PR-1",
	}
	second := wheeltest.Wheel{Name: "acme", Version: "2.0"}
	for _, name := range names {
		second.Summary = strings.ToValidUTF8(strings.Map(func(r rune) rune { return max(r, ' ') }, name), "?")[:min(len(name), 50)]
		who := x.token(oidctest.GitHub("OWNER/REPO", "pull_request", "refs/heads/"+name, nil))
		if status, body := x.put(t, who, second.Filename(), wheeltest.Build(second)); status != http.StatusCreated {
			t.Errorf("%.40q: %d %s", name, status, body)
		}
	}
	if status, body := x.put(t, x.token(oidctest.GitHub("OWNER/REPO", "pull_request", "refs/heads/"+strings.Repeat("x", 5000), nil)), acmeFile, acmeBytes); status != http.StatusForbidden {
		t.Errorf("a name that is too long: %d %s", status, body)
	}
	entries, err := os.ReadDir(filepath.Join(x.dir, disk.ScopesDir))
	if err != nil || len(entries) != len(names) {
		t.Errorf("%d branches have %d scopes: %v", len(names), len(entries), err)
	}
	if x.catalog.Stats().Files != 1 {
		t.Error("one of them is main")
	}
	var lie []string
	all, err := os.ReadDir(x.dir)
	for _, entry := range all {
		lie = append(lie, entry.Name())
	}
	if want := []string{disk.StateDir, disk.ScopesDir, acmeFile}; err != nil || !cmp.Equal(lie, want) {
		t.Errorf("in the folder lies %v %v", lie, err)
	}
}

// TestStolenReader: who only reads uploads nowhere, with his password or his token.
func TestStolenReader(t *testing.T) {
	t.Parallel()
	policy, secrets := withTokens(t, auth.Token{User: "reader", Scope: auth.ScopeRead}, auth.Token{User: "reader", Scope: auth.ScopeRead, In: "pr-1"})
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte("alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if policy.Users, err = auth.OpenUsers(path, quiet); err != nil {
		t.Fatal(err)
	}
	if policy.Readers, err = auth.OpenNames([]string{"alice"}, quiet); err != nil {
		t.Fatal(err)
	}
	x := newScoped(t, policy)
	r, _ := http.NewRequest(http.MethodGet, "http://x", http.NoBody)
	r.SetBasicAuth("alice", "secret")
	for _, who := range []string{"Bearer " + secrets[0], "Bearer " + secrets[1], r.Header.Get("Authorization")} {
		if status, body := x.put(t, who, acmeFile, evilBytes); status != http.StatusForbidden {
			t.Errorf("%d %s", status, body)
		}
	}
	if _, err := os.Stat(filepath.Join(x.dir, disk.ScopesDir)); err == nil {
		t.Error("a scope was made")
	}
}

// TestForgedJobs: tokens that are not for us, or of nobody, upload nothing.
func TestForgedJobs(t *testing.T) {
	t.Parallel()
	x := newScoped(t, auth.Policy{})
	other := oidctest.New(t)
	push := func(more map[string]any) map[string]any {
		return oidctest.GitHub("OWNER/REPO", "push", "refs/heads/main", more)
	}
	head, rest, _ := strings.Cut(x.issuer.Token(push(nil)), ".")
	body, _, _ := strings.Cut(rest, ".")
	for name, test := range map[string]struct {
		token  string
		status int
		says   string
	}{
		"another audience":      {x.issuer.Token(push(map[string]any{"aud": "https://other.example.org"})), 401, "claim aud"},
		"another issuer":        {other.Token(push(nil)), 401, "claim iss"},
		"expired":               {x.issuer.Token(push(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})), 401, "claim exp"},
		"alg none":              {"eyJhbGciOiJub25lIn0." + body + ".", 401, "RS256 or ES256"},
		"without its signature": {head + "." + body + ".", 401, ""},
		"another repository":    {x.issuer.Token(oidctest.GitHub("OTHER/REPO", "push", "refs/heads/main", nil)), 403, "claim repository is OTHER/REPO"},
		"another event":         {x.issuer.Token(oidctest.GitHub("OWNER/REPO", "pull_request_target", "refs/heads/main", nil)), 403, "claim event_name is pull_request_target"},
	} {
		status, answer := x.put(t, "Bearer "+test.token, acmeFile, evilBytes)
		if status != test.status || !strings.Contains(answer, test.says) || strings.Contains(answer, body) {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	if x.catalog.Stats().Files != 0 {
		t.Error("something is held")
	}
	if b, err := os.ReadFile(x.audit); err != nil || bytes.Contains(b, []byte(body)) || strings.Contains(x.log.String(), body) {
		t.Errorf("a log shows a token: %v", err)
	}
}

// TestIssuerAway: while nobody can tell, the answer is not that somebody is wrong.
func TestIssuerAway(t *testing.T) {
	t.Parallel()
	x := newScoped(t, auth.Policy{})
	x.issuer.Answer(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusBadGateway) }, nil)
	if status, body := x.put(t, x.main(), acmeFile, acmeBytes); status != http.StatusServiceUnavailable || !strings.Contains(body, "cannot be had") {
		t.Errorf("%d %s", status, body)
	}
}

// TestCachesAndScopes: no cache gives one what another saw.
func TestCachesAndScopes(t *testing.T) {
	t.Parallel()
	x := newScoped(t, auth.Policy{AnonymousRead: true}, acme)
	second := wheeltest.Wheel{Name: "acme", Version: "2.0"}
	if status, body := x.put(t, x.pull("1"), second.Filename(), wheeltest.Build(second)); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	for _, target := range []string{"/simple/acme/", "/p/" + acmeFile, "/p/" + acmeFile + ".metadata", "/p/" + second.Filename(), "/p/" + second.Filename() + ".metadata", "/simple/", "/p/no-such-1.0-py3-none-any.whl"} {
		h := x.get(target, "Authorization", x.pull("1")).Header
		if !strings.Contains(strings.Join(h["Vary"], ","), "Authorization") || strings.Contains(h.Get("Cache-Control"), "public") || strings.Contains(h.Get("Cache-Control"), "immutable") {
			t.Errorf("%s, of a scope: %v", target, h)
		}
		if h := x.get(target).Header; strings.Contains(strings.Join(h["Vary"], ","), "Authorization") || h.Get("Etag") != "" && !strings.Contains(h.Get("Cache-Control"), "public") {
			t.Errorf("%s, of everybody: %v", target, h)
		}
	}
	// A validator of one scope's page is no other's.
	mine := x.get("/simple/acme/", "Authorization", x.pull("1")).Header.Get("Etag")
	if r := x.get("/simple/acme/", "If-None-Match", mine); r.StatusCode != http.StatusOK || strings.Contains(text(t, r), second.Filename()) {
		t.Errorf("%d", r.StatusCode)
	}
	if r := x.get("/simple/acme/", "If-None-Match", mine, "Authorization", x.pull("1")); r.StatusCode != http.StatusNotModified {
		t.Errorf("%d", r.StatusCode)
	}
}

// TestBoundTokensUpload: tokens of ours can be bound, too; in a server without scopes they do nothing.
func TestBoundTokensUpload(t *testing.T) {
	t.Parallel()
	policy, secrets := withTokens(t, auth.Token{User: "ci", Scope: auth.ScopeUpload, In: "pr-1"}, auth.Token{User: "ci", Scope: auth.ScopeUpload})
	x := newScoped(t, policy)
	bound, main := "Bearer "+secrets[0], "Bearer "+secrets[1]
	body, contentType := form(t, "content", acmeFile, acmeBytes, ":action", "file_upload")
	if r := x.do(http.MethodPost, "/legacy/", body, "Authorization", bound, "Content-Type", contentType); r.StatusCode != http.StatusCreated {
		t.Errorf("%d", r.StatusCode)
	}
	if status, _ := x.read(t, main, "/p/"+acmeFile); status != http.StatusNotFound {
		t.Errorf("main sees it: %d", status)
	}
	if status, _ := x.read(t, x.pull("1"), "/p/"+acmeFile); status != http.StatusOK {
		t.Errorf("who is in the same scope: %d", status)
	}
	var release struct {
		Files []struct{ Filename string } `json:"files"`
	}
	r := x.get("/simple/acme/?format=application/vnd.pypi.simple.v1%2Bjson", "Authorization", bound)
	if err := json.Unmarshal([]byte(text(t, r)), &release); err != nil || len(release.Files) != 1 {
		t.Errorf("%+v %v", release, err)
	}
	s := newSite(t, options{configure: func(c *Config) { c.Policy = policy }})
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		if r := s.do(method, "/p/"+acmeFile, bytes.NewReader(acmeBytes), "Authorization", bound); r.StatusCode != http.StatusForbidden {
			t.Errorf("%s without scopes: %d", method, r.StatusCode)
		}
	}
}
