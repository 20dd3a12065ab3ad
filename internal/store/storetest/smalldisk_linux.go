package storetest

import (
	"os"
	"syscall"
	"testing"
)

// SmallDisk mounts a file system of 1 MB on a folder until the test ends. It needs root: without make stress-server the test is skipped.
func SmallDisk(t *testing.T, dir string) {
	t.Helper()
	if os.Getenv("CURDLING_STRESS_SERVER") == "" {
		t.Skip("mounts a file system: make stress-server")
	}
	if err := syscall.Mount("curdling", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("cannot mount: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
}
