// SPDX-License-Identifier: MIT

package engine

import "github.com/shardnode/shardnode/pkg/layers"

// kept holds the outputs of a session's rows as they were sent, so that a replacement of the next hop can be given them again
// instead of the whole route computing anew. It has the rows from 0 on, as many as the budget allowed: of a session that outgrows
// it the rest is computed again when needed. It belongs to whoever owns the session's KV cache.
type kept struct {
	width  int // bytes of a row
	block  int // rows of a block: a part of a page
	rows   uint32
	blocks []slot
}

// slot is a session's hold on a block.
type slot struct {
	*block
	own bool // nobody else has the block: it may be written
}

// block is the memory of a few outputs. Several sessions, and the pages remembered, may have the same.
type block struct {
	bytes []byte // [block][width]

	// Guarded by Engine.mu.
	refs  int // sessions and pages remembered that have it
	known int // of those: pages
}

// keptBlock is what a block of outputs has in bytes at the most, unless a row has more: a decode step rarely needs a new one, and
// a short session does not take much.
const keptBlock = 64 << 10

// newKept returns an empty store for rows of so many bytes.
func newKept(width int) *kept {
	k := &kept{width: width, block: layers.PageRows}
	for k.block > 1 && k.block*width > keptBlock {
		k.block /= 2
	}
	return k
}

// append keeps the outputs of the rows from position on, if it has all rows before them. fresh is asked for each block that is new, or in
// place of one that others have too, and may refuse: then the outputs from there on are not kept.
func (k *kept) append(position uint32, out []byte, fresh func(bytes int, in *block) *block) {
	if position != k.rows {
		return
	}
	for len(out) > 0 {
		b, at := int(k.rows)/k.block, int(k.rows)%k.block*k.width
		if b == len(k.blocks) || !k.blocks[b].own {
			var old *block
			if b < len(k.blocks) {
				old = k.blocks[b].block
			}
			made := fresh(k.block*k.width, old)
			if made == nil {
				return
			}
			if old == nil {
				k.blocks = append(k.blocks, slot{})
			} else {
				copy(made.bytes[:at], old.bytes)
			}
			k.blocks[b] = slot{made, true}
		}
		n := copy(k.blocks[b].bytes[at:], out)
		out = out[n:]
		k.rows += uint32(n / k.width)
	}
}

// read appends the outputs of n rows from position on, which must be there, to dst.
func (k *kept) read(dst []byte, position uint32, n int) []byte {
	for n > 0 {
		b, row := int(position)/k.block, int(position)%k.block
		m := min(n, k.block-row)
		dst = append(dst, k.blocks[b].bytes[row*k.width:(row+m)*k.width]...)
		position, n = position+uint32(m), n-m
	}
	return dst
}

// truncate forgets the outputs of rows from position on; their memory stays, for the rows that will come.
func (k *kept) truncate(position uint32) { k.rows = min(k.rows, position) }

// have changes who has a block, and how many of those are pages remembered. e.mu is held.
func (e *Engine) have(b *block, refs, known int) {
	was := b.idle()
	b.refs, b.known = b.refs+refs, b.known+known
	switch now := b.idle(); {
	case now && !was:
		e.prefixes.outputs += int64(len(b.bytes))
	case was && !now:
		e.prefixes.outputs -= int64(len(b.bytes))
	}
	if b.refs == 0 {
		e.keptUsed -= int64(len(b.bytes))
	}
}

// idle reports whether no session has the block.
func (b *block) idle() bool { return b.refs > 0 && b.refs == b.known }

// lend returns the blocks of n rows from position on, a page's beginning, as far as their outputs are kept, and of how many they are. They are
// remembered from now on, and nobody writes to them any more. e.mu is held.
func (e *Engine) lend(k *kept, position, n int) (lent []*block, rows int) {
	rows = max(0, min(n, int(k.rows)-position))
	for i := position / k.block; i*k.block < position+rows; i++ {
		k.blocks[i].own = false
		e.have(k.blocks[i].block, 1, 1)
		lent = append(lent, k.blocks[i].block)
	}
	return lent, rows
}

// share appends n rows of outputs that are remembered. Rows end with a page so far. e.mu is held.
func (e *Engine) share(k *kept, blocks []*block, n int) {
	for _, b := range blocks[:(n+k.block-1)/k.block] {
		e.have(b, 1, 0)
		k.blocks = append(k.blocks, slot{block: b})
	}
	k.rows += uint32(n)
}

// freshBlock takes memory for outputs from their budget, in place of what a session has in old, if that is not nil.
func (e *Engine) freshBlock(bytes int, old *block) *block {
	e.mu.Lock()
	defer e.mu.Unlock()
	for int64(bytes) > e.cfg.ReplayBudget-e.keptUsed {
		if !e.evictOutputs() {
			return nil
		}
	}
	e.keptUsed += int64(bytes)
	if old != nil {
		e.have(old, -1, 0)
	}
	return &block{bytes: make([]byte, bytes), refs: 1}
}
