package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"curdling/internal/audit"
	"curdling/internal/auth"
	"curdling/internal/livefile"
	"curdling/internal/wheel/wheeltest"
)

// withTokens makes a file of tokens and gives the tokens.
func withTokens(t testing.TB, tokens ...auth.Token) (policy auth.Policy, secrets []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.json")
	for _, token := range tokens {
		secret, _, err := auth.CreateToken(t.Context(), livefile.Path(path), token)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, secret)
	}
	var err error
	if policy.Tokens, err = auth.OpenTokens(path, true, quiet); err != nil {
		t.Fatal(err)
	}
	return policy, secrets
}

// entries reads an audit log.
func entries(t *testing.T, path string) (entries []audit.Entry) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var e audit.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		entries = append(entries, e)
	}
	return entries
}

// TestTokens: what tokens may, and what of it stands in the audit log.
func TestTokens(t *testing.T) {
	t.Parallel()
	policy, secrets := withTokens(t,
		auth.Token{User: "ci", Scope: auth.ScopeUpload, Projects: []string{"zope.*"}},
		auth.Token{User: "laptop", Scope: auth.ScopeRead})
	log := filepath.Join(t.TempDir(), "audit.jsonl")
	s := newSite(t, options{configure: func(c *Config) { c.Policy, c.Audit = policy, audit.New(log) }})
	upload, read := secrets[0], secrets[1]
	content := wheeltest.Build(zope)
	basic := func(user, password string) []string {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.SetBasicAuth(user, password)
		return []string{"Authorization", r.Header.Get("Authorization")}
	}
	last := "x" // of the token's checksum
	if strings.HasSuffix(upload, last) {
		last = "y"
	}
	wrong := upload[:len(upload)-1] + last
	put := func(w wheeltest.Wheel, content []byte, headers ...string) *http.Response {
		return s.do(http.MethodPut, "/p/"+w.Filename(), bytes.NewReader(content), headers...)
	}
	for _, test := range []struct {
		name   string
		r      *http.Response
		status int
		says   string
	}{
		{"nobody", put(zope, content), 401, "or a token"},
		{"not a token", put(zope, content, basic("__token__", wrong)...), 401, ""},
		{"not a token, again", put(zope, content, basic("__token__", wrong)...), 401, ""},
		{"another's", put(zope, content, basic("laptop", upload)...), 401, "is another user's"},
		{"only reads", put(zope, content, basic("laptop", read)...), 403, "is for reading only"},
		{"another project", put(flask, flaskBytes, basic("__token__", upload)...), 403, "is for uploads of zope-*, not of flask"},
		{"broken", put(zope, content[:100], basic("__token__", upload)...), 400, ""},
		{"as __token__", put(zope, content, basic("__token__", upload)...), 201, "ok"},
		{"as its user", put(zope, content, basic("ci", upload)...), 200, "ok"},
		{"as bearer", put(zope, content, "Authorization", "bearer "+upload), 200, "ok"},
		{"an uploader reads", s.get("/simple/", basic("ci", upload)...), 200, ""},
		{"a reader reads", s.get("/simple/", "Authorization", "Bearer "+read), 200, ""},
		{"nobody reads", s.get("/simple/"), 401, ""},
	} {
		if body := text(t, test.r); test.r.StatusCode != test.status || !strings.Contains(body, test.says) {
			t.Errorf("%s: %d %s, want %d and %q", test.name, test.r.StatusCode, body, test.status, test.says)
		}
	}
	r := s.get("/simple/", "Authorization", "Bearer nonsense")
	if got := r.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer ") {
		t.Errorf("challenge %q", got)
	}
	var got []string
	for _, e := range entries(t, log) {
		got = append(got, fmt.Sprintf("%s %d %s %v %v %d %s", e.Action, e.Status, e.User, e.Token != "", e.SHA256 == sum(content), e.Size, e.Remote))
		if e.File == "" || e.Time.IsZero() || (e.Status >= 400) != (e.Detail != "") {
			t.Errorf("entry %+v", e)
		}
	}
	size := len(content)
	want := []string{
		"upload 401  false false 0 192.0.2.1",
		"upload 401  false false 0 192.0.2.1",
		"upload 403 laptop true false 0 192.0.2.1",
		"upload 403 ci true false 0 192.0.2.1",
		"upload 400 ci true false 100 192.0.2.1",
		fmt.Sprintf("upload 201 ci true true %d 192.0.2.1", size),
		fmt.Sprintf("upload 200 ci true true %d 192.0.2.1", size),
		fmt.Sprintf("upload 200 ci true true %d 192.0.2.1", size),
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("audit log:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, secret := range secrets {
		if b, _ := os.ReadFile(log); strings.Contains(s.log.String(), secret) || strings.Contains(string(b), secret) {
			t.Error("a log holds a token")
		}
	}
	if f := s.catalog.File(zope.Filename()); f.From.User != "ci" {
		t.Errorf("the file came from %q", f.From.User)
	}
}

