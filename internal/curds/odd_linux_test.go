package curds

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"curdling/internal/dist"
	"curdling/internal/wheel/wheeltest"
)

// mount mounts something for the time of a test, which is passed over where that is not allowed.
func mount(t *testing.T, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	if err := os.MkdirAll(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(source, target, kind, flags, data); err != nil {
		t.Skipf("mounting: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// TestReadOnly has a cache on a read-only mount: what it has can be used.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	c, tree := keepModules(t)
	var f fakeCompiler
	if _, err := c.Bytecode(t.Context(), tree, cpython311, f.compile); err != nil {
		t.Fatal(err)
	}
	c.Memory("http").Put("page", []byte("answer"))
	at := filepath.Join(t.TempDir(), "mounted")
	mount(t, c.Dir(), at, "", unix.MS_BIND, "")
	if err := unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Skipf("mounting: %v", err)
	}
	for _, boot := range []string{c.boot, "of another machine"} {
		r, err := Open(at)
		if err != nil {
			t.Fatal(err)
		}
		r.boot = boot
		done, err := r.Use(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer done()
		if answer, ok := r.Memory("http").Get("page"); !ok || string(answer) != "answer" {
			t.Errorf("%q, %t", answer, ok)
		}
		r.Memory("http").Put("another page", []byte("answer"))
		tree, err := r.Tree(t.Context(), filepath.Base(filepath.Dir(tree.Dir)))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := r.Bytecode(t.Context(), tree, cpython311, f.compile); err != nil || len(b.Files) != 6 {
			t.Error(b, err)
		}
		content := wheeltest.Build(demo)
		_, _, err = r.Fetch(t.Context(), demoFile(t, content), download(content))
		if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), at) || !strings.Contains(err.Error(), "CURD_CACHE") {
			t.Error(err)
		}
	}
}

// TestFull has a cache on a disk without room.
func TestFull(t *testing.T) {
	t.Parallel()
	at := filepath.Join(t.TempDir(), "small")
	mount(t, "tmpfs", at, "tmpfs", 0, "size=1m")
	c, err := Open(filepath.Join(at, "curds"))
	if err != nil {
		t.Fatal(err)
	}
	large := wheeltest.Wheel{Name: "large", Version: "1.0", Files: map[string]string{"large.py": strings.Repeat("x = 1\n", 400_000)}}
	path := filepath.Join(t.TempDir(), large.Filename())
	write(t, path, string(wheeltest.Build(large))) // deflated, it has room
	hash := keepFile(t, c, path)
	refused := func(err error) {
		t.Helper()
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "curd cache prune") {
			t.Error(err)
		}
		if left, _ := os.ReadDir(c.Temp()); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	}
	_, err = c.Tree(t.Context(), hash)
	refused(err)
	source := filepath.Join(t.TempDir(), "large-2.0.tar.gz")
	write(t, source, strings.Repeat("x", 2<<20))
	file, err := dist.ParseFilename(filepath.Base(source), "")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = c.Import(source, file)
	refused(err)
	if u, err := c.Usage(t.Context()); err != nil || u[0].Count != 1 || u[1].Count != 0 {
		t.Error(u, err)
	}
}
