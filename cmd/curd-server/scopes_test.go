package main

import (
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"curdling/internal/oidc/oidctest"
)

// issuing is where a script keeps its issuer.
const issuing = "issuer"

// issuer: starts an issuer of ID tokens on loopback; sets $ISSUER. issuer stop: it answers nobody any more.
func scriptIssuer(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) > 0 {
		(*ts.Value(issuing).(**oidctest.Issuer)).Stop()
		return
	}
	i := oidctest.Start()
	ts.Defer(i.Stop)
	ts.Setenv("ISSUER", i.URL)
	*ts.Value(issuing).(**oidctest.Issuer) = i
}

// idtoken NAME REPOSITORY EVENT REF [CLAIM=VALUE...]: sets $NAME to the token of a GitHub Actions job.
func scriptIDToken(ts *testscript.TestScript, neg bool, args []string) {
	more := make(map[string]any)
	for _, claim := range args[4:] {
		name, value, _ := strings.Cut(claim, "=")
		more[name] = value
	}
	ts.Setenv(args[0], (*ts.Value(issuing).(**oidctest.Issuer)).Token(oidctest.GitHub(args[1], args[2], args[3], more)))
}
