// Package recordtest makes builds with their records for tests.
package recordtest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"curdling/internal/record"
	"curdling/internal/wheel/wheeltest"
)

// Source is what the builds are from.
const Source = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// Build is a wheel of PROJECT-1.0 with that content, which took a minute to build on a Python of
// version on, and its record, which edit may change before; nil does not.
func Build(t testing.TB, project, on, content string, edit func(*record.Record)) (name string, wheel, text []byte) {
	t.Helper()
	r := &record.Record{
		Key:  record.Key(record.Decides{From: Source}),
		From: record.From{SHA256: Source, Filename: project + "-1.0.tar.gz"},
		On:   record.On{Python: on, Tag: "cp311-cp311", Platform: "linux_x86_64"},
		Cost: record.Cost{Seconds: 60},
	}
	if edit != nil {
		edit(r)
	}
	if err := r.Identify(); err != nil {
		t.Fatal(err)
	}
	w := wheeltest.Wheel{Name: project, Version: "1.0", BuildTag: r.BuildTag().String(), Files: map[string]string{"x.py": content}}
	name, wheel = w.Filename(), wheeltest.Build(w)
	sum := sha256.Sum256(wheel)
	r.Wheel = record.Wheel{Filename: name, Size: int64(len(wheel)), SHA256: hex.EncodeToString(sum[:])}
	text, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return name, wheel, text
}

// Key makes a signing key, and the key that verifies what it signs.
func Key(t testing.TB, name string) (note.Signer, note.Verifier) {
	t.Helper()
	secret, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	return signer, verifier
}

// Sign signs a record.
func Sign(t testing.TB, text []byte, signer note.Signer) []byte {
	t.Helper()
	signature, err := record.Sign(text, nil, signer)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}
