//go:build unix

package disk

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"curdling/internal/store"
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

// statIn fills in what is known of a regular file in an open folder, and tells
// whether it is one. It follows links.
func statIn(dir *os.File, name string, info *store.Info) (regular bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &st, 0); err != nil {
		return false, &os.PathError{Op: "stat", Path: name, Err: err}
	}
	info.Size, info.ModTime = st.Size, time.Unix(st.Mtim.Unix())
	return st.Mode&unix.S_IFMT == unix.S_IFREG, nil
}
