//go:build unix

package python

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// kernel names the running system as uname does: a remembered answer holds on it alone.
func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return fmt.Sprintf("%s %s %s %s",
		unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]),
		unix.ByteSliceToString(u.Version[:]), unix.ByteSliceToString(u.Machine[:]))
}
