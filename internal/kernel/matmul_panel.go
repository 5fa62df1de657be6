// SPDX-License-Identifier: MIT

package kernel

import "math/bits"

// tileRows is the most activation rows that a routine multiplies a panel with.
const tileRows = 16

// floatRows is the number of activation rows of a tile with float weights; a single row has a routine of its own.
const floatRows = 4

// tileFunc multiplies a panel with a tile of activation rows, in steps of 32 columns, or 256 of a K-quant, into rows of
// panelRows that lie stride bytes apart; or that panel and the one next bytes further on, side by side. For a single panel, next is
// how far weights are fetched before their use. q, d, s and sum are the tile's part of [Acts].
type tileFunc func(dst *float32, stride int, w *byte, next int, q *int8, d, s *float32, sum *int32, steps int)

// floatFunc does the same for float weights; rows of activations lie stride bytes apart.
type floatFunc func(dst *float32, w *byte, x *float32, stride, cols int)

// tiles are a path's routines for a type of weights: quantised or float.
type tiles struct {
	quant               []tileFunc // for 1, 2, 4, … rows
	pair                tileFunc   // for two panels and as many rows as the last of quant; nil where that gains nothing
	floatOne, floatFour floatFunc
}

// height returns the rows of the largest tile.
func (t *tiles) height() int { return 1 << (len(t.quant) - 1) }

// call keeps a preemption point between calls: the scheduler, and with it the garbage collector, cannot interrupt assembly, and
// a loop around calls of assembly alone has no other.
//
//go:noinline
func (f tileFunc) call(dst []float32, stride int, w []byte, next int, q []int8, d, s []float32, sum []int32, steps int) {
	f(&dst[0], 4*stride, &w[0], next, &q[0], &d[0], &s[0], &sum[0], steps)
}

//go:noinline
func (f floatFunc) call(dst *[tileRows * panelRows]float32, w []byte, x []float32, cols int) {
	f(&dst[0], &w[0], &x[0], 4*cols, cols)
}

// floatPiece is panelPiece for float weights.
func (j *matMulJob) floatPiece(out *[tileRows * panelRows]float32, start, end int) {
	m, a := j.m, j.a
	for t := 0; t < a.rows; {
		f, height := m.tiles.floatFour, floatRows
		if a.rows-t < floatRows {
			f, height = m.tiles.floatOne, 1
		}
		for r := start; r < end; r += panelRows {
			f.call(out, m.panels[r*m.rowBytes:], a.x[t*m.Cols:], m.Cols)
			for i := range height {
				copy(j.dst[(t+i)*m.Rows+r:][:min(panelRows, m.Rows-r)], out[i*panelRows:])
			}
		}
		t += height
	}
}

// panelPiece computes the columns of dst that belong to weight rows from start, a multiple of panelRows, to end.
func (j *matMulJob) panelPiece(out *[tileRows * panelRows]float32, start, end int) {
	m, a := j.m, j.a
	blocks := a.cols / actBlock
	for t := 0; t < a.rows; {
		_, height := a.tile(t)
		f, pair, at := m.tiles.quant[bits.TrailingZeros(uint(height))], m.tiles.pair, t*blocks
		if height < m.tiles.height() {
			pair = nil
		}
		q, d, s, sum := a.q[at*actBlock:], a.d[at:], a.s[at:], a.sum[at*sums:]
		for r := start; r < end; r += panelRows {
			w := m.panels[r*m.rowBytes:]
			switch {
			case pair != nil && r+2*panelRows <= min(end, m.Rows):
				pair.call(j.dst[t*m.Rows+r:], m.Rows, w, panelRows*m.rowBytes, q, d, s, sum, m.steps)
				r += panelRows
			case r+panelRows <= m.Rows:
				f.call(j.dst[t*m.Rows+r:], m.Rows, w, j.ahead, q, d, s, sum, m.steps)
			default: // the last panel has rows that are not there
				f.call(out[:], panelRows, w, j.ahead, q, d, s, sum, m.steps)
				for i := range height {
					copy(j.dst[(t+i)*m.Rows+r:][:m.Rows-r], out[i*panelRows:])
				}
			}
		}
		t += height
	}
}
