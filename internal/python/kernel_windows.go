package python

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// kernel names the running system: a remembered answer holds on it alone.
func kernel() string {
	major, minor, build := windows.RtlGetNtVersionNumbers()
	return fmt.Sprintf("windows %d.%d.%d", major, minor, build)
}
