package index

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// maxPEM bounds a file of certificates, in bytes.
const maxPEM = 16 << 20

// transport sends each request the way that its host deserves.
type transport struct {
	verified func() *http.Transport         // made when it is first used: the authorities of a bundle take milliseconds to read
	opened   atomic.Pointer[http.Transport] // what verified gave, nil before
	trusted  *http.Transport
	hosts    hosts // to which trusted speaks, which takes any certificate
	ahead    *ahead
	log      *slog.Logger
	plain    sync.Map // origins whose plain http was complained about
}

func newTransport(o *Options, timeout time.Duration, connections int, log *slog.Logger) (*transport, error) {
	named, err := parseHosts(o.TrustedHosts)
	if err != nil {
		return nil, err
	}
	config, err := o.tls()
	if err != nil {
		return nil, err
	}
	bundle, err := o.readBundle()
	if err != nil {
		return nil, err
	}
	proxy, err := proxyFor(o.Proxy)
	if err != nil {
		return nil, err
	}
	ahead := &ahead{dial: connector(o.Dial, cmp.Or(o.Connect, min(timeout, 10*time.Second))), made: map[string][]chan dialed{}}
	way := func(config *tls.Config) *http.Transport {
		return &http.Transport{
			Proxy:                  proxy,
			OnProxyConnectResponse: checkProxy,
			DialContext:            ahead.DialContext,
			TLSClientConfig:        config,
			ForceAttemptHTTP2:      true,
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
			TLSHandshakeTimeout:    10 * time.Second,
			IdleConnTimeout:        90 * time.Second,
			MaxIdleConnsPerHost:    connections,
			MaxResponseHeaderBytes: 256 << 10,
			DisableCompression:     true, // we ask and inflate ourselves
			ReadBufferSize:         64 << 10,
			WriteBufferSize:        64 << 10,
		}
	}
	lax := config.Clone()
	lax.InsecureSkipVerify = true
	t := &transport{trusted: way(lax), hosts: named, ahead: ahead, log: log}
	t.verified = sync.OnceValue(func() *http.Transport {
		if bundle != nil {
			config.RootCAs = x509.NewCertPool()
			config.RootCAs.AppendCertsFromPEM(bundle)
		}
		verified := way(config)
		t.opened.Store(verified)
		return verified
	})
	return t, nil
}

// connectError says that no connection was made.
type connectError struct{ error }

func (e connectError) Unwrap() error { return e.error }

// connector bounds the time in which a connection must be made; nil is the system's way to make one.
func connector(dial dialer, limit time.Duration) dialer {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, connectError{err}
		}
		return &heard{Conn: c, ended: make(chan struct{})}, nil
	}
}

// lastWords is how long what a server sent before it closed the connection may take to be read.
const lastWords = time.Second

// heard is a connection whose failing writes wait until all that came was read. A
// server that refuses a body answers and closes; net/http drops the connection when a
// write fails, and with it the answer, unless that was read before.
type heard struct {
	net.Conn
	once  sync.Once
	ended chan struct{} // closed when nothing more can be read
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	if err != nil {
		h.end()
	}
	return n, err
}

func (h *heard) Write(p []byte) (int, error) {
	n, err := h.Conn.Write(p)
	if err != nil {
		select {
		case <-h.ended:
		case <-time.After(lastWords):
		}
	}
	return n, err
}

func (h *heard) Close() error {
	h.end()
	return h.Conn.Close()
}

func (h *heard) end() { h.once.Do(func() { close(h.ended) }) }

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	way := t.trusted
	if !t.hosts.has(r.URL) {
		way = t.verified()
		if r.URL.Scheme == "http" && !isLoopback(r.URL.Hostname()) {
			if _, told := t.plain.LoadOrStore(origin(r.URL), true); !told {
				t.log.Warn("plain http: whoever is on the way can change what comes; use https, or name the host as trusted", "origin", origin(r.URL))
			}
		}
	}
	resp, err := way.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if _, err := r.URL.Parse(resp.Header.Get("Location")); err != nil && resp.StatusCode/100 == 3 { // net/http would tell it, secrets and all
		resp.Body.Close()
		return nil, refusef("%d leads to what is no URL", resp.StatusCode)
	}
	return resp, nil
}

