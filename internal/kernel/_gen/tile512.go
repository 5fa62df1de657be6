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
	g.zero, g.low = splat512(0), splat512(0x0f0f0f0f)
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
		if rows == 1 {
			t.fetch(b)
		}
		g.multiply(b, d, m)
	}
	t.advance()
	DECQ(t.left)
	JNZ(LabelRef("turn"))
	Label("done")
	for i, acc := range g.acc {
		VMOVUPS(acc, Mem{Base: t.dst, Disp: 64 * i})
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
	// Integer sums: for each row two, of the block's halves or, to shorten chains, of odd and even quads.
	parts := 1
	if g.bits == 6 || g.rows == 1 {
		parts = 2
	}
	sum := make([][]Register, g.rows)
	for i := range sum {
		for p := range parts {
			z := ZMM()
			switch {
			case g.bits == 6:
				VPMULLD_BCST(g.count(b, 1+p, i), g.negative, z)
			case g.offset != 0 && p == 0:
				VPMULLD_BCST(g.count(b, 0, i), g.negative, z)
			default:
				VMOVDQA32(g.zero, z)
			}
			sum[i] = append(sum[i], z)
		}
	}
	g.quads(b, func(k int, w Register) {
		for i := range g.rows {
			p := k % parts
			if g.bits == 6 {
				p = k / 4
			}
			VPDPBUSD_BCST(g.quad(b, i, k), w, sum[i][p])
		}
	})
	if g.bits == 6 {
		for p := range 2 {
			sub := ZMM()
			VPMOVSXBD(g.weights(32+(2*b+p)*16), sub)
			for i := range sum {
				VPMULLD(sub, sum[i][p], sum[i][p])
			}
		}
	}
	for i := range sum {
		if parts == 2 {
			VPADDD(sum[i][1], sum[i][0], sum[i][0])
		}
		VCVTDQ2PS(sum[i][0], sum[i][0])
		both := ZMM()
		VMULPS_BCST(g.scale(b, i), scale, both)
		VFMADD231PS(both, sum[i][0], g.acc[i])
		switch {
		case g.super && g.min:
			VFNMADD231PS_BCST(g.sums(b, i), low, g.acc[i])
		case g.min:
			VFMADD231PS_BCST(g.sums(b, i), low, g.acc[i])
		}
	}
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
	var high [2]Register
	for i := range g.high() / 64 {
		high[i] = ZMM()
		VMOVDQU32(g.weights(at+64*i), high[i])
	}
	for j := range 4 {
		raw, upper := ZMM(), ZMM()
		VMOVDQU32(g.weights(at+g.high()+64*j), raw)
		VPSRLD(Imm(4), raw, upper)
		for i, w := range []Register{raw, upper} {
			k := j + 4*i
			VPANDD(g.low, w, w)
			switch g.bits {
			case 5:
				w = g.merge(high[0], 4-k, w)
			case 6:
				w = g.merge(high[i], 4-2*j, w)
			}
			f(k, w)
		}
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
