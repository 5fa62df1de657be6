// SPDX-License-Identifier: MIT

package kernel

// Quantized reports whether products with the matrix round the activations to int8.
func (m *Matrix) Quantized() bool { return isQuantized(m.Type) }

// remainderPiece is how many blocks are quantised at a time: their int8 values stay in the first cache.
const remainderPiece = 32

// Remainder computes what quantisation takes away from activations. It is memory for one goroutine; the zero value is ready.
type Remainder struct {
	q    [remainderPiece * actBlock]int8
	d, s [remainderPiece]float32
	sum  [remainderPiece * sums]int32
}

// Write writes x - d·q to dst for each block of 32 (docs/numerics.md §2). Both have a whole number of blocks.
func (r *Remainder) Write(dst, x []float32) {
	for len(x) > 0 {
		blocks := min(remainderPiece, len(x)/actBlock)
		if activeOps != nil {
			activeOps.quantizeBlocks(r.q[:], r.d[:], r.s[:], r.sum[:], x, blocks, 1, 0)
			activeOps.remainderBlocks(dst, x, r.q[:], r.d[:], blocks)
		} else {
			for b := range blocks {
				at := b * actBlock
				remainderPortable((*[actBlock]float32)(dst[at:]), (*[actBlock]float32)(x[at:]))
			}
		}
		dst, x = dst[blocks*actBlock:], x[blocks*actBlock:]
	}
}

func remainderPortable(dst, x *[actBlock]float32) {
	var q [actBlock]int8
	d, _, _, _ := quantizeBlock(&q, x)
	for i := range dst {
		dst[i] = x[i] - float32(d*float32(q[i]))
	}
}
