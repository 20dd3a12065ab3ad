package process

import (
	"os/exec"
	"runtime"
	"syscall"
)

// dieWithUs lets the kernel kill cmd's process when this one dies. It counts
// the thread that starts cmd, which so must stay: until the result is called.
func dieWithUs(cmd *exec.Cmd) (unlock func()) {
	runtime.LockOSThread()
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return runtime.UnlockOSThread
}
