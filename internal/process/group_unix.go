//go:build !windows

package process

import (
	"os/exec"
	"syscall"
)

// Run runs cmd in a session of its own, which has no terminal to ask at,
// and kills what is left of it when cmd's process has ended or its context has.
func Run(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
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
