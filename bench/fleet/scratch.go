//go:build linux

package main

import (
	"errors"
	"os"
	"syscall"
)

// scratch makes the folder that all lies in: on a tmpfs of its own where root runs this, else in /dev/shm.
func scratch() (dir string, remove func() error, err error) {
	below := "/dev/shm"
	if os.Geteuid() == 0 {
		below = ""
	}
	if dir, err = os.MkdirTemp(below, "curdling-fleet-"); err != nil {
		return "", nil, err
	}
	unmount, err := mount(dir, "8g")
	if err != nil {
		unmount = func() error { return nil }
	}
	return dir, func() error { return errors.Join(unmount(), os.RemoveAll(dir)) }, nil
}

// mount makes a file system in memory, which takes root.
func mount(dir, size string) (unmount func() error, err error) {
	err = syscall.Mount("curdling", dir, "tmpfs", 0, "mode=0755,size="+size)
	return func() error { return syscall.Unmount(dir, syscall.MNT_DETACH) }, err
}
