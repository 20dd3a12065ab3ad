package process

import (
	"errors"
	"os/exec"
	"strconv"
	"syscall"
)

const createNoWindow = 0x08000000 // no console, so none to ask at

// Run runs cmd, and kills it with all its children when its context ends.
func Run(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP | createNoWindow}
	cmd.Cancel = func() error {
		return exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(cmd.Process.Pid)).Run()
	}
	return cmd.Run()
}

// RunOffline would be Run without a network, which this system does not have.
func RunOffline(*exec.Cmd) error { return &OfflineError{errors.ErrUnsupported} }
