// SPDX-License-Identifier: MIT

package quant

// BytesQ4_1 is the size of a Q4_1 block: blocks of 32, w = d·q + m. Layout: d f16, m f16, 16 bytes of nibbles as in Q4_0.
const BytesQ4_1 = 20

func dequantQ4_1(dst []float32, b []byte) {
	d, m := half(b), half(b[2:])
	var q [32]int8
	Nibbles(&q, b[4:])
	for i := range 32 {
		dst[i] = float32(d*float32(q[i])) + m
	}
}

func quantQ4_1(src []float32, b []byte) {
	lo, hi := minMax(src)
	d := (hi - lo) / 15
	inv := inverse(d)
	putHalf(b, d)
	putHalf(b[2:], lo)
	for i := range 16 {
		x := min(15, uint8(int8(float32((src[i]-lo)*inv)+0.5)))
		y := min(15, uint8(int8(float32((src[i+16]-lo)*inv)+0.5)))
		b[4+i] = x | y<<4
	}
}
