package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"curdling/internal/record"
	"curdling/internal/record/recordtest"
)

func send(t *testing.T, c *Catalog, name string, wheel, text []byte) error {
	t.Helper()
	u, err := c.Receive(name, bytes.NewReader(wheel))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Discard()
	u.Record = text
	_, err = u.Keep(t.Context(), From{User: "ci"})
	return err
}

// keepBuild has a build held that took so long.
func keepBuild(t *testing.T, c *Catalog, project, on string, took time.Duration) (name string, err error) {
	name, wheel, text := recordtest.Build(t, project, on, randomText(10_000), func(r *record.Record) { r.Cost.Seconds = took.Seconds() })
	return name, send(t, c, name, wheel, text)
}

func names(files []*File) (list []string) {
	for _, f := range files {
		list = append(list, f.Filename)
	}
	return list
}

func TestBuilds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, log := open(t, dir)
	key := record.Key(record.Decides{From: recordtest.Source})
	first, wheel, text := recordtest.Build(t, "foo", "3.11.1", "one", nil)
	if err := send(t, c, first, wheel, text); err != nil {
		t.Fatal(err)
	}
	second, err := keepBuild(t, c, "foo", "3.11.2", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{first, second}, names(c.Builds(recordtest.Source, key))); diff != "" {
		t.Errorf("builds (-want +got):\n%s", diff)
	}
	if got := c.Builds(key, recordtest.Source); got != nil {
		t.Errorf("builds of something else: %v", names(got))
	}
	if got, err := c.Sidecar(t.Context(), first+RecordSuffix); err != nil || !bytes.Equal(got, text) {
		t.Errorf("the record: %v", err)
	}
	if f := c.File(first); f.Build == nil || f.Build.Time != time.Minute || !f.Build.Plain {
		t.Errorf("build %+v", f.Build)
	}

	// The same again, then other bytes for the same.
	if err := send(t, c, first, wheel, text); err != nil {
		t.Error(err)
	}
	_, other, otherText := recordtest.Build(t, "foo", "3.11.1", "two", nil)
	var conflict *ConflictError
	if err := send(t, c, first, other, otherText); !errors.As(err, &conflict) {
		t.Errorf("other bytes: %v", err)
	}
	if of, all := c.Evidence(first); of != 1 || all != 1 {
		t.Errorf("evidence %d, %d", of, all)
	}
	if err := send(t, c, first, other, otherText); !errors.As(err, &conflict) {
		t.Errorf("other bytes again: %v", err)
	}
	restarted, _ := open(t, dir)
	for what, c := range map[string]*Catalog{"sent again": c, "after a restart": restarted} {
		if of, all := c.Evidence(first); of != 1 || all != 1 {
			t.Errorf("%s: evidence %d, %d", what, of, all)
		}
	}
	kept, err := filepath.Glob(filepath.Join(c.journal.dir, "evidence", "*"))
	if err != nil || len(kept) != 2 || !strings.Contains(log.String(), "another build of the same was sent") {
		t.Errorf("kept %v, %v\n%s", kept, err, log)
	}
	if f := c.File(first); f.Build == nil || f.SHA256 != f.Build.SHA256 {
		t.Error("the first is not what it was")
	}

	// What is no record of the file.
	for what, text := range map[string][]byte{"none": []byte("{}"), "another's": otherText} {
		name, wheel, _ := recordtest.Build(t, "foo", "3.11.3", "one", nil)
		var invalid *InvalidError
		if err := send(t, c, name, wheel, text); !errors.As(err, &invalid) || c.File(name) != nil {
			t.Errorf("a record of %s: %v", what, err)
		}
	}

	// Another catalog over the same folder finds all of it again; a record alone is of nothing.
	if err := os.Remove(filepath.Join(dir, second)); err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, dir)
	if diff := cmp.Diff([]string{first}, names(again.Builds(recordtest.Source, key))); diff != "" {
		t.Errorf("builds found again (-want +got):\n%s", diff)
	}
	if again.File(second) != nil {
		t.Error("a record stands for its wheel")
	}

	// A record that is gone, and comes back with the same wheel.
	if err := os.Remove(filepath.Join(dir, first+RecordSuffix)); err != nil {
		t.Fatal(err)
	}
	again.examine(t.Context(), first+RecordSuffix, 0)
	if again.File(first).Build != nil || again.Builds(recordtest.Source, key) != nil {
		t.Error("a record is gone and counts")
	}
	if err := send(t, again, first, wheel, text); err != nil || again.File(first).Build == nil {
		t.Errorf("the record came back: %v", err)
	}
}

