// SPDX-License-Identifier: MIT

package quant

import "encoding/binary"

// BytesQ5_1 is the size of a Q5_1 block: blocks of 32, w = d·q + m. Layout: d f16, m f16, 32 fifth bits, 16 bytes of nibbles as in Q5_0.
const BytesQ5_1 = 24

func dequantQ5_1(dst []float32, b []byte) {
	d, m := half(b), half(b[2:])
	var q [32]int8
	Nibbles(&q, b[8:])
	FifthBits(&q, binary.LittleEndian.Uint32(b[4:]))
	for i := range 32 {
		dst[i] = float32(d*float32(q[i])) + m
	}
}

func quantQ5_1(src []float32, b []byte) {
	lo, hi := minMax(src)
	d := (hi - lo) / 31
	inv := inverse(d)
	putHalf(b, d)
	putHalf(b[2:], lo)
	var q [32]uint8
	for i, x := range src {
		q[i] = min(31, uint8(float32((x-lo)*inv)+0.5))
	}
	packFive(b[4:], &q)
}
