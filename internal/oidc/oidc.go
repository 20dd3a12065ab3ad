// Package oidc tells whom the ID tokens of CI systems stand for (OpenID Connect Core 1.0): an issuer
// says, and signs, which job it is; what a job may do here rules say, in a file ([Open]):
//
//	[[issuer]]
//	url = "https://ci.example.org"           # as the claim iss has it; https, but for loopback
//	audience = "https://wheels.example.org"  # one, or an array, of which a token must name one
//
//	[[issuer.rule]]                          # the first that fits counts
//	claims = { project_path = "GROUP/PROJECT", ref_path = "refs/merge-requests/{mr}/*" }
//	scope = "mr-{mr}"                        # default main
//	may = "upload"                           # and read; default read
//	user = "ci"                              # default oidc:HOST:SUB
//	projects = ["acme-*"]                    # globs of what may be uploaded; default all
//
// A claim is a string, a number or true or false, and must fit a pattern, or one of an array: * is any
// text without a slash, {name} any that is not empty, {name...} at the end any that is not empty, with
// slashes. What a {name} stood for, and claims by their names, can be used in scope and user;
// [scope.For] tells what becomes of values that are no names. Each rule must say by a claim whose job it is:
// anybody can have most issuers sign a token of some job.
//
// Of signatures RS256 (with keys of 2048 bits and more) and ES256 are taken. exp must be there; exp, nbf and iat
// are believed with a minute of leeway. Keys are found by the issuer's discovery document, used for an hour, and asked for anew
// then, or where a token names one that is not known. While the issuer does not answer, the known ones go on working.
//
// Limits: 1 MiB of rules, 16 KiB a token, 1 MiB and 10 s for each of an issuer's documents, 100 keys, and
// one round of questions in 10 s.
package oidc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"curdling/internal/livefile"
)

const (
	maxToken = 16 << 10 // bytes
	leeway   = time.Minute
)

// algorithms are those of signatures that are taken.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256}

// Issuers are the issuers and rules of a file, read again when it changes.
type Issuers struct {
	file *livefile.File[Rules]
	log  *slog.Logger

	transport http.RoundTripper // nil is one of our own
	now       func() time.Time

	mu   sync.Mutex
	keys map[string]*keys // by the issuer's URL; they outlive a change of the file
}

// Rules is one content of the file.
type Rules struct {
	issuers []*issuer
	from    *Issuers
}

// Identity is whom a token stands for.
type Identity struct {
	User     string
	Scope    string // scope.Main or another
	Upload   bool   // and read
	Projects []string
	Until    time.Time // when the token is over
	Refused  string    // why no rule fits, "" where one does
}

// TokenError says why a token is not believed.
type TokenError struct{ Reason string }

func (e *TokenError) Error() string { return e.Reason }

// UnreachableError says that nobody can tell, because an issuer's keys cannot be had.
type UnreachableError struct {
	Issuer string
	Err    error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("the keys of the issuer %s cannot be had: %v", e.Issuer, e.Err)
}
func (e *UnreachableError) Unwrap() error { return e.Err }

// Open reads a file of rules. When it changes later and cannot be read then, log is told and the rules stay as they are.
func Open(path string, log *slog.Logger) (*Issuers, error) {
	i := &Issuers{log: log, now: time.Now, keys: make(map[string]*keys)}
	var err error
	i.file, err = livefile.Open(log, "the file of OIDC rules", func() (*Rules, error) {
		rules, err := readRules(path)
		if rules != nil {
			rules.from = i
		}
		return rules, err
	}, path)
	if err != nil {
		return nil, err
	}
	return i, nil
}

// Rules gives what the file says now.
func (i *Issuers) Rules() *Rules { return i.file.Get() }

// Looks tells whether a secret has the form of a token (RFC 7519): three parts, the first a JSON object.
func Looks(secret string) bool {
	return strings.HasPrefix(secret, "eyJ") && strings.Count(secret, ".") == 2
}

