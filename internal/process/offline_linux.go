package process

import (
	"os"
	"syscall"
)

const capNetAdmin = 12

// withoutNetwork has a process begin in a network namespace of its own. Whoever
// is not root needs a user namespace to make one, in which he is himself, and keeps
// the one capability that it takes to bring the loopback up.
func withoutNetwork(attr *syscall.SysProcAttr) error {
	attr.Cloneflags |= syscall.CLONE_NEWNET
	if os.Geteuid() == 0 {
		return nil
	}
	attr.Cloneflags |= syscall.CLONE_NEWUSER
	attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
	attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
	attr.AmbientCaps = []uintptr{capNetAdmin}
	return nil
}
