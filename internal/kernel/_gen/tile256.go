// SPDX-License-Identifier: MIT

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// tile256 writes a routine for AVX2: a lane is a weight row, and a panel's 16 rows are two halves of 8, worked on one after the
// other in every block. The sums of several rows and halves are more than there are registers: they lie in dst.
func tile256(f format, rows int) {
	t := begin("AVX2", f, rows, 1)
	g := &gen256{tile: t}
	switch f.bits {
	case 2:
		g.mask = splat256(0x03030303)
	case 3:
		g.mask, g.top = splat256(0x03030303), splat256(0x04040404)
	case 8:
		g.mask = splat256(0x80808080)
	case 5:
		g.mask, g.top = splat256(0x0f0f0f0f), splat256(0x10101010)
	case 6:
		g.mask, g.top = splat256(0x0f0f0f0f), splat256(0x30303030)
	default:
		g.mask = splat256(0x0f0f0f0f)
	}
	g.ones = splat256(0x00010001)
	if f.table != nil {
		g.table = YMM()
		VBROADCASTI128(f.bytes(0), g.table)
	}
	zero := YMM()
	VPXOR(zero, zero, zero)
	if rows > 2 {
		g.third = GP64()
		LEAQ(Mem{Base: t.dst, Index: t.stride, Scale: 2}, g.third)
	}
	for i := range rows {
		for half := range 2 {
			VMOVUPS(zero, g.result(i, half))
		}
	}
	TESTQ(t.left, t.left)
	JZ(LabelRef("done"))
	Label("turn")
	for b := range f.blocks() {
		t.fetch(b, 1)
		for half := range 2 {
			n := 4
			if f.halves() { // twice the sums
				n = 2
			}
			for i := 0; i < rows; i += n {
				g.multiply(b, half, i, min(i+n, rows))
			}
		}
	}
	t.advance(1)
	DECQ(t.left)
	JNZ(LabelRef("turn"))
	Label("done")
	VZEROUPPER()
	RET()
}

type gen256 struct {
	*tile
	mask, top, ones Register
	table           Register // values of nibbles
	third           Register // where row 2 of dst begins
}

// result is where a half of the sums of row i lies.
func (g *gen256) result(i, half int) Mem {
	m := Mem{Base: g.dst, Disp: 32 * half}
	if i >= 2 {
		m.Base = g.third
	}
	if i%2 == 1 {
		m.Index, m.Scale = g.stride, 1
	}
	return m
}

func splat256(v uint32) VecVirtual {
	r, y := GP32(), YMM()
	MOVL(U32(v), r)
	VMOVD(r, y.AsX())
	VPBROADCASTD(y.AsX(), y)
	return y
}

// group is a run of quads whose sums of 16 bits fit before they must be widened: 2·4·31·127, 2·2·63·127, 2·8·15·127, 2·4·7·127 and, of the
// magnitudes of Q8_0 and of tables, 2·128·127, 2·127·127 and 2·8·12·127 are below 32,768.
type group struct {
	quads []int
	part  int // the half of the columns, where they have scales of their own
}

func (f format) groups() []group {
	switch {
	case f.bits < 4:
		return []group{{quads: []int{0, 1, 2, 3}}, {quads: []int{4, 5, 6, 7}, part: 1}}
	case f.bits == 4 && f.table != tableIQ4:
		return []group{{quads: []int{0, 1, 2, 3, 4, 5, 6, 7}}}
	}
	switch f.bits {
	case 5:
		return []group{{quads: []int{0, 1, 2, 3}}, {quads: []int{4, 5, 6, 7}}}
	case 6:
		return []group{{quads: []int{0, 1}}, {quads: []int{2, 3}}, {quads: []int{4, 5}, part: 1}, {quads: []int{6, 7}, part: 1}}
	}
	var all []group
	for k := range 8 {
		all = append(all, group{quads: []int{k}})
	}
	return all
}

