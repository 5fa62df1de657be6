// SPDX-License-Identifier: MIT

package engine

// kept holds the outputs of a session's rows as they were sent, so that a replacement of the next hop can be given them again
// instead of the whole route computing anew. It has the rows from 0 on, as many as the budget allowed: of a session that outgrows
// it the rest is computed again when needed. It belongs to whoever owns the session's KV cache.
type kept struct {
	width  int // bytes of a row
	block  int // rows of a block
	rows   uint32
	blocks [][]byte // [block][width] each
}

// keptBlock is what a block of outputs has in bytes, or in one row if that is more: a decode step rarely needs a new one, and
// a short session does not take much.
const keptBlock = 64 << 10

// newKept returns an empty store for a session of so many positions.
func newKept(width int, positions uint32) *kept {
	return &kept{width: width, block: int(min(max(1, int64(keptBlock/width)), int64(positions)))}
}

// append keeps the outputs of the rows from position on, if it has all rows before them. reserve is asked for the bytes of each
// block that is new, and may refuse: then the outputs from there on are not kept.
func (k *kept) append(position uint32, out []byte, reserve func(bytes int64) bool) {
	if position != k.rows {
		return
	}
	for len(out) > 0 {
		b, at := int(k.rows)/k.block, int(k.rows)%k.block*k.width
		if b == len(k.blocks) {
			if !reserve(int64(k.block * k.width)) {
				return
			}
			k.blocks = append(k.blocks, make([]byte, k.block*k.width))
		}
		n := copy(k.blocks[b][at:], out)
		out = out[n:]
		k.rows += uint32(n / k.width)
	}
}

// read appends the outputs of n rows from position on, which must be there, to dst.
func (k *kept) read(dst []byte, position uint32, n int) []byte {
	for n > 0 {
		b, row := int(position)/k.block, int(position)%k.block
		m := min(n, k.block-row)
		dst = append(dst, k.blocks[b][row*k.width:(row+m)*k.width]...)
		position, n = position+uint32(m), n-m
	}
	return dst
}

// truncate forgets the outputs of rows from position on; their memory stays, for the rows that will come.
func (k *kept) truncate(position uint32) { k.rows = min(k.rows, position) }

// bytes is the memory taken.
func (k *kept) bytes() int64 { return int64(len(k.blocks)) * int64(k.block*k.width) }
