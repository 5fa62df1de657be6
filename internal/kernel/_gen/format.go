// SPDX-License-Identifier: MIT

package main

// format is how a weight type lies in panels of 16 rows (panel.go): for every block of 32 columns a header and 16 × 16 bytes of
// nibbles, or 16 × 32 bytes of numbers of 8 bits.
type format struct {
	name   string
	bits   int // 4, 5, 6 or 8
	offset int // what is taken from each number
	min    bool
	super  bool // K-quant: super-blocks of 8 blocks with a common header
}

var formats = []format{
	{name: "Q8_0", bits: 8, offset: 128},
	{name: "Q4_0", bits: 4, offset: 8},
	{name: "Q4_1", bits: 4, min: true},
	{name: "Q5_0", bits: 5, offset: 16},
	{name: "Q5_1", bits: 5, min: true},
	{name: "Q4_K", bits: 4, min: true, super: true},
	{name: "Q5_K", bits: 5, min: true, super: true},
	{name: "Q6_K", bits: 6, offset: 32, super: true},
}

// plain reports whether a block has one scale and nothing else: little work beside the products, and few registers.
func (f format) plain() bool { return !f.min && !f.super && f.bits != 5 }

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
	case f.super:
		return 32 + 8*2*16
	case f.min:
		return 64
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
	if f.bits == 8 {
		return 512
	}
	return f.high() + 256
}

// step is the size of a turn.
func (f format) step() int { return f.head() + f.blocks()*f.block() }