// Identify tells whom a token stands for. The error is a *[TokenError], an *[UnreachableError] or the context's. A
// token that is believed and that no rule fits has an identity that may do nothing.
func (r *Rules) Identify(ctx context.Context, token string) (*Identity, error) {
	issuer, claims, err := r.verify(ctx, token)
	if err != nil {
		return nil, err
	}
	who := &Identity{User: "oidc:" + issuer.host + ":" + strings.Trim(fmt.Sprintf("%.180q", claims.text("sub")), `"`), Until: claims.Expiry.Time().Add(leeway)}
	var reasons []string
	for n, rule := range issuer.rules {
		why := rule.judge(who, claims)
		if why == "" {
			return who, nil
		}
		if n < mostReasons {
			reasons = append(reasons, fmt.Sprintf("rule %d: %s", n+1, why))
		}
	}
	who.Refused = fmt.Sprintf("no rule of %s fits this token; %s", issuer.URL, strings.Join(reasons, "; "))
	return who, nil
}

// mostReasons is how many rules are named that do not fit.
const mostReasons = 8

// claims are what a token says.
type claims struct {
	jwt.Claims
	all map[string]any
}

// verify gives a token's issuer and claims where its signature, time and audience are right.
func (r *Rules) verify(ctx context.Context, token string) (*issuer, *claims, error) {
	if len(token) > maxToken {
		return nil, nil, &TokenError{fmt.Sprintf("the token has more than %d bytes", maxToken)}
	}
	t, err := jwt.ParseSigned(token, algorithms)
	if err != nil {
		return nil, nil, &TokenError{"it is no JSON Web Token that is signed with RS256 or ES256"}
	}
	var said jwt.Claims
	if err := t.UnsafeClaimsWithoutVerification(&said); err != nil {
		return nil, nil, &TokenError{"the token's claims cannot be read"}
	}
	at := slices.IndexFunc(r.issuers, func(i *issuer) bool { return i.URL == said.Issuer })
	if at < 0 {
		return nil, nil, &TokenError{fmt.Sprintf("claim iss: tokens of the issuer %s are not taken here", shown(said.Issuer))}
	}
	issuer, header := r.issuers[at], t.Headers[0]
	found, err := r.from.keysOf(issuer.URL).find(ctx, header.KeyID, header.Algorithm)
	if err != nil {
		return nil, nil, err
	}
	c := new(claims)
	if !slices.ContainsFunc(found, func(key jose.JSONWebKey) bool { return t.Claims(key.Key, &c.Claims, &c.all) == nil }) {
		return nil, nil, &TokenError{"the token's signature is wrong"}
	}
	return issuer, c, issuer.check(c, r.from.now())
}

// check looks at what is said in every token.
func (i *issuer) check(c *claims, now time.Time) error {
	if c.Expiry == nil {
		return &TokenError{"claim exp: the token has no end"}
	}
	err := c.ValidateWithLeeway(jwt.Expected{Issuer: i.URL, AnyAudience: i.audience, Time: now}, leeway)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jwt.ErrInvalidAudience):
		return &TokenError{fmt.Sprintf("claim aud: the token is for %s, and not for this server", shown(strings.Join(c.Audience, ", ")))}
	case errors.Is(err, jwt.ErrExpired):
		return &TokenError{"claim exp: the token expired at " + c.Expiry.Time().UTC().Format(time.RFC3339) + "; fetch one right before it is used"}
	case errors.Is(err, jwt.ErrNotValidYet):
		return &TokenError{"claim nbf: the token is not valid yet; is a clock wrong?"}
	case errors.Is(err, jwt.ErrIssuedInTheFuture):
		return &TokenError{"claim iat: the token was issued in the future; is a clock wrong?"}
	}
	return &TokenError{"claim iss: the token is another issuer's"}
}

func (i *Issuers) keysOf(url string) *keys {
	i.mu.Lock()
	defer i.mu.Unlock()
	k := i.keys[url]
	if k == nil {
		k = newKeys(url, cmp.Or(i.transport, defaultTransport), i.now, i.log)
		i.keys[url] = k
	}
	return k
}

// shown is foreign text, fit for a sentence.
func shown(s string) string {
	return strings.Trim(fmt.Sprintf("%.100q", s), `"`)
}
