//go:build unix

package livefile

import (
	"os"
	"path/filepath"
	"syscall"
)

// Adopt gives a file that root made to the owner of its folder, so that a server
// that runs as that user can read and write it. For other users it does nothing.
func Adopt(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	fi, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	owner, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil
	}
	return os.Lchown(path, int(owner.Uid), int(owner.Gid))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
