// SPDX-License-Identifier: MIT

package kernel

import (
	"math"

	"github.com/shardnode/shardnode/internal/quant"
)

// kvSlab is the number of head dimensions converted to float32 at a time, for a tile of positions.
const kvSlab = 64

// Attention is the work of the query heads that share one KV head, for rows of consecutive positions of a session: row i is
// position Pos+i and sees positions 0 to Pos+i, which must have been put.
type Attention struct {
	Dst    []float32 // row i, head j at i*Stride + j*headDim
	Q      []float32 // laid out like Dst; may be the same memory
	Stride int       // distance of rows in Dst and Q
	Rows   int
	Heads  int // query heads of the group, side by side in a row
	Pos    int
	Scale  float32   // 1/sqrt(headDim)
	Window int       // positions that a row sees at the most, its own among them; 0: all
	Cap    float32   // scores are bent to stay within it, by SoftCap; 0: they are not
	Sinks  []float32 // [Heads] a score more, of no position and without a value, that takes part in the sum; nil: none
	Scores []float32 // scratch of at least ScoresLen(Rows, Heads, Pos+Rows)

	from int // the first position seen
}

// ScoresLen returns the scratch that an [Attention] over positions below end needs.
func ScoresLen(rows, heads, end int) int { return rows * heads * (tiled(end+1) + 1) }

// Attend computes a over the keys and values of h (docs/numerics.md §6). Keys and values are converted once for all rows and
// heads, none of which depends on another. It allocates nothing.
func (h *KVHead) Attend(a *Attention) {
	if a.Window == 0 || a.Pos+a.Rows <= a.Window {
		h.attend(a)
		return
	}
	one := *a // each row sees other positions
	for i := range a.Rows {
		one.Dst, one.Q, one.Rows, one.Pos = a.Dst[i*a.Stride:], a.Q[i*a.Stride:], 1, a.Pos+i
		one.from = max(0, one.Pos+1-a.Window)
		h.attend(&one)
	}
}

func (h *KVHead) attend(a *Attention) {
	if activeOps != nil && h.headDim%vectorLanes == 0 {
		activeOps.attend(h, a)
		return
	}
	h.attendPortable(a)
}

func (h *KVHead) attendPortable(a *Attention) {
	stride, units := a.stride(), a.Rows*a.Heads
	h.scores(a, stride)
	for u := range units {
		s := a.Scores[u*stride+a.base():]
		n, scale := a.finish(s, u)
		softmax(s[:n], scale)
		a.Scores[units*stride+u] = 1 / sumStrided(s[:n])
		clear(h.out(a, u)) // the queries are not needed any more
	}
	h.mix(a, stride)
	for u := range units {
		inv, out := a.Scores[units*stride+u], h.out(a, u)
		for d := range out {
			out[d] *= inv
		}
	}
}

// stride is the distance of units in Scores: the positions, in whole tiles, with room for a sink.
func (a *Attention) stride() int { return tiled(a.Pos + a.Rows + min(len(a.Sinks), 1)) }

// base is the first position of the tile that from is in.
func (a *Attention) base() int { return a.from / kvTile * kvTile }

// finish makes s, the products of unit u from position base on, ready for softmax: positions not seen count as nothing. It returns how many
// scores there are, and what they are still to be multiplied by.
func (a *Attention) finish(s []float32, u int) (n int, scale float32) {
	skip := a.from - a.base()
	n, scale = a.Pos+u/a.Heads+1-a.base(), a.Scale
	if a.Cap != 0 || a.Sinks != nil {
		Scale(s[skip:n], scale)
		scale = 1
	}
	if a.Cap != 0 {
		SoftCap(s[skip:n], a.Cap)
	}
	for j := range skip {
		s[j] = float32(math.Inf(-1))
	}
	if a.Sinks != nil {
		s[n] = a.Sinks[u%a.Heads]
		n++
	}
	return n, scale
}

