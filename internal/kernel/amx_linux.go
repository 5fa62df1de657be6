// SPDX-License-Identifier: MIT

//go:build amd64 && !purego

package kernel

import "golang.org/x/sys/unix"

// mayUseTiles asks the kernel for the tile registers of AMX, for all threads of the process: x86/xstate in Linux's documentation. A kernel before
// 5.16, or a container that forbids it, says no.
func mayUseTiles() bool {
	const (
		requestPermission = 0x1023 // ARCH_REQ_XCOMP_PERM
		tileData          = 18     // XFEATURE_XTILEDATA
	)
	_, _, err := unix.RawSyscall(unix.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return err == 0
}
