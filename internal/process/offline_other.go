//go:build !linux && !windows

package process

import (
	"errors"
	"syscall"
)

// withoutNetwork is Linux's alone.
func withoutNetwork(*syscall.SysProcAttr) error { return &OfflineError{errors.ErrUnsupported} }
