// SPDX-License-Identifier: MIT

//go:build unix

package discovery

import (
	"errors"
	"syscall"
)

// processAlive reports whether a process of this machine runs; another user's counts.
func processAlive(pid int) bool {
	if pid <= 0 {
		return false
	}
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}
