package curds

import (
	"io/fs"
	"syscall"
	"time"
)

// accessTime is when a file was read last, as far as its file system knows; zero where that cannot be told.
func accessTime(info fs.FileInfo) time.Time {
	if a, ok := info.Sys().(*syscall.Win32FileAttributeData); ok {
		return time.Unix(0, a.LastAccessTime.Nanoseconds())
	}
	return time.Time{}
}
