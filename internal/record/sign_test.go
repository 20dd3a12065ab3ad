package record

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

func newKey(t testing.TB, name string) (note.Signer, note.Verifier) {
	t.Helper()
	secret, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := VerifierKey(secret); err != nil || got != public {
		t.Fatalf("public half %s, %v; want %s", got, err, public)
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

// signed gives a record, its bytes and their signature.
func signed(t *testing.T, signer note.Signer, edit func(*Record)) (*Record, []byte, []byte) {
	t.Helper()
	r := example(t)
	if edit != nil {
		edit(r)
	}
	text, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	signature, err := Sign(text, nil, signer)
	if err != nil {
		t.Fatal(err)
	}
	return r, text, signature
}

func TestSign(t *testing.T) {
	t.Parallel()
	signer, verifier := newKey(t, "ci@example.org")
	r, text, signature := signed(t, signer, nil)
	if v, err := Verify(signature, r, text, []note.Verifier{verifier}); err != nil || v != verifier {
		t.Fatalf("%v, %v", v, err)
	}
	if err := CheckSignature(signature, text); err != nil {
		t.Error(err)
	}
	lines := strings.Split(string(signature), "\n")
	if lines[0] != noteTitle || lines[1] != "wheel "+r.Wheel.Filename || len(lines) != 9 {
		t.Errorf("the note is\n%s", signature)
	}

	other, otherVerifier := newKey(t, "ci@example.org")
	if other.KeyHash() == signer.KeyHash() {
		t.Skip("two keys of one hash")
	}
	for name, trusted := range map[string][]note.Verifier{"nobody": nil, "another": {otherVerifier}} {
		if _, err := Verify(signature, r, text, trusted); !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s is trusted: %v", name, err)
		}
	}

	both, err := Sign(text, signature, other)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []note.Verifier{verifier, otherVerifier} {
		if _, err := Verify(both, r, text, []note.Verifier{v}); err != nil {
			t.Errorf("signed by both: %v", err)
		}
	}
	again, err := Sign(text, both, signer)
	if err != nil || strings.Count(string(again), "— ") != 2 {
		t.Errorf("signed again: %v\n%s", err, again)
	}
}

// TestReplay: a signature is of one wheel and one record.
func TestReplay(t *testing.T) {
	t.Parallel()
	signer, verifier := newKey(t, "ci")
	trusted := []note.Verifier{verifier}
	_, _, signature := signed(t, signer, nil)
	for name, edit := range map[string]func(*Record){
		"another file":     func(r *Record) { r.Wheel.Filename = strings.Replace(r.Wheel.Filename, "foo-1.0", "foo-1.1", 1) },
		"other bytes":      func(r *Record) { r.Wheel.SHA256 = strings.Repeat("1", 64) },
		"another cost":     func(r *Record) { r.Cost.Seconds++ },
		"other needs":      func(r *Record) { r.Needs.Files = nil },
		"another key":      func(r *Record) { r.Key = strings.Repeat("2", 64) },
		"an older program": func(r *Record) { r.Schema = 3 },
	} {
		r, text, own := signed(t, signer, edit)
		if _, err := Verify(own, r, text, trusted); err != nil {
			t.Errorf("%s: its own signature: %v", name, err)
		}
		if _, err := Verify(signature, r, text, trusted); err == nil || errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: the signature of the first one: %v", name, err)
		}
		if MergeSignatures(own, signature) != nil {
			t.Errorf("%s: its signature is added", name)
		}
		if fresh, err := Sign(text, signature, signer); err != nil || !bytes.Equal(fresh, own) {
			t.Errorf("%s: signing over another's signature: %v", name, err)
		}
	}
}