// CloseIdleConnections is what http.Client calls.
func (t *transport) CloseIdleConnections() {
	if opened := t.opened.Load(); opened != nil {
		opened.CloseIdleConnections()
	}
	t.trusted.CloseIdleConnections()
	t.ahead.close()
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// hosts are those of Options.TrustedHosts, as host or as net.JoinHostPort gives it.
type hosts map[string]bool

func parseHosts(list []string) (hosts, error) {
	h := hosts{}
	for _, s := range list {
		if net.ParseIP(s) != nil && strings.Contains(s, ":") {
			s = "[" + s + "]"
		}
		u, err := url.Parse("//" + s)
		if err != nil || u.Host != s || u.Hostname() == "" {
			return nil, fmt.Errorf("trusted host %q: write HOST or HOST:PORT", Redact(s))
		}
		name := strings.ToLower(u.Hostname())
		if u.Port() != "" {
			name = net.JoinHostPort(name, u.Port())
		}
		h[name] = true
	}
	return h, nil
}

func (h hosts) has(u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	return h[host] || h[net.JoinHostPort(host, port(u))]
}

// readBundle reads the file of authorities, and sees that there is one in it; nil: those of the system.
func (o *Options) readBundle() ([]byte, error) {
	if o.CABundle == "" {
		return nil, nil
	}
	text, err := readFile(o.CABundle, maxPEM)
	if err != nil {
		return nil, fmt.Errorf("CA bundle: %w", err)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if x509.NewCertPool().AppendCertsFromPEM(pem.EncodeToMemory(block)) {
			return text, nil
		}
	}
	return nil, fmt.Errorf("CA bundle %s: no certificate in it; it must be in PEM form", o.CABundle)
}

// tls gives the certificate that we show.
func (o *Options) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.ClientCert != "" {
		certificate, err := clientCertificate(o.ClientCert)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}

// clientCertificate reads a certificate and its key from one file.
func clientCertificate(path string) (tls.Certificate, error) {
	var none tls.Certificate
	text, err := readFile(path, maxPEM)
	if err != nil {
		return none, fmt.Errorf("client certificate: %w", err)
	}
	var certificate, key, encrypted bool
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		certificate = certificate || block.Type == "CERTIFICATE"
		key = key || strings.HasSuffix(block.Type, "PRIVATE KEY")
		encrypted = encrypted || strings.HasPrefix(block.Type, "ENCRYPTED") || block.Headers["DEK-Info"] != ""
	}
	switch {
	case !certificate:
		return none, fmt.Errorf("client certificate %s: no certificate in it; it must be in PEM form", path)
	case !key:
		return none, fmt.Errorf("client certificate %s: no private key in it; append the key in PEM form", path)
	case encrypted:
		return none, fmt.Errorf("client certificate %s: its key has a passphrase; take it off with openssl pkey", path)
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return none, fmt.Errorf("client certificate %s: %w", path, err)
	}
	return pair, nil
}

// proxyFor gives the proxy of each request: the given one, else what the
// environment says of it. A setting that is wrong is not shown: what is wrong
// may be its password.
func proxyFor(setting string) (func(*http.Request) (*url.URL, error), error) {
	if setting != "" {
		u, err := parseProxy("proxy", setting)
		return http.ProxyURL(u), err
	}
	env := httpproxy.FromEnvironment()
	all := cmp.Or(os.Getenv("all_proxy"), os.Getenv("ALL_PROXY"))
	env.HTTPProxy, env.HTTPSProxy = cmp.Or(env.HTTPProxy, all), cmp.Or(env.HTTPSProxy, all)
	for name, value := range map[string]string{"http_proxy": env.HTTPProxy, "https_proxy": env.HTTPSProxy} {
		if value == "" {
			continue
		}
		if _, err := parseProxy(name, value); err != nil { // which httpproxy would pass by
			return func(*http.Request) (*url.URL, error) { return nil, refuse(err) }, nil
		}
	}
	choose := env.ProxyFunc()
	return func(r *http.Request) (*url.URL, error) { return choose(r.URL) }, nil
}

func parseProxy(name, setting string) (*url.URL, error) {
	if !strings.Contains(setting, "://") {
		setting = "http://" + setting
	}
	u, err := url.Parse(setting)
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("%s: write http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with %%XX for special characters", name)
	}
	if !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		return nil, fmt.Errorf("%s %s: only http, https, socks5 and socks5h are known", name, redact(u))
	}
	return u, nil
}

// checkProxy keeps a proxy's refusal from being taken for a passing fault.
func checkProxy(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode/100 == 4 {
		return refusef("proxy %s: %d %s", redact(proxy), resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return nil
}
