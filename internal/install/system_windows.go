package install

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/windows"
)

func isCrossDevice(err error) bool { return errors.Is(err, windows.ERROR_NOT_SAME_DEVICE) }

func isDiskFull(err error) bool { return errors.Is(err, windows.ERROR_DISK_FULL) }

// deviceOf knows no file systems: all count as one.
func deviceOf(fs.FileInfo) uint64 { return 0 }

// syncDir does nothing: Windows does not sync folders.
func syncDir(string) error { return nil }
