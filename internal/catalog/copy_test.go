package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/record/recordtest"
	"curdling/internal/store/bucket"
	"curdling/internal/store/disk"
	"curdling/internal/store/storetest"
	"curdling/internal/wheel/wheeltest"
)

// fill has a catalog hold something of everything.
func fill(t *testing.T, c *Catalog) {
	t.Helper()
	put := func(name string, content []byte, from From, edit func(*Upload)) {
		t.Helper()
		u, err := c.Receive(name, bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		defer u.Discard()
		if edit != nil {
			edit(u)
		}
		if created, err := u.Keep(t.Context(), from); !created || err != nil {
			t.Fatalf("%s: %v, %v", name, created, err)
		}
	}
	beside := func(key, content string) {
		t.Helper()
		if err := c.store.Create(t.Context(), key, strings.NewReader(content), int64(len(content))); err != nil {
			t.Fatal(err)
		}
		c.examine(t.Context(), key, 0)
	}
	long := time.Date(2021, 5, 4, 3, 2, 1, 999, time.UTC)
	one, content := flask("1.0")
	put(one, content, From{User: "ann"}, nil)
	two, content := flask("2.0")
	put(two, content, From{Upstream: "pypi", UploadTime: long}, nil)
	put("foo_bar-1.0.tar.gz", makeSdist(t, "foo_bar-1.0", "Metadata-Version: 2.1\nName: foo-bar\nVersion: 1.0\nRequires-Python: >=3.8\n"), From{}, nil)
	built, wheel, text := recordtest.Build(t, "built", "3.11.1", "one", nil)
	key, _ := recordtest.Key(t, "key")
	put(built, wheel, From{User: "ci"}, func(u *Upload) { u.Record, u.Signature = text, recordtest.Sign(t, text, key) })
	another, wheel, text := recordtest.Build(t, "built", "3.11.2", "two", nil)
	put(another, wheel, From{}, func(u *Upload) { u.Record = text })
	bad, content := makeWheel(wheeltest.Wheel{Name: "bad", Version: "1"})
	put(bad, content, From{}, nil)
	old, content := makeWheel(wheeltest.Wheel{Name: "old", Version: "1"})
	put(old, content, From{}, nil)
	beside(one+YankedSuffix, "loses data")
	beside(two+YankedSuffix, "")
	beside(two+ProvenanceSuffix, `{"version":1,"attestation_bundles":[]}`)
	beside(one+AttestationsSuffix, string(attest(one, c.File(one).SHA256)))
	beside("bad"+StatusSuffix, "quarantined: malware")
	beside("old"+StatusSuffix, "archived")
	beside("nothing"+StatusSuffix, "deprecated: use flask")
	beside("gone-1.0-py3-none-any.whl"+YankedSuffix, "of a file that is not there")
}

// everything tells all that a catalog holds and says. A catalog far away is asked for what it holds.
func everything(t *testing.T, c *Catalog) map[string]string {
	t.Helper()
	all := make(map[string]string)
	x := &copying{from: c}
	names, err := x.names(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := c.Fresh(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		keys := x.sidecarsOf(name)
		if p := c.Project(name); p != nil {
			for _, f := range p.Files {
				r, _, err := c.store.Open(t.Context(), f.Filename)
				if err != nil {
					t.Fatal(err)
				}
				content, err := io.ReadAll(r)
				r.Close()
				if err != nil || sum(content) != f.SHA256 {
					t.Errorf("%s: %d bytes with sha256 %s, not %s: %v", f.Filename, len(content), sum(content), f.SHA256, err)
				}
				all[f.Filename] = fmt.Sprint(f.SHA256, f.Size, f.From.User, f.From.Upstream, f.UploadTime.UnixNano(), f.Summary, f.RequiresPython, f.MetadataSHA256,
					f.Yanked, f.YankedReason, f.Provenance, f.Build != nil, p.Status, p.StatusReason)
				if f.Build != nil {
					keys = append(keys, f.Filename+RecordSuffix, f.Filename+SignatureSuffix)
				}
			}
		}
		for _, key := range keys {
			content, err := c.beside(t.Context(), key)
			if err == nil {
				all[key] = string(content)
			} else if !strings.HasSuffix(key, SignatureSuffix) {
				t.Errorf("%s: %v", key, err)
			}
		}
	}
	return all
}

func copyAll(t *testing.T, from, to *Catalog, o CopyOptions) (copied Copied, left map[string]string) {
	t.Helper()
	left = make(map[string]string)
	o.Left = func(key string, why error) { left[key] = why.Error() }
	copied, err := Copy(t.Context(), from, to, o)
	if err != nil {
		t.Fatal(err)
	}
	return copied, left
}

func openBucket(t *testing.T, raw *storetest.Memory) *Catalog {
	t.Helper()
	c, _ := openFar(t, bucket.New(raw, bucket.Options{Temp: t.TempDir()}), raw)
	return c
}

// TestCopy: into a bucket, and from there into a folder, all is as it was, for a server that runs there as well; again there is nothing to do.
func TestCopy(t *testing.T) {
	t.Parallel()
	one, _ := open(t, t.TempDir())
	fill(t, one)
	want := everything(t, one)

	raw := storetest.NewMemory(10, time.Second)
	far := openBucket(t, raw)
	first := Copied{Files: 7, Beside: 8, Projects: 7, Of: 7}
	for name := range one.files {
		first.Bytes += one.File(name).Size
	}
	for _, dry := range []bool{true, false} {
		copied, left := copyAll(t, one, far, CopyOptions{DryRun: dry})
		if diff := cmp.Diff(first, copied); diff != "" || len(left) > 0 {
			t.Errorf("dry %v: %v (-want +got):\n%s", dry, left, diff)
		}
		if dry && len(raw.Keys()) > 0 {
			t.Errorf("a dry run wrote %v", raw.Keys())
		}
	}
	if diff := cmp.Diff(want, everything(t, openBucket(t, raw))); diff != "" {
		t.Errorf("in the bucket (-want +got):\n%s", diff)
	}
	again := Copied{Held: 7, Projects: 7, Of: 7}
	if copied, left := copyAll(t, one, openBucket(t, raw), CopyOptions{}); copied != again || len(left) > 0 {
		t.Errorf("again: %+v, %v", copied, left)
	}

	dir := t.TempDir()
	running, _ := open(t, dir)
	run(t, running)
	guest := visit(t, dir)
	if copied, left := copyAll(t, openBucket(t, raw), guest, CopyOptions{}); copied != first || len(left) > 0 {
		t.Errorf("into a folder: %+v, %v", copied, left)
	}
	until(t, "the server of the folder sees all", func() bool { return cmp.Equal(want, everything(t, running)) })
	guest.Close()
	running.Close()
	later, _ := open(t, dir)
	if diff := cmp.Diff(want, everything(t, later)); diff != "" {
		t.Errorf("in the folder (-want +got):\n%s", diff)
	}
	if fi, err := os.Stat(filepath.Join(dir, "Flask-2.0-py3-none-any.whl")); err != nil || fi.ModTime().Year() != 2021 {
		t.Errorf("the time at which it was published is lost without .curdling: %v, %v", fi.ModTime(), err)
	}
}

// visit opens a catalog of a folder that a server may be using.
func visit(t *testing.T, dir string) *Catalog {
	t.Helper()
	s, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(t.Context(), Config{Store: s, State: filepath.Join(dir, disk.StateDir), Patience: time.Hour, Guest: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c
}

// TestCopyLeaves: what lies there stays, and so does what is damaged; it is told.
func TestCopyLeaves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, _ := open(t, dir)
	fill(t, one)
	raw := storetest.NewMemory(0, 0)
	far := openBucket(t, raw)
	name, content := makeWheel(wheeltest.Wheel{Name: "old", Version: "1", Files: map[string]string{"other.py": ""}})
	mustUpload(t, far, name, content)
	reason := "another reason"
	if err := far.store.Create(t.Context(), "Flask-1.0-py3-none-any.whl"+YankedSuffix, strings.NewReader(reason), int64(len(reason))); err != nil {
		t.Fatal(err)
	}
	rot(t, filepath.Join(dir, "Flask-2.0-py3-none-any.whl"))
	// An ambiguous old name: in a bucket it would lie among the files of foo-bar-1-0.
	mustUpload(t, one, "foo-bar-1.0-1.tar.gz", makeSdist(t, "foo-bar-1.0-1", "Metadata-Version: 2.1\nName: foo-bar\nVersion: 1.0.post1\n"))
	_, left := copyAll(t, one, far, CopyOptions{Parallel: 1})
	var keys []string
	for key := range left {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	if diff := cmp.Diff([]string{"Flask-1.0-py3-none-any.whl.yanked", "Flask-2.0-py3-none-any.whl", "foo-bar-1.0-1.tar.gz", "old-1-py3-none-any.whl"}, keys); diff != "" {
		t.Errorf("left (-want +got):\n%s\n%v", diff, left)
	}
	if f := fresh(t, far, "old").Files[0]; f.SHA256 != sum(content) {
		t.Error("it was replaced")
	}
	if p := fresh(t, far, "flask"); len(p.Files) != 1 {
		t.Errorf("a damaged file came: %v", names(p.Files))
	}
}

// TestCopyBesideOthers: what comes to either while it works is copied, or left for the next time, and nothing is lost.
func TestCopyBesideOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, _ := open(t, dir)
	fill(t, one)
	raw := storetest.NewMemory(3, 0)
	other := openBucket(t, raw)
	came := 0
	_, err := Copy(t.Context(), visit(t, dir), openBucket(t, raw), CopyOptions{Parallel: 2, Progress: func(Copied) {
		came++
		name, content := makeWheel(wheeltest.Wheel{Name: "flask", Version: fmt.Sprint(10 + came)})
		mustUpload(t, one, name, content)
		name, content = makeWheel(wheeltest.Wheel{Name: "there", Version: fmt.Sprint(came)})
		mustUpload(t, other, name, content)
		mustUpload(t, one, name, content)
	}})
	if err != nil {
		t.Fatal(err)
	}
	if copied, left := copyAll(t, one, openBucket(t, raw), CopyOptions{}); len(left) > 0 || copied.Held < 7+came {
		t.Errorf("the second time: %+v, %v", copied, left)
	}
	want, got := everything(t, one), everything(t, openBucket(t, raw))
	for key := range want { // who uploaded it to both came at two times
		if strings.HasPrefix(key, "there") {
			delete(want, key)
			delete(got, key)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestCopyFaults: over a bucket that fails in every way, stopped again and again, it comes to its end, and never is anything there that is not whole.
func TestCopyFaults(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				one := visit(t, dir)
				fill(t, one)
				want := everything(t, one)
				raw := storetest.NewMemory(3, time.Second)
				for attempt := range uint64(200) {
					link := raw.Link(storetest.Faults{Seed: seed<<32 | attempt, Delay: 20 * time.Millisecond, Fail: .02, Lose: .02, Late: .02, Twice: .02})
					far := openBucket(t, link)
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(attempt+1)*500*time.Millisecond)
					copied, err := Copy(ctx, one, far, CopyOptions{Left: func(key string, why error) { t.Errorf("%s: %v", key, why) }})
					cancel()
					far.Close()
					time.Sleep(5 * time.Second) // what comes late came
					for key, text := range everything(t, openBucket(t, raw)) {
						if want[key] != text {
							t.Fatalf("attempt %d: %s is\n%s\nand must be\n%s", attempt, key, text, want[key])
						}
					}
					if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, storetest.ErrFault) {
						t.Fatal(err)
					}
					if err == nil {
						t.Logf("after %d: %+v", attempt, copied)
						break
					}
				}
				if diff := cmp.Diff(want, everything(t, openBucket(t, raw))); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		})
	}
}

// TestCopyReadsNothing: what is there is found by listing alone.
func TestCopyReadsNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one := visit(t, dir)
	for n := range 40 {
		name, content := makeWheel(wheeltest.Wheel{Name: "many", Version: fmt.Sprint(n)})
		mustUpload(t, one, name, content)
	}
	raw := storetest.NewMemory(0, 0)
	copyAll(t, one, openBucket(t, raw), CopyOptions{})
	before := raw.Requests()
	if err := os.Chmod(filepath.Join(dir, "many-1-py3-none-any.whl"), 0); err != nil {
		t.Fatal(err)
	}
	copied, left := copyAll(t, one, openBucket(t, raw), CopyOptions{})
	if copied.Held != 40 || len(left) > 0 {
		t.Errorf("%+v, %v", copied, left)
	}
	after := raw.Requests()
	if lists, gets := after.List-before.List, after.Get-before.Get; after.Put != before.Put || after.Head != before.Head || lists > 2 || gets > 40 {
		t.Errorf("it asked for %+v, and then for %+v", before, after) // a claim each
	}
}
