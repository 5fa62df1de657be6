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
			// Q6_K has twice the sums.
			for i, n := 0, map[int]int{4: 4, 5: 4, 6: 2, 8: 4}[f.bits]; i < rows; i += n {
				g.multiply(b, half, i, min(i+n, rows))
			}
		}
	}
	t.advance()
	DECQ(t.left)
	JNZ(LabelRef("turn"))
	Label("done")
	VZEROUPPER()
	RET()
}

type gen256 struct {
	*tile
	mask, top, ones Register
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

// group is a run of quads whose sums of 16 bits fit before they must be widened: 2·4·31·127, 2·2·63·127, 2·8·15·127 and, of the
// magnitudes of Q8_0, 2·128·127 are below 32,768.
type group struct {
	quads []int
	part  int // for Q6_K: the half of the columns
}

func (f format) groups() []group {
	switch f.bits {
	case 4:
		return []group{{quads: []int{0, 1, 2, 3, 4, 5, 6, 7}}}
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
	for i := first; i < last; i++ {
		parts := [][2]int{{0, 0}} // of total, of the activations' sums
		if g.bits == 6 {
			parts = [][2]int{{0, 1}, {1, 2}}
		}
		for _, p := range parts {
			sum := total[p[0]][i]
			if g.offset != 0 && g.bits != 8 {
				x := YMM()
				VPBROADCASTD(g.count(b, p[1], i), x)
				VPADDD(x, sum, sum)
			}
			if g.bits == 6 {
				sub := YMM()
				VPMOVSXBD(g.weights(32+(2*b+p[0])*16+8*half), sub)
				VPMULLD(sub, sum, sum)
			}
		}
		if g.bits == 6 {
			VPADDD(total[1][i], total[0][i], total[0][i])
		}
	}
	scale, low := g.scales(b, half)
	for i := first; i < last; i++ {
		sum, x, acc := total[0][i], YMM(), g.result(i, half)
		VCVTDQ2PS(sum, sum)
		VBROADCASTSS(g.scale(b, i), x)
		VMULPS(x, scale, x)
		VFMADD213PS(acc, x, sum)
		if g.min {
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

// quad returns quad k of block b: unsigned bytes and, for Q8_0, the signs that the activations must take.
func (g *gen256) quad(b, half, k int) (w, sign Register) {
	at := g.head() + b*g.block() + 32*half
	w = YMM()
	if g.bits == 8 {
		sign = YMM()
		VPXOR(g.weights(at+64*k), g.mask, sign)
		VPABSB(sign, w)
		return w, sign
	}
	if low := g.weights(at + g.high() + k%4*64); k < 4 {
		VPAND(low, g.mask, w)
	} else {
		VMOVDQU(low, w)
		VPSRLW(Imm(4), w, w)
		VPAND(g.mask, w, w)
	}
	if g.bits == 4 {
		return w, nil
	}
	high, left := YMM(), 4-k
	if g.bits == 6 {
		left = 4 - 2*(k%4)
		VMOVDQU(g.weights(at+k/4*64), high)
	} else {
		VMOVDQU(g.weights(at), high)
	}
	switch {
	case left > 0:
		VPSLLD(Imm(uint64(left)), high, high)
	case left < 0:
		VPSRLD(Imm(uint64(-left)), high, high)
	}
	VPAND(g.top, high, high)
	VPOR(high, w, w)
	return w, nil
}

// scales returns the scales and minima of block b for half of the rows.
func (g *gen256) scales(b, half int) (scale, low Register) {
	scale = YMM()
	VCVTPH2PS(g.weights(16*half), scale)
	if !g.min {
		return scale, nil
	}
	low = YMM()
	VCVTPH2PS(g.weights(32+16*half), low)
	if g.super {
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
