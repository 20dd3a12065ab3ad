// Package oidctest is an issuer of ID tokens for tests, shaped like those of CI systems.
package oidctest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Audience is the one that tokens are for, where their claims do not say another.
const Audience = "https://wheels.example.org"

// Issuer is one on loopback. Make it with [New].
type Issuer struct {
	URL   string
	Asked atomic.Int64 // how often for its keys

	mu       sync.Mutex
	server   *httptest.Server
	signing  any // the key
	id       string
	keys     []jose.JSONWebKey
	document http.HandlerFunc // for another discovery document; nil: the right one
	answer   http.HandlerFunc // for other keys; nil: the right ones
}

// rsaKey is made once: that takes a while.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// New starts an issuer that signs with RS256, until the test ends.
func New(t testing.TB) *Issuer {
	t.Helper()
	i := Start()
	t.Cleanup(i.Stop)
	return i
}

// Start is [New] for who stops it himself.
func Start() *Issuer {
	i := new(Issuer)
	i.Use("first", rsaKey())
	i.server = httptest.NewServer(i)
	i.URL = i.server.URL
	return i
}

// Stop has the issuer answer nobody any more.
func (i *Issuer) Stop() { i.server.Close() }

// Use has the issuer sign with a key from now on, and publish its public part. Those before stay published.
func (i *Issuer) Use(id string, key any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.signing, i.id = key, id
	private := jose.JSONWebKey{Key: key, KeyID: id, Use: "sig"}
	i.keys = append(i.keys, private.Public())
}

// UseEC is [Issuer.Use] of a new key for ES256.
func (i *Issuer) UseEC(t testing.TB, id string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.Use(id, key)
}

// Answer has other documents served; nil is the right one.
func (i *Issuer) Answer(discovery, keys http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.document, i.answer = discovery, keys
}

// ServeHTTP serves what an issuer publishes.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	document, answer, set := i.document, i.answer, jose.JSONWebKeySet{Keys: i.keys}
	i.mu.Unlock()
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		i.Asked.Add(1)
		if document != nil {
			document(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	case "/keys":
		if answer != nil {
			answer(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(set)
	default:
		http.NotFound(w, r)
	}
}

// Token signs claims. What every token has and they have not is added: that it is this issuer's, for [Audience], and
// good for five minutes. A claim that is nil is left out.
func (i *Issuer) Token(claims map[string]any) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return Sign(i.signing, i.id, i.URL, claims)
}

// Sign is [Issuer.Token] with any key: an RSA or ECDSA one, or bytes for HS256.
func Sign(key any, id, issuer string, claims map[string]any) string {
	now := time.Now()
	all := map[string]any{"iss": issuer, "aud": Audience, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "jti": rand.Text()}
	maps.Copy(all, claims)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	algorithm := jose.RS256
	switch key.(type) {
	case *ecdsa.PrivateKey:
		algorithm = jose.ES256
	case []byte:
		algorithm = jose.HS256
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: id}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		panic(err)
	}
	token, err := jwt.Signed(signer).Claims(all).Serialize()
	if err != nil {
		panic(err)
	}
	return token
}

// GitHub are the claims of a GitHub Actions job of OWNER/REPO.
func GitHub(repository, event, ref string, more map[string]any) map[string]any {
	owner := repository
	for at := range repository {
		if repository[at] == '/' {
			owner = repository[:at]
			break
		}
	}
	sub := "repo:" + repository + ":ref:" + ref
	if event == "pull_request" {
		sub = "repo:" + repository + ":pull_request"
	}
	claims := map[string]any{
		"sub": sub, "repository": repository, "repository_owner": owner, "repository_id": "1001", "repository_owner_id": "77",
		"event_name": event, "ref": ref, "ref_type": "branch", "ref_protected": "false", "sha": "0123456789abcdef0123456789abcdef01234567",
		"head_ref": "", "base_ref": "", "actor": "someone", "run_id": "42", "run_attempt": "1", "workflow": "wheels",
		"job_workflow_ref": repository + "/.github/workflows/wheels.yml@" + ref, "runner_environment": "github-hosted",
	}
	maps.Copy(claims, more)
	return claims
}

// GitLab are the claims of a GitLab CI job of GROUP/PROJECT.
func GitLab(project, source, ref, refPath string, more map[string]any) map[string]any {
	claims := map[string]any{
		"sub":        "project_path:" + project + ":ref_type:branch:ref:" + ref,
		"project_id": "22", "project_path": project, "namespace_id": "72", "user_id": "1", "user_login": "someone",
		"pipeline_id": "574", "pipeline_source": source, "job_id": "302",
		"ref": ref, "ref_type": "branch", "ref_path": refPath, "ref_protected": "false", "runner_environment": "self-hosted",
	}
	maps.Copy(claims, more)
	return claims
}
