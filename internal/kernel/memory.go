// SPDX-License-Identifier: MIT

package kernel

import (
	"fmt"
	"sync"
)

const (
	// chunkBytes is how much a Memory asks the system for at a time; what is not written is never backed by memory.
	chunkBytes = 64 << 20
	// cacheLine is what allocations are aligned to.
	cacheLine = 64
)

// Memory holds packed weights or a KV cache outside the garbage collector's heap. It is safe for concurrent use.
type Memory struct {
	Small bool // not in huge pages: for what may be touched in small part only

	mu     sync.Mutex
	chunks [][]byte
	free   []byte // rest of the last chunk
}

// Reserve asks the system for room for allocations of so many bytes together, each counted by [MemoryBytes], so that they lie side by side
// and no more than one huge page is used in part.
func (m *Memory) Reserve(n int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n <= int64(len(m.free)) {
		return nil
	}
	if int64(int(n)) != n {
		return fmt.Errorf("memory of %d bytes: more than this machine can address", n)
	}
	return m.grow(int(n))
}

// MemoryBytes returns what an allocation of n bytes takes.
func MemoryBytes(n int64) int64 { return (n + cacheLine - 1) / cacheLine * cacheLine }

// alloc returns n zero bytes, aligned to a cache line.
func (m *Memory) alloc(n int) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	size := int(MemoryBytes(int64(n)))
	if size > len(m.free) {
		if err := m.grow(max(size, chunkBytes)); err != nil {
			return nil, err
		}
	}
	b := m.free[:n:n]
	m.free = m.free[size:]
	return b, nil
}

// grow begins a chunk of n bytes.
func (m *Memory) grow(n int) error {
	chunk, err := mapMemory(n, !m.Small)
	if err != nil {
		return fmt.Errorf("memory of %d bytes: %w", n, err)
	}
	m.chunks, m.free = append(m.chunks, chunk), chunk
	return nil
}

// Close gives all memory back to the system. What was made in it must not be used any more.
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