// multiply adds the products of half of the weight rows, block b of a turn and activation rows first to last-1.
func (g *gen256) multiply(b, half, first, last int) {
	var total [2][4]Register
	for _, group := range g.groups() {
		var pair [4]Register
		for n, k := range group.quads {
			w, sign := g.quad(b, half, k)
			for i := first; i < last; i++ {
				x := YMM()
				VPBROADCASTD(g.tile.quad(b, i, k), x)
				if sign != nil {
					VPSIGNB(sign, x, x)
				}
				VPMADDUBSW(x, w, x)
				if n == 0 {
					pair[i] = x
				} else {
					VPADDW(x, pair[i], pair[i])
				}
			}
		}
		for i := first; i < last; i++ {
			VPMADDWD(g.ones, pair[i], pair[i])
			if sum := &total[group.part][i]; *sum == nil {
				*sum = pair[i]
			} else {
				VPADDD(pair[i], *sum, *sum)
			}
		}
	}
	var lows [4]Register // Q2_K's: minima times negative sums of activations
	for i := first; i < last; i++ {
		if !g.halves() {
			if g.offset != 0 && !g.signed() {
				x := YMM()
				VPBROADCASTD(g.count(b, 0, i), x)
				VPADDD(x, total[0][i], total[0][i])
			}
			continue
		}
		for part := range 2 {
			sum, x := total[part][i], YMM()
			VPBROADCASTD(g.count(b, 1+part, i), x)
			if g.offset != 0 {
				VPADDD(x, sum, sum)
			}
			scale, low := g.halfScale(2*b+part, half)
			VPMULLD(scale, sum, sum)
			if !g.lows {
				continue
			}
			VPMULLD(low, x, x)
			if part == 0 {
				lows[i] = x
			} else {
				VPADDD(x, lows[i], lows[i])
			}
		}
		VPADDD(total[1][i], total[0][i], total[0][i])
	}
	scale, low := g.scales(b, half)
	for i := first; i < last; i++ {
		sum, x, acc := total[0][i], YMM(), g.result(i, half)
		VCVTDQ2PS(sum, sum)
		VBROADCASTSS(g.scale(b, i), x)
		VMULPS(x, scale, x)
		VFMADD213PS(acc, x, sum)
		switch {
		case g.lows:
			VCVTDQ2PS(lows[i], lows[i])
			VBROADCASTSS(g.scale(b, i), x)
			VMULPS(x, low, x)
			VFMADD231PS(x, lows[i], sum)
		case g.min:
			VBROADCASTSS(g.sums(b, i), x)
			if g.super {
				VFNMADD231PS(x, low, sum)
			} else {
				VFMADD231PS(x, low, sum)
			}
		}
		VMOVUPS(sum, acc)
	}
}

// signed reports whether weights are signed numbers, whose magnitudes are multiplied: their signs go to the activations.
func (f format) signed() bool { return f.bits == 8 || f.table != nil }

// halfScale returns the scale of half j of the turn's sixteen for half of the rows, and the minimum if there is one.
func (g *gen256) halfScale(j, half int) (scale, low Register) {
	z := YMM()
	switch g.bits {
	case 2:
		scale, low = YMM(), YMM()
		VPMOVZXBD(g.weights(64+16*j+8*half), z)
		VPSRLD(Imm(4), z, low)
		VPAND(g.all("nibble", 15), z, scale)
		return scale, low
	case 3:
		return g.six3(32+j/8*64+32*half, j%8*4, 32+128+32*half, 2*j), nil
	}
	VPMOVSXBD(g.weights(32+16*j+8*half), z)
	return z, nil
}

// all declares a constant for each lane.
func (g *gen256) all(name string, v uint32) Mem {
	return constant(name+"8", v, v, v, v, v, v, v, v)
}

// six3 returns a number of six bits less 32: the four low ones at a bit of a dword, the two high ones at a bit of another.
func (g *gen256) six3(low, lowBit, high, highBit int) Register {
	z, top := YMM(), YMM()
	VMOVDQU(g.weights(low), z)
	VPSRLD(Imm(uint64(lowBit)), z, z)
	VPAND(g.all("nibble", 15), z, z)
	if g.tile.table != nil {
		VPMOVZXWD(g.weights(high), top) // IQ4_XS has them in 16 bits
	} else {
		VMOVDQU(g.weights(high), top)
	}
	VPSRLD(Imm(uint64(highBit)), top, top)
	VPAND(g.all("pair", 3), top, top)
	VPSLLD(Imm(4), top, top)
	VPOR(top, z, z)
	VPSUBD(g.all("thirtyTwo", 32), z, z)
	return z
}

