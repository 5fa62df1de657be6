// SPDX-License-Identifier: MIT

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// limits writes what benchmarks are compared with: reading memory, and VPDPBUSD without memory.
func limits() {
	TEXT("readAVX2", NOSPLIT, "func(b *byte, lines int)")
	Pragma("noescape")
	Doc("readAVX2 reads that many cache lines, at least one, and keeps nothing.")
	b, n := Load(Param("b"), GP64()), Load(Param("lines"), GP64())
	v, w := YMM(), YMM()
	Label("line")
	VMOVDQU(Mem{Base: b}, v)
	VMOVDQU(Mem{Base: b, Disp: 32}, w)
	ADDQ(Imm(64), b)
	DECQ(n)
	JNZ(LabelRef("line"))
	VZEROUPPER()
	RET()

	TEXT("peakAVX512", NOSPLIT, "func(turns int)")
	Doc("peakAVX512 does 16 VPDPBUSD a turn, of 128 operations each.")
	turns := Load(Param("turns"), GP64())
	x := splat512(0)
	var acc []VecVirtual
	for range 16 {
		z := ZMM()
		VMOVDQA32(x, z)
		acc = append(acc, z)
	}
	Label("turn")
	for _, z := range acc {
		VPDPBUSD(x, x, z)
	}
	DECQ(turns)
	JNZ(LabelRef("turn"))
	VZEROUPPER()
	RET()
}
