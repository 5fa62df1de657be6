// SPDX-License-Identifier: MIT

package main

import (
	"math"
	"sync"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Constants of Exp, the polynomial's from the highest power down, without the last 1.
const (
	expLog2E = 0x1.715476p+0
	expShift = 0x1.8p23
	expLn2Hi = 0x1.63p-1
	expLn2Lo = -0x1.bd0106p-13
	expOver  = 0x1.62e42ep+6
	expUnder = -0x1.5d589ep+6
)

var expPoly = [6]float32{0x1.6ac74cp-10, 0x1.123dep-7, 0x1.555858p-5, 0x1.55548cp-3, 0x1.fffffcp-2, 1}

// Predicates of VCMPPS. NaN fulfils notLess and unordered, but none of the others.
const (
	equal     = 0x00
	unordered = 0x03
	notLess   = 0x05
	less      = 0x11
	greater   = 0x1e
)

// exponential writes code for e to the power of each x, which it keeps.
type exponential func(x VecVirtual) VecVirtual

// newExp prepares a routine for it.
func (v vectors) newExp() exponential {
	if v.lanes == 16 {
		return newExp512()
	}
	return exp256()
}

// exp256 takes constants from memory, declared once: AVX2 has few registers.
var exp256 = sync.OnceValue(func() exponential {
	data := func(name string, v float32) Mem {
		bits := math.Float32bits(v)
		return constants(name, bits, bits, bits, bits, bits, bits, bits, bits)
	}
	log2e, shift := data("expLog2E", expLog2E), data("expShift", expShift)
	high, low := data("expLn2Hi", expLn2Hi), data("expLn2Lo", expLn2Lo)
	over, under, inf := data("expOver", expOver), data("expUnder", expUnder), data("expInf", float32(math.Inf(1)))
	var poly [6]Mem
	for i, v := range expPoly {
		poly[i] = data("exp"+string(rune('6'-i)), v)
	}
	return func(x VecVirtual) VecVirtual {
		t, n, r, p := YMM(), YMM(), YMM(), YMM()
		VMULPS(log2e, x, t)
		VADDPS(shift, t, t)
		VSUBPS(shift, t, n)
		VMOVAPS(x, r)
		VFNMADD231PS(high, n, r)
		VFNMADD231PS(low, n, r)
		VMOVUPS(poly[0], p)
		for _, k := range poly[1:] {
			VFMADD213PS(k, r, p)
		}
		VFMADD213PS(poly[5], r, p)
		VPSLLD(Imm(23), t, t)
		VPADDD(t, p, p)
		m := YMM()
		VCMPPS(Imm(less), under, x, m)
		VANDNPS(p, m, p)
		VCMPPS(Imm(greater), over, x, m)
		most := YMM()
		VMOVUPS(inf, most)
		VBLENDVPS(m, most, p, p)
		VCMPPS(Imm(unordered), x, x, m)
		VBLENDVPS(m, x, p, p)
		return p
	}
})

// newExp512 keeps constants in registers, from here to the end of the routine. What it returns takes ZMM and YMM.
func newExp512() exponential {
	log2e, high, low := avx512.splat(expLog2E), avx512.splat(expLn2Hi), avx512.splat(expLn2Lo)
	over, under, inf := avx512.splat(expOver), avx512.splat(expUnder), avx512.splat(float32(math.Inf(1)))
	var poly [6]VecVirtual
	for i, v := range expPoly {
		poly[i] = avx512.splat(v)
	}
	return func(x VecVirtual) VecVirtual {
		n, r, p := like(x, ZMM()), like(x, ZMM()), like(x, ZMM())
		VMULPS(like(x, log2e), x, n)
		VRNDSCALEPS(Imm(0), n, n)
		VMOVAPS(x, r)
		VFNMADD231PS(like(x, high), n, r)
		VFNMADD231PS(like(x, low), n, r)
		VMOVAPS(like(x, poly[0]), p)
		for _, k := range poly[1:] {
			VFMADD213PS(like(x, k), r, p)
		}
		VFMADD213PS(like(x, poly[5]), r, p)
		normal, infinite := K(), K()
		VCMPPS(Imm(notLess), like(x, under), x, normal)
		VCMPPS(Imm(greater), like(x, over), x, infinite)
		VSCALEFPS_Z(n, p, normal, p)
		VMOVAPS(like(x, inf), infinite, p)
		return p
	}
}