// TestAmbiguous: what project a source distribution is of, its metadata says.
func TestAmbiguous(t *testing.T) {
	t.Parallel()
	policy, secrets := withTokens(t, auth.Token{User: "ci", Scope: auth.ScopeUpload, Projects: []string{"foo-bar-1-0"}})
	s := newSite(t, options{configure: func(c *Config) { c.Policy = policy }})
	const name = "foo-bar-1.0-2.tar.gz" // foo-bar 1.0.post2, or foo-bar-1.0 2
	content := makeSdist(t, "foo-bar", "1.0-2")
	r := s.do(http.MethodPut, "/p/"+name, bytes.NewReader(content), "Authorization", "Bearer "+secrets[0])
	if body := text(t, r); r.StatusCode != http.StatusForbidden || !strings.Contains(body, "not of foo-bar\n") {
		t.Errorf("%d %s", r.StatusCode, body)
	}
	s.checkNothingLeft(t)
}

func TestSlowedDown(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{users: true})
	for i := range 20 {
		r := httptest.NewRequest(http.MethodGet, "/simple/", nil)
		r.SetBasicAuth("alice", fmt.Sprint(i))
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code == http.StatusTooManyRequests {
			if w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "try again in") || i < 5 {
				t.Errorf("the %dth: %v %s", i, w.Header(), w.Body)
			}
			return
		}
	}
	t.Error("20 wrong passwords were looked at")
}

// TestUnaudited: what cannot be noted is refused, before it is read where that is known.
func TestUnaudited(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "folder", "audit.jsonl")
	s := newSite(t, options{configure: func(c *Config) { c.Audit = audit.New(path) }})
	put := func() (int, string) {
		r := s.do(http.MethodPut, "/p/"+flaskFile, bytes.NewReader(flaskBytes))
		return r.StatusCode, text(t, r)
	}
	if status, body := put(); status != http.StatusInternalServerError || !strings.Contains(body, "nothing was kept") {
		t.Errorf("%d %s", status, body)
	}
	if r := s.get("/p/" + flaskFile); r.StatusCode != http.StatusNotFound {
		t.Errorf("what was refused is held: %d", r.StatusCode)
	}
	if r := s.get("/simple/"); r.StatusCode != http.StatusOK {
		t.Errorf("reading: %d", r.StatusCode)
	}
	if err := os.Mkdir(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if status, body := put(); status != http.StatusCreated {
		t.Errorf("with a folder: %d %s", status, body)
	}
	if got := entries(t, path); len(got) != 1 {
		t.Errorf("%d entries", len(got))
	}
	if !strings.Contains(s.log.String(), "audit.jsonl") {
		t.Errorf("log: %s", s.log)
	}
}

