package record

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// A record is signed as a note of golang.org/x/mod/sumdb/note: lines of text, an empty line, and a line for each
// signature. The text names the wheel and, by its hash, the record, so that the signature is of these alone:
//
//	curdling build record 1
//	wheel foo-1.0-0b0123456789-py3-none-any.whl
//	wheel-sha256 0123...
//	record-sha256 4567...
//	from 89ab...
//	key cdef...

const (
	// MaxSignature is the largest signed note, in bytes.
	MaxSignature = 16 << 10
	// maxSignatures is how many signatures a note may have.
	maxSignatures = 16
)

const noteTitle = "curdling build record 1"

// ErrUntrusted is the error of a signature by none of those who are trusted.
var ErrUntrusted = errors.New("nobody who is trusted signed it")

// noteText gives what is signed of a record, whose bytes are text.
func (r *Record) noteText(text []byte) string {
	return fmt.Sprintf("%s\nwheel %s\nwheel-sha256 %s\nrecord-sha256 %x\nfrom %s\nkey %s\n",
		noteTitle, r.Wheel.Filename, r.Wheel.SHA256, sha256.Sum256(text), r.From.SHA256, r.Key)
}

// Sign signs a record, whose bytes are text. Signatures by others in the note held, if that is
// of this record, stay beside the new one; held may be nil.
func Sign(text, held []byte, signer note.Signer) ([]byte, error) {
	r, err := Parse(text)
	if err != nil {
		return nil, err
	}
	n := &note.Note{Text: r.noteText(text)}
	if there, err := openNote(held, r, text); err == nil {
		n = there
	}
	return note.Sign(n, signer)
}

// Verify sees that the note in signature is of the record r, whose bytes are text, and that one of the
// trusted signed it, whom it gives. Where none did the error wraps ErrUntrusted. Signatures by others say nothing.
func Verify(signature []byte, r *Record, text []byte, trusted []note.Verifier) (note.Verifier, error) {
	n, err := openNote(signature, r, text)
	if err != nil {
		return nil, err
	}
	forged := ""
	for _, v := range trusted { // one by one: what is wrong under one key does not spoil what is right under another
		switch _, err := note.Open(signature, note.VerifierList(v)); {
		case err == nil:
			return v, nil
		case errors.As(err, new(*note.InvalidSignatureError)):
			forged = ", though not with that key"
		}
	}
	return nil, fmt.Errorf("%w: it is signed as by %s%s", ErrUntrusted, signers(n), forged)
}

// CheckSignature sees that signature is a note of the record whose bytes are text. By whom it is signed is not looked at.
func CheckSignature(signature, text []byte) error {
	r, err := Parse(text)
	if err != nil {
		return err
	}
	_, err = openNote(signature, r, text)
	return err
}

// MergeSignatures adds to the note held the signatures of more under keys that have none in it yet, as far as there
// is room. Both are notes of the same record. It gives nil where there is none to add.
func MergeSignatures(held, more []byte) []byte {
	into, err := parseNote(held)
	if err != nil {
		return nil
	}
	from, err := parseNote(more)
	if err != nil || from.Text != into.Text {
		return nil
	}
	before := len(into.UnverifiedSigs)
	for _, sig := range from.UnverifiedSigs {
		same := func(s note.Signature) bool { return s.Name == sig.Name && s.Hash == sig.Hash }
		if len(into.UnverifiedSigs) < maxSignatures && !slices.ContainsFunc(into.UnverifiedSigs, same) {
			into.UnverifiedSigs = append(into.UnverifiedSigs, sig)
		}
	}
	merged, err := note.Sign(into)
	if err != nil || len(into.UnverifiedSigs) == before || len(merged) > MaxSignature {
		return nil
	}
	return merged
}

// parseNote reads a note, with all its signatures unverified.
func parseNote(signature []byte) (*note.Note, error) {
	if len(signature) > MaxSignature {
		return nil, fmt.Errorf("%d bytes, more than a signed note may have (%d)", len(signature), MaxSignature)
	}
	_, err := note.Open(signature, nil)
	var unverified *note.UnverifiedNoteError
	switch {
	case !errors.As(err, &unverified):
		return nil, errors.New("it is no signed note")
	case len(unverified.Note.UnverifiedSigs) > maxSignatures:
		return nil, fmt.Errorf("it has more than %d signatures", maxSignatures)
	}
	return unverified.Note, nil
}

// openNote reads a note that must be of that record.
func openNote(signature []byte, r *Record, text []byte) (*note.Note, error) {
	n, err := parseNote(signature)
	if err != nil {
		return nil, err
	}
	got, want := strings.Split(n.Text, "\n"), strings.Split(r.noteText(text), "\n")
	for i, line := range want {
		switch {
		case i >= len(got), i == len(want)-1 && len(got) > len(want):
			return nil, errors.New("it is no note of a build's record")
		case got[i] != line && i == 0:
			return nil, fmt.Errorf("it is a note of something else than a %s", noteTitle)
		case got[i] != line:
			return nil, fmt.Errorf("it is the signature of something else: it says %.200q, not %.200q", got[i], line)
		}
	}
	return n, nil
}

// signers names those who signed a note, as far as can be told without their keys.
func signers(n *note.Note) string {
	var names []string
	for _, sig := range n.UnverifiedSigs[:min(len(n.UnverifiedSigs), 4)] {
		names = append(names, fmt.Sprintf("%.100q", fmt.Sprintf("%s+%08x", sig.Name, sig.Hash)))
	}
	return strings.Join(names, " and ")
}

// VerifierKey gives the public half of a signing key. Its errors do not show the key.
func VerifierKey(signerKey string) (string, error) {
	signer, err := note.NewSigner(signerKey)
	if err != nil {
		return "", err
	}
	parts := strings.SplitN(signerKey, "+", 5) // PRIVATE, KEY, the name, a hash, and base64 of algorithm and seed
	raw, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil {
		return "", err
	}
	public := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey) // NewSigner saw to the length
	return note.NewEd25519VerifierKey(signer.Name(), public)
}
