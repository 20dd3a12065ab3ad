package catalog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/record"
	"curdling/internal/wheel/wheeltest"
)

const source = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// built is the record and the wheel of a build of project-1.0, on a Python that on names.
func built(t *testing.T, project, on, content string, edit func(*record.Record)) (name string, wheel, text []byte) {
	t.Helper()
	r := &record.Record{
		Key:  record.Key(record.Decides{From: source}),
		From: record.From{SHA256: source, Filename: project + "-1.0.tar.gz"},
		On:   record.On{Python: on, Tag: "cp311-cp311", Platform: "linux_x86_64"},
		Cost: record.Cost{Seconds: 60},
	}
	if edit != nil {
		edit(r)
	}
	if err := r.Identify(); err != nil {
		t.Fatal(err)
	}
	name, wheel = makeWheel(wheeltest.Wheel{Name: project, Version: "1.0", BuildTag: r.BuildTag().String(), Files: map[string]string{"x.py": content}})
	sum := sha256.Sum256(wheel)
	r.Wheel = record.Wheel{Filename: name, Size: int64(len(wheel)), SHA256: hex.EncodeToString(sum[:])}
	text, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return name, wheel, text
}

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
	name, wheel, text := built(t, project, on, randomText(10_000), func(r *record.Record) { r.Cost.Seconds = took.Seconds() })
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
	key := record.Key(record.Decides{From: source})
	first, wheel, text := built(t, "foo", "3.11.1", "one", nil)
	if err := send(t, c, first, wheel, text); err != nil {
		t.Fatal(err)
	}
	second, err := keepBuild(t, c, "foo", "3.11.2", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{first, second}, names(c.Builds(source, key))); diff != "" {
		t.Errorf("builds (-want +got):\n%s", diff)
	}
	if got := c.Builds(key, source); got != nil {
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
	_, other, otherText := built(t, "foo", "3.11.1", "two", nil)
	var conflict *ConflictError
	if err := send(t, c, first, other, otherText); !errors.As(err, &conflict) {
		t.Errorf("other bytes: %v", err)
	}
	if of, all := c.Evidence(first); of != 1 || all != 1 {
		t.Errorf("evidence %d, %d", of, all)
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
		name, wheel, _ := built(t, "foo", "3.11.3", "one", nil)
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
	if diff := cmp.Diff([]string{first}, names(again.Builds(source, key))); diff != "" {
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
	if again.File(first).Build != nil || again.Builds(source, key) != nil {
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
	special, wheel, text := built(t, "foo", "3.11.1", "", func(r *record.Record) { r.With.Variables = map[string]string{"CFLAGS": "-O3"} })
	if err := send(t, c, special, wheel, text); err != nil {
		t.Fatal(err)
	}
	p := c.Project("foo")
	if diff := cmp.Diff([]string{plain}, names(p.Plain())); diff != "" || len(p.Files) != 2 {
		t.Errorf("plain (-want +got):\n%s", diff)
	}
	own, content := makeWheel(wheeltest.Wheel{Name: "foo", Version: "1.0"})
	if err := keep(t, c, own, content, From{}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{own}, names(c.Project("foo").Plain())); diff != "" {
		t.Errorf("beside the project's own (-want +got):\n%s", diff)
	}
	if wheelFor(c.File(own), c.File(own).Tags[0]) == "" || versioned.ReplaceAllString("manylinux_2_17_x86_64", "$1$2 ") != versioned.ReplaceAllString("linux_x86_64", "$1$2 ") ||
		versioned.ReplaceAllString("manylinux2014_x86_64", "$1$2 ") != "linux x86_64" || versioned.ReplaceAllString("musllinux_1_2_x86_64", "$1$2 ") != "musllinux x86_64" {
		t.Error("platforms are not told apart rightly")
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
		n, wheel, text := built(t, "foo", "3.11.1", strings.Repeat("x", i), nil)
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
	if _, all := c.Evidence(name); all != 7 {
		t.Errorf("%d are evidence", all)
	}
	again, _ := open(t, dir)
	if f := again.File(name); f == nil || f.Build == nil {
		t.Errorf("held in the folder: %+v", f)
	}
}
