// SPDX-License-Identifier: MIT

//go:build !unix

package gguf

import (
	"fmt"
	"io"
	"os"
)

// mapFile reads the file into memory where it cannot be mapped.
func mapFile(f *os.File, size int64) (data []byte, unmap func() error, err error) {
	if int64(int(size)) != size {
		return nil, nil, fmt.Errorf("%d bytes do not fit this machine's address space", size)
	}
	data = make([]byte, size)
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, nil, fmt.Errorf("read %d bytes: %w", size, err)
	}
	return data, func() error { return nil }, nil
}

// release does nothing: the file is in memory.
func release([]byte, uint64, uint64) {}
