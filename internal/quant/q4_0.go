// SPDX-License-Identifier: MIT

package quant

// BytesQ4_0 is the size of a Q4_0 block: blocks of 32, w = d·(q-8). Layout: d f16, 16 bytes of nibbles; byte i holds q[i] low and q[i+16] high.
const BytesQ4_0 = 18

// Nibbles writes the 32 four-bit numbers of 16 bytes in element order, as every 32-element 4-bit format stores them.
func Nibbles(q *[32]int8, b []byte) {
	b = b[:16:16]
	for i := range 16 {
		q[i] = int8(b[i] & 15)
		q[i+16] = int8(b[i] >> 4)
	}
}

func dequantQ4_0(dst []float32, b []byte) {
	d := half(b)
	var q [32]int8
	Nibbles(&q, b[2:])
	for i := range 32 {
		dst[i] = d * float32(q[i]-8)
	}
}

func quantQ4_0(src []float32, b []byte) {
	d := maxMagnitude(src) / -8
	inv := inverse(d)
	putHalf(b, d)
	for i := range 16 {
		lo := min(15, uint8(int8(float32(src[i]*inv)+8.5)))
		hi := min(15, uint8(int8(float32(src[i+16]*inv)+8.5)))
		b[2+i] = lo | hi<<4
	}
}
