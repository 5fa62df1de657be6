// SPDX-License-Identifier: MIT

package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/operand"
)

// format is how a weight type lies in panels of 16 rows (panel.go): for every block of 32 columns a header and 16 × 16 bytes of
// nibbles, or 16 × 32 bytes of numbers of 8 bits.
type format struct {
	name   string
	bits   int // 2, 3, 4, 5, 6 or 8
	offset int // what is taken from each number
	min    bool
	super  bool      // K-quant: super-blocks of 8 blocks with a common header
	lows   bool      // Q2_K: a minimum of each half of a block, times that of the super-block
	table  *[16]int8 // what nibbles stand for
	power  bool      // MXFP4: the scale is a byte, the exponent of a power of two
}

var (
	tableIQ4   = &[16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	tableMXFP4 = &[16]int8{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}
)

var formats = []format{
	{name: "Q8_0", bits: 8, offset: 128},
	{name: "Q4_0", bits: 4, offset: 8},
	{name: "Q4_1", bits: 4, min: true},
	{name: "Q5_0", bits: 5, offset: 16},
	{name: "Q5_1", bits: 5, min: true},
	{name: "Q4_K", bits: 4, min: true, super: true},
	{name: "Q5_K", bits: 5, min: true, super: true},
	{name: "Q6_K", bits: 6, offset: 32, super: true},
	{name: "Q2_K", bits: 2, super: true, lows: true},
	{name: "Q3_K", bits: 3, offset: 4, super: true},
	{name: "IQ4_NL", bits: 4, offset: 128, table: tableIQ4},
	{name: "IQ4_XS", bits: 4, offset: 128, super: true, table: tableIQ4},
	{name: "MXFP4", bits: 4, offset: 12, table: tableMXFP4, power: true},
}

// plain reports whether a block has one scale and nothing else: little work beside the products, and few registers.
func (f format) plain() bool { return !f.min && !f.super && f.bits != 5 && f.table == nil }

// halves reports whether the halves of a block have scales of their own.
func (f format) halves() bool { return f.bits == 2 || f.bits == 3 || f.bits == 6 }

// counts reports whether the sums of activations are used.
func (f format) counts() bool { return f.offset != 0 || f.lows }

// blocks is the number of blocks that are computed in one turn of the loop.
func (f format) blocks() int {
	if f.super {
		return 8
	}
	return 1
}

// head is the size of the header that a turn begins with: f16 scales, then f16 minima, then packed scales.
func (f format) head() int {
	switch {
	case f.super && f.min:
		return 32 + 32 + 3*64
	case f.lows:
		return 32 + 32 + 8*2*16
	case f.bits == 3:
		return 32 + 3*64
	case f.bits == 6:
		return 32 + 8*2*16
	case f.super: // IQ4_XS
		return 32 + 64 + 32
	case f.min:
		return 64
	case f.power:
		return 16
	}
	return 32
}

// high is the size of a block's bits beyond the nibbles.
func (f format) high() int {
	switch f.bits {
	case 5:
		return 64
	case 6:
		return 128
	}
	return 0
}

// block is the size of a block without the header.
func (f format) block() int {
	switch f.bits {
	case 8:
		return 512
	case 3:
		return 128 + 64
	case 2:
		return 128
	}
	return f.high() + 256
}

// at is where block b of a turn lies, or of the turns from this one on where a turn is a block.
func (f format) at(b int) int {
	if f.super {
		return f.head() + b*f.block()
	}
	return f.head() + b*f.step()
}

// step is the size of a turn.
func (f format) step() int { return f.head() + f.blocks()*f.block() }

// bytes declares the table, each value plus an offset.
func (f format) bytes(offset int) Mem {
	var words [4]uint32
	for i, v := range f.table {
		words[i/4] |= uint32(uint8(int(v)+offset)) << (i % 4 * 8)
	}
	return constant(fmt.Sprintf("values%d_%d", uint8(f.table[1]), offset), words[:]...)
}
