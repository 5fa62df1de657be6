// SPDX-License-Identifier: MIT

package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// choose writes what works on a row of logits. VMAXPS gives the second of Intel's order, the largest so far, where the first is NaN.
func choose() {
	arg := func(name string) Register { return Load(Param(name), GP64()) }
	least := math.Float32bits(float32(math.Inf(-1)))

	TEXT("argMaxAVX2", NOSPLIT, "func(x *float32, n int) int")
	Pragma("noescape")
	Doc("argMaxAVX2 is ArgMax for n elements, a multiple of 8.")
	x, n := arg("x"), arg("n")
	none := splat256(least)
	var top [4]VecVirtual
	for i := range top {
		top[i] = YMM()
		VMOVAPS(none, top[i])
	}
	at, left := GP64(), GP64()
	MOVQ(x, at)
	MOVQ(n, left)
	larger := func(i int) {
		v := YMM()
		VMOVUPS(Mem{Base: at, Disp: 32 * i}, v)
		VMAXPS(top[i], v, top[i])
	}
	Label("many")
	SUBQ(Imm(32), left)
	JL(LabelRef("rest"))
	for i := range top {
		larger(i)
	}
	ADDQ(U32(128), at)
	JMP(LabelRef("many"))
	Label("rest")
	ADDQ(Imm(32), left)
	JZ(LabelRef("fold"))
	Label("few")
	larger(0)
	ADDQ(Imm(32), at)
	SUBQ(Imm(8), left)
	JG(LabelRef("few"))
	Label("fold")
	highest(top[:])
	index, mask := GP64(), GP32()
	XORQ(index, index)
	VUCOMISS(none.AsX(), top[0].AsX())
	JE(LabelRef("found"))
	VBROADCASTSS(top[0].AsX(), top[0])
	Label("search")
	v := YMM()
	VCMPPS(Imm(equal), Mem{Base: x, Index: index, Scale: 4}, top[0], v)
	VMOVMSKPS(v, mask)
	ADDQ(Imm(8), index)
	TESTL(mask, mask)
	JZ(LabelRef("search"))
	lane := GP64()
	BSFL(mask, lane.As32())
	LEAQ(Mem{Base: index, Index: lane, Scale: 1, Disp: -8}, index)
	Label("found")
	Store(index, ReturnIndex(0))
	VZEROUPPER()
	RET()

	TEXT("maximaAVX2", NOSPLIT, "func(dst *float32, x *float32, blocks int)")
	Pragma("noescape")
	Doc("maximaAVX2 is Maxima for whole blocks.")
	dst, x, blocks := arg("dst"), arg("x"), arg("blocks")
	none = splat256(least)
	Label("block")
	for i := range 8 {
		v := YMM()
		VMOVUPS(Mem{Base: x, Disp: 32 * i}, v)
		if i < len(top) {
			top[i] = YMM()
			VMAXPS(none, v, top[i])
		} else {
			VMAXPS(top[i-4], v, top[i-4])
		}
	}
	highest(top[:])
	VMOVSS(top[0].AsX(), Mem{Base: dst})
	ADDQ(U32(256), x)
	ADDQ(Imm(4), dst)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// weights writes the unnormalised probabilities of logits.
func weights(v vectors) {
	TEXT("weights"+v.path, NOSPLIT, "func(dst *float32, x *float32, top float32, temperature float32, n int)")
	Pragma("noescape")
	Doc("weights" + v.path + " is Weights for n elements, a multiple of 8.")
	arg := func(name string) Register { return Load(Param(name), GP64()) }
	dst, x, n := arg("dst"), arg("x"), arg("n")
	most, temperature, one, zero := v.vector(), v.vector(), v.splat(1), v.zero()
	VBROADCASTSS(NewParamAddr("top", 16), most)
	VBROADCASTSS(NewParamAddr("temperature", 20), temperature)
	exp, wide := v.newExp(), v.lanes == 16
	v.each(n, []Register{dst, x}, func(v vectors) {
		logit, z := v.vector(), v.vector()
		VMOVUPS(Mem{Base: x}, logit)
		VSUBPS(like(z, most), logit, z)
		VDIVPS(like(z, temperature), z, z)
		w := exp(z)
		if wide {
			positive, first := K(), K()
			VCMPPS(Imm(greater), like(z, zero), w, positive)
			VCMPPS(Imm(equal), like(z, most), logit, first)
			VMOVAPS_Z(w, positive, w)
			VMOVAPS(like(z, one), first, w)
		} else {
			m := YMM()
			VCMPPS(Imm(greater), zero, w, m)
			VANDPS(w, m, w)
			VCMPPS(Imm(equal), most, logit, m)
			VBLENDVPS(m, one, w, w)
		}
		VMOVUPS(w, Mem{Base: dst})
	})
	VZEROUPPER()
	RET()
}

// highest takes the largest lane of four vectors without NaN to the first lane of the first.
func highest(v []VecVirtual) {
	VMAXPS(v[1], v[0], v[0])
	VMAXPS(v[3], v[2], v[2])
	VMAXPS(v[2], v[0], v[0])
	avx2.fold(v[0], func(a, b VecVirtual) { VMAXPS(a, b, b) })
}
