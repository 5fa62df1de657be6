// SPDX-License-Identifier: MIT

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// elementwise writes what works on one row without a function: RMSNorm, sums, multiples.
func elementwise() {
	arg := func(name string) Register { return Load(Param(name), GP64()) }

	TEXT("squaresAVX2", NOSPLIT, "func(x *float32, n int) float32")
	Pragma("noescape")
	Doc("squaresAVX2 sums the squares of n elements, a multiple of 16, as RMSNorm does.")
	row, n := arg("x"), arg("n")
	var sum [2]VecVirtual
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
	avx2.fold(sum[0], func(a, b VecVirtual) { VADDPS(a, b, b) })
	storeFloat(sum[0].AsX())
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
