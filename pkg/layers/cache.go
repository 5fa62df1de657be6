// SPDX-License-Identifier: MIT

package layers

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// ErrCacheFull says that a step has more rows than the cache has positions left.
var ErrCacheFull = errors.New("KV cache is full")

// Cache is the KV cache of one session. It belongs to whoever runs Forward. Invariant: 0 ≤ length ≤ positions.
type Cache struct {
	model     *Model
	positions int                 // reserved
	length    int                 // rows held; the next row's position
	layers    protocol.LayerRange // that the rows held have been through; any while length is 0
	heads     [][]*kernel.KVHead  // [layer - model.layers.From][KV head]
	memory    *kernel.Memory      // of heads
}

// NewCache reserves a cache of so many positions, at most the model's context, for all layers of the model. Its memory is the system's, not
// the garbage collector's: [Cache.Close] gives it back.
func (m *Model) NewCache(positions int) *Cache {
	c := &Cache{model: m, positions: clampPositions(&m.cfg, positions), heads: make([][]*kernel.KVHead, m.layers.Len()), memory: &kernel.Memory{Small: true}}
	runtime.AddCleanup(c, closeMemory, c.memory)
	allocate := c.memory.NewKVHead
	if err := c.memory.Reserve(m.KVBytes(c.positions)); err != nil {
		allocate = kernel.NewKVHead // the collector may free what there is not now
	}
	for l := range c.heads {
		c.heads[l] = make([]*kernel.KVHead, m.cfg.KVHeads)
		for h := range c.heads[l] {
			head, err := allocate(m.kvType, c.positions, m.cfg.HeadDim)
			if err != nil {
				panic(err) // Load has made one of this type and head size, and there is room for all
			}
			c.heads[l][h] = head
		}
	}
	return c
}

// Close gives the cache's memory back. The cache must not be used any more, and no step on it be under way. A cache that is not closed is
// freed when the garbage collector finds it.
func (c *Cache) Close() {
	c.length, c.positions, c.heads = 0, 0, nil
	closeMemory(c.memory)
}

func closeMemory(m *kernel.Memory) {
	_ = m.Close() // unmapping what was mapped cannot fail, and nothing could be done
}

// KVBytes returns the memory that [Model.NewCache] takes.
func (m *Model) KVBytes(positions int) int64 { return kvBytes(&m.cfg, m.layers, m.kvType, positions) }

func kvBytes(c *Config, r protocol.LayerRange, t quant.Type, positions int) int64 {
	return kernel.KVHeadBytes(t, clampPositions(c, positions), c.HeadDim) * int64(c.KVHeads) * int64(r.Len())
}

func clampPositions(c *Config, n int) int { return max(0, min(n, c.Context)) }

// Len returns the rows held.
func (c *Cache) Len() int { return c.length }

// Positions returns the rows there is room for.
func (c *Cache) Positions() int { return c.positions }

// Bytes returns the memory the cache takes.
func (c *Cache) Bytes() int64 { return c.model.KVBytes(c.positions) }

// Truncate forgets the rows from position on.
func (c *Cache) Truncate(position int) error {
	if position < 0 || position > c.length {
		return fmt.Errorf("truncate to position %d: the KV cache has %d rows", position, c.length)
	}
	c.length = position
	return nil
}

// Reset forgets all rows.
func (c *Cache) Reset() { c.length = 0 }
