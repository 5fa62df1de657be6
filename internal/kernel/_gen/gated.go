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

// clamped writes the activation of gpt-oss: g/(1+e**(-1.702*g))*(up+1) with g at most 7 and up from -7 to 7.
func clamped(v vectors) {
	TEXT("swigluClamped"+v.path, NOSPLIT, "func(dst *float32, gate *float32, up *float32, n int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("swigluClamped%s is SwiGLUClamped for n elements, a multiple of 8.", v.path))
	arg := func(name string) Register { return Load(Param(name), GP64()) }
	dst, gate, up, n := arg("dst"), arg("gate"), arg("up"), arg("n")
	exp, one, most, least, slope := v.newExp(), v.splat(1), v.splat(7), v.splat(-7), v.splat(-1.702)
	v.each(n, []Register{dst, gate, up}, func(v vectors) {
		g, u, z := v.vector(), v.vector(), v.vector()
		VMOVUPS(Mem{Base: gate}, g)
		VMINPS(g, like(g, most), g) // NaN gives the second of Intel's order, which is g
		VMULPS(like(g, slope), g, z)
		e := exp(z)
		VADDPS(like(g, one), e, e)
		VDIVPS(e, g, g)
		VMOVUPS(Mem{Base: up}, u)
		VMINPS(u, like(g, most), u)
		VMAXPS(u, like(g, least), u)
		VADDPS(like(g, one), u, u)
		VMULPS(u, g, g)
		VMOVUPS(g, Mem{Base: dst})
	})
	VZEROUPPER()
	RET()
}

// softCap writes limit*tanh(x/limit): by is -2/limit.
func softCap(v vectors) {
	TEXT("softCap"+v.path, NOSPLIT, "func(x *float32, limit float32, by float32, n int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("softCap%s is SoftCap for n elements, a multiple of 8; by is -2/limit.", v.path))
	x, n := Load(Param("x"), GP64()), Load(Param("n"), GP64())
	limit, by := v.vector(), v.vector()
	VBROADCASTSS(NewParamAddr("limit", 8), limit)
	VBROADCASTSS(NewParamAddr("by", 12), by)
	exp, one, sign := v.newExp(), v.splat(1), v.splat(float32(math.Copysign(0, -1)))
	v.each(n, []Register{x}, func(v vectors) {
		y, z, top := v.vector(), v.vector(), v.vector()
		VMOVUPS(Mem{Base: x}, y)
		VANDNPS(y, like(y, sign), z)
		VMULPS(like(y, by), z, z)
		e := exp(z)
		VSUBPS(e, like(y, one), top)
		VADDPS(like(y, one), e, e)
		VDIVPS(e, top, top)
		VMULPS(like(y, limit), top, top)
		VANDPS(like(y, sign), y, y)
		VORPS(top, y, y)
		VMOVUPS(y, Mem{Base: x})
	})
	VZEROUPPER()
	RET()
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
