// SPDX-License-Identifier: MIT

package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// expConstants are those of Exp, each eight times, so that they can be operands.
type expConstants struct {
	log2e, shift, high, low, over, under, inf Mem
	poly                                      [6]Mem // from the highest power down, without the last 1
}

func splatData(name string, v float32) Mem {
	bits := math.Float32bits(v)
	return constants(name, bits, bits, bits, bits, bits, bits, bits, bits)
}

func newExpConstants() *expConstants {
	return &expConstants{
		log2e: splatData("expLog2E", 0x1.715476p+0),
		shift: splatData("expShift", 0x1.8p23),
		high:  splatData("expLn2Hi", 0x1.63p-1),
		low:   splatData("expLn2Lo", -0x1.bd0106p-13),
		over:  splatData("expOver", 0x1.62e42ep+6),
		under: splatData("expUnder", -0x1.5d589ep+6),
		inf:   splatData("expInf", float32(math.Inf(1))),
		poly: [6]Mem{
			splatData("exp6", 0x1.6ac74cp-10), splatData("exp5", 0x1.123dep-7), splatData("exp4", 0x1.555858p-5),
			splatData("exp3", 0x1.55548cp-3), splatData("exp2", 0x1.fffffcp-2), splatData("exp1", 1),
		},
	}
}

// exp returns e to the power of each x, which it keeps.
func (c *expConstants) exp(x VecVirtual) VecVirtual {
	t, n, r, p := YMM(), YMM(), YMM(), YMM()
	VMULPS(c.log2e, x, t)
	VADDPS(c.shift, t, t)
	VSUBPS(c.shift, t, n)
	VMOVAPS(x, r)
	VFNMADD231PS(c.high, n, r)
	VFNMADD231PS(c.low, n, r)
	VMOVUPS(c.poly[0], p)
	for _, k := range c.poly[1:] {
		VFMADD213PS(k, r, p)
	}
	VFMADD213PS(c.poly[5], r, p)
	VPSLLD(Imm(23), t, t)
	VPADDD(t, p, p)
	m := YMM()
	VCMPPS(Imm(0x11), c.under, x, m) // less
	VANDNPS(p, m, p)
	VCMPPS(Imm(0x1e), c.over, x, m) // greater
	inf := YMM()
	VMOVUPS(c.inf, inf)
	VBLENDVPS(m, inf, p, p)
	VCMPPS(Imm(3), x, x, m) // NaN
	VBLENDVPS(m, x, p, p)
	return p
}

