//go:build unix

package disk

import (
	"os"
	"syscall"
)

// openFlags: opening a pipe that somebody put into the folder must not hang.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK

const errNotDir = syscall.ENOTDIR

// syncDir makes the folder's entries outlive a crash.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
