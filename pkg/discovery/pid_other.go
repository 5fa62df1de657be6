// SPDX-License-Identifier: MIT

//go:build !unix

package discovery

import "os"

// processAlive reports whether a process of this machine may be running.
func processAlive(pid int) bool {
	if pid <= 0 {
		return false
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	_ = p.Release()
	return true
}
