// SPDX-License-Identifier: MIT

package kernel

import (
	"encoding/binary"

	"github.com/shardnode/shardnode/internal/quant"
)

// dotRow adds the products of one weight row with every activation row to acc, block by block in rising column order (docs/numerics.md §2).
// Each block of weights is decoded once, into q.
func dotRow(acc []float32, t quant.Type, row []byte, a *Acts, q *[256]int8) {
	blocks := a.cols / blockElems
	block := (*[blockElems]int8)(q[:])
	switch t {
	case quant.Q8_0:
		for b := range blocks {
			w := row[b*quant.BytesQ8_0:][:quant.BytesQ8_0]
			for i, x := range w[2:] {
				block[i] = int8(x)
			}
			scaled(acc, a, b, blocks, half(w), block)
		}
	case quant.Q4_0:
		for b := range blocks {
			w := row[b*quant.BytesQ4_0:][:quant.BytesQ4_0]
			quant.Nibbles(block, w[2:])
			shift(block, 8)
			scaled(acc, a, b, blocks, half(w), block)
		}
	case quant.Q4_1:
		for b := range blocks {
			w := row[b*quant.BytesQ4_1:][:quant.BytesQ4_1]
			quant.Nibbles(block, w[4:])
			scaled(acc, a, b, blocks, half(w), block)
			shifted(acc, a, b, blocks, half(w[2:]))
		}
	case quant.Q5_0:
		for b := range blocks {
			w := row[b*quant.BytesQ5_0:][:quant.BytesQ5_0]
			quant.Nibbles(block, w[6:])
			quant.FifthBits(block, binary.LittleEndian.Uint32(w[2:]))
			shift(block, 16)
			scaled(acc, a, b, blocks, half(w), block)
		}
	case quant.Q5_1:
		for b := range blocks {
			w := row[b*quant.BytesQ5_1:][:quant.BytesQ5_1]
			quant.Nibbles(block, w[8:])
			quant.FifthBits(block, binary.LittleEndian.Uint32(w[4:]))
			scaled(acc, a, b, blocks, half(w), block)
			shifted(acc, a, b, blocks, half(w[2:]))
		}
	case quant.Q4_K, quant.Q5_K:
		dotK(acc, t, row, a, q)
	case quant.Q6_K:
		dotQ6K(acc, row, a, q)
	}
}

func half(b []byte) float32 { return quant.F16ToF32(binary.LittleEndian.Uint16(b)) }

func shift(q *[blockElems]int8, n int8) {
	for i := range q {
		q[i] -= n
	}
}

// scaled adds d·(q·activations) of block b for every row.
func scaled(acc []float32, a *Acts, b, blocks int, d float32, q *[blockElems]int8) {
	for t := range acc {
		sum := dot32(q, (*[blockElems]int8)(a.q[t*a.cols+b*blockElems:]))
		acc[t] = FMA(float32(sum), d*a.d[t*blocks+b], acc[t])
	}
}

// shifted adds m times the sum of the activations of block b for every row.
func shifted(acc []float32, a *Acts, b, blocks int, m float32) {
	for t := range acc {
		acc[t] = FMA(m, a.s[t*blocks+b], acc[t])
	}
}

// dot32 is the exact integer product of two blocks.
func dot32(w, x *[blockElems]int8) int32 {
	var s0, s1, s2, s3 int32
	for i := 0; i < blockElems; i += 8 {
		s0 += int32(w[i])*int32(x[i]) + int32(w[i+4])*int32(x[i+4])
		s1 += int32(w[i+1])*int32(x[i+1]) + int32(w[i+5])*int32(x[i+5])
		s2 += int32(w[i+2])*int32(x[i+2]) + int32(w[i+6])*int32(x[i+6])
		s3 += int32(w[i+3])*int32(x[i+3]) + int32(w[i+7])*int32(x[i+7])
	}
	return s0 + s1 + s2 + s3
}

// dotK is [dotRow] for Q4_K and Q5_K: eight sub-blocks of 32 with scale and minimum each.
func dotK(acc []float32, t quant.Type, row []byte, a *Acts, q *[256]int8) {
	size, low := quant.BytesQ4_K, 16
	if t == quant.Q5_K {
		size, low = quant.BytesQ5_K, 48
	}
	blocks := a.cols / blockElems
	block := (*[blockElems]int8)(q[:])
	for s := range a.cols / quant.SuperBlock {
		w := row[s*size:][:size]
		d, dmin := half(w), half(w[2:])
		for j := range 8 {
			sc, mn := quant.ScaleMin(j, w[4:16])
			nibbles, high := w[low+j/2*32:][:32], w[16:48]
			for i := range block {
				v := nibbles[i] >> (4 * (j & 1)) & 15
				if t == quant.Q5_K {
					v |= high[i] >> j & 1 << 4
				}
				block[i] = int8(v)
			}
			b := 8*s + j
			scaled(acc, a, b, blocks, d*float32(sc), block)
			shifted(acc, a, b, blocks, -(dmin * float32(mn)))
		}
	}
}

// dotQ6K is [dotRow] for Q6_K: the two sub-blocks of 16 that share an activation block are joined as integers.
func dotQ6K(acc []float32, row []byte, a *Acts, q *[256]int8) {
	blocks := a.cols / blockElems
	for s := range a.cols / quant.SuperBlock {
		w := row[s*quant.BytesQ6_K:][:quant.BytesQ6_K]
		quant.SixBits(q, w)
		d, scales := half(w[208:]), w[192:208]
		for j := range 8 {
			b := 8*s + j
			sc0, sc1 := int32(int8(scales[2*j])), int32(int8(scales[2*j+1]))
			lo, hi := (*[16]int8)(q[32*j:]), (*[16]int8)(q[32*j+16:])
			for t := range acc {
				x := a.q[t*a.cols+b*blockElems:]
				sum := sc0*dot16(lo, (*[16]int8)(x)) + sc1*dot16(hi, (*[16]int8)(x[16:]))
				acc[t] = FMA(float32(sum), d*a.d[t*blocks+b], acc[t])
			}
		}
	}
}

// dot16 is the exact integer product of two half blocks.
func dot16(w, x *[16]int8) int32 {
	var s0, s1 int32
	for i := 0; i < 16; i += 2 {
		s0 += int32(w[i]) * int32(x[i])
		s1 += int32(w[i+1]) * int32(x[i+1])
	}
	return s0 + s1
}
