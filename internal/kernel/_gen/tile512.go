// SPDX-License-Identifier: MIT

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// tile512 writes a routine for AVX-512 with VNNI: a lane is a weight row. Two panels share the broadcast activations, which pays where
// products are most of the work; with K-quants more rows, which share the unpacked weights, pay more.
func tile512(f format, rows, panels int) {
	t := begin("AVX512", f, rows, panels)
	g := &gen512{tile: t, panels: panels, zero: splat512(0)}
	g.unpackers()
	for range panels * rows {
		acc := ZMM()
		VMOVDQA32(g.zero, acc)
		g.acc = append(g.acc, acc)
	}
	TESTQ(t.left, t.left)
	JZ(LabelRef("done"))
	Label("turn")
	if f.super { // else they are of one block, and wait until registers are free
		g.d, g.m = g.scales(0, 0)
	}
	for b := range f.blocks() {
		t.fetch(b, panels)
		g.multiply(b)
	}
	t.advance(1)
	DECQ(t.left)
	JNZ(LabelRef("turn"))
	Label("done")
	for i := range rows {
		if i > 0 {
			ADDQ(t.stride, t.dst)
		}
		for p := range panels {
			VMOVUPS(g.acc[p*rows+i], Mem{Base: t.dst, Disp: 64 * p})
		}
	}
	VZEROUPPER()
	RET()
}

// unpackers loads the constants that unpacking needs.
func (g *gen512) unpackers() {
	if g.bits < 8 && g.bits > 3 {
		g.low = splat512(0x0f0f0f0f)
	}
	if g.tile.table != nil { // as unsigned numbers: the offset is taken away with the sums of the activations
		g.table = ZMM()
		VBROADCASTI32X4(g.bytes(g.offset), g.table)
	}
	switch g.bits {
	case 2:
		g.low = splat512(0x03030303)
	case 3:
		g.low, g.top = splat512(0x03030303), splat512(0x04040404)
	case 5:
		g.top = splat512(0x10101010)
	case 6:
		g.top = splat512(0x30303030)
	}
	if g.super && g.min {
		g.six, g.four, g.two = splat512(63), splat512(15), splat512(0x30)
	}
}

type gen512 struct {
	*tile
	panels         int // 2 only where the format is plain
	zero, low, top Register
	table          Register // values of nibbles, plus the offset
	six, four, two Register
	d, m           Register   // scales and minima of a K-quant's turn
	acc            []Register // [panels][rows]
}

func splat512(v uint32) Register {
	r, z := GP32(), ZMM()
	MOVL(U32(v), r)
	VPBROADCASTD(r, z)
	return z
}

// multiply adds the products of block b of a turn.
func (g *gen512) multiply(b int) {
	scale, low := g.d, g.m
	switch {
	case g.super && g.min:
		scale, low = g.sub(b)
	case g.super && g.table != nil:
		scale = g.four4(b)
	}
	var sum, lows []Register // [panels][rows]
	if g.halves() {
		sum, lows = g.sixteens(b)
	} else {
		sum = g.sum(b)
	}
	for p := range g.panels {
		if !g.super {
			scale, low = g.scales(p, 0)
		}
		for i := range g.rows {
			z, acc, both := sum[p*g.rows+i], g.acc[p*g.rows+i], ZMM()
			VCVTDQ2PS(z, z)
			VMULPS_BCST(g.scale(b, i), scale, both)
			VFMADD231PS(both, z, acc)
			switch {
			case g.super && g.min:
				VFNMADD231PS_BCST(g.sums(b, i), low, acc)
			case g.min:
				VFMADD231PS_BCST(g.sums(b, i), low, acc)
			case g.lows:
				VCVTDQ2PS(lows[i], lows[i])
				VMULPS_BCST(g.scale(b, i), low, both)
				VFMADD231PS(both, lows[i], acc)
			}
		}
	}
}

