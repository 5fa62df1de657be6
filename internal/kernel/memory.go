// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"sync"
)

// chunkBytes is how much a Memory asks the system for at a time; what is not written is never backed by memory.
const chunkBytes = 64 << 20

// Memory holds packed weights outside the garbage collector's heap, in huge pages where the system has them. It is safe for
// concurrent use.
type Memory struct {
	mu     sync.Mutex
	chunks [][]byte
	free   []byte // rest of the last chunk
}

// alloc returns n zero bytes, aligned to a cache line.
func (m *Memory) alloc(n int) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	size := (n + 63) / 64 * 64
	if size > len(m.free) {
		chunk, err := mapMemory(max(size, chunkBytes))
		if err != nil {
			return nil, fmt.Errorf("memory of %d bytes for weights: %w", size, err)
		}
		m.chunks, m.free = append(m.chunks, chunk), chunk
	}
	b := m.free[:n:n]
	m.free = m.free[size:]
	return b, nil
}

// Close gives all memory back. Matrices packed into it must not be used any more.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var first error
	for _, c := range m.chunks {
		if err := unmapMemory(c); err != nil && first == nil {
			first = err
		}
	}
	m.chunks, m.free = nil, nil
	return first
}
