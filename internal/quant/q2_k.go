// SPDX-License-Identifier: MIT

package quant

// BytesQ2_K is the size of a Q2_K block: blocks of 256 in sixteen sub-blocks of 16, w = (d·sc)·q - dmin·mn. Layout: 16 bytes of scales, the low nibble,
// and minima, the high one; 64 bytes of bit pairs, of which each half of the block has 32: bits 2j of byte i are element 32j+i; d f16, dmin f16.
const BytesQ2_K = 84

// TwoBits writes the 256 bit pairs of a block in element order.
func TwoBits(q *[SuperBlock]uint8, b []byte) {
	for i := range q {
		q[i] = b[i/128*32+i%32] >> (i % 128 / 32 * 2) & 3
	}
}

func dequantQ2_K(dst []float32, b []byte) {
	d, dmin := half(b[80:]), half(b[82:])
	var q [SuperBlock]uint8
	TwoBits(&q, b[16:80])
	for i := range dst {
		s := b[i/16]
		dst[i] = float32(d*float32(s&15)*float32(q[i])) - dmin*float32(s>>4)
	}
}

func quantQ2_K(src []float32, b []byte) {
	var scale, low [16]float32
	var maxScale, maxLow float32
	for j := range scale {
		scale[j], low[j] = spreadQ2_K.affine(src[16*j : 16*j+16])
		maxScale, maxLow = max(maxScale, scale[j]), max(maxLow, low[j])
	}
	putHalf(b[80:], maxScale/15)
	putHalf(b[82:], maxLow/15)
	d, dmin := half(b[80:]), half(b[82:])
	clear(b[16:80])
	for j := range scale {
		sc, mn := nearest(scale[j], d, 15), nearest(low[j], dmin, 15)
		b[j] = sc | mn<<4
		scale[j], low[j] = d*float32(sc), dmin*float32(mn)
	}
	for i, x := range src {
		q := nearest(x+low[i/16], scale[i/16], 3)
		b[16+i/128*32+i%32] |= q << (i % 128 / 32 * 2)
	}
}
