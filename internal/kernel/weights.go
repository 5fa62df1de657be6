// SPDX-License-Identifier: MIT

package kernel

import (
	"encoding/binary"

	"github.com/shardnode/shardnode/internal/quant"
)

// weightBlock is the decoded weights that meet one block of activations: w = d·sub·q + m, or d·sub·q + m·low.
type weightBlock struct {
	q   [actBlock]byte // int8, kept as bytes because formats are decoded eight bytes at a time
	d   float32
	m   float32  // where the form has an offset or lows
	sub [2]int32 // of either half, where the form has halves
	low [2]int32 // of either half, where the form has lows
}

// spanBlocks is the number of blocks decoded at a time: a K-quant's super-block.
const spanBlocks = quant.SuperBlock / actBlock

// form says which parts of a weightBlock a type uses.
type form struct{ offset, halves, lows bool }

func formOf(t quant.Type) form {
	switch t {
	case quant.Q4_1, quant.Q5_1, quant.Q4_K, quant.Q5_K:
		return form{offset: true}
	case quant.Q3_K, quant.Q6_K:
		return form{halves: true}
	case quant.Q2_K:
		return form{halves: true, lows: true}
	default:
		return form{}
	}
}

// decode writes n blocks of row from block first on, a multiple of spanBlocks.
func decode(dst *[spanBlocks]weightBlock, t quant.Type, row []byte, first, n int) {
	switch t {
	case quant.Q4_K:
		decodeK(dst, row[first/spanBlocks*quant.BytesQ4_K:][:quant.BytesQ4_K], false)
		return
	case quant.Q5_K:
		decodeK(dst, row[first/spanBlocks*quant.BytesQ5_K:][:quant.BytesQ5_K], true)
		return
	case quant.Q6_K:
		decodeQ6K(dst, row[first/spanBlocks*quant.BytesQ6_K:][:quant.BytesQ6_K])
		return
	case quant.Q2_K:
		decodeQ2K(dst, row[first/spanBlocks*quant.BytesQ2_K:][:quant.BytesQ2_K])
		return
	case quant.Q3_K:
		decodeQ3K(dst, row[first/spanBlocks*quant.BytesQ3_K:][:quant.BytesQ3_K])
		return
	case quant.IQ4_XS:
		src := row[first/spanBlocks*quant.BytesIQ4_XS:][:quant.BytesIQ4_XS]
		for j := range dst {
			dst[j].d = half(src) * float32(quant.Scale4(j, src))
			lookUp(&dst[j], src[8+16*j:], &quant.ValuesIQ4)
		}
		return
	}
	for i := range n {
		w, b := &dst[i], first+i
		switch t {
		case quant.Q8_0:
			src := row[b*quant.BytesQ8_0:][:quant.BytesQ8_0]
			w.d = half(src)
			copy(w.q[:], src[2:])
		case quant.Q4_0:
			src := row[b*quant.BytesQ4_0:][:quant.BytesQ4_0]
			w.d = half(src)
			nibbles(w, src[2:])
			subtract(w, 8)
		case quant.Q4_1:
			src := row[b*quant.BytesQ4_1:][:quant.BytesQ4_1]
			w.d, w.m = half(src), half(src[2:])
			nibbles(w, src[4:])
		case quant.Q5_0:
			src := row[b*quant.BytesQ5_0:][:quant.BytesQ5_0]
			w.d = half(src)
			nibbles(w, src[6:])
			fifthBits(w, binary.LittleEndian.Uint32(src[2:]))
			subtract(w, 16)
		case quant.Q5_1:
			src := row[b*quant.BytesQ5_1:][:quant.BytesQ5_1]
			w.d, w.m = half(src), half(src[2:])
			nibbles(w, src[8:])
			fifthBits(w, binary.LittleEndian.Uint32(src[4:]))
		case quant.IQ4_NL:
			src := row[b*quant.BytesIQ4_NL:][:quant.BytesIQ4_NL]
			w.d = half(src)
			lookUp(w, src[2:], &quant.ValuesIQ4)
		case quant.MXFP4:
			src := row[b*quant.BytesMXFP4:][:quant.BytesMXFP4]
			w.d = quant.HalfScaleMXFP4(src[0])
			lookUp(w, src[1:], &quant.ValuesMXFP4)
		}
	}
}

