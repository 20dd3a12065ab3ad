package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
	"curdling/internal/store"
	"curdling/internal/store/disk"
	"curdling/internal/version"
)

// TestStateIsUsed: what is known is not read again, and what is known of another content is not used.
func TestStateIsUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name, content := flask("3.0")
	drop(t, dir, name, content)
	sdist := makeSdist(t, "foo-bar-1.0-2", "Metadata-Version: 2.1\nName: foo-bar\nVersion: 1.0.post2\n")
	drop(t, dir, "foo-bar-1.0-2.tar.gz", sdist)
	c, _ := open(t, dir)
	first := []*File{c.File(name), c.File("foo-bar-1.0-2.tar.gz")}
	c.Close()

	// The content changes and size and time do not: only who reads it could know.
	info, err := os.Stat(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	drop(t, dir, name, bytes.Repeat([]byte("x"), len(content)))
	if err := os.Chtimes(filepath.Join(dir, name), time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	c, log := open(t, dir)
	second := []*File{c.File(name), c.File("foo-bar-1.0-2.tar.gz")}
	if diff := cmp.Diff(first, second, cmp.AllowUnexported(File{}), cmp.Comparer(func(a, b version.Version) bool { return a.Compare(b) == 0 })); diff != "" {
		t.Errorf("facts read and facts remembered (-read +remembered):\n%s", diff)
	}
	if log.String() != "" {
		t.Errorf("log:\n%s", log)
	}
	c.Close()

	drop(t, dir, name, append(content, "more"...))
	c, _ = open(t, dir)
	if f := c.File(name); f != nil && f.SHA256 == sum(content) {
		t.Error("facts of another content were used")
	}
}

// TestFromIsKept: who uploaded a file, and when it was published, are known at the next start.
func TestFromIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, _ := open(t, dir)
	name, content := flask("3.0")
	from := From{User: "ci", Upstream: "main", UploadTime: time.Unix(1_000_000_000, 0).UTC()}
	u, err := c.Receive(name, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Discard()
	if _, err := u.Keep(t.Context(), from); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		f := c.File(name)
		if f == nil || f.From != from || f.UploadTime != from.UploadTime || time.Since(f.ModTime) > time.Hour {
			t.Errorf("%+v, want it to be from %+v", f, from)
		}
		c.Close()
		c, _ = open(t, dir)
	}
}

func TestStateDeletedOrTorn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name, content := flask("3.0")
	drop(t, dir, name, content)
	c, _ := open(t, dir)
	c.Close()
	journal := filepath.Join(dir, disk.StateDir, "facts.jsonl")
	b, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	upper := bytes.ReplaceAll(b, []byte(sum(content)), []byte(strings.ToUpper(sum(content))))
	for damage, damaged := range map[string][]byte{"empty": nil, "torn": b[:len(b)/2], "rubbish": []byte("\x00\xff{}\n[]\n{\"file\":1}\n"), "long line": bytes.Repeat([]byte("x"), 2*maxLine), "upper case": upper} {
		if err := os.WriteFile(journal, damaged, 0o666); err != nil {
			t.Fatal(err)
		}
		c, _ := open(t, dir)
		if len(heldFiles(c)) != 1 || c.File(name).SHA256 != sum(content) {
			t.Errorf("%s: held %q", damage, heldFiles(c))
		}
		c.Close()
		b, err := os.ReadFile(journal)
		if err != nil {
			t.Fatal(err)
		}
		if known, _ := readFacts(string(b)); damage != "long line" && len(known) != 1 {
			t.Errorf("%s: the journal is not whole afterwards: %q", damage, b)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, disk.StateDir)); err != nil {
		t.Fatal(err)
	}
	c, _ = open(t, dir)
	if len(heldFiles(c)) != 1 {
		t.Errorf("state deleted: held %q", heldFiles(c))
	}
}

