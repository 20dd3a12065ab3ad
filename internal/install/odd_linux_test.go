package install

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// mount mounts something for the time of a test, which is passed over where that is not allowed.
func mount(t *testing.T, source, target, kind string, flags uintptr, data string) (unmount func()) {
	t.Helper()
	if err := os.MkdirAll(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		t.Skipf("mounting: %v", err)
	}
	unmount = func() { _ = unix.Unmount(target, unix.MNT_DETACH) } // fails the second time
	t.Cleanup(unmount)
	return unmount
}

// TestFull installs to a disk without room.
func TestFull(t *testing.T) {
	t.Parallel()
	at := filepath.Join(t.TempDir(), "small")
	mount(t, "tmpfs", at, "tmpfs", 0, "size=1m")
	env := fakeEnv(t, filepath.Join(at, "venv"))
	apply(t, env, trees(t, rich("1.0")))
	want := snapshot(t, at)
	p := trees(t, rich("2.0"), with(small("large", "1"), map[string]string{"large.bin": strings.Repeat("x", 2<<20)}))
	err := Apply(t.Context(), env, p, Options{})
	// Both are installed at once, and either may be the one that finds no room.
	if !errors.Is(err, syscall.ENOSPC) || !regexp.MustCompile(`^installing (large 1|foo-bar 2\.0): .*/venv/`).MatchString(err.Error()) {
		t.Error(err)
	}
	same(t, want, snapshot(t, at))
	// With no room for the journal either.
	write(t, filepath.Join(at, "filler"), "")
	filler, err := os.OpenFile(filepath.Join(at, "filler"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 16; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = filler.Write(make([]byte, size))
		}
	}
	if err := filler.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Apply(t.Context(), env, trees(t, rich("2.0")), Options{}); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(at, "filler")); err != nil {
		t.Fatal(err)
	}
	same(t, want, snapshot(t, at))
}

// TestReadOnlyTree installs from a cache on a read-only mount: hard links do not go, copies do.
func TestReadOnlyTree(t *testing.T) {
	t.Parallel()
	p := trees(t, rich("1.0"))
	at := filepath.Join(t.TempDir(), "mounted")
	mount(t, p.Install[0].Tree.Dir, at, "", unix.MS_BIND, "")
	if err := unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Skipf("mounting: %v", err)
	}
	p.Install[0].Tree.Dir = at
	var said []string
	env := fakeEnv(t, t.TempDir())
	if err := Apply(t.Context(), env, p, Options{LinkMode: LinkHard, Warn: func(s string) { said = append(said, s) }}); err != nil {
		t.Fatal(err)
	}
	if len(said) != 1 || !strings.Contains(said[0], "going on with copy") {
		t.Errorf("said: %q", said)
	}
}

// TestReadOnlyEnvironment: the lock already says so.
func TestReadOnlyEnvironment(t *testing.T) {
	t.Parallel()
	env := fakeEnv(t, t.TempDir())
	at := filepath.Join(t.TempDir(), "mounted")
	mount(t, env.Python.Prefix, at, "", unix.MS_BIND, "")
	if err := unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Skipf("mounting: %v", err)
	}
	env.Python.Prefix = at
	if _, err := Lock(t.Context(), env); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), at) {
		t.Error(err)
	}
}

// TestBusyLeftovers has a leftover that cannot be removed, as of a file that a process has open over NFS.
func TestBusyLeftovers(t *testing.T) {
	t.Parallel()
	env := fakeEnv(t, t.TempDir())
	busy := filepath.Join(env.Python.Purelib, doneDir, "old", "0", "busy")
	unmount := mount(t, "tmpfs", busy, "tmpfs", 0, "size=64k")
	for range 2 {
		if err := Recover(env); err != nil {
			t.Fatal(err)
		}
		apply(t, env, trees(t, small("x", "1")))
		if exists(filepath.Join(env.Python.Purelib, doneDir)) {
			t.Error("the leftovers are still in the way")
		}
	}
	left, _ := filepath.Glob(filepath.Join(env.Python.Purelib, leftDir, "*", "old", "0", "busy"))
	if len(left) != 1 {
		t.Fatal(left)
	}
	unmount()
	if err := unix.Unmount(left[0], unix.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
		t.Fatal(err)
	}
	if err := Recover(env); err != nil || exists(filepath.Join(env.Python.Purelib, leftDir)) {
		t.Errorf("%v; the leftovers are still there", err)
	}
}