// TestBehindProxy: links and addresses are the client's where a trusted proxy says so.
func TestBehindProxy(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "audit.jsonl")
	s := newSite(t, options{configure: func(c *Config) {
		c.Audit, c.PathPrefix = audit.New(log), "/pypi"
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	}}, flask)
	forwarded := []string{"X-Forwarded-For", "203.0.113.9, 198.51.100.7", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "wheels.example.org"}
	for target, want := range map[string]string{
		"/pypi/":              "--index-url https://wheels.example.org/pypi/simple/",
		"/":                   `href="./style.css?`,
		"/pypi/project/flask": `href="../p/` + flaskFile,
		"/pypi/api/flask":     `"url":"https://wheels.example.org/pypi/p/` + flaskFile,
		"/pypi/simple/flask/": flaskFile,
		"/simple/flask/":      flaskFile,
		"/pypi/healthz":       "ok",
	} {
		r := s.get(target, forwarded...)
		if body := text(t, r); r.StatusCode != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d, want %s:\n%s", target, r.StatusCode, want, body)
		}
	}
	for target, want := range map[string]string{
		"/pypi/simple/Flask":   "/pypi/simple/flask/",
		"/simple/Flask?a=b":    "/pypi/simple/flask/?a=b",
		"/pypi//simple/flask/": "/pypi/simple/flask/",
		"/pypi/project/Flask":  "/pypi/project/flask",
		"/pypi":                "/pypi/",
	} {
		if r := s.get(target, forwarded...); r.StatusCode/100 != 3 || r.Header.Get("Location") != want {
			t.Errorf("%s: %d to %q, want %q", target, r.StatusCode, r.Header.Get("Location"), want)
		}
	}
	if r := s.get("/pypi/s/flask"); r.Header.Get("Content-Location") != "/pypi/p/"+flaskFile {
		t.Errorf("Content-Location %q", r.Header.Get("Content-Location"))
	}
	if r := s.get("/pypix/simple/"); r.StatusCode != http.StatusNotFound {
		t.Errorf("another prefix: %d", r.StatusCode)
	}
	if r := s.do(http.MethodPut, "/pypi/p/"+oldFlask.Filename(), bytes.NewReader(wheeltest.Build(oldFlask)), forwarded...); r.StatusCode != http.StatusCreated {
		t.Errorf("upload: %d", r.StatusCode)
	}
	if e := entries(t, log)[0]; e.Remote != "198.51.100.7" || !strings.HasPrefix(e.Via, "192.0.2.1") || !strings.Contains(e.Forwarded, "203.0.113.9, 198.51.100.7") {
		t.Errorf("%+v", e)
	}

	r := httptest.NewRequest(http.MethodGet, "/api/flask", nil)
	r.RemoteAddr = "198.51.100.1:999" // not trusted
	r.Header.Set("X-Forwarded-Host", "evil.example")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if strings.Contains(w.Body.String(), "evil") || !strings.Contains(w.Body.String(), "http://example.com/pypi/") {
		t.Errorf("believed anybody: %s", w.Body)
	}
}

func TestCheckPathPrefix(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]bool{
		"": true, "/pypi": true, "/a/b": true, "/~me.1": true,
		"pypi": false, "/": false, "/pypi/": false, "//a": false, "/a//b": false, "/..": false, "/a/../b": false, "/a b": false, "/%61": false,
		"/simple": false, "/p/q": false, "/{x}": false,
	} {
		if err := CheckPathPrefix(prefix); (err == nil) != want {
			t.Errorf("%q: %v", prefix, err)
		}
	}
}

// writeCertificate makes a certificate for 127.0.0.1 with a serial number.
func writeCertificate(t *testing.T, certFile, keyFile string, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{{127, 0, 0, 1}}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []struct {
		path, kind string
		der        []byte
	}{{keyFile, "PRIVATE KEY", pkcs8}, {certFile, "CERTIFICATE", der}} {
		if err := os.WriteFile(file.path, pem.EncodeToMemory(&pem.Block{Type: file.kind, Bytes: file.der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	first := writeCertificate(t, certFile, keyFile, 1)
	log := new(logged)
	certificate, err := OpenCertificate(certFile, keyFile, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, options{configure: func(c *Config) { c.Certificate = certificate }}, flask)
	address := s.start(t)
	get := func(trusted *x509.Certificate, most uint16) (*http.Response, string, error) {
		pool := x509.NewCertPool()
		pool.AddCert(trusted)
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MaxVersion: most}, ForceAttemptHTTP2: true, DisableKeepAlives: true}
		defer transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/api/flask", nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			return nil, "", err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		return r, string(b), err
	}
	r, body, err := get(first, 0)
	if err != nil || r.ProtoMajor != 2 || !strings.Contains(body, `"https://`+address+`/p/`) {
		t.Fatalf("%v %s %v", r, body, err)
	}
	if _, _, err := get(first, tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	if err := os.WriteFile(certFile, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	certificate.Refresh()
	if _, _, err := get(first, 0); err != nil {
		t.Errorf("a certificate that is half written: %v", err)
	}
	second := writeCertificate(t, certFile, keyFile, 2)
	certificate.Refresh()
	if r, _, err := get(second, 0); err != nil || r.TLS.PeerCertificates[0].SerialNumber.Int64() != 2 {
		t.Errorf("the new certificate: %v", err)
	}
	if !strings.Contains(log.String(), "stays as it was") || !strings.Contains(log.String(), "was read again") {
		t.Errorf("log: %s", log)
	}
	if _, err := OpenCertificate(certFile, "missing", quiet); err == nil {
		t.Error("a key that is missing")
	}
}
