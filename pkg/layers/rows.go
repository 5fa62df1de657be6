// SPDX-License-Identifier: MIT

package layers

import (
	"fmt"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// RowBytes returns the bytes of a row's keys and values in so many layers, in the form of [Cache.AppendRows].
func (c *Cache) RowBytes(nLayers int) int {
	return c.heads[0][0].RowBytes() * c.model.cfg.KVHeads * nLayers
}

// AppendRows appends keys and values of n rows from position on in the layers r: for each row, each layer and each KV head keys,
// then values, as they are stored, little-endian. The model has the layers, the cache has room for the rows.
func (c *Cache) AppendRows(dst []byte, r protocol.LayerRange, position, n int) []byte {
	for pos := position; pos < position+n; pos++ {
		for _, layer := range c.part(r) {
			for _, h := range layer {
				dst = h.AppendRow(dst, pos)
			}
		}
	}
	return dst
}

// SetRows stores what [Cache.AppendRows] of another cache gave, bit for bit: the rows from position on, in the layers r. The cache's
// length stays; see [Cache.Adopt].
func (c *Cache) SetRows(r protocol.LayerRange, position int, rows []byte) error {
	size := c.RowBytes(r.Len())
	if !c.model.layers.Contains(r) || r.Len() < 1 {
		return fmt.Errorf("rows of layers %s: this cache has layers %s", r, c.model.layers)
	}
	n := len(rows) / size
	if n*size != len(rows) || position < c.length || n > c.positions-position {
		return fmt.Errorf("%d bytes are not rows of %d bytes from position %d on: the cache has %d rows, and room for %d", len(rows), size, position, c.length, c.positions)
	}
	c.Grow(position + n)
	for pos := position; pos < position+n; pos++ {
		for _, layer := range c.part(r) {
			for _, h := range layer {
				h.SetRow(pos, rows)
				rows = rows[h.RowBytes():]
			}
		}
	}
	return nil
}

// Adopt makes rows that were set the cache's own, up to the given length, as if they had been through the layers r.
func (c *Cache) Adopt(r protocol.LayerRange, length int) error {
	if length < c.length || length > min(c.positions, len(c.pages)*PageRows) || c.length > 0 && c.layers != r {
		return fmt.Errorf("adopt %d rows of layers %s: the cache has %d of layers %s, and room for %d", length, r, c.length, c.layers, c.positions)
	}
	c.length, c.layers = length, r
	return nil
}

// part returns the heads of the layers r.
func (c *Cache) part(r protocol.LayerRange) [][]*kernel.KVHead {
	return c.heads[r.From-c.model.layers.From : r.To-c.model.layers.From]
}
