package index

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"curdling/internal/dist"
)

// pemFile writes certificates to a file.
func pemFile(t testing.TB, certificates ...*x509.Certificate) string {
	t.Helper()
	var text []byte
	for _, c := range certificates {
		text = append(text, pemOf("CERTIFICATE", c.Raw)...)
	}
	return textFile(t, text)
}

func pemOf(kind string, content []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
}

func textFile(t testing.TB, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serveTLS starts a server with a certificate that no system believes.
func serveTLS(t testing.TB, h http.HandlerFunc, config *tls.Config) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.TLS = config
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// identity makes a certificate that signs itself, and its key.
func identity(t testing.TB) (certificate *x509.Certificate, certificatePEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if certificate, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	keyRaw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, pemOf("CERTIFICATE", raw), pemOf("PRIVATE KEY", keyRaw)
}

// TestAuthoritiesWait: who only speaks to hosts that are trusted does not pay for reading a bundle.
func TestAuthoritiesWait(t *testing.T) {
	t.Parallel()
	s := serveTLS(t, sendPage, nil)
	c := testClient(t, Options{CABundle: pemFile(t, s.Certificate()), TrustedHosts: []string{"127.0.0.1"}})
	if _, err := c.Project(t.Context(), s.URL, "x"); err != nil {
		t.Fatal(err)
	}
	if c.http.Transport.(*transport).opened.Load() != nil {
		t.Error("the authorities were read")
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	s := serveTLS(t, sendPage, nil)
	other, _, _ := identity(t)
	host := s.Listener.Addr().String()
	_, port, _ := net.SplitHostPort(host)
	tests := []struct {
		name    string
		options Options
		want    string // part of the error
	}{
		{"the system's", Options{}, "certificate signed by unknown authority"},
		{"a bundle", Options{CABundle: pemFile(t, other, s.Certificate())}, ""},
		{"another bundle", Options{CABundle: pemFile(t, other)}, "certificate signed by unknown authority"},
		{"trusted host", Options{TrustedHosts: []string{"127.0.0.1"}}, ""},
		{"trusted host and port", Options{TrustedHosts: []string{"h.test", host}}, ""},
		{"another port", Options{TrustedHosts: []string{"127.0.0.1:1"}}, "certificate signed by unknown authority"},
		{"another host", Options{TrustedHosts: []string{"localhost:" + port}}, "certificate signed by unknown authority"},
		{"a part of the host", Options{TrustedHosts: []string{"0.0.1"}}, "certificate signed by unknown authority"},
	}
	for _, tt := range tests {
		_, err := testClient(t, tt.options).Project(t.Context(), withUser(s.URL, "u", "secret"), "x")
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || passing(err)) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestTrustedHosts(t *testing.T) {
	h, err := parseHosts([]string{"Example.org", "h.test:8443", "::1", "[::2]:80", "10.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{
		"https://example.ORG/": true, "http://example.org:8080/x": true, "https://sub.example.org/": false,
		"https://h.test:8443/": true, "https://h.test/": false, "https://[::1]:5/": true,
		"http://[::2]/": true, "https://[::2]/": false, "https://10.0.0.1/": true, "https://10.0.0.11/": false,
	} {
		if got := h.has(mustURL(t, address)); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
	for _, bad := range []string{"", "https://h.test", "h.test/simple", "u:hunter2@h.test", "//h.test", "h.test:x", ":80", "h test"} {
		_, err := New(Options{TrustedHosts: []string{bad}})
		if err == nil || !strings.Contains(err.Error(), "write HOST or HOST:PORT") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: error %v", bad, err)
		}
	}
}

// TestUnverifiedIsNotKept: what came without a certificate is not used once one is asked for.
func TestUnverifiedIsNotKept(t *testing.T) {
	s := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".metadata") {
			send(w, metadataText)
			return
		}
		sendPage(w, r)
	}, nil)
	f := dist.File{Filename: "x-1.0-py3-none-any.whl", Kind: dist.Wheel, URL: s.URL + "/x-1.0-py3-none-any.whl", SHA256: sumA, HasMetadata: true}
	cache := &memory{}
	for i, hosts := range [][]string{{"127.0.0.1"}, nil} {
		c := testClient(t, Options{Cache: cache, TrustedHosts: hosts})
		_, err := c.Project(t.Context(), s.URL, "x")
		_, err2 := c.Metadata(t.Context(), f)
		if i == 0 && (err != nil || err2 != nil) || i == 1 && (err == nil || err2 == nil) {
			t.Errorf("%v: %v, %v", hosts, err, err2)
		}
	}
}

// TestSystemCertificates: Go itself reads SSL_CERT_FILE, on Unix.
func TestSystemCertificates(t *testing.T) {
	if address := os.Getenv("TEST_SSL_SERVER"); address != "" {
		_, err := testClient(t, Options{}).Project(t.Context(), address, "x")
		fmt.Println("answer:", err)
		return
	}
	s := serveTLS(t, sendPage, nil)
	pool, err := x509.SystemCertPool()
	if err != nil || pool == nil {
		t.Skip("no certificates of the system")
	}
	for path, want := range map[string]string{pemFile(t, s.Certificate()): "answer: <nil>", os.DevNull: "unknown authority"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSystemCertificates$")
		cmd.Env = append(os.Environ(), "TEST_SSL_SERVER="+s.URL, "SSL_CERT_FILE="+path)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("SSL_CERT_FILE=%s: %v\n%s", path, err, out)
		}
	}
}

