// SPDX-License-Identifier: MIT

package quant

import "math"

// BytesQ6_K is the size of a Q6_K block: blocks of 256 in sixteen sub-blocks of 16, w = (d·sc)·(q-32). Layout: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 int8 scales, d
// f16.
const BytesQ6_K = 210

// SixBits writes the 256 numbers q-32 of a Q6_K block in element order.
func SixBits(q *[SuperBlock]int8, b []byte) {
	for half := range 2 {
		low := b[64*half:][:64:64]
		high := b[128+32*half:][:32:32]
		out := q[128*half:][:128:128]
		for i := range 32 {
			h := high[i]
			out[i] = int8(low[i]&15|h&3<<4) - 32
			out[i+32] = int8(low[i+32]&15|h>>2&3<<4) - 32
			out[i+64] = int8(low[i]>>4|h>>4&3<<4) - 32
			out[i+96] = int8(low[i+32]>>4|h>>6<<4) - 32
		}
	}
}

func dequantQ6_K(dst []float32, b []byte) {
	d := half(b[208:])
	var q [SuperBlock]int8
	SixBits(&q, b)
	for i := range dst {
		dst[i] = float32(d*float32(int8(b[192+i/16]))) * float32(q[i])
	}
}

func quantQ6_K(src []float32, b []byte) {
	var scale [16]float32
	for j := range scale {
		scale[j] = symmetric(src[16*j:16*j+16], 32, square)
	}
	d := maxMagnitude(scale[:]) / -128
	putHalf(b[208:], d)
	d = half(b[208:])
	var q [SuperBlock]uint8
	for j := range scale {
		sc := int8(max(-128, min(127, math.RoundToEven(float64(scale[j]*inverse(d))))))
		b[192+j] = byte(sc)
		inv := inverse(d * float32(sc))
		for i := range 16 {
			v := math.RoundToEven(float64(src[16*j+i] * inv))
			q[16*j+i] = uint8(max(-32, min(31, v)) + 32)
		}
	}
	for half := range 2 {
		in := q[128*half:]
		for i := range 32 {
			b[64*half+i] = in[i]&15 | in[i+64]<<4
			b[64*half+i+32] = in[i+32]&15 | in[i+96]<<4
			b[128+32*half+i] = in[i]>>4 | in[i+32]>>4<<2 | in[i+64]>>4<<4 | in[i+96]>>4<<6
		}
	}
}
