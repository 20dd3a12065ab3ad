package main

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"curdling/internal/auth"
	"curdling/internal/catalog"
	"curdling/internal/oidc"
	"curdling/internal/oidc/oidctest"
	"curdling/internal/server"
	"curdling/internal/store/disk"
)

// serveJobs: jobs HOST DIR starts a curd-server on DIR for jobs of OWNER/REPO by their ID tokens, and sets $HOST, and $MAIN, $PULL1 and $PULL2
// to tokens of the main branch and of two pull requests.
func serveJobs(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: jobs HOST DIR")
	}
	issuer := oidctest.Start()
	ts.Defer(issuer.Stop)
	rules := filepath.Join(ts.MkAbs("."), "oidc.toml")
	ts.Check(os.WriteFile(rules, []byte(strings.ReplaceAll(`
[[issuer]]
url = "ISSUER"
audience = "https://wheels.example.org"
[[issuer.rule]]
claims = { repository = "OWNER/REPO", ref = "refs/heads/main", event_name = "push" }
may = "upload"
[[issuer.rule]]
claims = { repository = "OWNER/REPO", event_name = "pull_request", ref = "refs/pull/{pr}/merge" }
scope = "pr-{pr}"
may = "upload"
`, "ISSUER", issuer.URL)), 0o600))
	ci, err := oidc.Open(rules, slog.New(slog.DiscardHandler))
	ts.Check(err)
	folder, err := disk.Open(ts.MkAbs(args[1]))
	ts.Check(err)
	held, err := catalog.Open(context.Background(), catalog.Config{Store: folder, State: filepath.Join(folder.Dir(), disk.StateDir)})
	ts.Check(err)
	scopes := catalog.NewScopes(catalog.ScopesConfig{Main: catalog.NewView(held), Folder: folder})
	h := httptest.NewServer(server.New(server.Config{Catalog: held, Scopes: scopes, Policy: auth.Policy{CI: ci}}))
	ts.Defer(func() {
		h.Close()
		scopes.Close()
		held.Close()
		folder.Close()
	})
	ts.Setenv(args[0], strings.TrimPrefix(h.URL, "http://"))
	for name, job := range map[string][2]string{"MAIN": {"push", "refs/heads/main"}, "PULL1": {"pull_request", "refs/pull/1/merge"}, "PULL2": {"pull_request", "refs/pull/2/merge"}} {
		ts.Setenv(name, issuer.Token(oidctest.GitHub("OWNER/REPO", job[0], job[1], nil)))
	}
}
