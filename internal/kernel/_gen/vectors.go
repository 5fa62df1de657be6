// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// vectors are the registers of a path.
type vectors struct {
	path  string
	lanes int // of 32 bits
}

var (
	avx2   = vectors{path: "AVX2", lanes: 8}
	avx512 = vectors{path: "AVX512", lanes: 16}
)

func (v vectors) vector() VecVirtual {
	if v.lanes == 16 {
		return ZMM()
	}
	return YMM()
}

// splat returns a vector with v in each lane.
func (v vectors) splat(x float32) VecVirtual {
	if v.lanes == 16 {
		return splat512(math.Float32bits(x)).(VecVirtual)
	}
	return splat256(math.Float32bits(x))
}

// like returns a register as one of the same width as x.
func like(x, v VecVirtual) VecVirtual {
	if x.Size() == v.Size() {
		return v
	}
	return v.AsY().(VecVirtual)
}

// each writes a loop over the vectors of n elements, a multiple of 8: body computes those at the pointers, which are moved on. Where vectors have
// 16 lanes, there may be 8 elements left at the end.
func (v vectors) each(n Register, pointers []Register, body func(v vectors)) {
	for _, v := range []vectors{v, avx2} {
		label := func(s string) string { return fmt.Sprintf("%s%d", s, v.lanes) }
		Label(label("vector"))
		CMPQ(n, Imm(uint64(v.lanes)))
		JLT(LabelRef(label("less")))
		body(v)
		for _, p := range pointers {
			ADDQ(Imm(uint64(4*v.lanes)), p)
		}
		SUBQ(Imm(uint64(v.lanes)), n)
		JMP(LabelRef(label("vector")))
		Label(label("less"))
		if v.lanes == avx2.lanes {
			return
		}
	}
}

// zero returns a vector of zeros.
func (v vectors) zero() VecVirtual {
	z := v.vector()
	VXORPS(z.AsY(), z.AsY(), z.AsY())
	return z
}

// load returns a vector of numbers of so many bytes.
func (v vectors) load(size int, m Mem) VecVirtual {
	x := v.vector()
	if size == 2 {
		VCVTPH2PS(m, x)
	} else {
		VMOVUPS(m, x)
	}
	return x
}

// fold joins the upper half of a vector to the lower one until the first lane has all.
func (v vectors) fold(x VecVirtual, join func(a, b VecVirtual)) {
	other := YMM()
	if v.lanes == 16 {
		VEXTRACTF64X4(Imm(1), x, other)
		x = x.AsY().(VecVirtual)
		join(other, x)
		VEXTRACTF32X4(Imm(1), x, other.AsX())
	} else {
		VEXTRACTF128(Imm(1), x, other.AsX())
	}
	join(other, x)
	VPERMILPS(Imm(0x4e), x, other)
	join(other, x)
	VPERMILPS(Imm(0xb1), x, other)
	join(other, x)
}

// storeFloat returns the first lane from the routine. avo's Store would use an instruction that knows half of the registers.
func storeFloat(x Register) {
	to, err := ReturnIndex(0).Resolve()
	if err != nil {
		panic(err)
	}
	VMOVSS(x, to.Addr)
}