// elementwise writes what works on one row: softmax, RMSNorm, sums, multiples.
func elementwise(c *expConstants) {
	arg := func(name string) Register { return Load(Param(name), GP64()) }
	iota0 := constants("lanes", 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)

	TEXT("softmaxAVX2", NOSPLIT, "func(s *float32, n int, scale float32) float32")
	Pragma("noescape")
	Doc("softmaxAVX2 replaces n scores by e to the power of score*scale less the largest, and returns the sum: softmax and sumStrided", "are the reference. It writes to whole groups of 16.")
	s, n := arg("s"), arg("n")
	scale, top, none := YMM(), YMM(), splat256(0xff800000)
	VBROADCASTSS(NewParamAddr("scale", 16), scale)
	VMOVAPS(none, top)
	at, left := GP64(), GP64()
	MOVQ(s, at)
	MOVQ(n, left)
	Label("scale")
	for i := range 2 {
		x := YMM()
		VMULPS(Mem{Base: at, Disp: 32 * i}, scale, x)
		VMOVUPS(x, Mem{Base: at, Disp: 32 * i})
		VBLENDVPS(beyond(left, iota0, i), none, x, x)
		VMAXPS(top, x, top) // NaN gives the second of Intel's order, the largest so far
	}
	ADDQ(U32(64), at)
	SUBQ(Imm(16), left)
	JG(LabelRef("scale"))
	fold(top, func(a, b VecVirtual) { VMAXPS(a, b, b) })
	VBROADCASTSS(top.AsX(), top)
	var sum [2]VecVirtual
	for i := range sum {
		sum[i] = YMM()
		VXORPS(sum[i], sum[i], sum[i])
	}
	Label("exp")
	for i := range 2 {
		x := YMM()
		VMOVUPS(Mem{Base: s, Disp: 32 * i}, x)
		VSUBPS(top, x, x)
		e := c.exp(x)
		VMOVUPS(e, Mem{Base: s, Disp: 32 * i})
		VANDNPS(e, beyond(n, iota0, i), e)
		VADDPS(e, sum[i], sum[i])
	}
	ADDQ(U32(64), s)
	SUBQ(Imm(16), n)
	JG(LabelRef("exp"))
	VADDPS(sum[1], sum[0], sum[0])
	fold(sum[0], func(a, b VecVirtual) { VADDPS(a, b, b) })
	ret := sum[0].AsX()
	Store(ret, ReturnIndex(0))
	VZEROUPPER()
	RET()

	TEXT("squaresAVX2", NOSPLIT, "func(x *float32, n int) float32")
	Pragma("noescape")
	Doc("squaresAVX2 sums the squares of n elements, a multiple of 16, as RMSNorm does.")
	row, n := arg("x"), arg("n")
	for i := range sum {
		sum[i] = YMM()
		VXORPS(sum[i], sum[i], sum[i])
	}
	Label("squares")
	for i := range sum {
		v := YMM()
		VMOVUPS(Mem{Base: row, Disp: 32 * i}, v)
		VFMADD231PS(v, v, sum[i])
	}
	ADDQ(U32(64), row)
	SUBQ(Imm(16), n)
	JG(LabelRef("squares"))
	VADDPS(sum[1], sum[0], sum[0])
	fold(sum[0], func(a, b VecVirtual) { VADDPS(a, b, b) })
	ret = sum[0].AsX()
	Store(ret, ReturnIndex(0))
	VZEROUPPER()
	RET()

	TEXT("normAVX2", NOSPLIT, "func(dst *float32, x *float32, w *float32, r float32, n int)")
	Pragma("noescape")
	Doc("normAVX2 writes x*r*w for n elements, a multiple of 8.")
	dst, row, w, r, n := arg("dst"), arg("x"), arg("w"), YMM(), arg("n")
	VBROADCASTSS(NewParamAddr("r", 24), r)
	Label("norm")
	v := YMM()
	VMULPS(Mem{Base: row}, r, v)
	VMULPS(Mem{Base: w}, v, v)
	VMOVUPS(v, Mem{Base: dst})
	for _, p := range []Register{dst, row, w} {
		ADDQ(Imm(32), p)
	}
	SUBQ(Imm(8), n)
	JG(LabelRef("norm"))
	VZEROUPPER()
	RET()

	TEXT("addAVX2", NOSPLIT, "func(dst *float32, x *float32, n int)")
	Pragma("noescape")
	Doc("addAVX2 adds n elements, a multiple of 8.")
	dst, row, n = arg("dst"), arg("x"), arg("n")
	Label("add")
	v = YMM()
	VMOVUPS(Mem{Base: dst}, v)
	VADDPS(Mem{Base: row}, v, v)
	VMOVUPS(v, Mem{Base: dst})
	ADDQ(Imm(32), dst)
	ADDQ(Imm(32), row)
	SUBQ(Imm(8), n)
	JG(LabelRef("add"))
	VZEROUPPER()
	RET()

	TEXT("scaleAVX2", NOSPLIT, "func(x *float32, by float32, n int)")
	Pragma("noescape")
	Doc("scaleAVX2 multiplies n elements, a multiple of 8.")
	row, by, n := arg("x"), YMM(), arg("n")
	VBROADCASTSS(NewParamAddr("by", 8), by)
	Label("scale")
	v = YMM()
	VMULPS(Mem{Base: row}, by, v)
	VMOVUPS(v, Mem{Base: row})
	ADDQ(Imm(32), row)
	SUBQ(Imm(8), n)
	JG(LabelRef("scale"))
	VZEROUPPER()
	RET()
}

// beyond has all bits of the lanes of half i of a group that lie beyond the left ones.
func beyond(left Register, numbers Mem, i int) VecVirtual {
	m, last := YMM(), YMM()
	VMOVD(left.(GPVirtual).As32(), last.AsX())
	VPBROADCASTD(last.AsX(), last)
	VMOVDQU(numbers.Offset(32*i), m)
	minus := YMM()
	VPCMPEQD(minus, minus, minus)
	VPADDD(minus, last, last) // the last that belongs
	VPCMPGTD(last, m, m)
	return m
}

// fold joins the upper half to the lower one until the first lane has all.
func fold(v VecVirtual, join func(a, b VecVirtual)) {
	other := YMM()
	VEXTRACTF128(Imm(1), v, other.AsX())
	join(other, v)
	VPERMILPS(Imm(0x4e), v, other)
	join(other, v)
	VPERMILPS(Imm(0xb1), v, other)
	join(other, v)
}