func TestClientCertificate(t *testing.T) {
	certificate, certificatePEM, keyPEM := identity(t)
	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	s := serveTLS(t, sendPage, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool})
	ca := pemFile(t, s.Certificate())
	whole := textFile(t, append(append([]byte("a remark\n"), keyPEM...), certificatePEM...))
	if _, err := testClient(t, Options{CABundle: ca, ClientCert: whole}).Project(t.Context(), s.URL, "x"); err != nil {
		t.Error(err)
	}
	if _, err := testClient(t, Options{TrustedHosts: []string{"127.0.0.1"}, ClientCert: whole}).Project(t.Context(), s.URL, "x"); err != nil {
		t.Error(err)
	}
	if _, err := testClient(t, Options{CABundle: ca, Retries: -1}).Project(t.Context(), s.URL, "x"); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a certificate: %v", err)
	}
	_, _, otherKey := identity(t)
	missing := filepath.Join(t.TempDir(), "missing.pem")
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte("x")})
	tests := []struct {
		option func(path string) Options
		path   string
		want   string
	}{
		{clientCert, missing, "no such file"},
		{clientCert, t.TempDir(), "is a directory"},
		{clientCert, textFile(t, nil), "no certificate in it"},
		{clientCert, textFile(t, keyPEM), "no certificate in it"},
		{clientCert, textFile(t, certificatePEM), "no private key in it; append the key"},
		{clientCert, textFile(t, append(otherKey, certificatePEM...)), "private key does not match public key"},
		{clientCert, textFile(t, append(encrypted, certificatePEM...)), "its key has a passphrase"},
		{clientCert, textFile(t, append(pemOf("ENCRYPTED PRIVATE KEY", []byte("x")), certificatePEM...)), "its key has a passphrase"},
		{caBundle, missing, "no such file"},
		{caBundle, t.TempDir(), "is a directory"},
		{caBundle, textFile(t, []byte("hunter2")), "no certificate in it"},
		{caBundle, textFile(t, keyPEM), "no certificate in it"},
		{caBundle, textFile(t, make([]byte, maxPEM+1)), "more than 16777216 bytes"},
	}
	for _, tt := range tests {
		_, err := New(tt.option(tt.path))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.path) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %v, want %q of %s", err, tt.want, tt.path)
		}
	}
}

func clientCert(path string) Options { return Options{ClientCert: path} }
func caBundle(path string) Options   { return Options{CABundle: path} }

// proxyServer is a proxy that wants to know who asks.
func proxyServer(t *testing.T, seen *[]string) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		*seen = append(*seen, r.Method+" "+r.RequestURI)
		if r.Header.Get("Proxy-Authorization") != "Basic dTpodW50ZXIy" { // u:hunter2
			http.Error(w, "who are you?", http.StatusProxyAuthRequired)
			return
		}
		if r.Method != http.MethodConnect {
			sendPage(w, r)
			return
		}
		there, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		send(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			_, _ = io.Copy(there, here)
			there.Close()
		}()
		_, _ = io.Copy(here, there)
		here.Close()
	})
}