// out returns the result of unit u: a row's head.
func (h *KVHead) out(a *Attention, u int) []float32 {
	return a.Dst[u/a.Heads*a.Stride+u%a.Heads*h.headDim:][:h.headDim]
}

// scores computes the products of queries and keys, [Rows][Heads][stride].
func (h *KVHead) scores(a *Attention, stride int) {
	var buf [kvSlab * kvTile]float32
	clear(a.Scores[:a.Rows*a.Heads*stride])
	for first := a.base(); first < a.Pos+a.Rows; first += kvTile {
		for d := 0; d < h.headDim; d += kvSlab {
			dims := min(kvSlab, h.headDim-d)
			keys := h.keys(&buf, first, d, dims)
			for u := max(0, first-a.Pos) * a.Heads; u < a.Rows*a.Heads; u++ {
				q := a.Q[u/a.Heads*a.Stride+u%a.Heads*h.headDim+d:][:dims]
				s := a.Scores[u*stride+first:]
				for j := 0; j < min(kvTile, a.Pos+u/a.Heads+1-first); j += 4 { // up to three that nobody will see
					fmaChains((*[4]float32)(s[j:]), q, keys[j:], kvTile)
				}
			}
		}
	}
}

// softmax turns products into e**(product*scale - maximum).
func softmax(s []float32, scale float32) {
	top := float32(math.Inf(-1))
	for j, x := range s {
		s[j] = float32(x * scale)
		if s[j] > top { // NaN never is
			top = s[j]
		}
	}
	for j, x := range s {
		s[j] = Exp(x - top)
	}
}

// sumStrided adds up 16 partial sums, element j in sum j mod 16.
func sumStrided(x []float32) float32 {
	var p [lanes]float32
	for j, v := range x {
		p[j%lanes] += v
	}
	return sumLanes(&p)
}

// mix adds the values, weighted by the scores, to the results.
func (h *KVHead) mix(a *Attention, stride int) {
	var buf [kvTile * kvSlab]float32
	for first := a.from; first < a.Pos+a.Rows; first += kvTile {
		for d := 0; d < h.headDim; d += kvSlab {
			dims := min(kvSlab, h.headDim-d)
			h.values(&buf, first, min(kvTile, a.Pos+a.Rows-first), d, dims)
			for u := max(0, first-a.Pos) * a.Heads; u < a.Rows*a.Heads; u++ {
				n := min(kvTile, a.Pos+u/a.Heads+1-first)
				mixTile(h.out(a, u)[d:d+dims], a.Scores[u*stride+first:][:n], buf[:])
			}
		}
	}
}

// mixTile continues the chains of out over the positions of e; values is [len(e)][kvSlab].
func mixTile(out, e, values []float32) {
	d := 0
	for ; d+4 <= len(out); d += 4 {
		fmaChains((*[4]float32)(out[d:]), e, values[d:], kvSlab)
	}
	for ; d < len(out); d++ {
		for j, w := range e {
			out[d] = FMA(w, values[j*kvSlab+d], out[d])
		}
	}
}

// keys returns dims dimensions from d on of the tile of positions that begins with first, [dims][16].
func (h *KVHead) keys(buf *[kvSlab * kvTile]float32, first, d, dims int) []float32 {
	page, at := h.keyAt(first)
	at, n := at+d*kvTile, dims*kvTile
	if !h.narrow() {
		return h.f32(page, at, n)
	}
	for i, x := range h.f16(page, at, n) {
		buf[i] = quant.F16ToF32(x)
	}
	return buf[:n]
}

// values writes dims dimensions from d on of n positions, [n][kvSlab].
func (h *KVHead) values(buf *[kvTile * kvSlab]float32, first, n, d, dims int) {
	for j := range n {
		page, at := h.valueAt(first + j)
		row := buf[j*kvSlab:][:kvSlab]
		if !h.narrow() {
			copy(row, h.f32(page, at+d, dims))
			continue
		}
		for i, x := range h.f16(page, at+d, dims) {
			row[i] = quant.F16ToF32(x)
		}
	}
}
