// SPDX-License-Identifier: MIT

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// limits writes what benchmarks are compared with: reading memory, and VPDPBUSD without memory.
func limits() {
	read("readAVX2", 32, YMM)
	read("readAVX512", 64, ZMM)

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

// read writes a routine that reads memory by vectors of so many bytes. In turns of one cache line it would be slower than memory.
func read(name string, bytes int, vector func() VecVirtual) {
	const lines = 4 // a turn
	TEXT(name, NOSPLIT, "func(b *byte, lines int)")
	Pragma("noescape")
	Doc(name + " reads that many cache lines, a multiple of four and at least as many, and keeps nothing.")
	b, n := Load(Param("b"), GP64()), Load(Param("lines"), GP64())
	Label("turn")
	for at := 0; at < lines*64; at += bytes {
		if from, to := (Mem{Base: b, Disp: at}), vector(); bytes == 64 {
			VMOVDQU64(from, to)
		} else {
			VMOVDQU(from, to)
		}
	}
	ADDQ(U32(lines*64), b)
	SUBQ(Imm(lines), n)
	JNZ(LabelRef("turn"))
	VZEROUPPER()
	RET()
}