// quad returns quad k of block b: unsigned bytes and, where weights are signed, the signs that the activations must take.
func (g *gen256) quad(b, half, k int) (w, sign Register) {
	at := g.head() + b*g.block() + 32*half
	w = YMM()
	if g.bits == 8 {
		sign = YMM()
		VPXOR(g.weights(at+64*k), g.mask, sign)
		VPABSB(sign, w)
		return w, sign
	}
	if g.bits < 4 {
		VMOVDQU(g.weights(at+k/4*64), w)
		VPSRLD(Imm(uint64(k%4*2)), w, w)
		VPAND(g.mask, w, w)
		if g.bits == 3 {
			w = g.merge(at+128, 2-k, w)
		}
		return w, nil
	}
	if low := g.weights(at + g.high() + k%4*64); k < 4 {
		VPAND(low, g.mask, w)
	} else {
		VMOVDQU(low, w)
		VPSRLW(Imm(4), w, w)
		VPAND(g.mask, w, w)
	}
	switch {
	case g.tile.table != nil:
		sign = YMM()
		VPSHUFB(w, g.table, sign)
		VPABSB(sign, w)
		return w, sign
	case g.bits == 4:
		return w, nil
	case g.bits == 6:
		return g.merge(at+k/4*64, 4-2*(k%4), w), nil
	}
	return g.merge(at, 4-k, w), nil
}

// merge adds the bits at a place, shifted left, that are in top to w.
func (g *gen256) merge(at, left int, w Register) Register {
	high := YMM()
	VMOVDQU(g.weights(at), high)
	switch {
	case left > 0:
		VPSLLD(Imm(uint64(left)), high, high)
	case left < 0:
		VPSRLD(Imm(uint64(-left)), high, high)
	}
	VPAND(g.top, high, high)
	VPOR(high, w, w)
	return w
}

// scales returns the scales and minima of block b for half of the rows.
func (g *gen256) scales(b, half int) (scale, low Register) {
	scale = YMM()
	if g.power {
		normal, small := YMM(), YMM()
		VPMOVZXBD(g.weights(8*half), scale)
		VPADDD(g.all("minusOne", 0xffffffff), scale, normal)
		VPSLLD(Imm(23), normal, normal)
		VPMINUD(g.all("two", 2), scale, scale) // the bits of subnormal numbers
		VMOVDQU(g.all("smallest", 0x00200000), small)
		VPSLLVD(scale, small, scale)
		VPMAXSD(normal, scale, scale)
		return scale, nil
	}
	VCVTPH2PS(g.weights(16*half), scale)
	if g.super && g.tile.table != nil {
		z := g.six3(32+32*half, 4*b, 96+16*half, 2*b)
		VCVTDQ2PS(z, z)
		VMULPS(scale, z, scale)
	}
	if !g.min && !g.lows {
		return scale, nil
	}
	low = YMM()
	VCVTPH2PS(g.weights(32+16*half), low)
	if g.super && g.min {
		for word, to := range []Register{scale, low} {
			z := g.six(b, half, word)
			VCVTDQ2PS(z, z)
			VMULPS(to, z, to)
		}
	}
	return scale, low
}

// six returns number j of six bits, of the scales (word 0) or minima (word 1), packed as in GGML.
func (g *gen256) six(j, half, word int) Register {
	field := func(word, at, bits int) Register { // to bit 0
		z := YMM()
		VMOVDQU(g.weights(64+64*word+32*half), z)
		VPSLLD(Imm(uint64(32-at-bits)), z, z)
		VPSRLD(Imm(uint64(32-bits)), z, z)
		return z
	}
	if j < 4 {
		return field(word, 8*j, 6)
	}
	z := field(2, 8*(j-4)+4*word, 4)
	high := field(word, 8*(j-4)+6, 2)
	VPSLLD(Imm(4), high, high)
	VPOR(high, z, z)
	return z
}
