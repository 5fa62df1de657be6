// SPDX-License-Identifier: MIT

package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// tile is the state of a routine that multiplies a panel of 16 weight rows with a tile of activation rows.
type tile struct {
	format
	rows          int
	dst, stride   Register
	w, next       Register // the second panel lies next bytes after the first one; where there is none: how far weights are fetched ahead
	q, d, s, sum_ Register
	left          Register
}

const signature = "func(dst *float32, stride int, w *byte, next int, q *int8, d *float32, s *float32, sum *int32, steps int)"

// begin declares the routine and loads its arguments.
func begin(path string, f format, rows, panels int) *tile {
	name, what := fmt.Sprintf("tile%s%sx%d", path, f.name, rows), "a panel"
	if panels == 2 {
		name, what = name+"Pair", "a panel and the next one"
	}
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(fmt.Sprintf("%s multiplies %s of %s with %d activation rows into rows stride bytes apart: quantRow is the reference.", name, what, f.name, rows))
	arg := func(name string) Register { return Load(Param(name), GP64()) }
	return &tile{format: f, rows: rows, dst: arg("dst"), stride: arg("stride"), w: arg("w"), next: arg("next"), q: arg("q"), d: arg("d"), s: arg("s"), sum_: arg("sum"), left: arg("steps")}
}

// advance moves the pointers on by some turns.
func (t *tile) advance(turns int) {
	n := turns * t.blocks() * t.rows
	ADDQ(U32(turns*t.step()), t.w)
	ADDQ(U32(32*n), t.q)
	ADDQ(U32(4*n), t.d)
	if t.min {
		ADDQ(U32(4*n), t.s)
	}
	if t.counts() {
		ADDQ(U32(12*n), t.sum_)
	}
}

// pairAhead is how far the weights of a pair of panels are fetched before their use: it computes so much that this hides behind it.
const pairAhead = 8192

// fetch asks for the cache lines that lie ahead of block b of a turn: as far as the caller says, not at all for 0.
func (t *tile) fetch(b, panels int) {
	from, to := t.head()+b*t.block(), t.head()+(b+1)*t.block()
	if b == 0 {
		from = 0
	}
	skip := fmt.Sprintf("fetched%d", b)
	if panels == 1 {
		TESTQ(t.next, t.next)
		JZ(LabelRef(skip))
	}
	for at := (from + 63) / 64 * 64; at < to; at += 64 {
		if panels == 1 {
			PREFETCHT0(Mem{Base: t.w, Disp: at, Index: t.next, Scale: 1})
			continue
		}
		for p := range panels {
			PREFETCHT0(t.panel(p, at+pairAhead))
		}
	}
	if panels == 1 {
		Label(skip)
	}
}

// Operands of block b and activation row i.
func (t *tile) quad(b, i, k int) Mem { return Mem{Base: t.q, Disp: (b*t.rows+i)*32 + 4*k} }
func (t *tile) scale(b, i int) Mem   { return Mem{Base: t.d, Disp: (b*t.rows + i) * 4} }
func (t *tile) sums(b, i int) Mem    { return Mem{Base: t.s, Disp: (b*t.rows + i) * 4} }
func (t *tile) count(b, part, i int) Mem {
	return Mem{Base: t.sum_, Disp: ((b*3+part)*t.rows + i) * 4}
}
func (t *tile) weights(at int) Mem { return Mem{Base: t.w, Disp: at} }

// panel is the place of panel p that weights is of the first one.
func (t *tile) panel(p, at int) Mem {
	m := t.weights(at)
	if p == 1 {
		m.Index, m.Scale = t.next, 1
	}
	return m
}
