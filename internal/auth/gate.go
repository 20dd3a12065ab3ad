package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"strings"
	"sync"
	"time"

	"curdling/internal/oidc"
	"curdling/internal/scope"
)

const (
	rememberWrong    = time.Minute
	maxAuthorization = 24 << 10 // bytes of the header: an ID token of 16 KiB, in base64 once more
)

// Gate lets in by a policy. Make one with [NewGate]; it is safe for concurrent use.
//
// Credentials that were right are remembered for five minutes, as a hash under a
// key that only this process has, until one of the files behind the policy
// changes: for the address that they came from, so that who guesses elsewhere does not
// find them out without being counted. Wrong ones are remembered for a minute, so that a
// program that comes again and again with an old password is counted once.
type Gate struct {
	policy  Policy
	key     key
	limiter *limiter

	mu         sync.RWMutex
	remembered map[mac]*Identity
}

// Identity is somebody who was let in. It does not change.
type Identity struct {
	User  string // "" where nobody had to say who he is
	Token string // ID of his token, "" for a password and an ID token
	Scope string // that he reads and uploads into, "" is scope.Main

	read, upload string   // why he may not, "" where he may
	projects     []string // globs of what he may upload; nil: everything
	wrong        error    // not nil: nobody was let in
	basis        basis
	until        time.Time
}

// basis is what a judgement rests on.
type basis struct {
	users              *userTable
	tokens             *tokenTable
	ci                 *oidc.Rules
	uploaders, readers *nameSet
}

var nobody = new(Identity)

// NewGate makes a gate.
func NewGate(policy Policy) *Gate {
	return &Gate{policy: policy, key: newKey(), limiter: newLimiter(), remembered: make(map[mac]*Identity)}
}

// Closed tells whether somebody has to say who he is to do that.
func (g *Gate) Closed(action Action) bool { return g.closed(g.basis(), action) }

func (g *Gate) closed(b basis, action Action) bool {
	if g.policy.AnonymousRead {
		return action != Read
	}
	return b.users != nil || b.uploaders != nil || b.readers != nil || b.ci != nil || b.tokens != nil && b.tokens.closed
}

func (g *Gate) basis() (b basis) {
	if g.policy.Users != nil {
		b.users = g.policy.Users.file.Get()
	}
	if g.policy.Tokens != nil {
		b.tokens = g.policy.Tokens.get()
	}
	if g.policy.CI != nil {
		b.ci = g.policy.CI.Rules()
	}
	if g.policy.Uploaders != nil {
		b.uploaders = g.policy.Uploaders.file.Get()
	}
	if g.policy.Readers != nil {
		b.readers = g.policy.Readers.file.Get()
	}
	return b
}

// Authorize tells who sends this Authorization header (HTTP Basic or Bearer, ""
// for none) from that address, and that he may do what action says. Else the error
// wraps ErrUnauthenticated (in a *RepeatedError where they came before), or is a *ForbiddenError, with the identity, a *LimitedError, or an
// *oidc.UnreachableError or *store.UnavailableError where nobody can tell.
func (g *Gate) Authorize(authorization string, from netip.Addr, action Action) (*Identity, error) {
	b := g.basis()
	if !g.closed(b, action) {
		return g.passerBy(authorization, from, b), nil
	}
	if authorization == "" || len(authorization) > maxAuthorization {
		return nil, ErrUnauthenticated
	}
	m, who := g.recall(authorization, from, b)
	if who == nil {
		var err error
		if who, err = g.identify(authorization, from, b); errors.Is(err, ErrUnauthenticated) {
			g.remember(m, &Identity{wrong: &RepeatedError{err}, basis: b, until: time.Now().Add(rememberWrong)})
			return nil, err
		} else if err != nil {
			return nil, err
		}
		g.remember(m, who)
	}
	if who.wrong != nil {
		return nil, who.wrong
	}
	reason := who.read
	if action == Upload {
		reason = who.upload
	}
	if reason != "" {
		return who, &ForbiddenError{reason}
	}
	return who, nil
}

// passerBy is who comes where everybody may: nobody, but for who has a token that is bound to a scope, which is then
// what he sees. What is wrong does not count here.
func (g *Gate) passerBy(authorization string, from netip.Addr, b basis) *Identity {
	if authorization == "" || len(authorization) > maxAuthorization || b.tokens == nil && b.ci == nil {
		return nobody
	}
	m, who := g.recall(authorization, from, b)
	if who == nil {
		user, secret, _ := credentials(authorization)
		var err error
		if who, err = g.identifyToken(user, secret, b); who == nil || err != nil {
			return nobody
		}
		g.remember(m, who)
	}
	if who.wrong != nil || who.read != "" || who.Scope == "" {
		return nobody
	}
	return who
}

// recall gives whom these credentials were before, nil where that is not known or over.
func (g *Gate) recall(authorization string, from netip.Addr, b basis) (mac, *Identity) {
	near := neighbourhood(from)
	m := keyed(&g.key, authorization, near[:])
	g.mu.RLock()
	who := g.remembered[m]
	g.mu.RUnlock()
	if who == nil || who.basis != b || time.Now().After(who.until) {
		return m, nil
	}
	return m, who
}

func (g *Gate) remember(m mac, who *Identity) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.remembered) >= maxRemembered {
		clear(g.remembered)
	}
	g.remembered[m] = who
}

