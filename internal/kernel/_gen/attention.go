// SPDX-License-Identifier: MIT

package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// attention writes the products of queries with keys and of scores with values, for keys and values of 16 and 32 bits. All of them have
// eight independent sums, as many as keep two multipliers of four cycles busy.
func attention() {
	for _, v := range []vectors{avx2, avx512} {
		for _, size := range []int{2, 4} {
			for _, rows := range []int{4, 2, 1} {
				(&scores{vectors: v, size: size, rows: rows}).write()
			}
			for _, rows := range []int{4, 2, 1} {
				(&mixer{vectors: v, size: size, rows: rows}).write()
			}
		}
	}
}

// pointers returns the declaration of one parameter a row.
func pointers(name string, rows int) string {
	s := ""
	for i := range rows {
		s += fmt.Sprintf("%s%d *float32, ", name, i)
	}
	return s
}

// scores is a routine for the products of some queries with tiles of keys. Keys of 16 positions lie side by side, dimension after
// dimension; tiles follow each other, as do their results.
type scores struct {
	vectors
	size, rows int

	q              []Register // of each row
	k, step, step3 Register   // the first tile, the distance of tiles, and three times that
	dims, column   Register   // column is the tile's number times 16
}

func (s *scores) write() {
	name := fmt.Sprintf("scores%dF%d%s", s.rows, 8*s.size, s.path)
	TEXT(name, NOSPLIT, fmt.Sprintf("func(%s%sk *byte, dims, tiles int)", pointers("d", s.rows), pointers("q", s.rows)))
	Pragma("noescape")
	Doc(fmt.Sprintf("%s multiplies queries with tiles of 16 keys of %d bits.", name, 8*s.size))
	arg := func(name string) Register { return Load(Param(name), GP64()) }
	for i := range s.rows {
		s.q = append(s.q, arg(fmt.Sprintf("q%d", i)))
	}
	s.k, s.dims, s.column = arg("k"), arg("dims"), GP64()
	left := arg("tiles")
	s.step, s.step3 = GP64(), GP64()
	MOVQ(s.dims, s.step)
	SHLQ(Imm(map[int]uint64{2: 5, 4: 6}[s.size]), s.step)
	LEAQ(Mem{Base: s.step, Index: s.step, Scale: 2}, s.step3)
	XORQ(s.column, s.column)
	many := 8 * s.lanes / 16 / s.rows // tiles at a time
	for _, tiles := range []int{many, 1} {
		label := func(what string) string { return fmt.Sprintf("%s%d", what, tiles) }
		Label(label("tiles"))
		SUBQ(Imm(uint64(tiles)), left)
		JL(LabelRef(label("fewer")))
		s.tiles(tiles, label("dim"))
		ADDQ(Imm(uint64(16*tiles)), s.column)
		JMP(LabelRef(label("tiles")))
		Label(label("fewer"))
		if tiles == 1 {
			break // where many is 1, too
		}
		ADDQ(Imm(uint64(tiles)), left)
	}
	VZEROUPPER()
	RET()
}

// tiles computes some tiles and moves on to the next. It asks for those eight tiles further on: each tile is a page or less, at the end of
// which the processor stops looking ahead by itself.
func (s *scores) tiles(tiles int, label string) {
	acc := make([][]VecVirtual, 16*tiles/s.lanes) // of each vector of keys and row
	for n := range acc {
		for range s.rows {
			acc[n] = append(acc[n], s.zero())
		}
	}
	now, later := tileBase{s: s, even: s.k}, tileBase{s: s, even: GP64()}
	LEAQ(Mem{Base: s.k, Index: s.step, Scale: 8}, later.even)
	bases := []Register{now.even, later.even}
	if tiles > 1 {
		for _, t := range []*tileBase{&now, &later} {
			t.odd = GP64()
			LEAQ(Mem{Base: t.even, Index: s.step, Scale: 1}, t.odd)
			bases = append(bases, t.odd)
		}
	}
	d := GP64()
	XORQ(d, d)
	Label(label)
	x := make([]VecVirtual, s.rows)
	for i := range x {
		x[i] = s.vector()
		VBROADCASTSS(Mem{Base: s.q[i], Index: d, Scale: 4}, x[i])
	}
	for n, sums := range acc {
		at := n * s.lanes
		if at%16 == 0 {
			PREFETCHT0(later.tile(at / 16))
		}
		keys := s.load(s.size, now.tile(at/16).Offset(at%16*s.size))
		for i := range sums {
			VFMADD231PS(keys, x[i], sums[i])
		}
	}
	for _, base := range bases {
		ADDQ(U32(16*s.size), base)
	}
	INCQ(d)
	CMPQ(d, s.dims)
	JL(LabelRef(label))
	for i := range s.rows {
		dst := Load(Param(fmt.Sprintf("d%d", i)), GP64())
		for n := range acc {
			VMOVUPS(acc[n][i], Mem{Base: dst, Index: s.column, Scale: 4, Disp: 4 * n * s.lanes})
		}
	}
	for range tiles - 1 { // the first one has been passed
		ADDQ(s.step, s.k)
	}
}

