// SPDX-License-Identifier: MIT

//go:build linux

package kernel

import (
	"syscall"
	"testing"
	"unsafe"
)

// guarded returns n elements that end where memory that must not be touched begins: a read or write beyond them ends the test.
func guarded[T any](tb testing.TB, n int) []T {
	tb.Helper()
	page := syscall.Getpagesize()
	size := n * int(unsafe.Sizeof(*new(T)))
	room := (size + page - 1) / page * page
	b, err := syscall.Mmap(-1, 0, room+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = syscall.Munmap(b) })
	if err := syscall.Mprotect(b[room:], syscall.PROT_NONE); err != nil {
		tb.Fatal(err)
	}
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&b[room-size])), n)
}

func guardedCopy[T any](tb testing.TB, x []T) []T {
	tb.Helper()
	g := guarded[T](tb, len(x))
	copy(g, x)
	return g
}
