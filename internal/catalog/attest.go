package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"curdling/internal/dist"
)

// attestation is the part of an attestation object (PEP 740) that is held against the file it came with.
type attestation struct {
	Version  int `json:"version"`
	Envelope struct {
		Statement []byte `json:"statement"` // base64 of an in-toto statement
	} `json:"envelope"`
}

// statement is the part of an in-toto statement (v1) that says what it is about.
type statement struct {
	Subject []struct {
		Name   string            `json:"name"`
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
}

// CheckAttestations tells whether attestations, the JSON list that came with the upload, are of this very file. Signatures
// and certificates are not verified: that is for who relies on them.
func (u *Upload) CheckAttestations(attestations []byte) error {
	if err := checkAttestations(attestations, u.Filename, u.SHA256); err != nil {
		return &InvalidError{fmt.Errorf("%s: attestations: %w", u.Filename, err)}
	}
	return nil
}

func checkAttestations(content []byte, filename, sha256 string) error {
	if len(content) > MaxSidecar {
		return fmt.Errorf("%d bytes, more than %d", len(content), MaxSidecar)
	}
	var list []attestation
	if err := json.Unmarshal(content, &list); err != nil {
		return err
	}
	if len(list) == 0 {
		return errors.New("the list is empty")
	}
	for i, a := range list {
		var s statement
		if a.Version != 1 {
			return fmt.Errorf("attestation %d has version %d, only 1 is known", i+1, a.Version)
		}
		if err := json.Unmarshal(a.Envelope.Statement, &s); err != nil {
			return fmt.Errorf("attestation %d: its statement: %w", i+1, err)
		}
		if len(s.Subject) != 1 || !sameFile(s.Subject[0].Name, filename) || !strings.EqualFold(s.Subject[0].Digest["sha256"], sha256) {
			return fmt.Errorf("attestation %d is not of this file with sha256 %s", i+1, sha256)
		}
	}
	return nil
}

// sameFile tells whether two names stand for the same distribution: they may be normalised differently.
func sameFile(a, b string) bool {
	if a == b {
		return true
	}
	x, err := dist.ParseFilename(a, "")
	if err != nil {
		return false
	}
	y, err := dist.ParseFilename(b, "")
	return err == nil && x.Kind == y.Kind && x.Name == y.Name && x.Version.Compare(y.Version) == 0 &&
		x.Build == y.Build && fmt.Sprint(x.Tags) == fmt.Sprint(y.Tags)
}

// KeepAttestations keeps them beside the file, which must be held. Those that are there already stay, and to a file
// that the scope above holds nothing is added from below.
func (u *Upload) KeepAttestations(ctx context.Context, attestations []byte) error {
	c, key := u.catalog, u.Filename+AttestationsSuffix
	if u.view.fileAbove(u.Filename) != nil {
		return nil
	}
	err := c.store.Create(ctx, key, bytes.NewReader(attestations), int64(len(attestations)))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", key, err)
	}
	c.examine(ctx, key, 0)
	return nil
}
