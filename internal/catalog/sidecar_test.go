package catalog

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/store"
	"curdling/internal/version"
)

// until waits for what a change by hand leads to.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(soon); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s", soon, what)
		}
	}
}

const provenance = `{"version": 1, "attestation_bundles": []}`

func TestSidecars(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name, content := flask("3.0")
	older, olderContent := flask("2.0")
	drop(t, dir, name, content)
	drop(t, dir, older, olderContent)
	drop(t, dir, name+".yanked", []byte(" breaks\x1b[31m\nall \xff"))
	drop(t, dir, name+".provenance", []byte(provenance))
	drop(t, dir, "flask.status", []byte("Archived: see\nquart"))
	for _, bad := range []string{"x.yanked", older + ".provenance", "Flask.status", "zope.status"} {
		drop(t, dir, bad, []byte("no status"))
	}
	c, log := open(t, dir)
	f, p := c.File(name), c.Project("flask")
	if !f.Yanked || f.YankedReason != "breaks [31m all" || f.Provenance != name+".provenance" {
		t.Errorf("%+v", f)
	}
	if old := c.File(older); old.Yanked || old.Provenance != "" {
		t.Errorf("%+v", old)
	}
	if p.Status != "archived" || p.StatusReason != "see quart" || len(p.Offered()) != 2 {
		t.Errorf("%q %q", p.Status, p.StatusReason)
	}
	if n := strings.Count(log.String(), "msg=ignored"); n != 4 {
		t.Errorf("%d ignored:\n%s", n, log)
	}
	if b, err := c.Sidecar(t.Context(), name+".provenance"); err != nil || string(b) != provenance {
		t.Errorf("%s, %v", b, err)
	}
	for _, none := range []string{name, older + ".provenance", "none-1.0-py3-none-any.whl.provenance", "flask.status"} {
		if _, err := c.Sidecar(t.Context(), none); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", none, err)
		}
	}
	if _, err := upload(t, c, name, content); err != nil {
		t.Errorf("the same bytes again, archived: %v", err)
	}
	newer, newerContent := flask("4.0")
	var refused *StatusError
	if _, err := upload(t, c, newer, newerContent); !errors.As(err, &refused) {
		t.Errorf("a new file of an archived project: %v", err)
	}
	if best := p.Best(version.Specifiers{}, func(*File) bool { return true }); best.Filename != older {
		t.Errorf("best is %s, which is yanked", best.Filename)
	}
	pin, err := version.ParseSpecifiers("==3.0")
	if err != nil {
		t.Fatal(err)
	}
	if best := p.Best(pin, func(*File) bool { return true }); best == nil || best.Filename != name {
		t.Errorf("pinned: %+v", best)
	}
}

// TestSidecarsByHand: they come and go while a server runs, before and after what they are of.
func TestSidecarsByHand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, _ := open(t, dir)
	run(t, c)
	name, content := flask("3.0")
	drop(t, dir, name+".yanked", nil)
	drop(t, dir, "flask.status", []byte("quarantined: malware"))
	drop(t, dir, name, content)
	until(t, "yanked and quarantined", func() bool {
		f, p := c.File(name), c.Project("flask")
		return f != nil && f.Yanked && p.Status == Quarantined && p.StatusReason == "malware"
	})
	var refused *StatusError
	if _, _, err := c.Open(t.Context(), name); !errors.As(err, &refused) || refused.Error() != "flask is quarantined here: malware" {
		t.Errorf("Open: %v", err)
	}
	if _, _, err := c.Metadata(t.Context(), name); !errors.As(err, &refused) {
		t.Errorf("Metadata: %v", err)
	}
	if p := c.Project("flask"); len(p.Offered()) != 0 || p.Best(version.Specifiers{}, func(*File) bool { return true }) != nil {
		t.Error("files of a quarantined project are offered")
	}
	if _, err := c.Offered("Flask-9.0-py3-none-any.whl"); !errors.As(err, &refused) {
		t.Errorf("a file that is not held: %v", err)
	}
	for _, gone := range []string{name + ".yanked", "flask.status"} {
		if err := os.Remove(filepath.Join(dir, gone)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "neither any more", func() bool { return !c.File(name).Yanked && c.Project("flask").Status == "" })
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	eventually(t, c)
}

// attest makes a list of one attestation.
func attest(name, sha256 string) []byte {
	statement := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":%q,"digest":{"sha256":%q}}]}`, name, sha256)
	return fmt.Appendf(nil, `[{"version":1,"verification_material":{},"envelope":{"statement":%q,"signature":""}}]`, base64.StdEncoding.EncodeToString([]byte(statement)))
}

func TestAttestations(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, _ := open(t, dir)
	name, content := flask("3.0")
	u, err := c.Receive(name, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Discard()
	good := attest("Flask-3.0-py3-none-any.whl", strings.ToUpper(u.SHA256))
	for _, bad := range []string{
		"", "{}", "[]", "[{}]", "[null]", string(good) + "x", string(attest("flask-3.1-py3-none-any.whl", u.SHA256)), string(attest(name, sum(nil))),
		`[{"version":1,"envelope":{"statement":"!"}}]`, `[{"version":1,"envelope":{"statement":""}}]`, strings.Replace(string(good), `"version":1`, `"version":2`, 1),
		`[{"version":1,"envelope":{"statement":"e30="}}]`, strings.Repeat(" ", MaxSidecar) + string(good),
	} {
		var invalid *InvalidError
		if err := u.CheckAttestations([]byte(bad)); !errors.As(err, &invalid) {
			t.Errorf("%.60q: %v", bad, err)
		}
	}
	if err := u.CheckAttestations(good); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Keep(t.Context(), From{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := u.KeepAttestations(t.Context(), good); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := c.Sidecar(t.Context(), name+".attestations"); err != nil || !bytes.Equal(b, good) {
		t.Errorf("%s, %v", b, err)
	}
	if diff := cmp.Diff([]string{name}, heldFiles(c)); diff != "" {
		t.Error(diff)
	}
}

func FuzzSidecar(f *testing.F) {
	for _, suffix := range []string{".yanked", ".provenance", ".attestations"} {
		f.Add("flask-3.0-py3-none-any.whl"+suffix, []byte(provenance))
	}
	f.Add("flask.status", []byte("quarantined: x"))
	f.Add("flask-3.0-py3-none-any.whl.attestations", attest("flask-3.0-py3-none-any.whl", sum(nil)))
	f.Fuzz(func(t *testing.T, key string, content []byte) {
		if of, _, ok := splitSidecar(key); ok {
			s, err := readSidecar(bytes.NewReader(content), store.Info{Key: key, Size: int64(len(content))})
			if err == nil && (len(s.reason) > maxReason || strings.ContainsAny(s.reason, "\x1b\n\x00") || s.status != "" && s.status != Archived && s.status != Quarantined && s.status != Deprecated) {
				t.Errorf("%q became %+v", content, s)
			}
			if checkAttestations(content, of, sum(nil)) == nil && !json.Valid(content) {
				t.Errorf("%q was taken for attestations", content)
			}
		}
	})
}
