// SPDX-License-Identifier: MIT

package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// rope writes the rotations of pairs, which are neighbours (norm) or lie in two halves (neox). No product is fused with a sum.
func rope() {
	arg := func(name string) Register { return Load(Param(name), GP64()) }
	for _, c := range []struct{ name, params string }{{"Norm", "x *float32"}, {"Neox", "x0 *float32, x1 *float32"}} {
		name := fmt.Sprintf("rope%sAVX2", c.name)
		TEXT(name, NOSPLIT, fmt.Sprintf("func(%s, cos *float32, sin *float32, pairs int)", c.params))
		Pragma("noescape")
		Doc(fmt.Sprintf("%s is Rope%s for a multiple of 8 pairs.", name, c.name))
		norm := c.name == "Norm"
		var x []Register
		if norm {
			x = append(x, arg("x"))
		} else {
			x = append(x, arg("x0"), arg("x1"))
		}
		cos, sin, left := arg("cos"), arg("sin"), arg("pairs")
		first := Mem{Base: x[0]}
		second := first.Offset(32)
		if !norm {
			second = Mem{Base: x[1]}
		}
		Label("turn")
		cosines, sines := YMM(), YMM()
		x0, x1 := YMM(), YMM()
		if norm {
			// Pairs are taken apart within halves of 128 bits: the order is 0 1 4 5, 2 3 6 7.
			a, b := YMM(), YMM()
			VMOVUPS(first, a)
			VMOVUPS(second, b)
			VSHUFPS(Imm(0x88), b, a, x0)
			VSHUFPS(Imm(0xdd), b, a, x1)
			VPERMPD(Imm(0xd8), Mem{Base: cos}, cosines)
			VPERMPD(Imm(0xd8), Mem{Base: sin}, sines)
		} else {
			VMOVUPS(first, x0)
			VMOVUPS(second, x1)
			VMOVUPS(Mem{Base: cos}, cosines)
			VMOVUPS(Mem{Base: sin}, sines)
		}
		y0, y1, p := YMM(), YMM(), YMM()
		VMULPS(cosines, x0, y0)
		VMULPS(sines, x1, p)
		VSUBPS(p, y0, y0)
		VMULPS(sines, x0, y1)
		VMULPS(cosines, x1, p)
		VADDPS(p, y1, y1)
		if norm {
			VUNPCKLPS(y1, y0, x0)
			VUNPCKHPS(y1, y0, x1)
			y0, y1 = x0, x1
		}
		VMOVUPS(y0, first)
		VMOVUPS(y1, second)
		step := uint64(32)
		if norm {
			step = 64
		}
		for _, p := range x {
			ADDQ(Imm(step), p)
		}
		ADDQ(Imm(32), cos)
		ADDQ(Imm(32), sin)
		SUBQ(Imm(8), left)
		JG(LabelRef("turn"))
		VZEROUPPER()
		RET()
	}
}
