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

// mix writes the products of scores with values, for so many rows of scores: each has dims results, which are continued. The first width
// of columns is what registers allow, the others are for the rest.
func mix(size, rows int) {
	name := fmt.Sprintf("mix%dF%dAVX2", rows, 8*size)
	sig, widths := "func(d0, d1, d2, d3 *float32, e0, e1, e2, e3 *float32, v *byte, n, dims int)", []int{16, 8}
	if rows == 1 {
		sig, widths = "func(d0 *float32, e0 *float32, v *byte, n, dims int)", []int{32, 16, 8}
	}
	TEXT(name, NOSPLIT, sig)
	Pragma("noescape")
	Doc(fmt.Sprintf("%s adds n values of %d bits, times scores, to dims results each, a multiple of 8.", name, 8*size))
	arg := func(name string) Register { return Load(Param(name), GP64()) }
	m := &mixer{size: size, v: arg("v"), n: arg("n"), stride: GP64(), column: GP64()}
	MOVQ(NewParamAddr("dims", 8*(2*rows+2)), m.stride)
	SHLQ(Imm(uint64(size/2)), m.stride)
	XORQ(m.column, m.column)
	for i := range rows {
		m.e = append(m.e, arg(fmt.Sprintf("e%d", i)))
	}
	for _, width := range widths {
		label := func(s string) string { return fmt.Sprintf("%s%d", s, width) }
		Label(label("columns"))
		end := GP64()
		LEAQ(Mem{Base: m.column, Disp: width}, end)
		CMPQ(end, NewParamAddr("dims", 8*(2*rows+2)))
		JG(LabelRef(label("beyond")))
		m.columns(width, label("position"))
		ADDQ(Imm(uint64(width)), m.column)
		JMP(LabelRef(label("columns")))
		Label(label("beyond"))
	}
	VZEROUPPER()
	RET()
}

type mixer struct {
	size                 int
	v, n, stride, column Register
	e                    []Register // of each row
}

// columns continues width results of each row, from the current column on.
func (m *mixer) columns(width int, label string) {
	results := func(row, p int) Mem {
		dst := Load(Param(fmt.Sprintf("d%d", row)), GP64())
		return Mem{Base: dst, Index: m.column, Scale: 4, Disp: 32 * p}
	}
	acc := make([][]VecVirtual, len(m.e))
	for i := range acc {
		for p := range width / 8 {
			y := YMM()
			VMOVUPS(results(i, p), y)
			acc[i] = append(acc[i], y)
		}
	}
	at, j := GP64(), GP64()
	LEAQ(Mem{Base: m.v, Index: m.column, Scale: uint8(m.size)}, at)
	XORQ(j, j)
	Label(label)
	var values []VecVirtual
	for p := range width / 8 {
		values = append(values, loadKV(m.size, Mem{Base: at, Disp: 8 * p * m.size}))
	}
	ADDQ(m.stride, at)
	for i := range acc {
		w := YMM()
		VBROADCASTSS(Mem{Base: m.e[i], Index: j, Scale: 4}, w)
		for p, y := range acc[i] {
			VFMADD231PS(values[p], w, y)
		}
	}
	INCQ(j)
	CMPQ(j, m.n)
	JL(LabelRef(label))
	for i := range acc {
		for p, y := range acc[i] {
			VMOVUPS(y, results(i, p))
		}
	}
}
