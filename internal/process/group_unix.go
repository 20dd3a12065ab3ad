//go:build !windows

package process

import (
	"errors"
	"os/exec"
	"syscall"
)

// Run runs cmd in a session of its own, which has no terminal to ask at,
// and kills what is left of it when cmd's process has ended or its context has.
func Run(cmd *exec.Cmd) error { return run(cmd, &syscall.SysProcAttr{Setsid: true}) }

// RunOffline is Run without a network: all that cmd and its children have is a
// loopback interface of their own, which is down, and which cmd may bring up.
// Where the system does not allow that the error is an *OfflineError.
func RunOffline(cmd *exec.Cmd) error {
	attr := &syscall.SysProcAttr{Setsid: true}
	if err := withoutNetwork(attr); err != nil {
		return err
	}
	err := run(cmd, attr)
	if err != nil && cmd.Process == nil && isForbidden(err) {
		return &OfflineError{err}
	}
	return err
}

// isForbidden tells of the errors with which the kernel refuses a namespace.
func isForbidden(err error) bool {
	for _, refusal := range []syscall.Errno{syscall.EPERM, syscall.EACCES, syscall.EINVAL, syscall.ENOSPC, syscall.ENOSYS, syscall.EUSERS} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

func run(cmd *exec.Cmd, attr *syscall.SysProcAttr) error {
	cmd.SysProcAttr = attr
	kill := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = kill
	defer dieWithUs(cmd)()
	if err := cmd.Start(); err != nil {
		return err
	}
	err := cmd.Wait()
	_ = kill() // an error tells that nothing is left
	return err
}
