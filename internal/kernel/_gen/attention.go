// SPDX-License-Identifier: MIT

package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// attention writes the products of queries with keys and of scores with values, four independent ones at a time.
func attention() {
	for _, size := range []int{2, 4} {
		for _, shared := range []bool{true, false} {
			scores(size, shared)
		}
		mix(size, 4)
		mix(size, 1)
	}
}

func loadKV(size int, m Mem) VecVirtual {
	v := YMM()
	if size == 2 {
		VCVTPH2PS(m, v)
	} else {
		VMOVUPS(m, v)
	}
	return v
}

// scores writes the products of four queries with a tile of keys, or of one with four tiles.
func scores(size int, shared bool) {
	name, what := "scoresTiles", "a query with four tiles of keys"
	if shared {
		name, what = "scoresQueries", "four queries with a tile of keys"
	}
	sig := "func(d0, d1, d2, d3 *float32, q0, q1, q2, q3 *float32, k *byte, dims int)"
	if !shared {
		sig = "func(d0, d1, d2, d3 *float32, q *float32, k0, k1, k2, k3 *byte, dims int)"
	}
	name = fmt.Sprintf("%sF%dAVX2", name, 8*size)
	TEXT(name, NOSPLIT, sig)
	Pragma("noescape")
	Doc(fmt.Sprintf("%s multiplies %s of %d bits, 16 positions a tile.", name, what, 8*size))
	arg := func(name string) Register { return Load(Param(name), GP64()) }
	var q, k []Register
	if shared {
		for i := range 4 {
			q = append(q, arg(fmt.Sprintf("q%d", i)))
		}
		k = append(k, arg("k"))
	} else {
		q = append(q, arg("q"))
		for i := range 4 {
			k = append(k, arg(fmt.Sprintf("k%d", i)))
		}
	}
	dims, d := arg("dims"), GP64()
	XORQ(d, d)
	var acc [8]VecVirtual
	for i := range acc {
		acc[i] = YMM()
		VXORPS(acc[i], acc[i], acc[i])
	}
	Label("dim")
	var keys [2]VecVirtual
	x := YMM()
	for i := range 4 {
		if i == 0 || !shared {
			for p := range keys {
				keys[p] = loadKV(size, Mem{Base: k[i], Disp: 8 * p * size})
			}
			ADDQ(U32(16*size), k[i])
		}
		if i == 0 || shared {
			VBROADCASTSS(Mem{Base: q[i], Index: d, Scale: 4}, x)
		}
		for p := range keys {
			VFMADD231PS(keys[p], x, acc[2*i+p])
		}
	}
	INCQ(d)
	CMPQ(d, dims)
	JL(LabelRef("dim"))
	for i := range 4 {
		dst := arg(fmt.Sprintf("d%d", i))
		for p := range 2 {
			VMOVUPS(acc[2*i+p], Mem{Base: dst, Disp: 32 * p})
		}
	}
	VZEROUPPER()
	RET()
}

// mix writes the products of scores with values, for so many rows of scores: each has dims results, which are continued.
func mix(size, rows int) {
	name := fmt.Sprintf("mix%dF%dAVX2", rows, 8*size)
	sig := "func(d0, d1, d2, d3 *float32, e0, e1, e2, e3 *float32, v *byte, n, dims int)"
	width := 16 // dimensions at a time
	if rows == 1 {
		sig, width = "func(d0 *float32, e0 *float32, v *byte, n, dims int)", 32
	}
	TEXT(name, NOSPLIT, sig)
	Pragma("noescape")
	Doc(fmt.Sprintf("%s adds n values of %d bits, times scores, to dims results each, a multiple of %d.", name, 8*size, width))
	arg := func(name string) Register { return Load(Param(name), GP64()) }
	v, n, dims := arg("v"), arg("n"), arg("dims")
	stride, column := GP64(), GP64()
	MOVQ(dims, stride)
	SHLQ(Imm(uint64(size/2)), stride)
	XORQ(column, column)
	var e []Register
	for i := range rows {
		e = append(e, arg(fmt.Sprintf("e%d", i)))
	}
	vectors := width / 8
	Label("columns")
	acc := make([][]VecVirtual, rows)
	for i := range acc {
		dst := arg(fmt.Sprintf("d%d", i))
		for p := range vectors {
			y := YMM()
			VMOVUPS(Mem{Base: dst, Index: column, Scale: 4, Disp: 32 * p}, y)
			acc[i] = append(acc[i], y)
		}
	}
	at, j := GP64(), GP64()
	LEAQ(Mem{Base: v, Index: column, Scale: uint8(size)}, at)
	XORQ(j, j)
	Label("position")
	var values []VecVirtual
	for p := range vectors {
		values = append(values, loadKV(size, Mem{Base: at, Disp: 8 * p * size}))
	}
	ADDQ(stride, at)
	for i := range rows {
		w := YMM()
		VBROADCASTSS(Mem{Base: e[i], Index: j, Scale: 4}, w)
		for p := range vectors {
			VFMADD231PS(values[p], w, acc[i][p])
		}
	}
	INCQ(j)
	CMPQ(j, n)
	JL(LabelRef("position"))
	for i := range acc {
		dst := arg(fmt.Sprintf("d%d", i))
		for p, y := range acc[i] {
			VMOVUPS(y, Mem{Base: dst, Index: column, Scale: 4, Disp: 32 * p})
		}
	}
	ADDQ(Imm(uint64(width)), column)
	CMPQ(column, dims)
	JL(LabelRef("columns"))
	VZEROUPPER()
	RET()
}
