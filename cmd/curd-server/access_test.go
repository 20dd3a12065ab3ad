package main

import (
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// keep NAME: has $NAME be what the last program said.
func scriptKeep(ts *testscript.TestScript, neg bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// hangup: SIGHUP.
func scriptHangUp(ts *testscript.TestScript, neg bool, args []string) {
	p := *ts.Value(running).(**process)
	ts.Check(p.cmd.Process.Signal(syscall.SIGHUP))
}

// pem CERT KEY: makes the files of a certificate.
func scriptPEM(ts *testscript.TestScript, neg bool, args []string) {
	s := httptest.NewTLSServer(nil)
	c := s.TLS.Certificates[0]
	s.Close()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	ts.Check(err)
	for i, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: c.Certificate[0]}, {Type: "PRIVATE KEY", Bytes: key}} {
		ts.Check(os.WriteFile(ts.MkAbs(args[i]), pem.EncodeToMemory(block), 0o600))
	}
}

func TestParseExpiry(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 12, 0, 0, 500, time.UTC)
	for s, want := range map[string]string{
		"never": "0001-01-01T00:00:00Z", "90d": "2027-02-24T12:00:00Z", "12h": "2026-11-27T00:00:00Z", "2w": "2026-12-10T12:00:00Z", "5m": "2026-11-26T12:05:00Z",
		"2026-11-26": "2026-11-27T00:00:00Z", "2027-03-31": "2027-04-01T00:00:00Z", "2027-01-01T01:00:00+01:00": "2027-01-01T00:00:00Z",
		"": "", "x": "", "0d": "", "-1d": "", "1": "", "1.5h": "", "999999999999w": "", "9223372036854775807m": "", "2026-11-25": "", "2020-01-01T00:00:00Z": "", "1dd": "",
	} {
		got, err := parseExpiry(s, now)
		if (err == nil) != (want != "") || err == nil && got.Format(time.RFC3339) != want {
			t.Errorf("%q: %s, %v; want %s", s, got, err, want)
		}
	}
}