// TestPlain: what installers see that know nothing of records.
func TestPlain(t *testing.T) {
	t.Parallel()
	c, _ := open(t, t.TempDir())
	plain, err := keepBuild(t, c, "foo", "3.11.1", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	special, wheel, text := recordtest.Build(t, "foo", "3.11.1", "", func(r *record.Record) { r.With.Variables = map[string]string{"CFLAGS": "-O3"} })
	if err := send(t, c, special, wheel, text); err != nil {
		t.Fatal(err)
	}
	commit, wheel, text := recordtest.Build(t, "foo", "3.11.1", "", func(r *record.Record) { r.From.Filename, r.From.Repository = "", "git+https://host/foo" })
	if err := send(t, c, commit, wheel, text); err != nil {
		t.Fatal(err)
	}
	p := c.Project("foo")
	if diff := cmp.Diff([]string{plain}, names(p.Listed(true))); diff != "" || len(p.Listed(false)) != 2 || len(p.Files) != 3 {
		t.Errorf("plain (-want +got):\n%s", diff)
	}
}

// TestBuildsAtOnce: of many different builds of one identity at once, one is held with its record.
func TestBuildsAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, _ := open(t, dir)
	var wg sync.WaitGroup
	var name string
	for i := range 8 {
		n, wheel, text := recordtest.Build(t, "foo", "3.11.1", strings.Repeat("x", i), nil)
		name = n
		wg.Go(func() {
			err := send(t, c, n, wheel, text)
			var conflict *ConflictError
			if err != nil && !errors.As(err, &conflict) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if f := c.File(name); f == nil || f.Build == nil {
		t.Fatalf("held: %+v", f)
	}
	again, _ := open(t, dir)
	for _, c := range []*Catalog{c, again} {
		if of, all := c.Evidence(name); of != 7 || all != 7 {
			t.Errorf("%d of %d are evidence", of, all)
		}
	}
	if f := again.File(name); f == nil || f.Build == nil {
		t.Errorf("held in the folder: %+v", f)
	}
}

// TestSignatures: a signature of the held record joins those that are there, and replaces none.
func TestSignatures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, _ := open(t, dir)
	name, wheel, text := recordtest.Build(t, "foo", "3.11.1", "one", nil)
	old, oldKey := recordtest.Key(t, "old")
	fresh, freshKey := recordtest.Key(t, "new")
	r, err := record.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(trusted note.Verifier) error {
		t.Helper()
		signature, err := c.Sidecar(t.Context(), name+SignatureSuffix)
		if err != nil {
			return err
		}
		_, err = record.Verify(signature, r, text, []note.Verifier{trusted})
		return err
	}
	put := func(text, signature []byte) error {
		t.Helper()
		u, err := c.Receive(name, bytes.NewReader(wheel))
		if err != nil {
			t.Fatal(err)
		}
		defer u.Discard()
		u.Record, u.Signature = text, signature
		_, err = u.Keep(t.Context(), From{})
		return err
	}
	var invalid *InvalidError
	for _, bad := range []string{"", "signed", string(recordtest.Sign(t, text, old)) + "more"} {
		if err := put(text, []byte(bad)); !errors.As(err, &invalid) {
			t.Errorf("signature %q: %v", bad, err)
		}
	}
	if err := errors.Join(put(text, nil), put(text, recordtest.Sign(t, text, old))); err != nil || signed(oldKey) != nil {
		t.Fatalf("signed later: %v, %v", err, signed(oldKey))
	}
	if err := put(text, recordtest.Sign(t, text, fresh)); err != nil || signed(oldKey) != nil || signed(freshKey) != nil {
		t.Errorf("signed anew: %v, old %v, new %v", err, signed(oldKey), signed(freshKey))
	}
	before, err := c.Sidecar(t.Context(), name+SignatureSuffix)
	if err != nil {
		t.Fatal(err)
	}

	// A record of the same wheel that tells of another cost is not the one that is held.
	again := *r
	again.Cost.Seconds = 1
	another, err := again.Encode()
	if err != nil {
		t.Fatal(err)
	}
	mallory, _ := recordtest.Key(t, "mallory")
	if err := put(another, recordtest.Sign(t, another, mallory)); err != nil {
		t.Error(err)
	}
	if after, err := c.Sidecar(t.Context(), name+SignatureSuffix); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a signature of another record: %v\n%s", err, after)
	}
	if got, err := c.Sidecar(t.Context(), name+RecordSuffix); err != nil || !bytes.Equal(got, text) {
		t.Errorf("the record is another now: %v", err)
	}
}

// TestSignaturesAtOnce: many sign at once, at two servers over one folder, and none of the signatures is lost.
func TestSignaturesAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, _ := open(t, dir)
	name, wheel, text := recordtest.Build(t, "foo", "3.11.1", "one", nil)
	if err := send(t, a, name, wheel, text); err != nil {
		t.Fatal(err)
	}
	b, _ := open(t, dir)
	r, err := record.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var keys []note.Verifier
	var all sync.WaitGroup
	for i := range 12 {
		signer, key := recordtest.Key(t, fmt.Sprint("key", i))
		keys = append(keys, key)
		signature, c := recordtest.Sign(t, text, signer), []*Catalog{a, b}[i%2]
		all.Go(func() {
			u, err := c.Receive(name, bytes.NewReader(wheel))
			if err != nil {
				t.Error(err)
				return
			}
			defer u.Discard()
			u.Record, u.Signature = text, signature
			if _, err := u.Keep(t.Context(), From{}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	signatures, err := os.ReadFile(filepath.Join(dir, name+SignatureSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if _, err := record.Verify(signatures, r, text, []note.Verifier{key}); err != nil {
			t.Errorf("of %s: %v", key.Name(), err)
		}
	}
}

// TestSignaturePlaceTaken: what lies where a signature belongs and is none has an end, and an error.
func TestSignaturePlaceTaken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, _ := open(t, dir)
	name, wheel, text := recordtest.Build(t, "foo", "3.11.1", "one", nil)
	if err := send(t, c, name, wheel, text); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, name+SignatureSuffix), 0o777); err != nil {
		t.Fatal(err)
	}
	u, err := c.Receive(name, bytes.NewReader(wheel))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Discard()
	signer, _ := recordtest.Key(t, "ci")
	u.Record, u.Signature = text, recordtest.Sign(t, text, signer)
	if _, err := u.Keep(t.Context(), From{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%v", err)
	}
}
