package catalog

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/store"
	"curdling/internal/store/disk"
	"curdling/internal/wheel/wheeltest"
)

// sized is a wheel of some more than a number of bytes.
func sized(name string, size int) (string, []byte) {
	return makeWheel(wheeltest.Wheel{Name: name, Version: "1.0", Files: map[string]string{"x": randomText(size)}})
}

// randomText does not shrink when it is deflated.
func randomText(n int) string {
	var b strings.Builder
	x := uint32(n) + 1
	for b.Len() < n {
		x = x*1664525 + 1013904223
		b.WriteByte(byte(x >> 24))
	}
	return b.String()
}

func keep(t *testing.T, c *Catalog, name string, content []byte, from From) error {
	t.Helper()
	u, err := c.Receive(name, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	defer u.Discard()
	_, err = u.Keep(t.Context(), from)
	return err
}

// TestQuota: what the upstream has goes before builds, the used after the unused, and what is private never.
func TestQuota(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, log := open(t, dir)
	private, privateContent := sized("private", 10_000)
	drop(t, dir, "byhand-1.0-py3-none-any.whl", wheeltest.Build(wheeltest.Wheel{Name: "byhand", Version: "1.0"}))
	c.examine(t.Context(), "byhand-1.0-py3-none-any.whl", 0)
	names := map[string]string{}
	for _, x := range []struct {
		name string
		from From
	}{
		{"built", From{}},
		{"unused", From{Upstream: "main"}},
		{"used", From{Upstream: "main"}},
		{"read", From{Upstream: "main"}},
	} {
		name, content := sized(x.name, 10_000)
		names[x.name] = name
		var err error
		if x.name == "built" {
			names[x.name], err = keepBuild(t, c, x.name, "0", time.Minute)
		} else {
			err = keep(t, c, name, content, x.from)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, n := range map[string]int{"used": 5, "read": 2} {
		for range n {
			r, _, err := c.Open(t.Context(), names[name])
			if err != nil {
				t.Fatal(err)
			}
			r.Close()
		}
	}
	var order []string
	for _, x := range c.Evictable(0) {
		order = append(order, string(x.Name))
	}
	if diff := cmp.Diff([]string{"unused", "read", "used", "built"}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Candidate(nil), c.Evictable(1<<40), cmp.Comparer(func(a, b Candidate) bool { return a.File == b.File })); diff != "" {
		t.Error(diff)
	}

	// A reader of what goes reads on.
	r, _, err := c.Open(t.Context(), names["unused"])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c.maxSize = c.Stats().Bytes
	if err := keep(t, c, private, privateContent, From{User: "ci"}); err != nil {
		t.Fatal(err)
	}
	if c.File(names["unused"]) != nil || c.File(names["used"]) == nil || c.Stats().Bytes > c.maxSize {
		t.Errorf("held: %q", heldFiles(c))
	}
	if b, err := io.ReadAll(r); err != nil || len(b) < 10_000 {
		t.Errorf("a reader of an evicted file got %d bytes, %v", len(b), err)
	}
	if !strings.Contains(log.String(), "msg=evicted file="+names["unused"]) {
		t.Errorf("log:\n%s", log)
	}

	// What can never fit evicts nothing.
	before := heldFiles(c)
	huge, hugeContent := sized("huge", int(c.maxSize))
	var quota *QuotaError
	if err := keep(t, c, huge, hugeContent, From{}); !errors.As(err, &quota) || !store.IsFull(err) {
		t.Errorf("too large: %v", err)
	}
	if diff := cmp.Diff(before, heldFiles(c)); diff != "" {
		t.Error(diff)
	}

	// What comes by hand pushes out too, and is never pushed out.
	run(t, c)
	byHand, byHandContent := sized("zz", int(c.maxSize))
	drop(t, dir, byHand, byHandContent)
	eventually(t, c, "byhand-1.0-py3-none-any.whl", private, byHand)
	left, err := os.ReadDir(filepath.Join(dir, disk.StateDir, "tmp"))
	if err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestUsesAreKept: what was used is known at the next start.
func TestUsesAreKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, _ := open(t, dir)
	name, content := sized("foo", 100)
	if err := keep(t, c, name, content, From{Upstream: "main"}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r, _, err := c.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	for range 2 {
		c.Close()
		c, _ = open(t, dir)
		if x := c.Evictable(0); len(x) != 1 || x[0].Uses != 3 || time.Since(x[0].LastUsed) > time.Minute {
			t.Errorf("%+v", x)
		}
	}
}

func FuzzParseUses(f *testing.F) {
	f.Add("foo-1.0-py3-none-any.whl\t3\t1700000000\n")
	f.Add("\t\t\n")
	f.Fuzz(func(t *testing.T, line string) {
		if filename, count, last, ok := parseUses(line); ok && (strings.Contains(filename, "\t") || count < 1 || last < 1) {
			t.Errorf("%q became %q %d %d", line, filename, count, last)
		}
	})
}
