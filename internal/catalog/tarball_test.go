package catalog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
	"curdling/internal/store/disk"
	"curdling/internal/wheel"
	"curdling/internal/wheel/wheeltest"
)

// openTarballing opens a catalog that keeps tarballs.
func openTarballing(t *testing.T, dir string, edit func(*Config)) (c *Catalog, log *logged) {
	t.Helper()
	s, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	log = new(logged)
	config := Config{
		Patience: time.Hour, Store: s, State: filepath.Join(dir, disk.StateDir), Tarballs: true,
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if edit != nil {
		edit(&config)
	}
	if c, err = Open(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c, log
}

// keptTarballs lists those that lie in a folder's state, by the hashes of wheels.
func keptTarballs(t *testing.T, dir string) (of []string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, disk.StateDir, "tarballs", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		wheel, _, _ := strings.Cut(filepath.Base(path), "-")
		of = append(of, wheel)
	}
	return of
}

func hasTarball(c *Catalog, name string) func() bool {
	return func() bool { f := c.File(name); return f != nil && f.Tarball.SHA256 != "" }
}

// TestTarballs: each wheel gets one, however it came, and takes it along when it goes.
func TestTarballs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	byHand, byHandContent := flask("1.0")
	drop(t, dir, byHand, byHandContent)
	drop(t, dir, "demo-1.0.tar.gz", makeSdist(t, "demo-1.0", "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"))
	liar, liarContent := makeWheel(wheeltest.Wheel{Name: "liar", Version: "1.0", Files: map[string]string{"x": "y"}, DeclaredSHA256: map[string]string{"x": strings.Repeat("A", 43)}})
	drop(t, dir, liar, liarContent)
	c, log := openTarballing(t, dir, nil)
	before := c.Project("flask")
	run(t, c)
	until(t, "the tarball of what lies there", hasTarball(c, byHand))
	if c.Project("flask") == before {
		t.Error("the project is the same, and so would its page be")
	}
	uploaded, content := flask("2.0")
	mirrored, mirroredContent := flask("3.0")
	for name, content := range map[string][]byte{uploaded: content, mirrored: mirroredContent} {
		from := From{}
		if name == mirrored {
			from.Upstream = "main"
		}
		if err := keep(t, c, name, content, from); err != nil {
			t.Fatal(err)
		}
		until(t, "the tarball of "+name, hasTarball(c, name))
	}
	built, err := keepBuild(t, c, "built", "0", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the liar is found out", func() bool { return strings.Contains(log.String(), "x: has the hash") })

	r, f, err := c.Tarball(t.Context(), uploaded)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	r.Close()
	if sum := sha256.Sum256(got); err != nil || f.Tarball != (dist.Tarball{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(got))}) {
		t.Errorf("%d bytes of %x, %v; told were %v", len(got), sum, err, f.Tarball)
	}
	w, err := wheel.Open(bytes.NewReader(content), int64(len(content)), uploaded)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := w.WriteTarball(t.Context(), &want); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("it is not the wheel's (%v)", err)
	}
	for _, name := range []string{"demo-1.0.tar.gz", liar, built, "none-1.0-py3-none-any.whl"} {
		if _, _, err := c.Tarball(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v", name, err)
		}
	}

	// Scopes see those of main, and have none of their own.
	own, _ := open(t, t.TempDir())
	below, belowContent := flask("4.0")
	if err := keep(t, own, below, belowContent, From{}); err != nil {
		t.Fatal(err)
	}
	view := NewView(c).Lay(own)
	if r, f, err := view.Tarball(t.Context(), uploaded); err != nil || f.SHA256 != sum(content) {
		t.Errorf("through a scope: %v", err)
	} else {
		r.Close()
	}
	if _, _, err := view.Tarball(t.Context(), below); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a scope's own: got %v", err)
	}

	var bytesOf int64
	for _, name := range []string{byHand, uploaded, mirrored} {
		bytesOf += c.File(name).Tarball.Size
	}
	if got := c.Stats().TarballBytes; got != bytesOf {
		t.Errorf("%d bytes are told of tarballs, there are %d", got, bytesOf)
	}
	if err := os.Remove(filepath.Join(dir, byHand)); err != nil {
		t.Fatal(err)
	}
	until(t, "the tarball goes with its wheel", func() bool { return len(keptTarballs(t, dir)) == 2 })
	if got := c.Stats().TarballBytes; got != bytesOf-f.Tarball.Size && got >= bytesOf {
		t.Errorf("%d bytes are told of tarballs still", got)
	}
	drop(t, dir, "flask.status", []byte("quarantined"))
	until(t, "the quarantine", func() bool { s, _ := c.Status("flask"); return s == Quarantined })
	var status *StatusError
	if _, _, err := c.Tarball(t.Context(), uploaded); !errors.As(err, &status) {
		t.Errorf("of a project in quarantine: got %v", err)
	}
}