// sum returns the integer sums of block b.
func (g *gen512) sum(b int) []Register {
	parts := 1
	if g.panels*g.rows <= 2 || g.panels == 2 {
		parts = 2 // to shorten chains, where there are registers: of odd and of even quads
	}
	sum := make([][2]Register, g.panels*g.rows)
	for n := range sum {
		for part := range parts {
			sum[n][part] = g.start(b, 0, n%g.rows, part == 0)
		}
	}
	g.quads(b, func(k int, w []Register) {
		g.dot(b, k, w, func(p, i int) Register { return sum[p*g.rows+i][k%parts] })
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

// dot adds the products of quad k of the panels, w, with that of each row.
func (g *gen512) dot(b, k int, w []Register, sum func(p, i int) Register) {
	for i := range g.rows {
		if g.panels == 1 {
			VPDPBUSD_BCST(g.quad(b, i, k), w[0], sum(0, i))
			continue
		}
		x := ZMM()
		VPBROADCASTD(g.quad(b, i, k), x)
		for p := range g.panels {
			VPDPBUSD(x, w[p], sum(p, i))
		}
	}
}

// sixteens is sum where halves of a block have scales of their own, and lows: those times the negative sums of the activations.
func (g *gen512) sixteens(b int) (all, lows []Register) {
	for half := range 2 {
		var sum []Register
		for i := range g.rows {
			sum = append(sum, g.start(b, 1+half, i, true))
		}
		g.half(b, half, func(k int, w []Register) {
			g.dot(b, k, w, func(_, i int) Register { return sum[i] })
		})
		scale, low := g.halfScale(2*b + half)
		for i, z := range sum {
			VPMULLD(scale, z, z)
			if half == 1 {
				VPADDD(z, all[i], all[i])
			}
			if g.lows {
				n := ZMM()
				VPMULLD_BCST(g.count(b, 1+half, i), low, n)
				if half == 0 {
					lows = append(lows, n)
				} else {
					VPADDD(n, lows[i], lows[i])
				}
			}
		}
		if half == 0 {
			all = sum
		}
	}
	return all, lows
}

// halfScale returns the scale of half j of the turn's sixteen, and the minimum if there is one.
func (g *gen512) halfScale(j int) (scale, low Register) {
	z := ZMM()
	switch g.bits {
	case 2:
		low, nibble := ZMM(), ZMM()
		VPMOVZXBD(g.weights(64+16*j), z)
		VPSRLD(Imm(4), z, low)
		VPANDD_BCST(constant("nibble", 15), z, nibble)
		return nibble, low
	case 3:
		return g.six3(32+j/8*64, j%8*4, 32+128, 2*j), nil
	}
	VPMOVSXBD(g.weights(32+16*j), z)
	return z, nil
}

// six3 returns a number of six bits less 32: the four low ones at a bit of a dword, the two high ones at a bit of another.
func (g *gen512) six3(low, lowBit, high, highBit int) Register {
	z, top := ZMM(), ZMM()
	VPSRLD(Imm(uint64(lowBit)), g.weights(low), z)
	VPANDD_BCST(constant("nibble", 15), z, z)
	if g.table != nil {
		VPMOVZXWD(g.weights(high), top) // IQ4_XS has them in 16 bits
		VPSRLD(Imm(uint64(highBit)), top, top)
	} else {
		VPSRLD(Imm(uint64(highBit)), g.weights(high), top)
	}
	VPANDD_BCST(constant("pair", 3), top, top)
	VPSLLD(Imm(4), top, top)
	VPORD(top, z, z)
	VPSUBD_BCST(constant("thirtyTwo", 32), z, z)
	return z
}

// four4 returns the scale of sub-block j of IQ4_XS.
func (g *gen512) four4(j int) Register {
	z := g.six3(32, 4*j, 96, 2*j)
	VCVTDQ2PS(z, z)
	VMULPS(g.d, z, z)
	return z
}

// start returns what an integer sum begins with: what the offset of the weights adds to it, taken away once.
func (g *gen512) start(b, part, i int, once bool) Register {
	z := ZMM()
	if once && g.offset != 0 {
		VPBROADCASTD(g.count(b, part, i), z)
	} else {
		VMOVDQA32(g.zero, z)
	}
	return z
}

// scales returns the scales of panel p in the header there, and minima if there are any.
func (g *gen512) scales(p, at int) (scale, low Register) {
	scale = ZMM()
	if g.power {
		normal := ZMM()
		VPMOVZXBD(g.panel(p, at), scale)
		VPADDD_BCST(constant("minusOne", 0xffffffff), scale, normal)
		VPSLLD(Imm(23), normal, normal)
		VPMINUD_BCST(constant("two", 2), scale, scale) // the bits of subnormal numbers
		small := ZMM()
		VPBROADCASTD(constant("smallest", 0x00200000), small)
		VPSLLVD(scale, small, scale)
		VPMAXSD(normal, scale, scale)
		return scale, nil
	}
	VCVTPH2PS(g.panel(p, at), scale)
	if g.min || g.lows {
		low = ZMM()
		VCVTPH2PS(g.panel(p, at+32), low)
	}
	return scale, low
}

// sub returns scale and minimum of sub-block j: those of the turn times its numbers of six bits.
func (g *gen512) sub(j int) (scale, low Register) {
	scale, low = g.number(j, 0), g.number(j, 1)
	VCVTDQ2PS(scale, scale)
	VMULPS(g.d, scale, scale)
	VCVTDQ2PS(low, low)
	VMULPS(g.m, low, low)
	return scale, low
}

// number returns the six bits of sub-block j, of the scales (word 0) or minima (word 1), packed as in GGML.
func (g *gen512) number(j, word int) Register {
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

// quads calls f with each quad of 4 columns of block b of all panels: in each lane 4 unsigned bytes.
func (g *gen512) quads(b int, f func(k int, w []Register)) {
	at := g.at(b)
	if g.bits == 8 {
		for k := range 8 {
			w := make([]Register, g.panels)
			for p := range w {
				w[p] = ZMM()
				VMOVDQU32(g.panel(p, at+64*k), w[p])
			}
			f(k, w)
		}
		return
	}
	high := make([]Register, g.panels)
	if g.bits == 5 {
		for p := range high {
			high[p] = ZMM()
			VMOVDQU32(g.panel(p, at), high[p])
		}
	}
	for j := range 4 {
		lower, upper := make([]Register, g.panels), make([]Register, g.panels)
		for p := range g.panels {
			raw, z := ZMM(), ZMM()
			VMOVDQU32(g.panel(p, at+g.high()+64*j), raw)
			VPSRLD(Imm(4), raw, z)
			lower[p], upper[p] = raw, z
		}
		for i, w := range [][]Register{lower, upper} {
			k := j + 4*i
			for p := range w {
				VPANDD(g.low, w[p], w[p])
				if g.bits == 5 {
					w[p] = g.merge(high[p], 4-k, w[p])
				}
				if g.table != nil {
					VPSHUFB(w[p], g.table, w[p])
				}
			}
			f(k, w)
		}
	}
}

// half calls f with the four quads of a half of block b.
func (g *gen512) half(b, half int, f func(k int, w []Register)) {
	at := g.at(b)
	if g.bits < 4 {
		for j := range 4 {
			var w Register = ZMM()
			VPSRLD(Imm(uint64(2*j)), g.weights(at+64*half), w)
			VPANDD(g.low, w, w)
			k := 4*half + j
			if g.bits == 3 {
				high := ZMM()
				VMOVDQU32(g.weights(at+128), high)
				w = g.merge(high, 2-k, w)
			}
			f(k, []Register{w})
		}
		return
	}
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
		f(4*half+j, []Register{g.merge(high, 4-2*j, w)})
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