func TestForged(t *testing.T) {
	t.Parallel()
	signer, verifier := newKey(t, "ci")
	other, otherVerifier := newKey(t, "dev")
	r, text, signature := signed(t, signer, nil)
	trusted := []note.Verifier{verifier, otherVerifier}
	head, _, _ := strings.Cut(string(signature), "\n\n")

	forge := func(v note.Verifier) string {
		forged, err := note.Sign(&note.Note{Text: head + "\n"}, forger{v})
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimPrefix(string(forged), head+"\n\n")
	}
	if _, err := Verify([]byte(head+"\n\n"+forge(verifier)), r, text, trusted); !errors.Is(err, ErrUntrusted) {
		t.Errorf("forged: %v", err)
	}
	// A forged signature spoils nothing under another key.
	right, err := Sign(text, []byte(head+"\n\n"+forge(verifier)), other)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := Verify(right, r, text, trusted); err != nil || v != otherVerifier {
		t.Errorf("beside a forged one: %v", err)
	}

	for name, note := range map[string]string{
		"nothing":         "",
		"no signature":    head + "\n",
		"a line more":     strings.Replace(string(signature), "\n\n", "\nmore\n\n", 1),
		"a line less":     strings.Replace(string(signature), "\nkey ", "\n\nkey ", 1),
		"another title":   strings.Replace(string(signature), "record 1", "record 2", 1),
		"carriage return": strings.ReplaceAll(string(signature), "\n", "\r\n"),
		"too large":       string(signature) + strings.Repeat("— x AAAAAAAAAA==\n", MaxSignature/15),
		"too many":        string(signature) + manySignatures(maxSignatures),
	} {
		if _, err := Verify([]byte(note), r, text, trusted); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// forger signs for a key that it has not.
type forger struct{ note.Verifier }

func (forger) Sign([]byte) ([]byte, error) { return make([]byte, 64), nil }

func manySignatures(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("— x" + string(rune('a'+i)) + " AAAAAAAA\n")
	}
	return b.String()
}

func TestMergeSignatures(t *testing.T) {
	t.Parallel()
	signer, verifier := newKey(t, "old")
	second, secondVerifier := newKey(t, "new")
	r, text, old := signed(t, signer, nil)
	fresh, err := Sign(text, nil, second)
	if err != nil {
		t.Fatal(err)
	}
	merged := MergeSignatures(old, fresh)
	for _, v := range []note.Verifier{verifier, secondVerifier} {
		if _, err := Verify(merged, r, text, []note.Verifier{v}); err != nil {
			t.Error(err)
		}
	}
	if MergeSignatures(merged, fresh) != nil || MergeSignatures(old, old) != nil {
		t.Error("what is there is added again")
	}
	// What came first under a key stays.
	head, _, _ := strings.Cut(string(old), "\n\n")
	forged, err := note.Sign(&note.Note{Text: head + "\n"}, forger{verifier})
	if err != nil {
		t.Fatal(err)
	}
	if MergeSignatures(old, forged) != nil {
		t.Error("a forged signature takes the place of the right one")
	}
	full := []byte(head + "\n\n" + manySignatures(maxSignatures))
	if MergeSignatures(full, fresh) != nil {
		t.Error("there is no end to signatures")
	}
	if MergeSignatures(nil, fresh) != nil || MergeSignatures(old, nil) != nil {
		t.Error("nothing is a note")
	}
}

func FuzzVerify(f *testing.F) {
	signer, verifier := newKey(f, "ci")
	r := example(f)
	text, err := r.Encode()
	if err != nil {
		f.Fatal(err)
	}
	right, err := Sign(text, nil, signer)
	if err != nil {
		f.Fatal(err)
	}
	head, _, _ := strings.Cut(string(right), "\n\n")
	f.Add(right)
	f.Add([]byte(head + "\n\n" + manySignatures(3)))
	f.Add([]byte(noteTitle + "\n\n— ci AAAAAAAA\n"))
	f.Fuzz(func(t *testing.T, signature []byte) {
		if _, err := Verify(signature, r, text, []note.Verifier{verifier}); err == nil && !bytes.HasPrefix(signature, []byte(head+"\n\n")) {
			t.Errorf("accepted as signed: %q", signature)
		}
		if merged := MergeSignatures(signature, right); merged != nil {
			if err := CheckSignature(merged, text); err != nil {
				t.Errorf("merged: %v", err)
			}
		}
	})
}
