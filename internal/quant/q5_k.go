// SPDX-License-Identifier: MIT

package quant

// BytesQ5_K is the size of a Q5_K block: as Q4_K with five bits. Layout: d f16, dmin f16, 12 bytes of scales and minima, 32 bytes of fifth bits (bit j of byte i is element i of
// sub-block j), 128 bytes of nibbles.
const BytesQ5_K = 176

func dequantQ5_K(dst []float32, b []byte) {
	d, dmin := half(b), half(b[2:])
	high := b[16:48]
	for j := range 8 {
		sc, mn := ScaleMin(j, b[4:16])
		scale, low := d*float32(sc), dmin*float32(mn)
		q := b[48+j/2*32:]
		for i := range 32 {
			v := q[i]>>(4*(j&1))&15 | high[i]>>j&1<<4
			dst[32*j+i] = float32(scale*float32(v)) - low
		}
	}
}

func quantQ5_K(src []float32, b []byte) {
	scale, low := spreadQ5_K.subBlocks(src, b)
	clear(b[16:])
	for j := range 8 {
		for i := range 32 {
			q := nearest(src[32*j+i]+low[j], scale[j], 31)
			b[48+j/2*32+i] |= q & 15 << (4 * (j & 1))
			b[16+i] |= q >> 4 << j
		}
	}
}