func TestProxy(t *testing.T) {
	for _, name := range []string{"http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"} {
		t.Setenv(name, "")
	}
	s := serveTLS(t, sendPage, nil)
	var seen []string
	proxy := proxyServer(t, &seen)
	known := withUser(proxy, "u", "hunter2")
	connect := "[CONNECT " + s.Listener.Addr().String() + "]"
	plain := "[GET http://h.test/x/]"
	tests := []struct {
		name, setting string
		env           map[string]string
		base          string
		seen          string // by the proxy
		want          string // part of the error
	}{
		{"https", known, nil, s.URL, connect, ""},
		{"http", known, nil, "http://h.test/", plain, ""},
		{"without a scheme", strings.TrimPrefix(known, "http://"), nil, "http://h.test/", plain, ""},
		{"it counts more than the environment", known, map[string]string{"https_proxy": "http://127.0.0.1:1", "no_proxy": "*"}, s.URL, connect, ""},
		{"stranger, http", proxy, nil, "http://h.test/", plain, "GET http://h.test/x/: 407 Proxy Authentication Required: who are you?"},
		{"stranger, https", strings.Replace(known, "hunter2", "hunter3", 1), nil, s.URL, connect, "proxy " + proxy + ": 407 Proxy Authentication Required"},
		{"environment", "", map[string]string{"http_proxy": known}, "http://h.test/", plain, ""},
		{"environment for all", "", map[string]string{"ALL_PROXY": known}, "http://h.test/", plain, ""},
		{"environment, loopback", "", map[string]string{"all_proxy": known}, s.URL, "[]", ""},
		{"environment, wrong", "", map[string]string{"https_proxy": "http://u:hunter2 @h"}, s.URL, "[]", "https_proxy: write http://HOST:PORT"},
		{"environment, unknown", "", map[string]string{"https_proxy": "ftp://u:hunter2@h"}, s.URL, "[]", "https_proxy ftp://h: only http"},
		{"nobody there", "http://u:hunter2@127.0.0.1:1", nil, s.URL, "[]", "proxyconnect"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for key, value := range tt.env {
				t.Setenv(key, value)
			}
			seen = nil
			c := testClient(t, Options{Proxy: tt.setting, TrustedHosts: []string{"127.0.0.1"}, Retries: 1})
			_, err := c.Project(t.Context(), tt.base, "x")
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter")) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if got := fmt.Sprint(seen); got != tt.seen {
				t.Errorf("the proxy saw %s, want %s", got, tt.seen)
			}
		})
	}
	for _, bad := range []string{"http://", "http://u:hunter2@", "http://u:hunter2/@h:1", "ftp://u:hunter2@h", "http://u:hunter2@h:x", "u:hunter2@h/path", "://hunter2"} {
		_, err := New(Options{Proxy: bad})
		if err == nil || !strings.HasPrefix(err.Error(), "proxy") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: error %v", bad, err)
		}
	}
}

// TestPlainHTTP: it is complained about once for each server, but not on this
// machine and not of trusted hosts.
func TestPlainHTTP(t *testing.T) {
	var seen []string
	proxy := withUser(proxyServer(t, &seen), "u", "hunter2")
	var log bytes.Buffer
	c := testClient(t, Options{Proxy: proxy, TrustedHosts: []string{"trusted.test"}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for _, base := range []string{"http://h.test/", "http://h.test/other/", "http://trusted.test/", "http://localhost/", "http://127.1.2.3/", "http://[::1]/"} {
		if _, err := c.Project(t.Context(), base, "x"); err != nil {
			t.Error(err)
		}
	}
	if strings.Count(log.String(), "plain http") != 1 || !strings.Contains(log.String(), "origin=http://h.test:80") {
		t.Error(log.String())
	}
}

func TestNewClientPanicsWhereNewFails(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	NewClient(Options{CABundle: "missing"})
}
