// SPDX-License-Identifier: MIT

package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// amxRows is the number of activation rows that a routine with AMX multiplies a panel with: as many as a tile register has.
const amxRows = 16

// Tile registers: sums of the whole block, or of its halves; activations; weights.
const (
	tmmSum  = 0
	tmmActs = 2
	tmmW    = 4
)

// tileAMX writes a routine for AMX: all products of a block of 32 columns, or of half of it where halves have scales of their own, are one
// instruction, since quads of a panel lie as tile registers want them. Its integer sums pass through memory to the vector registers, which scale
// and add them as in tile512. What is not 8 bits in the panel is unpacked to memory first, to signed numbers. Tile registers wait long for what
// was just written, and so does who reads what they wrote: each step is done for a group of blocks before the next.
func tileAMX(f format) {
	TEXT(fmt.Sprintf("tileAMX%sx%d", f.name, amxRows), 0, signature)
	Pragma("noescape")
	Doc(fmt.Sprintf("tileAMX%sx%d multiplies a panel of %s with %d activation rows into rows stride bytes apart: quantRow is the reference.", f.name, amxRows, f.name, amxRows))
	arg := func(name string) Register { return Load(Param(name), GP64()) }
	t := &tile{format: f, rows: amxRows, w: arg("w"), next: arg("next"), q: arg("q"), d: arg("d"), s: arg("s"), sum_: arg("sum"), left: arg("steps")}
	g := &genAMX{gen512: &gen512{tile: t, panels: 1, zero: splat512(0)}, work: GP64()}
	g.unpackers()
	if f.offset != 0 && f.bits < 8 {
		g.shift = splat512(uint32(f.offset) * 0x01010101)
	}
	LEAQ(AllocLocal(abreast*workBytes+64), g.work)
	ADDQ(Imm(63), g.work)
	ANDQ(I32(-64), g.work)
	LEAQ(f.shapes(), RSI)
	amx(0x78, 0x49, 0x06) // LDTILECFG (SI)
	for range amxRows {
		acc := ZMM()
		VMOVDQA32(g.zero, acc)
		g.acc = append(g.acc, acc)
	}
	TESTQ(t.left, t.left)
	JZ(LabelRef("done"))
	if f.super {
		Label("turn")
		g.d, g.m = g.scales(0, 0)
		for b := 0; b < f.blocks(); b += abreast {
			g.multiply(b, b+abreast)
		}
		t.advance(1)
		DECQ(t.left)
		JNZ(LabelRef("turn"))
	} else { // a block is a turn
		Label("turns")
		CMPQ(t.left, Imm(abreast))
		JL(LabelRef("turn"))
		g.multiply(0, abreast)
		t.advance(abreast)
		SUBQ(Imm(abreast), t.left)
		JNZ(LabelRef("turns"))
		JMP(LabelRef("done"))
		Label("turn")
		g.multiply(0, 1)
		t.advance(1)
		DECQ(t.left)
		JNZ(LabelRef("turn"))
	}
	Label("done")
	amx(0x78, 0x49, 0xc0) // TILERELEASE: else every switch of threads saves the tiles
	dst, stride := arg("dst"), arg("stride")
	for i, acc := range g.acc {
		if i > 0 {
			ADDQ(stride, dst)
		}
		VMOVUPS(acc, Mem{Base: dst})
	}
	VZEROUPPER()
	RET()
}

const (
	// abreast is how many blocks are computed side by side.
	abreast = 4

	// What lies in memory of a block: the sums, or those of both halves, of all activation rows, and unpacked weights.
	sumBytes  = amxRows * 64
	workBytes = 2*sumBytes + 8*64
)

type genAMX struct {
	*gen512
	work  Register // memory of a group
	shift Register // what unpacked numbers are too large by, in each byte
}

func (g *genAMX) sumAt(b, half, i int) Mem {
	return Mem{Base: g.work, Disp: b%abreast*workBytes + half*sumBytes + 64*i}
}

func (g *genAMX) unpacked(b, k int) Mem {
	return Mem{Base: g.work, Disp: b%abreast*workBytes + 2*sumBytes + 64*k}
}

// multiply adds the products of some blocks.
func (g *genAMX) multiply(first, end int) {
	from, to := g.at(first), g.at(end)
	if first == 0 {
		from = 0
	}
	skip := fmt.Sprintf("fetched%dto%d", first, end)
	TESTQ(g.next, g.next)
	JZ(LabelRef(skip))
	for at := (from + 63) / 64 * 64; at < to; at += 64 {
		PREFETCHT0(Mem{Base: g.w, Disp: at, Index: g.next, Scale: 1})
	}
	Label(skip)
	for b := first; b < end; b++ {
		g.unpack(b)
	}
	for b := first; b < end; b++ {
		g.products(b)
	}
	for b := first; b < end; b++ {
		if !g.super {
			g.d, g.m = g.scales(0, b*g.step())
		}
		g.scale(b)
	}
}

