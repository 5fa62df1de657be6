// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// gated writes the activations of gated feed-forward networks, g/(1+e**z)*up: z is -g for SwiGLU, and g*(A+B*g*g) for GeGLU.
func gated(c *expConstants) {
	sign := splatData("gateSign", float32(math.Copysign(0, -1)))
	linear, cubic := splatData("geluLinear", -0x1.988454p+0), splatData("geluCubic", -0x1.2444f2p-4)
	unit("swiglu", "SwiGLU", c, func(g, z VecVirtual) {
		VXORPS(sign, g, z)
	})
	unit("geglu", "GeGLU", c, func(g, z VecVirtual) {
		square := YMM()
		VMULPS(g, g, square)
		VMOVUPS(cubic, z)
		VFMADD213PS(linear, square, z)
		VMULPS(g, z, z)
	})
}

// unit writes a gated activation with so an exponent of each gate.
func unit(name, doc string, c *expConstants, exponent func(g, z VecVirtual)) {
	TEXT(name+"AVX2", NOSPLIT, "func(dst *float32, gate *float32, up *float32, n int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%sAVX2 is %s for n elements, a multiple of 8.", name, doc))
	arg := func(name string) Register { return Load(Param(name), GP64()) }
	dst, gate, up, n := arg("dst"), arg("gate"), arg("up"), arg("n")
	Label("turn")
	g, z := YMM(), YMM()
	VMOVUPS(Mem{Base: gate}, g)
	exponent(g, z)
	e := c.exp(z)
	VADDPS(c.poly[5], e, e)
	VDIVPS(e, g, g)
	VMULPS(Mem{Base: up}, g, g)
	VMOVUPS(g, Mem{Base: dst})
	for _, p := range []Register{dst, gate, up} {
		ADDQ(Imm(32), p)
	}
	SUBQ(Imm(8), n)
	JG(LabelRef("turn"))
	VZEROUPPER()
	RET()
}
