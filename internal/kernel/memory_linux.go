// SPDX-License-Identifier: MIT

package kernel

import "syscall"

func mapMemory(n int, huge bool) ([]byte, error) {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err == nil && huge {
		_ = syscall.Madvise(b, syscall.MADV_HUGEPAGE) // a system without them refuses, which costs speed only
	}
	return b, err
}

func unmapMemory(b []byte) error { return syscall.Munmap(b) }