func TestCompact(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name, content := flask("3.0")
	drop(t, dir, name, content)
	c, _ := open(t, dir)
	c.Close()
	journal := filepath.Join(dir, disk.StateDir, "facts.jsonl")
	b, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(journal, bytes.Repeat(b, 1500), 0o666); err != nil {
		t.Fatal(err)
	}
	c, _ = open(t, dir)
	c.Close()
	after, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, after) {
		t.Errorf("compacted to %d bytes, want %d", len(after), len(b))
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, _ := open(t, dir)
	name, content := flask("3.0")
	if _, err := upload(t, c, name, content); err != nil {
		t.Fatal(err)
	}
	f := c.File(name)
	kept := filepath.Join(dir, disk.StateDir, "metadata", f.SHA256[:2], f.SHA256)
	for _, what := range []string{"from the wheel", "from what is kept", "what is kept is torn"} {
		if what == "what is kept is torn" {
			if err := os.Truncate(kept, 10); err != nil {
				t.Fatal(err)
			}
		}
		b, _, err := c.Metadata(t.Context(), name)
		if err != nil || sum(b) != f.MetadataSHA256 || !bytes.Contains(b, []byte("Summary: A framework")) {
			t.Errorf("%s: %q, %v", what, b, err)
		}
		if b, err := os.ReadFile(kept); err != nil || sum(b) != f.MetadataSHA256 {
			t.Errorf("%s: kept: %q, %v", what, b, err)
		}
	}
	if _, _, err := c.Metadata(t.Context(), "no-1.0-py3-none-any.whl"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Metadata of nothing: %v", err)
	}
	drop(t, filepath.Dir(kept), "garbage", nil)
	c.pruneMetadata(t.Context())
	left, err := os.ReadDir(filepath.Dir(kept))
	if err != nil || len(left) != 1 {
		t.Errorf("left after pruning: %v, %v", left, err)
	}
}

// TestJournalTold: what another process noted of a file is believed by a server that finds it, where it is of that very file.
func TestJournalTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	j, _ := openJournal(dir, log)
	other, _ := openJournal(dir, log)
	none, some := func(string) bool { return false }, func(key string) bool { return key == "Flask-1.0-py3-none-any.whl" }
	file := func(version string) *File {
		name, _ := flask(version)
		f := &File{File: dist.File{Filename: name, Name: "flask", Kind: dist.Wheel, Size: 7, SHA256: sum(nil), HasMetadata: true, MetadataSHA256: sum(nil)}}
		f.ModTime = time.Unix(5, 7)
		f.From.User = "ann"
		f.UploadTime = f.ModTime
		return f
	}
	one, two := file("1.0"), file("2.0")
	if j.told(one.info(), none) != nil {
		t.Error("told of nothing")
	}
	other.append(one)
	other.append(two)
	changed := one.info()
	changed.Size++
	switch {
	case j.told(changed, none) != nil:
		t.Error("of another content")
	case j.told(one.info(), none) != nil:
		t.Error("a line counts once")
	case j.told(two.info(), none) == nil || j.told(two.info(), none) != nil:
		t.Error("the other line was lost, or counts twice")
	}
	other.append(one)
	other.append(two)
	if f := j.told(two.info(), some); f == nil || f.From.User != "ann" || j.told(one.info(), none) != nil {
		t.Errorf("told %+v", f)
	}
	other.append(two)
	if err := os.Truncate(j.path(), 100); err != nil { // written anew
		t.Fatal(err)
	}
	if j.told(two.info(), none) != nil {
		t.Error("of what is there no more")
	}
	other.append(two)
	if j.told(two.info(), none) == nil {
		t.Error("not told of what came after it was written anew")
	}
	other.close()
	j.close()
}

func FuzzReadFacts(f *testing.F) {
	name, content := flask("3.0")
	info := store.Info{Key: name, Size: int64(len(content)), ModTime: time.Unix(1, 2)}
	known, _, err := check(bytes.NewReader(content), info.Size, name)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(fmt.Sprintf(`{"file":%q,"size":%d,"mtime":1000000002,"sha256":%q,"project":"flask","metadata_sha256":%q,"requires_python":">=3.8"}`+"\n{}", name, info.Size, sum(content), known.MetadataSHA256)))
	f.Add([]byte("{\"file\":\"x\"}\n\x00\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		read, _ := readFacts(string(b))
		for key, line := range read {
			x, ok := parseFacts(line)
			var scanned, parsed facts
			if scanFacts(line, &scanned) && (json.Unmarshal([]byte(line), &parsed) != nil || scanned != parsed) {
				t.Errorf("%q is scanned as %+v, encoding/json says %+v", line, scanned, parsed)
			}
			if !ok || x.File != key {
				continue
			}
			got := x.file(store.Info{Key: key, Size: x.Size, ModTime: time.Unix(0, x.ModTime)}, newCommon())
			if got == nil {
				continue
			}
			if got.Filename != key || got.Name == "" || !store.IsSHA256(got.SHA256) || len(got.Summary) > 512 {
				t.Errorf("%+v", got)
			}
			again := factsOf(got)
			if again.File != x.File || again.SHA256 != x.SHA256 || again.Size != x.Size || again.ModTime != x.ModTime {
				t.Errorf("%+v became %+v", x, again)
			}
		}
	})
}
