// SPDX-License-Identifier: MIT

package kernel

import (
	"encoding/binary"

	"github.com/shardnode/shardnode/internal/quant"
)

// panelRows is the number of weight rows that lie interleaved in a panel: lanes of the widest vector.
const panelRows = 16

// Pack returns the matrix repacked for the pool's path, in memory taken from mem: panels of 16 rows, interleaved so that a vector
// holds one number, or four bytes, of each row. It takes as many bytes as the original (rows rounded up to 16), to which it
// does not refer. Where the path has no use for panels, the matrix is returned as it is.
//
// Floats lie column by column. For each block of 32 columns, or of 256 of a K-quant, a panel has the 16 f16 scales, the 16 f16 minima if there are any, packed
// scales of sub-blocks, then quads of four columns, a dword for each row. Nibbles of quad k+4 lie above those of quad k. Bits
// beyond the nibble lie before them, those of quad k in place k of each byte. Two bits a number (Q2_K, Q3_K) lie as those beyond Q6_K's nibbles
// do; MXFP4's scales are bytes.
func (p *Pool) Pack(m *Matrix, mem *Memory) (*Matrix, error) {
	packed, err := p.NewPacked(m, mem)
	if err == nil && packed != m {
		p.PackRows(packed, m, 0, m.Rows)
	}
	return packed, err
}

// packPanel writes rows r to r+15 to dst.
func (m *Matrix) packPanel(dst []byte, r int) {
	format, _ := quant.Lookup(m.Type)
	step := panelRows * format.BlockBytes
	for i := range min(panelRows, m.Rows-r) {
		row := m.row(r + i)
		switch m.Type {
		case quant.F32:
			for k := range m.Cols {
				putQuad(dst, i, k, quad(row, k))
			}
			continue
		case quant.F16, quant.BF16:
			for k := range m.Cols {
				binary.LittleEndian.PutUint16(dst[32*k+2*i:], binary.LittleEndian.Uint16(row[2*k:]))
			}
			continue
		}
		for n := 0; len(row) > 0; n++ {
			packBlock(dst[n*step:][:step], m.Type, row[:format.BlockBytes], i)
			row = row[format.BlockBytes:]
		}
	}
}

// packBlock writes a block of row i of a panel of quantised weights.
func packBlock(dst []byte, t quant.Type, src []byte, i int) {
	switch t {
	case quant.Q8_0:
		copy(dst[2*i:], src[:2])
		for k := range 8 {
			putQuad(dst[32:], i, k, quad(src[2:], k)^0x80808080)
		}
	case quant.Q4_0:
		copy(dst[2*i:], src[:2])
		packNibbles(dst[32:], src[2:], i)
	case quant.Q4_1:
		copy(dst[2*i:], src[:2])
		copy(dst[32+2*i:], src[2:4])
		packNibbles(dst[64:], src[4:], i)
	case quant.Q5_0:
		copy(dst[2*i:], src[:2])
		putQuad(dst[32:], i, 0, fifths(src[2:]))
		packNibbles(dst[32+64:], src[6:], i)
	case quant.Q5_1:
		copy(dst[2*i:], src[:2])
		copy(dst[32+2*i:], src[2:4])
		putQuad(dst[64:], i, 0, fifths(src[4:]))
		packNibbles(dst[64+64:], src[8:], i)
	case quant.IQ4_NL:
		copy(dst[2*i:], src[:2])
		packNibbles(dst[32:], src[2:], i)
	case quant.MXFP4:
		dst[i] = src[0]
		packNibbles(dst[16:], src[1:], i)
	case quant.IQ4_XS:
		copy(dst[2*i:], src[:2])
		putQuad(dst[32:], i, 0, quad(src[4:], 0))
		copy(dst[96+2*i:], src[2:4])
		for j := range spanBlocks {
			packNibbles(dst[128+256*j:], src[8+16*j:], i)
		}
	case quant.Q2_K:
		copy(dst[2*i:], src[80:82])
		copy(dst[32+2*i:], src[82:84])
		for k, s := range src[:16] {
			dst[64+16*k+i] = s
		}
		for j := range spanBlocks {
			packPairs(dst[320+128*j:], src[16+j/4*32:], j%4*2, i)
		}
	case quant.Q3_K:
		copy(dst[2*i:], src[108:110])
		packScales3(dst[32:], src[96:], i)
		for j := range spanBlocks {
			to := dst[224+(128+64)*j:]
			packPairs(to, src[32+j/4*32:], j%4*2, i)
			putQuad(to[128:], i, 0, gather(src, 8, j, 1, 0x01010101))
		}
	case quant.Q4_K:
		packK(dst, src, i)
		for j := range spanBlocks {
			packHalfBytes(dst[256+256*j:], src[16+j/2*32:], 4*(j&1), i)
		}
	case quant.Q5_K:
		packK(dst, src, i)
		for j := range spanBlocks {
			to := dst[256+(64+256)*j:]
			putQuad(to, i, 0, gather(src[16:], 8, j, 1, 0x01010101))
			packHalfBytes(to[64:], src[48+j/2*32:], 4*(j&1), i)
		}
	case quant.Q6_K:
		copy(dst[2*i:], src[208:210])
		for k, s := range src[192:208] {
			dst[32+16*k+i] = s
		}
		for j := range spanBlocks {
			low, high := src[j/4*64+j%2*32:], src[128+j/4*32:]
			to := dst[32+256+(128+256)*j:]
			packPairs(to, high, j%4*2, i)
			packHalfBytes(to[128:], low, j%4/2*4, i)
		}
	}
}

