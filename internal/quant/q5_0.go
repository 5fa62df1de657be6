// SPDX-License-Identifier: MIT

package quant

import "encoding/binary"

// BytesQ5_0 is the size of a Q5_0 block: blocks of 32, w = d·(q-16). Layout: d f16, 32 fifth bits (bit i is element i's), 16 bytes of nibbles as in Q4_0.
const BytesQ5_0 = 22

// FifthBits adds 16 to each number whose bit is set.
func FifthBits(q *[32]int8, bits uint32) {
	for i := range q {
		q[i] |= int8(bits>>i&1) << 4
	}
}

func dequantQ5_0(dst []float32, b []byte) {
	d := half(b)
	var q [32]int8
	Nibbles(&q, b[6:])
	FifthBits(&q, binary.LittleEndian.Uint32(b[2:]))
	for i := range 32 {
		dst[i] = d * float32(q[i]-16)
	}
}

func quantQ5_0(src []float32, b []byte) {
	d := maxMagnitude(src) / -16
	inv := inverse(d)
	putHalf(b, d)
	var q [32]uint8
	for i, x := range src {
		q[i] = min(31, uint8(int8(float32(x*inv)+16.5)))
	}
	packFive(b[2:], &q)
}

// packFive stores 32 five-bit numbers as Q5_0 and Q5_1 do.
func packFive(b []byte, q *[32]uint8) {
	var bits uint32
	for i := range 16 {
		b[4+i] = q[i]&15 | q[i+16]<<4
	}
	for i, v := range q {
		bits |= uint32(v>>4) << i
	}
	binary.LittleEndian.PutUint32(b, bits)
}
