// SPDX-License-Identifier: MIT

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// quantize writes the routine that rounds blocks of 32 neighbouring activations to 8 bits.
func quantize() {
	TEXT("quantizeAVX2", NOSPLIT, "func(q *int8, d *float32, s *float32, sum *int32, x *float32, blocks int, height int, factor int)")
	Pragma("noescape")
	Doc("quantizeAVX2 quantises neighbouring blocks of a row into tiles of that height: quantizeBlock is the reference. Sums are multiplied by factor.")
	arg := func(name string) Register { return Load(Param(name), GP64()) }
	q, d, s, sum, x, left, height, factor := arg("q"), arg("d"), arg("s"), arg("sum"), arg("x"), arg("blocks"), arg("height"), arg("factor")
	SHLQ(Imm(2), height) // the distance of blocks in d and s
	magnitude := splat256(0x7fffffff)
	order := YMM()
	VMOVDQU(constants("packOrder", 0, 4, 1, 5, 2, 6, 3, 7), order)
	limit := splat256(0x42fe0000) // 127

	Label("turn")
	var v [4]VecVirtual
	top := YMM()
	for i := range v {
		v[i] = YMM()
		VMOVUPS(Mem{Base: x, Disp: 32 * i}, v[i])
		m := YMM()
		VPAND(magnitude, v[i], m)
		if i == 0 {
			top = m
		} else {
			VPMAXUD(m, top, top)
		}
	}
	half := XMM()
	VEXTRACTI128(Imm(1), top, half)
	VPMAXUD(top.AsX(), half, half)
	swap := XMM()
	VPSHUFD(Imm(0x4e), half, swap)
	VPMAXUD(swap, half, half)
	VPSHUFD(Imm(0xb1), half, swap)
	VPMAXUD(swap, half, half)
	bits := GP32()
	VMOVD(half, bits)
	scale, inverse := XMM(), YMM()
	VDIVSS(limit.AsX(), half, scale)
	VDIVSS(half, limit.AsX(), inverse.AsX())
	CMPL(bits, U32(0x7f800000))
	JAE(LabelRef("infinite"))
	CMPL(bits, U32(0x03800000))
	JB(LabelRef("small"))
	VBROADCASTSS(inverse.AsX(), inverse)
	for i := range v {
		VMULPS(inverse, v[i], v[i])
		VCVTPS2DQ(v[i], v[i])
	}
	lo, hi := YMM(), YMM()
	VPADDD(v[1], v[0], lo)
	VPADDD(v[3], v[2], hi)
	VPHADDD(hi, lo, lo)
	VPHADDD(lo, lo, lo)
	VEXTRACTI128(Imm(1), lo, hi.AsX())
	VPADDD(hi.AsX(), lo.AsX(), lo.AsX()) // sums of both halves
	VPACKSSDW(v[1], v[0], v[0])
	VPACKSSDW(v[3], v[2], v[2])
	VPACKSSWB(v[2], v[0], v[0])
	VPERMD(v[0], order, v[0])
	VMOVDQU(v[0], Mem{Base: q})
	first, second := GP32(), GP32()
	VMOVD(lo.AsX(), first)
	VPEXTRD(Imm(1), lo.AsX(), second)
	IMULL(factor.(GPVirtual).As32(), first)
	IMULL(factor.(GPVirtual).As32(), second)
	MOVL(first, Mem{Base: sum, Index: height, Scale: 1})
	MOVL(second, Mem{Base: sum, Index: height, Scale: 2})
	ADDL(second, first)
	MOVL(first, Mem{Base: sum})
	total := XMM()
	VPHADDD(lo.AsX(), lo.AsX(), total)
	VCVTDQ2PS(total, total)
	VMULSS(scale, total, total)
	VMOVSS(scale, Mem{Base: d})
	VMOVSS(total, Mem{Base: s})

	Label("next")
	ADDQ(U32(128), x)
	ADDQ(height, d)
	ADDQ(height, s)
	LEAQ(Mem{Base: sum, Index: height, Scale: 2}, sum)
	ADDQ(height, sum)
	LEAQ(Mem{Base: q, Index: height, Scale: 8}, q)
	DECQ(left)
	JNZ(LabelRef("turn"))
	VZEROUPPER()
	RET()

	special := GP32()
	Label("infinite")
	MOVL(U32(0x7fc00000), special)
	JMP(LabelRef("store"))
	Label("small")
	XORL(special, special)
	Label("store")
	MOVL(special, Mem{Base: d})
	MOVL(special, Mem{Base: s})
	none := GP32()
	XORL(none, none)
	MOVL(none, Mem{Base: sum})
	MOVL(none, Mem{Base: sum, Index: height, Scale: 1})
	MOVL(none, Mem{Base: sum, Index: height, Scale: 2})
	zero := YMM()
	VPXOR(zero, zero, zero)
	VMOVDQU(zero, Mem{Base: q})
	JMP(LabelRef("next"))
}

// remainder writes the routine for what quantisation takes away.
func remainder() {
	TEXT("remainderAVX2", NOSPLIT, "func(dst *float32, x *float32, q *int8, d *float32, blocks int)")
	Pragma("noescape")
	Doc("remainderAVX2 writes x-d*q for blocks of 32: remainderPortable is the reference.")
	arg := func(name string) Register { return Load(Param(name), GP64()) }
	dst, x, q, d, left := arg("dst"), arg("x"), arg("q"), arg("d"), arg("blocks")
	Label("turn")
	scale := YMM()
	VBROADCASTSS(Mem{Base: d}, scale)
	for i := range 4 {
		product, v := YMM(), YMM()
		VPMOVSXBD(Mem{Base: q, Disp: 8 * i}, product)
		VCVTDQ2PS(product, product)
		VMULPS(product, scale, product)
		VMOVUPS(Mem{Base: x, Disp: 32 * i}, v)
		VSUBPS(product, v, v)
		VMOVUPS(v, Mem{Base: dst, Disp: 32 * i})
	}
	ADDQ(U32(128), dst)
	ADDQ(U32(128), x)
	ADDQ(Imm(32), q)
	ADDQ(Imm(4), d)
	DECQ(left)
	JNZ(LabelRef("turn"))
	VZEROUPPER()
	RET()
}

// constants declares read-only dwords.
func constants(name string, values ...uint32) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i, v := range values {
		DATA(4*i, U32(v))
	}
	return m
}

var declared = map[string]Mem{}

// constant is constants, declared by the first that asks for the name.
func constant(name string, values ...uint32) Mem {
	m, ok := declared[name]
	if !ok {
		m = constants(name, values...)
		declared[name] = m
	}
	return m
}
