// SPDX-License-Identifier: MIT

package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// floatFormat is a type of float weights, which lie column after column, 16 rows side by side.
type floatFormat struct {
	name string
	size int
}

var floatFormats = []floatFormat{{"F32", 4}, {"F16", 2}, {"BF16", 2}}

// tileFloat writes a routine for float weights and 1 or 4 rows of activations, each with four sums, of the columns k mod 4.
func tileFloat(path string, f floatFormat, rows int) {
	TEXT(fmt.Sprintf("tile%s%sx%d", path, f.name, rows), NOSPLIT, "func(dst *float32, w *byte, x *float32, stride int, cols int)")
	Pragma("noescape")
	Doc(fmt.Sprintf("tile%s%sx%d multiplies a panel of %s with %d activation rows that lie stride bytes apart: floatRow is the reference.", path, f.name, rows, f.name, rows))
	t := &floatTile{floatFormat: f, wide: path == "AVX512"}
	switch {
	case t.wide:
		t.pass(0, []int{0}, rows, 0)
	case rows == 1:
		t.pass(0, []int{0, 1}, 1, 0)
	default: // as many sums as registers allow
		for n, first := range []int{0, 2} {
			for half := range 2 {
				t.pass(first, []int{half}, 2, 2*n+half+1)
			}
		}
	}
	VZEROUPPER()
	RET()
}

type floatTile struct {
	floatFormat
	wide bool
}

func (t *floatTile) vector() VecVirtual {
	if t.wide {
		return ZMM()
	}
	return YMM()
}

// pass computes rows rows from first on with the given parts of the weight rows: the whole panel or halves of it.
func (t *floatTile) pass(first int, parts []int, rows, number int) {
	label := func(s string) string { return fmt.Sprintf("%s%d", s, number) }
	arg := func(name string) Register { return Load(Param(name), GP64()) }
	w, x, stride, cols := arg("w"), arg("x"), arg("stride"), arg("cols")
	for range first {
		ADDQ(stride, x)
	}
	at := []Register{x}
	for i := 1; i < rows; i++ {
		next := GP64()
		MOVQ(at[i-1], next)
		ADDQ(stride, next)
		at = append(at, next)
	}
	acc := map[[3]int]VecVirtual{} // of row, part, k mod 4
	for i := range rows {
		for _, p := range parts {
			for k := range 4 {
				z := t.vector()
				VXORPS(z.AsY(), z.AsY(), z.AsY())
				acc[[3]int{i, p, k}] = z
			}
		}
	}
	column := func(k int) {
		for _, p := range parts {
			v := t.load(Mem{Base: w, Disp: (16*k + 8*p) * t.size})
			for i := range rows {
				m, sum := Mem{Base: at[i], Disp: 4 * k}, acc[[3]int{i, p, k}]
				if t.wide {
					VFMADD231PS_BCST(m, v, sum)
					continue
				}
				b := YMM()
				VBROADCASTSS(m, b)
				VFMADD231PS(b, v, sum)
			}
		}
	}
	SUBQ(Imm(4), cols)
	JL(LabelRef(label("tail")))
	Label(label("turn"))
	for k := range 4 {
		column(k)
	}
	ADDQ(U32(64*t.size), w)
	for _, a := range at {
		ADDQ(Imm(16), a)
	}
	SUBQ(Imm(4), cols)
	JGE(LabelRef(label("turn")))
	Label(label("tail"))
	ADDQ(Imm(4), cols)
	for k := range 3 {
		CMPQ(cols, Imm(uint64(k)))
		JLE(LabelRef(label("sum")))
		column(k)
	}
	Label(label("sum"))
	dst := arg("dst")
	for i := range rows {
		for _, p := range parts {
			sum := func(k int) VecVirtual { return acc[[3]int{i, p, k}] }
			VADDPS(sum(2), sum(0), sum(0))
			VADDPS(sum(3), sum(1), sum(1))
			VADDPS(sum(1), sum(0), sum(0))
			VMOVUPS(sum(0), Mem{Base: dst, Disp: 64*(first+i) + 32*p})
		}
	}
}

// load converts a column of weights.
func (t *floatTile) load(m Mem) VecVirtual {
	v := t.vector()
	switch t.name {
	case "F32":
		VMOVUPS(m, v)
	case "F16":
		VCVTPH2PS(m, v)
	case "BF16":
		VPMOVZXWD(m, v)
		VPSLLD(Imm(16), v, v)
	}
	return v
}
