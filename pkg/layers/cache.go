// SPDX-License-Identifier: MIT

package layers

import (
	"errors"
	"fmt"

	"github.com/shardnode/shardnode/internal/kernel"
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
}

// NewCache reserves a cache of so many positions, at most the model's context, for all layers of the model.
func (m *Model) NewCache(positions int) *Cache {
	c := &Cache{model: m, positions: m.clampPositions(positions), heads: make([][]*kernel.KVHead, m.layers.Len())}
	for l := range c.heads {
		c.heads[l] = make([]*kernel.KVHead, m.cfg.KVHeads)
		for h := range c.heads[l] {
			head, err := kernel.NewKVHead(m.kvType, c.positions, m.cfg.HeadDim)
			if err != nil {
				panic(err) // Load has made one of this type and head size
			}
			c.heads[l][h] = head
		}
	}
	return c
}

// KVBytes returns the memory that [Model.NewCache] takes.
func (m *Model) KVBytes(positions int) int64 {
	return kernel.KVHeadBytes(m.kvType, m.clampPositions(positions), m.cfg.HeadDim) * int64(m.cfg.KVHeads) * int64(m.layers.Len())
}

func (m *Model) clampPositions(n int) int { return max(0, min(n, m.cfg.Context)) }

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