// shapes declares the shapes of the tile registers: rows, and bytes in each.
func (f format) shapes() Mem {
	columns := 32
	if f.halves() {
		columns = 16
	}
	var bytes [64]byte
	bytes[0] = 1 // the palette
	shape := func(tmm, rows, width int) { bytes[16+2*tmm], bytes[48+tmm] = byte(width), byte(rows) }
	for part := range 2 {
		shape(tmmSum+part, amxRows, 64)
		shape(tmmActs+part, amxRows, columns)
		shape(tmmW+part, columns/4, 64)
	}
	var words [16]uint32
	for i, b := range bytes {
		words[i/4] |= uint32(b) << (i % 4 * 8)
	}
	return constant(fmt.Sprintf("shapes%d", columns), words[:]...)
}

// unpack writes the weights of block b as signed bytes, if they are not 8 bits wide.
func (g *genAMX) unpack(b int) {
	write := func(k int, w []Register) {
		if g.shift != nil {
			VPSUBB(g.shift, w[0], w[0])
		}
		VMOVDQU32(w[0], g.unpacked(b, k))
	}
	switch {
	case g.halves():
		g.half(b, 0, write)
		g.half(b, 1, write)
	case g.bits < 8:
		g.quads(b, write)
	}
}

// products writes the sums of the products of block b.
func (g *genAMX) products(b int) {
	acts, weights := g.quad(b, 0, 0), g.unpacked(b, 0)
	switch {
	case g.halves():
		g.dot(0, acts, weights, g.sumAt(b, 0, 0))
		g.dot(1, acts.Offset(16), g.unpacked(b, 4), g.sumAt(b, 1, 0))
		return
	case g.bits == 8:
		weights = g.weights(g.at(b))
	}
	g.dot(b%2, acts, weights, g.sumAt(b, 0, 0))
}

// scale adds what products wrote.
func (g *genAMX) scale(b int) {
	scale, low := g.d, g.m
	switch {
	case g.halves():
		g.scaleHalves(b)
		return
	case g.super && g.min:
		scale, low = g.sub(b)
	case g.super && g.table != nil:
		scale = g.four4(b)
	}
	for i, acc := range g.acc {
		z, both := ZMM(), ZMM()
		if g.bits == 8 { // unsigned numbers
			VPBROADCASTD(g.count(b, 0, i), z)
			VPADDD(g.sumAt(b, 0, i), z, z)
			VCVTDQ2PS(z, z)
		} else {
			VCVTDQ2PS(g.sumAt(b, 0, i), z)
		}
		VMULPS_BCST(g.tile.scale(b, i), scale, both)
		VFMADD231PS(both, z, acc)
		switch {
		case g.super && g.min:
			VFNMADD231PS_BCST(g.sums(b, i), low, acc)
		case g.min:
			VFMADD231PS_BCST(g.sums(b, i), low, acc)
		}
	}
}

// scaleHalves is scale where halves of a block have scales of their own. Their products with the sums are below 2²⁴, so floats hold them
// exactly; that they are added to +0 keeps a sum of zero positive, as an integer's is.
func (g *genAMX) scaleHalves(b int) {
	var scales [2]Register
	for half := range scales {
		scales[half], _ = g.halfScale(2*b + half)
		VCVTDQ2PS(scales[half], scales[half])
	}
	for i, acc := range g.acc {
		z, high, both := ZMM(), ZMM(), ZMM()
		VCVTDQ2PS(g.sumAt(b, 0, i), z)
		VCVTDQ2PS(g.sumAt(b, 1, i), high)
		VFMADD213PS(g.zero, scales[0], z)
		VFMADD231PS(high, scales[1], z)
		VMULPS_BCST(g.tile.scale(b, i), g.d, both)
		VFMADD231PS(both, z, acc)
	}
}

// dot writes the sums of the products of all activation rows and weight rows. Unpacked weights are signed, those of 8 bits are not.
func (g *genAMX) dot(part int, acts, weights, to Mem) {
	sum, a, w := tmmSum+part, tmmActs+part, tmmW+part
	signs := 0x03 // TDPBSSD
	if g.bits == 8 {
		signs = 0x02 // TDPBSUD
	}
	amx(0x7b, 0x49, byte(0xc0|sum<<3)) // TILEZERO
	g.move(0x7b, a, acts, 32)
	g.move(0x7b, w, weights, 64)
	amx(byte((^w&15)<<3|signs), 0x5e, byte(0xc0|sum<<3|a))
	g.move(0x7a, sum, to, 64)
}

// move loads (TILELOADD, 0x7b) or stores (TILESTORED, 0x7a) a tile register whose rows lie stride bytes apart.
func (g *genAMX) move(prefix byte, tmm int, m Mem, stride int) {
	LEAQ(m, RSI)
	MOVL(U32(uint32(stride)), EDI)
	amx(prefix, 0x4b, byte(tmm<<3|4), 0x3e) // (SI)(DI*1)
}

// amx writes an instruction of AMX, which neither avo nor Go's assembler know: a VEX prefix of three bytes of the map 0F38, whose last byte is
// given, and what follows. Memory is addressed by SI and DI.
func amx(prefix byte, rest ...byte) {
	for i, b := range append([]byte{0xc4, 0xe2, prefix}, rest...) {
		instruction := &ir.Instruction{Opcode: "BYTE", Operands: []Op{Imm(uint64(b))}}
		if i == 0 {
			instruction.Inputs = []Op{RSI, RDI}
		}
		Instruction(instruction)
	}
}
