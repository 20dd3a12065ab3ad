//go:build unix

package store

import (
	"io/fs"
	"syscall"
	"testing"
)

func TestIsFullOnDisk(t *testing.T) {
	t.Parallel()
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		if !IsFull(&fs.PathError{Op: "write", Path: "x", Err: errno}) {
			t.Errorf("IsFull(%v) = false", errno)
		}
	}
}
