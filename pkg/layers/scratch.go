// SPDX-License-Identifier: MIT

package layers

import (
	"slices"

	"github.com/shardnode/shardnode/internal/kernel"
)

// attentionRows is how many rows one piece of attention work takes: few enough to share a long prefill among threads.
const attentionRows = 8

// scratch is the memory of one step, [rows] of the largest step so far. It grows and never shrinks.
type scratch struct {
	rows, positions int // room for

	x        []float32 // [rows][hidden] the residual stream
	normed   []float32 // [rows][hidden]
	q        []float32 // [rows][heads·headDim], then the attention's output
	k, v     []float32 // [rows][kvHeads·headDim]
	gate, up []float32 // [rows][ffn]
	out      []float32 // [rows][hidden] of a block's two branches
	cos, sin []float32 // [rows][ropeDim/2]
	scores   [][]float32
	acts     *kernel.Acts

	// What the pieces of work in block.go see of the step under way.
	cache *Cache
	n     int // rows
	block *block
	layer int // index into the cache
	chunk int // rows of one attention piece

	attend, rotate, norm func(worker, i int) // method values, made once
	normDst, normSrc     []float32
	normWeight           []float32
}

// prepare makes room for n rows at positions below end.
func (m *Model) prepare(n, end int) {
	s, c := &m.scratch, &m.cfg
	if s.attend == nil {
		s.attend, s.rotate, s.norm = m.attendPiece, m.rotateRow, m.normRow
		s.scores = make([][]float32, m.pool.Threads())
	}
	if n > s.rows {
		s.rows = n
		s.x = make([]float32, n*c.Hidden)
		s.normed = make([]float32, n*c.Hidden)
		s.out = make([]float32, n*c.Hidden)
		s.q = make([]float32, n*c.Heads*c.HeadDim)
		s.k = make([]float32, n*c.KVHeads*c.HeadDim)
		s.v = make([]float32, n*c.KVHeads*c.HeadDim)
		s.gate = make([]float32, n*c.FFN)
		s.up = make([]float32, n*c.FFN)
		s.cos = make([]float32, n*c.RopeDim/2)
		s.sin = make([]float32, n*c.RopeDim/2)
		s.acts = kernel.NewActs(n, max(c.Hidden, c.FFN, c.Heads*c.HeadDim))
	}
	s.chunk = min(n, attentionRows)
	// Positions grow by one a step: take room ahead, so that decode seldom allocates.
	group := c.Heads / c.KVHeads
	if need := kernel.ScoresLen(s.chunk, group, end); len(s.scores[0]) < need {
		room := kernel.ScoresLen(s.chunk, group, min(2*end, max(end, c.Context)))
		for i := range s.scores {
			s.scores[i] = slices.Grow(s.scores[i][:0], room)[:room]
		}
	}
}
