// SPDX-License-Identifier: MIT

package kernel

// Quantized reports whether products with the matrix round the activations to int8.
func (m *Matrix) Quantized() bool { return isQuantized(m.Type) }

// remainderBlocks is how many blocks are quantised at a time: their int8 values stay in the first cache.
const remainderBlocks = 8

// Remainder computes what quantisation takes away from activations. It is memory for one goroutine; the zero value is ready.
type Remainder struct {
	q    [remainderBlocks * actBlock]int8
	d, s [remainderBlocks]float32
	sum  [remainderBlocks * sums]int32
}

// Write writes x - d·q to dst for each block of 32 (docs/numerics.md §2). Both have a whole number of blocks.
func (r *Remainder) Write(dst, x []float32) {
	q, d := &r.q, &r.d
	for len(x) > 0 {
		blocks := min(remainderBlocks, len(x)/actBlock)
		if activeOps != nil {
			activeOps.quantizeBlocks(q[:], d[:], r.s[:], r.sum[:], x, blocks, 1, 0)
		} else {
			for b := range blocks {
				d[b], r.s[b], _, _ = quantizeBlock((*[actBlock]int8)(q[b*actBlock:]), (*[actBlock]float32)(x[b*actBlock:]))
			}
		}
		for b := range blocks {
			scale := d[b]
			out, in, n := dst[b*actBlock:][:actBlock], x[b*actBlock:][:actBlock], q[b*actBlock:][:actBlock]
			for i := range out {
				out[i] = in[i] - float32(scale*float32(n[i]))
			}
		}
		dst, x = dst[blocks*actBlock:], x[blocks*actBlock:]
	}
}
