// SPDX-License-Identifier: MIT

package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func beginSoftmax(v vectors) (s, n Register, scale VecVirtual) {
	TEXT("softmax"+v.path, NOSPLIT, "func(s *float32, n int, scale float32) float32")
	Pragma("noescape")
	Doc("softmax"+v.path+" replaces n scores by e to the power of score*scale less the largest, and returns the sum: softmax and sumStrided", "are the reference. It writes to whole groups of 16.")
	s, n, scale = Load(Param("s"), GP64()), Load(Param("n"), GP64()), v.vector()
	VBROADCASTSS(NewParamAddr("scale", 16), scale)
	return s, n, scale
}

func endSoftmax(v vectors, sum VecVirtual) {
	v.fold(sum, func(a, b VecVirtual) { VADDPS(a, b, b) })
	storeFloat(sum.AsX())
	VZEROUPPER()
	RET()
}

// softmax writes the routines of both paths.
func softmax() {
	lanes := constants("lanes", 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
	softmax256(lanes)
	softmax512(lanes)
}

func softmax256(lanes Mem) {
	s, n, scale := beginSoftmax(avx2)
	exp := avx2.newExp()
	top, none := YMM(), splat256(0xff800000)
	VMOVAPS(none, top)
	at, left := GP64(), GP64()
	MOVQ(s, at)
	MOVQ(n, left)
	Label("scale")
	for i := range 2 {
		x := YMM()
		VMULPS(Mem{Base: at, Disp: 32 * i}, scale, x)
		VMOVUPS(x, Mem{Base: at, Disp: 32 * i})
		VBLENDVPS(beyond(left, lanes, i), none, x, x)
		VMAXPS(top, x, top) // NaN gives the second of Intel's order, the largest so far
	}
	ADDQ(U32(64), at)
	SUBQ(Imm(16), left)
	JG(LabelRef("scale"))
	avx2.fold(top, func(a, b VecVirtual) { VMAXPS(a, b, b) })
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
		e := exp(x)
		VMOVUPS(e, Mem{Base: s, Disp: 32 * i})
		VANDNPS(e, beyond(n, lanes, i), e)
		VADDPS(e, sum[i], sum[i])
	}
	ADDQ(U32(64), s)
	SUBQ(Imm(16), n)
	JG(LabelRef("exp"))
	VADDPS(sum[1], sum[0], sum[0])
	endSoftmax(avx2, sum[0])
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

func softmax512(lanes Mem) {
	s, n, scale := beginSoftmax(avx512)
	exp := avx512.newExp()
	top, numbers := avx512.splat(float32(math.Inf(-1))), ZMM()
	VMOVDQU32(lanes, numbers)
	among := func(left Register) Register { // the lanes of a group that are among the left ones
		in, count := K(), ZMM()
		VPBROADCASTD(left.(GPVirtual).As32(), count)
		VPCMPGTD(numbers, count, in)
		return in
	}
	at, left := GP64(), GP64()
	MOVQ(s, at)
	MOVQ(n, left)
	Label("scale")
	x := ZMM()
	VMULPS(Mem{Base: at}, scale, x)
	VMOVUPS(x, Mem{Base: at})
	VMAXPS(top, x, among(left), top) // NaN gives the second of Intel's order, the largest so far
	ADDQ(Imm(64), at)
	SUBQ(Imm(16), left)
	JG(LabelRef("scale"))
	avx512.fold(top, func(a, b VecVirtual) { VMAXPS(a, b, b) })
	VBROADCASTSS(top.AsX(), top)
	sum := avx512.zero()
	Label("exp")
	x = ZMM()
	VMOVUPS(Mem{Base: s}, x)
	VSUBPS(top, x, x)
	e := exp(x)
	VMOVUPS(e, Mem{Base: s})
	VADDPS(e, sum, among(n), sum)
	ADDQ(Imm(64), s)
	SUBQ(Imm(16), n)
	JG(LabelRef("exp"))
	endSoftmax(avx512, sum)
}
