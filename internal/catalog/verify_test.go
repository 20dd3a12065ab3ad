package catalog

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/store/disk"
	"curdling/internal/wheel/wheeltest"
)

// rot changes a file's content, and neither its size nor its time.
func rot(t *testing.T, name string) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(name, content, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
}

func verify(t *testing.T, c *Catalog) (Verified, map[string]string) {
	t.Helper()
	damaged := make(map[string]string)
	v, err := c.Verify(t.Context(), VerifyOptions{Damaged: func(key string, err error) { damaged[key] = err.Error() }})
	if err != nil {
		t.Fatal(err)
	}
	return v, damaged
}

// quarantined gives the reasons of what was put aside, by file.
func quarantined(t *testing.T, dir string) map[string]string {
	t.Helper()
	reasons := make(map[string]string)
	files, err := filepath.Glob(filepath.Join(dir, disk.QuarantineDir, "*", "*.whl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		reason, err := os.ReadFile(filepath.Join(filepath.Dir(file), "reason.txt"))
		if err != nil {
			t.Error(err)
		}
		reasons[filepath.Base(file)] = string(reason)
	}
	return reasons
}

func TestVerify(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, content := flask("3.0")
	bad, badContent := flask("2.0")
	drop(t, dir, good, content)
	drop(t, dir, bad, badContent)
	drop(t, dir, "notes.txt", []byte("not verified"))
	c, _ := open(t, dir)
	if v, damaged := verify(t, c); v.Files != 2 || v.Damaged != 0 || v.Bytes != v.TotalBytes || v.TotalFiles != 2 {
		t.Errorf("%+v, %q", v, damaged)
	}
	rot(t, filepath.Join(dir, bad))
	changed, _ := flask("4.0")
	drop(t, dir, changed, []byte("new, and no wheel"))
	_, damaged := verify(t, c)
	if len(damaged) != 2 || !strings.Contains(damaged[bad], "its sha256 was "+sum(badContent)+" and is ") || !strings.HasPrefix(damaged[changed], "cannot be opened: ") {
		t.Errorf("damaged: %q", damaged)
	}
	if err := c.Quarantine(t.Context(), bad, errors.New("rotten")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{good}, heldFiles(c)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{bad: bad + ": rotten\n"}, quarantined(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// TestVerifiedWhileServing: a server puts aside what it finds damaged, by itself and when a file breaks off.
func TestVerifiedWhileServing(t *testing.T) {
	t.Parallel()
	for _, doubted := range []bool{true, false} {
		dir := t.TempDir()
		good, content := flask("3.0")
		bad, badContent := flask("2.0")
		drop(t, dir, good, content)
		drop(t, dir, bad, badContent)
		c, _ := open(t, dir)
		rot(t, filepath.Join(dir, bad))
		if !doubted {
			c.verifyEvery = time.Hour
		}
		run(t, c)
		if doubted {
			c.Doubt(good)
			c.Doubt(bad)
		}
		eventually(t, c, good)
		if reasons := quarantined(t, dir); !strings.Contains(reasons[bad], "its sha256 was") {
			t.Errorf("%q", reasons)
		}
		drop(t, dir, bad, badContent)
		eventually(t, c, bad, good)
	}
}

// TestDoubtOfChanged: what was changed by hand is not put aside.
func TestDoubtOfChanged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name, content := flask("3.0")
	drop(t, dir, name, content)
	c, _ := open(t, dir)
	run(t, c)
	_, other := makeWheel(wheeltest.Wheel{Name: "flask", Version: "3.0", Summary: "Other"})
	drop(t, dir, name, other)
	c.Doubt(name)
	until(t, "the new content is held", func() bool { f := c.File(name); return f != nil && f.SHA256 == sum(other) })
	if reasons := quarantined(t, dir); len(reasons) != 0 {
		t.Errorf("%q", reasons)
	}
}

func TestPace(t *testing.T) {
	t.Parallel()
	began := time.Now()
	r := paced{t.Context(), &pacer{rate: 1 << 20}, bytes.NewReader(make([]byte, 200<<10))}
	b := make([]byte, 50<<10)
	for range 4 {
		if _, err := r.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("200 KiB at 1 MiB a second took %v", took)
	}
}
