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

// Cache is the KV cache of one session for one range of layers. It belongs to whoever runs Forward.
type Cache struct {
	layers    protocol.LayerRange
	positions int
	length    int                // rows held; the next row's position
	heads     [][]*kernel.KVHead // [layer - layers.From][KV head]
	bytes     int64
}

// NewCache allocates a cache of so many positions for all layers of the model.
func (m *Model) NewCache(positions int) *Cache {
	c := &Cache{layers: m.layers, positions: positions, heads: make([][]*kernel.KVHead, m.layers.Len()), bytes: m.KVBytes(positions)}
	for l := range c.heads {
		c.heads[l] = make([]*kernel.KVHead, m.cfg.KVHeads)
		for h := range c.heads[l] {
			head, err := kernel.NewKVHead(m.kvType, positions, m.cfg.HeadDim)
			if err != nil {
				panic(err) // Load has checked type and head size
			}
			c.heads[l][h] = head
		}
	}
	return c
}

// KVBytes returns the memory of a cache of so many positions.
func (m *Model) KVBytes(positions int) int64 {
	return kernel.KVHeadBytes(m.kvType, positions, m.cfg.HeadDim) * int64(m.cfg.KVHeads*m.layers.Len())
}

// Len returns the rows held.
func (c *Cache) Len() int { return c.length }

// Bytes returns the memory the cache takes.
func (c *Cache) Bytes() int64 { return c.bytes }

// Truncate forgets the rows from position on.
func (c *Cache) Truncate(position int) error {
	if position < 0 || position > c.length {
		return fmt.Errorf("truncate to position %d: the KV cache has %d rows", position, c.length)
	}
	c.length = position
	return nil
}
