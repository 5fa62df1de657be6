// SPDX-License-Identifier: MIT

package quant

import "math"

// BytesQ3_K is the size of a Q3_K block: blocks of 256 in sixteen sub-blocks of 16, w = (d·sc)·(q-4). Layout: 32 bytes of third bits (bit j of byte i
// is element 32j+i), 64 bytes of bit pairs as in Q2_K, 12 bytes of 6-bit scales, d f16.
const BytesQ3_K = 110

// Scale3 returns the scale of sub-block j (0 to 15), -32 to 31, from the 12 bytes: four low bits in nibbles of the first eight, two high ones in
// the last four.
func Scale3(j int, s []byte) int8 {
	return int8(s[j%8]>>(j/8*4)&15|s[8+j%4]>>(j/4*2)&3<<4) - 32
}

// ThreeBits writes the 256 numbers q-4 of a block in element order.
func ThreeBits(q *[SuperBlock]int8, b []byte) {
	var low [SuperBlock]uint8
	TwoBits(&low, b[32:96])
	for i := range q {
		q[i] = int8(low[i]|b[i%32]>>(i/32)&1<<2) - 4
	}
}

func dequantQ3_K(dst []float32, b []byte) {
	d := half(b[108:])
	var q [SuperBlock]int8
	ThreeBits(&q, b)
	for i := range dst {
		dst[i] = float32(d*float32(Scale3(i/16, b[96:]))) * float32(q[i])
	}
}

func quantQ3_K(src []float32, b []byte) {
	var scale [16]float32
	for j := range scale {
		scale[j] = symmetric(src[16*j:16*j+16], 4, math.Abs)
	}
	putHalf(b[108:], maxMagnitude(scale[:])/-32)
	d := half(b[108:])
	clear(b[:108])
	for j := range scale {
		sc := max(-32, min(31, math.RoundToEven(float64(scale[j]*inverse(d)))))
		v := uint8(sc + 32)
		b[96+j%8] |= v & 15 << (j / 8 * 4)
		b[104+j%4] |= v >> 4 << (j / 4 * 2)
		inv := inverse(d * float32(sc))
		for i := 16 * j; i < 16*j+16; i++ {
			q := uint8(max(-4, min(3, math.RoundToEven(float64(src[i]*inv)))) + 4)
			b[i%32] |= q >> 2 << (i / 32)
			b[32+i/128*32+i%32] |= q & 3 << (i % 128 / 32 * 2)
		}
	}
}