// identify finds out whose credentials these are.
func (g *Gate) identify(authorization string, from netip.Addr, b basis) (*Identity, error) {
	user, secret, ok := credentials(authorization)
	if !ok || secret == "" {
		return nil, ErrUnauthenticated
	}
	if who, err := g.identifyToken(user, secret, b); errors.Is(err, ErrUnauthenticated) {
		return nil, g.wrong(from, err)
	} else if who != nil || err != nil {
		return who, err
	}
	if user == "" || user == tokenUser || b.users == nil || len(secret) > maxPassword || len(user) > maxPassword {
		return nil, g.wrong(from, ErrUnauthenticated)
	}
	defer g.limiter.wait(user, from)()
	attempt, wait := g.limiter.begin(user, from)
	if wait > 0 {
		return nil, &LimitedError{wait}
	}
	if !g.policy.Users.Check(user, secret) {
		return nil, ErrUnauthenticated
	}
	attempt.right()
	who := &Identity{User: user, basis: b, until: time.Now().Add(rememberFor)}
	who.read, who.upload = b.may(user)
	return who, nil
}

// identifyToken finds out whose token a secret is; nil where it has the form of none.
func (g *Gate) identifyToken(user, secret string, b basis) (*Identity, error) {
	if id, ok := parseToken(secret); ok {
		return b.ownToken(user, id, secret)
	}
	if b.ci != nil && oidc.Looks(secret) {
		return b.idToken(secret)
	}
	return nil, nil
}

// ownToken is whom a token of [CreateToken] stands for.
func (b basis) ownToken(user, id, secret string) (*Identity, error) {
	var t *Token
	if b.tokens != nil {
		t = b.tokens.find(id, secret)
	}
	now := time.Now()
	switch {
	case b.tokens != nil && b.tokens.unsure != nil:
		return nil, b.tokens.unsure
	case t == nil:
		return nil, fmt.Errorf("%w; the token %s is not known here, or was revoked", ErrUnauthenticated, id)
	case t.Expired(now):
		return nil, fmt.Errorf("%w; the token %s expired at %s", ErrUnauthenticated, id, t.Expires.Format(time.RFC3339))
	case user != "" && user != tokenUser && user != t.User:
		return nil, fmt.Errorf("%w; the token %s is another user's: send it as %s", ErrUnauthenticated, id, tokenUser)
	}
	who := &Identity{User: t.User, Token: t.ID, Scope: t.In, projects: t.Projects, basis: b, until: now.Add(rememberFor)}
	if !t.Expires.IsZero() && t.Expires.Before(who.until) {
		who.until = t.Expires.Add(-time.Nanosecond)
	}
	if who.read, who.upload = b.may(t.User); who.upload == "" && t.Scope != ScopeUpload {
		who.upload = "the token " + id + " is for reading only"
	}
	return who, nil
}

// idToken is whom a CI system's token stands for, with whatever user it came.
func (b basis) idToken(secret string) (*Identity, error) {
	ci, err := b.ci.Identify(context.Background(), secret) // which bounds the time itself
	var bad *oidc.TokenError
	if errors.As(err, &bad) {
		return nil, fmt.Errorf("%w; the ID token is not believed: %w", ErrUnauthenticated, err)
	}
	if err != nil {
		return nil, err
	}
	who := &Identity{User: ci.User, Scope: ci.Scope, projects: ci.Projects, basis: b, until: time.Now().Add(rememberFor)}
	if ci.Until.Before(who.until) {
		who.until = ci.Until
	}
	if who.Scope == scope.Main {
		who.Scope = ""
	}
	switch who.read, who.upload = b.may(ci.User); {
	case ci.Refused != "":
		who.read, who.upload = ci.Refused, ci.Refused
	case who.upload == "" && !ci.Upload:
		who.upload = "the rule for " + ci.User + " is for reading only"
	}
	return who, nil
}

// wrong counts what is wrong against the address. A right token is never held up by that.
func (g *Gate) wrong(from netip.Addr, err error) error {
	if _, wait := g.limiter.begin("", from); wait > 0 {
		return &LimitedError{wait}
	}
	return err
}

// may tells why a user may not read, and not upload; "" where he may.
func (b basis) may(user string) (read, upload string) {
	reader := b.readers != nil && b.readers.names[user]
	uploader := !reader
	if b.uploaders != nil {
		uploader = b.uploaders.names[user]
	}
	if !uploader {
		upload = "the user " + user + " may not upload here"
		if b.readers != nil && !reader {
			read = "the user " + user + " may not read here"
		}
	}
	return read, upload
}

// MayUpload tells that files of a project (its normalised name) may be uploaded;
// else the error is a *ForbiddenError.
func (i *Identity) MayUpload(project string) error {
	if len(i.projects) == 0 {
		return nil
	}
	for _, glob := range i.projects {
		if ok, err := path.Match(glob, project); err == nil && ok {
			return nil
		}
	}
	return &ForbiddenError{fmt.Sprintf("the token%s is for uploads of %s, not of %s", strings.TrimRight(" "+i.Token, " "), strings.Join(i.projects, ", "), project)}
}

// Limited tells that not every project may be uploaded.
func (i *Identity) Limited() bool { return len(i.projects) > 0 }

// credentials reads an Authorization header: Basic (RFC 7617), or Bearer (RFC 6750) without a user.
func credentials(authorization string) (user, secret string, ok bool) {
	scheme, rest, _ := strings.Cut(authorization, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return "", rest, rest != ""
	case strings.EqualFold(scheme, "Basic"):
		b, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return "", "", false
		}
		return strings.Cut(string(b), ":")
	}
	return "", "", false
}
