// SPDX-License-Identifier: MIT

package quant

import "math"

// SuperBlock is the number of elements of a K-quant block.
const SuperBlock = 256

// BytesQ4_K is the size of a Q4_K block: blocks of 256 in eight sub-blocks of 32, w = (d·sc)·q - dmin·mn. Layout: d f16, dmin f16, 12 bytes of 6-bit scales and minima,
// 128 bytes of nibbles: each 32 bytes hold sub-block 2k low and 2k+1 high.
const BytesQ4_K = 144

// ScaleMin returns the 6-bit scale and minimum of sub-block j (0 to 7) from the 12 bytes of Q4_K and Q5_K.
func ScaleMin(j int, s []byte) (sc, mn uint8) {
	if j < 4 {
		return s[j] & 63, s[j+4] & 63
	}
	return s[j+4]&15 | s[j-4]>>6<<4, s[j+4]>>4 | s[j]>>6<<4
}

func dequantQ4_K(dst []float32, b []byte) {
	d, dmin := half(b), half(b[2:])
	for j := range 8 {
		sc, mn := ScaleMin(j, b[4:16])
		scale, low := d*float32(sc), dmin*float32(mn)
		q := b[16+j/2*32:]
		for i := range 32 {
			dst[32*j+i] = float32(scale*float32(q[i]>>(4*(j&1))&15)) - low
		}
	}
}

// packScaleMin is the inverse of [ScaleMin].
func packScaleMin(s []byte, j int, sc, mn uint8) {
	if j < 4 {
		s[j] |= sc
		s[j+4] |= mn
		return
	}
	s[j+4] |= sc&15 | mn<<4
	s[j-4] |= sc >> 4 << 6
	s[j] |= mn >> 4 << 6
}

// subBlocks finds scale and low of each sub-block of 32 and writes the six-bit forms of them.
func (s *spread) subBlocks(src []float32, b []byte) (scale, low [8]float32) {
	var maxScale, maxLow float32
	for j := range 8 {
		scale[j], low[j] = s.affine(src[32*j : 32*j+32])
		maxScale, maxLow = max(maxScale, scale[j]), max(maxLow, low[j])
	}
	putHalf(b, maxScale/63)
	putHalf(b[2:], maxLow/63)
	d, dmin := half(b), half(b[2:])
	clear(b[4:16])
	for j := range 8 {
		sc := sixBits(scale[j], maxScale)
		mn := sixBits(low[j], maxLow)
		packScaleMin(b[4:16], j, sc, mn)
		scale[j], low[j] = d*float32(sc), dmin*float32(mn)
	}
	return scale, low
}

// sixBits is x in 63rds of top.
func sixBits(x, top float32) uint8 { return uint8(min(63, nearestInt(63*float32(x*inverse(top))))) }

func quantQ4_K(src []float32, b []byte) {
	scale, low := spreadQ4_K.subBlocks(src, b)
	clear(b[16:])
	for j := range 8 {
		for i := range 32 {
			q := nearest(src[32*j+i]+low[j], scale[j], 15)
			b[16+j/2*32+i] |= q << (4 * (j & 1))
		}
	}
}

// nearest is x/scale rounded and clamped to 0…top.
func nearest(x, scale float32, top float64) uint8 {
	return uint8(max(0, min(top, math.RoundToEven(float64(x*inverse(scale))))))
}
