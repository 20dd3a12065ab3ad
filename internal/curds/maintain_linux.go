package curds

import (
	"io/fs"
	"syscall"
	"time"
)

// accessTime is when a file was read last, as far as its file system knows; zero where that cannot be told.
func accessTime(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Atim.Unix())
	}
	return time.Time{}
}
