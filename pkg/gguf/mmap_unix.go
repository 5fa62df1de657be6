// SPDX-License-Identifier: MIT

//go:build unix

package gguf

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps size bytes of f, read-only.
func mapFile(f *os.File, size int64) (data []byte, unmap func() error, err error) {
	if size == 0 {
		return nil, func() error { return nil }, nil
	}
	if int64(int(size)) != size {
		return nil, nil, fmt.Errorf("%d bytes do not fit this machine's address space", size)
	}
	data, err = unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("map %d bytes: %w", size, err)
	}
	return data, func() error { return unix.Munmap(data) }, nil
}

// release drops the whole pages of data[from:to]; a page shared with a neighbour stays. It is advice: errors do not matter.
func release(data []byte, from, to uint64) {
	page := uint64(os.Getpagesize())
	from, to = alignUp(from, page), to&^(page-1)
	if from < to {
		_ = unix.Madvise(data[from:to], unix.MADV_DONTNEED)
	}
}