// tileBase is where up to eight tiles of keys begin: the even ones are multiples of the distance from the first, which fit into an address.
type tileBase struct {
	s         *scores
	even, odd Register
}

func (b *tileBase) tile(t int) Mem {
	m := Mem{Base: []Register{b.even, b.odd}[t%2]}
	switch t / 2 {
	case 0:
	case 3:
		m.Index, m.Scale = b.s.step3, 2
	default:
		m.Index, m.Scale = b.s.step, uint8(t/2*2)
	}
	return m
}

// mixer is a routine for the products of scores with values, for some rows of scores: each has dims results, which are continued.
type mixer struct {
	vectors
	size, rows int

	v, n, stride, column Register
	ahead                Register   // n times stride
	e                    []Register // of each row
}

func (m *mixer) write() {
	name := fmt.Sprintf("mix%dF%d%s", m.rows, 8*m.size, m.path)
	TEXT(name, NOSPLIT, fmt.Sprintf("func(%s%sv *byte, n, dims int)", pointers("d", m.rows), pointers("e", m.rows)))
	Pragma("noescape")
	Doc(fmt.Sprintf("%s adds n values of %d bits, times scores, to dims results each, a multiple of 8.", name, 8*m.size))
	arg := func(name string) Register { return Load(Param(name), GP64()) }
	dims := NewParamAddr("dims", 8*(2*m.rows+2))
	m.v, m.n, m.stride, m.column = arg("v"), arg("n"), GP64(), GP64()
	MOVQ(dims, m.stride)
	SHLQ(Imm(uint64(m.size/2)), m.stride)
	XORQ(m.column, m.column)
	m.ahead = GP64()
	MOVQ(m.stride, m.ahead)
	IMULQ(m.n, m.ahead)
	for i := range m.rows {
		m.e = append(m.e, arg(fmt.Sprintf("e%d", i)))
	}
	// Most columns first, then what is left of them.
	for width := 8 * m.lanes / m.rows; width >= 8; width /= 2 {
		label := func(s string) string { return fmt.Sprintf("%s%d", s, width) }
		Label(label("columns"))
		end := GP64()
		LEAQ(Mem{Base: m.column, Disp: width}, end)
		CMPQ(end, dims)
		JG(LabelRef(label("beyond")))
		m.columns(width, label("position"))
		ADDQ(U32(width), m.column)
		JMP(LabelRef(label("columns")))
		Label(label("beyond"))
	}
	VZEROUPPER()
	RET()
}

// columns continues width results of each row, from the current column on, and asks for the same columns n positions further on.
func (m *mixer) columns(width int, label string) {
	v := m.vectors
	if width < v.lanes {
		v = avx2
	}
	vectors := width / v.lanes
	acc := make([][]VecVirtual, m.rows)
	for i := range acc {
		dst := Load(Param(fmt.Sprintf("d%d", i)), GP64())
		for p := range vectors {
			y := v.vector()
			VMOVUPS(Mem{Base: dst, Index: m.column, Scale: 4, Disp: 4 * v.lanes * p}, y)
			acc[i] = append(acc[i], y)
		}
	}
	at, j := GP64(), GP64()
	LEAQ(Mem{Base: m.v, Index: m.column, Scale: uint8(m.size)}, at)
	XORQ(j, j)
	Label(label)
	w := make([]VecVirtual, m.rows)
	for i := range w {
		w[i] = v.vector()
		VBROADCASTSS(Mem{Base: m.e[i], Index: j, Scale: 4}, w[i])
	}
	for p := range vectors {
		if p*v.lanes*m.size%64 == 0 {
			PREFETCHT0(Mem{Base: at, Index: m.ahead, Scale: 1, Disp: v.lanes * p * m.size})
		}
		values := v.load(m.size, Mem{Base: at, Disp: v.lanes * p * m.size})
		for i := range acc {
			VFMADD231PS(values, w[i], acc[i][p])
		}
	}
	ADDQ(m.stride, at)
	INCQ(j)
	CMPQ(j, m.n)
	JL(LabelRef(label))
	for i := range acc {
		dst := Load(Param(fmt.Sprintf("d%d", i)), GP64())
		for p, y := range acc[i] {
			VMOVUPS(y, Mem{Base: dst, Index: m.column, Scale: 4, Disp: 4 * v.lanes * p})
		}
	}
}
