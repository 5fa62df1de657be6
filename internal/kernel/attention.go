// SPDX-License-Identifier: MIT

package kernel

import (
	"math"

	"github.com/shardnode/shardnode/internal/quant"
)

// Attention is the work of the query heads that share one KV head, for rows of consecutive positions of one session: row i is
// position Pos+i and sees the keys of positions 0..Pos+i, which must have been put before.
type Attention struct {
	Dst    []float32 // row i, head j at i*Stride + j*headDim
	Q      []float32 // laid out like Dst; may be the same memory
	Stride int       // distance of rows in Dst and Q
	Rows   int
	Heads  int // query heads of the group, side by side in a row
	Pos    int
	Scale  float32
	Scores []float32 // scratch of at least ScoresLen(Rows, Heads, Pos+Rows)
}

// ScoresLen returns the scratch that an [Attention] over positions below end needs.
func ScoresLen(rows, heads, end int) int {
	return rows * heads * ((end + kvTile - 1) / kvTile * kvTile)
}

// Attend computes a over the keys and values of h (docs/numerics.md §6). Keys and values are converted once for all rows and heads.
// It allocates nothing.
func (h *KVHead) Attend(a *Attention) {
	end := a.Pos + a.Rows
	stride := (end + kvTile - 1) / kvTile * kvTile
	units := a.Rows * a.Heads
	h.scores(a, end, stride)
	for u := range units {
		n := a.Pos + u/a.Heads + 1
		softmax(a.Scores[u*stride:][:n], a.Scale)
	}
	// Every query has been read: Dst may be Q.
	for u := range units {
		clear(h.out(a, u))
	}
	var buf [maxHeadDim]float32
	for pos := range end {
		v := h.value(&buf, pos)
		for u := max(0, pos-a.Pos) * a.Heads; u < units; u++ {
			e := a.Scores[u*stride+pos]
			out := h.out(a, u)
			for d, x := range v {
				out[d] = FMA(e, x, out[d])
			}
		}
	}
	for u := range units {
		n := a.Pos + u/a.Heads + 1
		inv := 1 / sumStrided(a.Scores[u*stride:][:n])
		out := h.out(a, u)
		for d := range out {
			out[d] *= inv
		}
	}
}

func (h *KVHead) out(a *Attention, u int) []float32 {
	return a.Dst[u/a.Heads*a.Stride+u%a.Heads*h.headDim:][:h.headDim]
}

// scores computes q·k for each unit and position, a tile of positions at a time.
func (h *KVHead) scores(a *Attention, end, stride int) {
	var tile [kvTile * maxHeadDim]float32
	for first := 0; first < end; first += kvTile {
		keys := h.tile(&tile, first)
		for u := range a.Rows * a.Heads {
			if first > a.Pos+u/a.Heads {
				continue
			}
			q := a.Q[u/a.Heads*a.Stride+u%a.Heads*h.headDim:][:h.headDim]
			s := (*[kvTile]float32)(a.Scores[u*stride+first:])
			clear(s[:])
			for d, x := range q {
				k := (*[kvTile]float32)(keys[d*kvTile:])
				for j := range s {
					s[j] = FMA(x, k[j], s[j])
				}
			}
		}
	}
}

// maxHeadDim bounds the head size, so that a tile fits the stack.
const maxHeadDim = 256

// tile returns the keys of the 16 positions from first on, [headDim][16].
func (h *KVHead) tile(buf *[kvTile * maxHeadDim]float32, first int) []float32 {
	n := kvTile * h.headDim
	if h.k32 != nil {
		return h.k32[first*h.headDim:][:n]
	}
	for i, x := range h.k16[first*h.headDim:][:n] {
		buf[i] = quant.F16ToF32(x)
	}
	return buf[:n]
}

// value returns the value of a position, [headDim].
func (h *KVHead) value(buf *[maxHeadDim]float32, pos int) []float32 {
	if h.v32 != nil {
		return h.v32[pos*h.headDim:][:h.headDim]
	}
	for i, x := range h.v16[pos*h.headDim:][:h.headDim] {
		buf[i] = quant.F16ToF32(x)
	}
	return buf[:h.headDim]
}

// softmax turns scores into e^(score·scale - max), in place.
func softmax(s []float32, scale float32) {
	m := float32(math.Inf(-1))
	for j, x := range s {
		s[j] = x * scale
		if s[j] > m { // a NaN is never larger
			m = s[j]
		}
	}
	for j, x := range s {
		s[j] = Exp(x - m)
	}
}

// sumStrided adds in 16 partial sums, element j to sum j mod 16.
func sumStrided(x []float32) float32 {
	var p [lanes]float32
	for j, v := range x {
		p[j%lanes] += v
	}
	return sumLanes(&p)
}