// packK writes scales and minima of a Q4_K or Q5_K block.
func packK(dst, src []byte, i int) {
	copy(dst[2*i:], src[:2])
	copy(dst[32+2*i:], src[2:4])
	for k := range 3 {
		putQuad(dst[64:], i, k, quad(src[4:], k))
	}
}

// packPairs takes the bit pairs at shift of 32 bytes.
func packPairs(dst, src []byte, shift, i int) {
	putQuad(dst, i, 0, gather(src, 4, shift, 2, 0x03030303))
	putQuad(dst, i, 1, gather(src[16:], 4, shift, 2, 0x03030303))
}

// packScales3 writes the scales of a Q3_K block: two dwords of eight nibbles, then one of the pairs above them.
func packScales3(dst, src []byte, i int) {
	var low [2]uint32
	var high uint32
	for j := range 16 {
		s := uint32(quant.Scale3(j, src)+32) & 63
		low[j/8] |= s & 15 << (j % 8 * 4)
		high |= s >> 4 << (2 * j)
	}
	putQuad(dst, i, 0, low[0])
	putQuad(dst, i, 1, low[1])
	putQuad(dst, i, 2, high)
}

// packNibbles writes 16 bytes that are in the panel's order already.
func packNibbles(dst, src []byte, i int) {
	for k := range 4 {
		putQuad(dst, i, k, quad(src, k))
	}
}

// packHalfBytes takes the nibbles at shift of 32 bytes.
func packHalfBytes(dst, src []byte, shift, i int) {
	for k := range 4 {
		putQuad(dst, i, k, quad(src, k)>>shift&0x0f0f0f0f|quad(src, k+4)>>shift&0x0f0f0f0f<<4)
	}
}

// fifths spreads 32 bits, of columns in order, so that those of quad k are bits k of the four bytes.
func fifths(src []byte) (v uint32) {
	bits := quad(src, 0)
	for k := range 8 {
		v |= (bits >> (4 * k) & 15 * 0x00204081 & 0x01010101) << k
	}
	return v
}

// gather moves the bits at shift of n quads, width to a byte, side by side.
func gather(src []byte, n, shift, width int, mask uint32) (v uint32) {
	for k := range n {
		v |= quad(src, k) >> shift & mask << (width * k)
	}
	return v
}

func quad(src []byte, k int) uint32          { return binary.LittleEndian.Uint32(src[4*k:]) }
func putQuad(dst []byte, i, k int, v uint32) { binary.LittleEndian.PutUint32(dst[64*k+4*i:], v) }
