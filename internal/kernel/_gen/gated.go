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
func gated(v vectors) {
	unit(v, "swiglu", "SwiGLU", func() func(g, z VecVirtual) {
		sign := v.splat(float32(math.Copysign(0, -1)))
		return func(g, z VecVirtual) { VXORPS(like(g, sign), g, z) }
	})
	unit(v, "geglu", "GeGLU", func() func(g, z VecVirtual) {
		linear, cubic := v.splat(-0x1.988454p+0), v.splat(-0x1.2444f2p-4)
		return func(g, z VecVirtual) {
			square := like(g, v.vector())
			VMULPS(g, g, square)
			VMOVAPS(like(g, cubic), z)
			VFMADD213PS(like(g, linear), square, z)
			VMULPS(g, z, z)
		}
	})
}

// unit writes a gated activation. exponent loads its constants and returns what computes the exponents of gates.
func unit(v vectors, name, doc string, exponent func() func(g, z VecVirtual)) {
	TEXT(name+v.path, NOSPLIT, "func(dst *float32, gate *float32, up *float32, n int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s%s is %s for n elements, a multiple of 8.", name, v.path, doc))
	arg := func(name string) Register { return Load(Param(name), GP64()) }
	dst, gate, up, n := arg("dst"), arg("gate"), arg("up"), arg("n")
	exp, compute, one := v.newExp(), exponent(), v.splat(1)
	v.each(n, []Register{dst, gate, up}, func(v vectors) {
		g, z := v.vector(), v.vector()
		VMOVUPS(Mem{Base: gate}, g)
		compute(g, z)
		e := exp(z)
		VADDPS(like(g, one), e, e)
		VDIVPS(e, g, g)
		VMULPS(Mem{Base: up}, g, g)
		VMOVUPS(g, Mem{Base: dst})
	})
	VZEROUPPER()
	RET()
}
