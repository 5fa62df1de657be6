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

// PageRows is the number of positions of a [Page].
const PageRows = kernel.KVPage

// Page is the memory of PageRows consecutive positions of a session in all layers of a model. It is the system's, not the garbage collector's:
// [Page.Close] gives it back. Caches of several sessions may have the same page while none of them writes to it.
type Page struct {
	bytes  []byte
	memory *kernel.Memory
}

// NewPage returns an empty page for caches of m.
func (m *Model) NewPage() *Page {
	shape := kvShape(&m.cfg, m.layers, m.kvType)
	p := &Page{memory: &kernel.Memory{Small: true}}
	err := p.memory.Reserve(shape.PageBytes())
	if err == nil {
		p.bytes, err = p.memory.NewKVPage(&shape)
	}
	if err != nil {
		p.bytes = make([]byte, shape.PageBytes()) // the collector may free what there is not now
		return p
	}
	runtime.AddCleanup(p, closeMemory, p.memory)
	return p
}

// Close gives the page's memory back. No cache may use it any more. A page that is not closed is freed when the garbage collector finds it.
func (p *Page) Close() {
	p.bytes = nil
	closeMemory(p.memory)
}

func closeMemory(m *kernel.Memory) {
	_ = m.Close() // unmapping what was mapped cannot fail, and nothing could be done
}

// Cache is the KV cache of one session. It belongs to whoever runs Forward. Invariant: 0 ≤ length ≤ positions.
type Cache struct {
	model     *Model
	positions int                 // rows it may have
	length    int                 // rows held; the next row's position
	layers    protocol.LayerRange // that the rows held have been through; any while length is 0
	pages     []*Page             // of the rows held and of those to come. Invariant: as many as table has
	table     *kernel.KVPages
	heads     [][]*kernel.KVHead // [layer - model.layers.From][KV head]
}

// NewCache returns a cache for so many positions, at most the model's context, with the pages for all of them.
func (m *Model) NewCache(positions int) *Cache {
	c := m.EmptyCache(positions)
	c.Grow(c.positions)
	return c
}

// EmptyCache returns a cache for so many positions, at most the model's context, without pages: see [Cache.Grow].
func (m *Model) EmptyCache(positions int) *Cache {
	c := &Cache{
		model: m, positions: max(0, min(positions, m.cfg.Context)), heads: make([][]*kernel.KVHead, m.layers.Len()),
		table: kernel.NewKVPages(kvShape(&m.cfg, m.layers, m.kvType)),
	}
	for l := range c.heads {
		c.heads[l] = make([]*kernel.KVHead, m.cfg.KVHeads)
		for h := range c.heads[l] {
			c.heads[l][h] = c.table.Head(l*m.cfg.KVHeads + h)
		}
	}
	return c
}

func kvShape(c *Config, r protocol.LayerRange, t quant.Type) kernel.KVShape {
	return kernel.KVShape{Type: t, HeadDim: c.HeadDim, Heads: c.KVHeads * r.Len()}
}

// Grow adds new pages until there is room for so many rows, as far as the cache may have them.
func (c *Cache) Grow(rows int) {
	for n := PagesFor(min(rows, c.positions)); len(c.pages) < n; {
		c.Add(c.model.NewPage())
	}
}

// Add appends a page.
func (c *Cache) Add(p *Page) {
	c.pages = append(c.pages, p)
	c.table.Add(p.bytes)
}

// Replace puts a page in place of the i-th.
func (c *Cache) Replace(i int, p *Page) {
	c.pages[i] = p
	c.table.Set(i, p.bytes)
}

// Cut takes the pages from n on out of the cache, which holds no rows there.
func (c *Cache) Cut(n int) {
	clear(c.pages[n:])
	c.pages = c.pages[:n]
	c.table.Cut(n)
}

// Pages returns the pages. The caller must not change the slice.
func (c *Cache) Pages() []*Page { return c.pages }

// Copy makes p hold what from does.
func (p *Page) Copy(from *Page) { copy(p.bytes, from.bytes) }

// Close gives the memory of the cache's pages back. The cache must not be used any more, and no step on it be under way.
func (c *Cache) Close() {
	for _, p := range c.pages {
		p.Close()
	}
	c.length, c.positions, c.heads, c.pages, c.table = 0, 0, nil, nil, nil
}

// PagesFor returns the pages that so many rows take.
func PagesFor(rows int) int { return (rows + PageRows - 1) / PageRows }

// PageBytes returns the memory of a page.
func (m *Model) PageBytes() int64 {
	shape := kvShape(&m.cfg, m.layers, m.kvType)
	return shape.PageBytes()
}

// KVBytes returns the memory that so many positions take, at most the model's context.
func (m *Model) KVBytes(positions int) int64 { return kvBytes(&m.cfg, m.layers, m.kvType, positions) }

func kvBytes(c *Config, r protocol.LayerRange, t quant.Type, positions int) int64 {
	shape := kvShape(c, r, t)
	return int64(PagesFor(max(0, min(positions, c.Context)))) * shape.PageBytes()
}

// Len returns the rows held.
func (c *Cache) Len() int { return c.length }

// Positions returns the rows there may be.
func (c *Cache) Positions() int { return c.positions }

// Bytes returns the memory the cache takes.
func (c *Cache) Bytes() int64 { return int64(len(c.pages)) * c.model.PageBytes() }

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
