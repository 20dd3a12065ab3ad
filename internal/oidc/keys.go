package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxDocument  = 1 << 20 // bytes
	maxKeys      = 100
	fetchTimeout = 10 * time.Second
	freshFor     = time.Hour
	askEvery     = 10 * time.Second
	smallestRSA  = 2048 // bits
)

// defaultTransport keeps no connections: keys are asked for about once an hour.
var defaultTransport http.RoundTripper = &http.Transport{
	Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
}

// keys are an issuer's, as far as they are known.
type keys struct {
	issuer string
	client *http.Client
	now    func() time.Time
	log    *slog.Logger

	mu      sync.Mutex
	known   []jose.JSONWebKey
	fetched time.Time // when they came; zero is never
	asked   time.Time // when the last round began
	round   *round    // under way, or the last
}

// round is one time of asking; err is there when done is closed.
type round struct {
	done chan struct{}
	err  error
}

func newKeys(issuer string, transport http.RoundTripper, now func() time.Time, log *slog.Logger) *keys {
	return &keys{issuer: issuer, now: now, log: log, client: &http.Client{
		Transport: transport, Timeout: fetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// find gives the keys of an ID that are for an algorithm, and asks the issuer where there is none.
func (k *keys) find(ctx context.Context, id, algorithm string) ([]jose.JSONWebKey, error) {
	if id == "" {
		return nil, &TokenError{"the token does not name its key (kid)"}
	}
	found, asked := k.look(id, algorithm)
	if len(found) > 0 {
		return found, nil
	}
	if asked == nil { // it was asked just now
		asked = k.last()
	}
	select {
	case <-asked.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if found, _ = k.look(id, algorithm); len(found) > 0 {
		return found, nil
	}
	if asked.err != nil {
		return nil, &UnreachableError{k.issuer, asked.err}
	}
	return nil, &TokenError{"the issuer has no key " + shown(id) + " for this token"}
}

// look gives the keys that are known, and the round that was begun because they are old or there is none; nil where
// the issuer was asked just now.
func (k *keys) look(id, algorithm string) (found []jose.JSONWebKey, asked *round) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range k.known {
		if key.KeyID == id && key.Algorithm == algorithm {
			found = append(found, key)
		}
	}
	now := k.now()
	if len(found) > 0 && now.Sub(k.fetched) < freshFor {
		return found, nil
	}
	if k.round != nil && now.Sub(k.asked) < askEvery {
		return found, nil
	}
	if k.round != nil {
		select {
		case <-k.round.done:
		default:
			return found, k.round
		}
	}
	asked = &round{done: make(chan struct{})}
	k.round, k.asked = asked, now
	go k.ask(asked)
	return found, asked
}

func (k *keys) last() *round {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.round
}

// ask asks the issuer. Whoever waits may go, and others may wait.
func (k *keys) ask(r *round) {
	defer close(r.done)
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	fresh, err := k.fetch(ctx)
	if r.err = err; err != nil {
		k.log.Warn("the keys of an OIDC issuer cannot be had; those that are known go on working", "issuer", k.issuer, "err", err)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known, k.fetched = fresh, k.now()
}

// fetch gives the keys by the issuer's discovery document (OpenID Connect Discovery 1.0).
func (k *keys) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	var discovery struct {
		Issuer  string `json:"issuer"`
		KeysURL string `json:"jwks_uri"`
	}
	document := strings.TrimSuffix(k.issuer, "/") + "/.well-known/openid-configuration"
	if err := k.get(ctx, document, &discovery); err != nil {
		return nil, err
	}
	if discovery.Issuer != k.issuer {
		return nil, fmt.Errorf("%s is of the issuer %s", document, shown(discovery.Issuer))
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := k.get(ctx, discovery.KeysURL, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("%s has %d keys, more than %d", shown(discovery.KeysURL), len(set.Keys), maxKeys)
	}
	var usable []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil && use(&key) { // an issuer may have others for other purposes
			usable = append(usable, key)
		}
	}
	if len(usable) == 0 {
		return nil, fmt.Errorf("%s has no key for RS256 or ES256", shown(discovery.KeysURL))
	}
	return usable, nil
}

// use tells whether signatures of a key are taken, and sees to it that the key says of which algorithm.
func use(key *jose.JSONWebKey) bool {
	var algorithm jose.SignatureAlgorithm
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		if public.N.BitLen() < smallestRSA {
			return false
		}
		algorithm = jose.RS256
	case *ecdsa.PublicKey:
		if public.Curve != elliptic.P256() {
			return false
		}
		algorithm = jose.ES256
	default:
		return false
	}
	if key.KeyID == "" || key.Use != "" && key.Use != "sig" || key.Algorithm != "" && key.Algorithm != string(algorithm) {
		return false
	}
	key.Algorithm = string(algorithm)
	return true
}

func (k *keys) get(ctx context.Context, at string, to any) error {
	if err := checkURL(at); err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/json")
	answer, err := k.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: it was answered %s", at, answer.Status)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxDocument+1))
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if len(body) > maxDocument {
		return fmt.Errorf("%s: more than %d bytes", at, maxDocument)
	}
	if err := json.Unmarshal(body, to); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return nil
}

// checkURL refuses what could be read or changed on the way.
func checkURL(at string) error {
	u, err := url.Parse(at)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return errors.Join(err, fmt.Errorf("%s is no address of an issuer: write one like https://ci.example.org", shown(at)))
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