// decodeK decodes a super-block of Q4_K or, with fifth bits, Q5_K.
func decodeK(dst *[spanBlocks]weightBlock, src []byte, five bool) {
	d, dmin, scales, high, low := half(src), half(src[2:]), src[4:16], src[16:48], src[16:]
	if five {
		low = src[48:]
	}
	for j := range dst {
		w := &dst[j]
		sc, mn := quant.ScaleMin(j, scales)
		w.d, w.m = d*float32(sc), -(dmin * float32(mn))
		for k := 0; k < actBlock; k += 8 {
			v := word(low[j/2*32+k:]) >> (4 * (j & 1)) & (15 * ones)
			if five {
				v |= word(high[k:]) >> j & ones << 4
			}
			putWord(w.q[k:], v)
		}
	}
}

func decodeQ6K(dst *[spanBlocks]weightBlock, src []byte) {
	d, scales := half(src[208:]), src[192:208]
	for j := range dst {
		w := &dst[j]
		w.d = d
		w.sub = [2]int32{int32(int8(scales[2*j])), int32(int8(scales[2*j+1]))}
		// Each half of the super-block has 64 bytes of nibbles, for its blocks 0, 1 and 2, 3, and 32 of bit pairs.
		low, high := src[j/4*64+j%2*32:], src[128+j/4*32:]
		for k := 0; k < actBlock; k += 8 {
			v := word(low[k:])>>(j%4/2*4)&(15*ones) | word(high[k:])>>(j%4*2)&(3*ones)<<4
			putWord(w.q[k:], v)
		}
		subtract(w, 32)
	}
}

func decodeQ2K(dst *[spanBlocks]weightBlock, src []byte) {
	d, dmin := half(src[80:]), half(src[82:])
	for j := range dst {
		w := &dst[j]
		w.d, w.m = d, dmin
		for k, s := range src[2*j : 2*j+2] {
			w.sub[k], w.low[k] = int32(s&15), int32(s>>4)
		}
		pairs := src[16+j/4*32:]
		for k := 0; k < actBlock; k += 8 {
			putWord(w.q[k:], word(pairs[k:])>>(j%4*2)&(3*ones))
		}
	}
}

func decodeQ3K(dst *[spanBlocks]weightBlock, src []byte) {
	for j := range dst {
		w := &dst[j]
		w.d = half(src[108:])
		for k := range w.sub {
			w.sub[k] = int32(quant.Scale3(2*j+k, src[96:]))
		}
		pairs := src[32+j/4*32:]
		for k := 0; k < actBlock; k += 8 {
			putWord(w.q[k:], word(pairs[k:])>>(j%4*2)&(3*ones)|word(src[k:])>>j&ones<<2)
		}
		subtract(w, 4)
	}
}

// lookUp spreads 16 bytes to 32 values of a table, those of the low nibbles first.
func lookUp(w *weightBlock, src []byte, values *[16]int8) {
	for i := range 16 {
		w.q[i], w.q[16+i] = byte(values[src[i]&15]), byte(values[src[i]>>4])
	}
}

// ones has a one in each byte: n*ones is n in each byte.
const ones = 0x0101010101010101

// nibbles spreads 16 bytes to 32 numbers, the low nibbles first.
func nibbles(w *weightBlock, src []byte) {
	for k := 0; k < 16; k += 8 {
		v := word(src[k:])
		putWord(w.q[k:], v&(15*ones))
		putWord(w.q[16+k:], v>>4&(15*ones))
	}
}

// fifthBits adds 16 to the numbers whose bit is set.
func fifthBits(w *weightBlock, bits uint32) {
	for k := 0; k < actBlock; k += 8 {
		v := uint64(bits>>k&0xff) * ones & 0x8040201008040201 // bit i alone in byte i
		v = (v + 0x7f*ones) >> 7 & ones                       // moved to bit 0
		putWord(w.q[k:], word(w.q[k:])|v<<4)
	}
}

// subtract takes n from each number, which must be below 128: the top bit of each byte stops the borrow.
func subtract(w *weightBlock, n uint64) {
	for k := 0; k < actBlock; k += 8 {
		putWord(w.q[k:], (word(w.q[k:])|0x80*ones)-n*ones^0x80*ones)
	}
}

func word(b []byte) uint64       { return binary.LittleEndian.Uint64(b) }
func putWord(b []byte, v uint64) { binary.LittleEndian.PutUint64(b, v) }
func half(b []byte) float32      { return quant.F16ToF32(binary.LittleEndian.Uint16(b)) }
