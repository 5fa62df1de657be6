// SPDX-License-Identifier: MIT

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// tile512 writes a routine for AVX-512 with VNNI: a lane is a weight row.
func tile512(f format, rows int) {
	t := begin("AVX512", f, rows)
	g := &gen512{tile: t}
	g.zero = splat512(0)
	if f.bits < 8 {
		g.low = splat512(0x0f0f0f0f)
	}
	switch f.bits {
	case 5:
		g.top = splat512(0x10101010)
	case 6:
		g.top = splat512(0x30303030)
	}
	if f.offset != 0 {
		g.negative = splat512(uint32(-int32(f.offset)))
	}
	if f.super && f.min {
		g.six, g.four, g.two = splat512(63), splat512(15), splat512(0x30)
	}
	for range rows {
		acc := ZMM()
		VMOVDQA32(g.zero, acc)
		g.acc = append(g.acc, acc)
	}
	TESTQ(t.left, t.left)
	JZ(LabelRef("done"))
	Label("turn")
	d := ZMM()
	VCVTPH2PS(t.weights(0), d)
	var m Register
	if f.min {
		m = ZMM()
		VCVTPH2PS(t.weights(32), m)
	}
	for b := range f.blocks() {
		if rows <= fetchRows {
			t.fetch(b)
		}
		g.multiply(b, d, m)
	}
	t.advance()
	DECQ(t.left)
	JNZ(LabelRef("turn"))
	Label("done")
	for i, acc := range g.acc {
		if i > 0 {
			ADDQ(t.stride, t.dst)
		}
		VMOVUPS(acc, Mem{Base: t.dst})
	}
	VZEROUPPER()
	RET()
}

type gen512 struct {
	*tile
	zero, low, top, negative Register
	six, four, two           Register
	acc                      []Register
}

func splat512(v uint32) Register {
	r, z := GP32(), ZMM()
	MOVL(U32(v), r)
	VPBROADCASTD(r, z)
	return z
}

// multiply adds the products of block b of a turn. d and m are the header's scales.
func (g *gen512) multiply(b int, d, m Register) {
	scale, low := d, m
	if g.super && g.min {
		scale, low = g.six512(b, d, m)
	}
	var sum []Register
	if g.bits == 6 {
		sum = g.sixteens(b)
	} else {
		sum = g.sum(b)
	}
	for i, z := range sum {
		VCVTDQ2PS(z, z)
		both := ZMM()
		VMULPS_BCST(g.scale(b, i), scale, both)
		VFMADD231PS(both, z, g.acc[i])
		switch {
		case g.super && g.min:
			VFNMADD231PS_BCST(g.sums(b, i), low, g.acc[i])
		case g.min:
			VFMADD231PS_BCST(g.sums(b, i), low, g.acc[i])
		}
	}
}

// sum returns the integer sums of block b, one for each activation row.
func (g *gen512) sum(b int) []Register {
	parts := 1
	if g.rows <= 2 {
		parts = 2 // to shorten chains: of odd and of even quads
	}
	sum := make([][2]Register, g.rows)
	for i := range sum {
		for p := range parts {
			sum[i][p] = g.start(b, 0, i, p == 0)
		}
	}
	g.quads(b, func(k int, w Register) {
		for i := range g.rows {
			VPDPBUSD_BCST(g.quad(b, i, k), w, sum[i][k%parts])
		}
	})
	var all []Register
	for _, s := range sum {
		if parts == 2 {
			VPADDD(s[1], s[0], s[0])
		}
		all = append(all, s[0])
	}
	return all
}

// sixteens does the same for Q6_K, whose halves of a block have scales of their own.
func (g *gen512) sixteens(b int) []Register {
	var all []Register
	for half := range 2 {
		var sum []Register
		for i := range g.rows {
			sum = append(sum, g.start(b, 1+half, i, true))
		}
		g.half(b, half, func(k int, w Register) {
			for i := range g.rows {
				VPDPBUSD_BCST(g.quad(b, i, k), w, sum[i])
			}
		})
		scale := ZMM()
		VPMOVSXBD(g.weights(32+(2*b+half)*16), scale)
		for i, z := range sum {
			VPMULLD(scale, z, z)
			if half == 1 {
				VPADDD(z, all[i], all[i])
			}
		}
		if half == 0 {
			all = sum
		}
	}
	return all
}

// start returns what an integer sum begins with: what the offset of the weights adds to it, taken away once.
func (g *gen512) start(b, part, i int, once bool) Register {
	z := ZMM()
	if g.offset == 0 || !once {
		VMOVDQA32(g.zero, z)
	} else {
		VPMULLD_BCST(g.count(b, part, i), g.negative, z)
	}
	return z
}

// six512 returns the scale and minimum of sub-block j: d and m times its numbers of six bits, packed as in GGML.
func (g *gen512) six512(j int, d, m Register) (scale, low Register) {
	unpack := func(word int) Register {
		z := ZMM()
		if j < 4 {
			VPSRLD(Imm(uint64(8*j)), g.weights(64+64*word), z)
			VPANDD(g.six, z, z)
			return z
		}
		at := 8 * (j - 4)
		VPSRLD(Imm(uint64(at+4*word)), g.weights(64+128), z)
		VPANDD(g.four, z, z)
		high := ZMM()
		VPSRLD(Imm(uint64(at+2)), g.weights(64+64*word), high)
		VPTERNLOGD(Imm(0xea), z, g.two, high)
		return high
	}
	scale, low = unpack(0), unpack(1)
	VCVTDQ2PS(scale, scale)
	VMULPS(d, scale, scale)
	VCVTDQ2PS(low, low)
	VMULPS(m, low, low)
	return scale, low
}

// quads calls f with each quad of 4 columns of block b: in each lane 4 unsigned bytes.
func (g *gen512) quads(b int, f func(k int, w Register)) {
	at := g.head() + b*g.block()
	if g.bits == 8 {
		for k := range 8 {
			w := ZMM()
			VMOVDQU32(g.weights(at+64*k), w)
			f(k, w)
		}
		return
	}
	var high Register
	if g.bits == 5 {
		high = ZMM()
		VMOVDQU32(g.weights(at), high)
	}
	for j := range 4 {
		raw, upper := ZMM(), ZMM()
		VMOVDQU32(g.weights(at+g.high()+64*j), raw)
		VPSRLD(Imm(4), raw, upper)
		for i, w := range []Register{raw, upper} {
			k := j + 4*i
			VPANDD(g.low, w, w)
			if g.bits == 5 {
				w = g.merge(high, 4-k, w)
			}
			f(k, w)
		}
	}
}

// half calls f with the four quads of a half of block b of Q6_K.
func (g *gen512) half(b, half int, f func(k int, w Register)) {
	at := g.head() + b*g.block()
	high := ZMM()
	VMOVDQU32(g.weights(at+64*half), high)
	for j := range 4 {
		w := ZMM()
		if low := g.weights(at + g.high() + 64*j); half == 0 {
			VPANDD(low, g.low, w)
		} else {
			VPSRLD(Imm(4), low, w)
			VPANDD(g.low, w, w)
		}
		f(4*half+j, g.merge(high, 4-2*j, w))
	}
}

// merge adds the bits of high, shifted left, that are in top to w.
func (g *gen512) merge(high Register, left int, w Register) Register {
	z := ZMM()
	switch {
	case left > 0:
		VPSLLD(Imm(uint64(left)), high, z)
	case left < 0:
		VPSRLD(Imm(uint64(-left)), high, z)
	default:
		VMOVDQA32(high, z)
	}
	VPTERNLOGD(Imm(0xea), w, g.top, z)
	return z
}