// TestTarballsAreKept from one run to the next, are made again where somebody deleted them, and go when nobody wants them.
func TestTarballsAreKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name, content := flask("1.0")
	gone, goneContent := flask("2.0")
	drop(t, dir, name, content)
	drop(t, dir, gone, goneContent)
	c, _ := openTarballing(t, dir, nil)
	t.Run("made", func(t *testing.T) {
		run(t, c)
		until(t, "both tarballs", func() bool { return hasTarball(c, name)() && hasTarball(c, gone)() })
	})
	first := c.File(name)
	if err := os.Remove(filepath.Join(dir, gone)); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, disk.StateDir, "tarballs", first.SHA256[:2], ".new-123")
	drop(t, filepath.Dir(half), ".new-123", []byte("half"))
	ago(t, 2*time.Hour, half)

	c, _ = openTarballing(t, dir, nil)
	if diff := cmp.Diff(first.Tarball, c.File(name).Tarball); diff != "" {
		t.Errorf("before anything ran:\n%s", diff)
	}
	if _, err := os.Stat(half); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what a crash left is there: %v", err)
	}
	t.Run("again", func(t *testing.T) {
		run(t, c)
		until(t, "that of the wheel that is gone goes", func() bool { return len(keptTarballs(t, dir)) == 1 })
		if err := os.RemoveAll(filepath.Join(dir, disk.StateDir, "tarballs")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Tarball(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("deleted: got %v", err)
		}
		until(t, "it is made again", func() bool {
			r, f, err := c.Tarball(t.Context(), name)
			if err != nil {
				return false
			}
			r.Close()
			return f.Tarball == first.Tarball
		})
	})
	guest, _ := openTarballing(t, dir, func(config *Config) { config.Guest = true })
	if guest.Stats().TarballBytes != first.Tarball.Size {
		t.Errorf("a guest knows of %d bytes", guest.Stats().TarballBytes)
	}
	c, _ = openTarballing(t, dir, func(config *Config) { config.Tarballs = false })
	if c.File(name).Tarball.SHA256 != "" || len(keptTarballs(t, dir)) > 0 {
		t.Error("switched off, they are there still")
	}
}

// TestTarballsGoFirst where there is little room, and none is made for which a wheel would have to go.
func TestTarballsGoFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, oldContent := sized("old", 20_000)
	drop(t, dir, old, oldContent)
	ago(t, time.Hour, filepath.Join(dir, old))
	c, _ := openTarballing(t, dir, func(config *Config) { config.MaxSize = 100_000 })
	second, content := sized("second", 20_000)
	t.Run("made", func(t *testing.T) {
		run(t, c)
		until(t, "the first tarball", hasTarball(c, old))
		if err := keep(t, c, second, content, From{Upstream: "main"}); err != nil {
			t.Fatal(err)
		}
		until(t, "the second one", hasTarball(c, second))
	})
	third, content := sized("third", 25_000)
	if err := keep(t, c, third, content, From{Upstream: "main"}); err != nil {
		t.Fatal(err)
	}
	if c.File(old) == nil || c.File(second) == nil || c.File(old).Tarball.SHA256 != "" || c.File(second).Tarball.SHA256 == "" {
		t.Errorf("held are %+v and %+v", c.File(old), c.File(second))
	}
	if s := c.Stats(); s.Bytes+s.TarballBytes > 100_000 {
		t.Errorf("%d bytes are held, and %d of tarballs", s.Bytes, s.TarballBytes)
	}
	if freed := c.ShedTarballs(0); freed == 0 || c.Stats().TarballBytes != 0 || len(keptTarballs(t, dir)) > 0 {
		t.Errorf("%d bytes were freed, %d are left", freed, c.Stats().TarballBytes)
	}
}

// TestTarballsOfAPlainStore, which only reads from the start to the end.
func TestTarballsOfAPlainStore(t *testing.T) {
	t.Parallel()
	name, content := flask("1.0")
	c, _ := openTarballing(t, t.TempDir(), func(config *Config) { config.Store = &fake{files: map[string][]byte{name: content}} })
	run(t, c)
	until(t, "its tarball", hasTarball(c, name))
	r, f, err := c.Tarball(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if sum, err := hashOf(readerAt(r), f.Tarball.Size); err != nil || sum != f.Tarball.SHA256 {
		t.Errorf("its sha256 is %s (%v), told was %s", sum, err, f.Tarball.SHA256)
	}
}
