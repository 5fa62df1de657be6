// SPDX-License-Identifier: MIT

package layers

import "github.com/shardnode/shardnode/internal/kernel"

// llamaWeights is one layer of a Llama model.
type llamaWeights struct {
	attnNorm []float32      // [hidden]
	q        *kernel.Matrix // [heads·headDim][hidden]
	k, v     *kernel.Matrix // [kvHeads·headDim][hidden]
	o        *kernel.Matrix // [hidden][heads·headDim]
	ffnNorm  []float32      // [hidden]
	gate, up *kernel.Matrix // [ffn][hidden]
	down     *kernel.Matrix // [hidden][ffn]
}

// llamaBlock runs one layer over the step's rows: x += attention(norm(x)), x += ffn(norm(x)) (Touvron et al., "LLaMA", 2023). Matrices take all
// rows at once; what has one row's data only runs in parallel over rows. Shapes are those of [scratch].
func (m *Model) llamaBlock(w *llamaWeights) {
	s := &m.scratch

	// Attention: what each position takes from those up to it.
	m.rmsNorm(s.normed, s.x, w.attnNorm)
	s.acts.Set(s.normed, s.n, m.cfg.Hidden)
	m.pool.MatMul(s.q, w.q, s.acts)
	m.pool.MatMul(s.k, w.k, s.acts)
	m.pool.MatMul(s.v, w.v, s.acts)
	m.pool.Run(s.n, s.do.rotate) // q and k by position; k and v into the cache
	m.pool.Run(len(s.tiles)*m.cfg.KVHeads, s.do.attend)
	s.acts.Set(s.q, s.n, m.cfg.Heads*m.cfg.HeadDim)
	m.pool.MatMul(s.out, w.o, s.acts)
	m.pool.Run(s.n, s.do.residual)

	// Feed forward: each position by itself.
	m.rmsNorm(s.normed, s.x, w.ffnNorm)
	s.acts.Set(s.normed, s.n, m.cfg.Hidden)
	m.pool.MatMul(s.gate, w.gate, s.acts)
	m.pool.MatMul(s.up, w.up, s.acts)
	s.planes = 1
	if w.down.Quantized() {
		s.planes = 2
	}
	m.pool.Run(s.n, s.do.swiglu)
	s.acts.Set(s.gate, s.planes*s.n, m.cfg.FFN)
	m.pool.MatMul(s.out, w.down, s.acts)
	m.pool.Run(s.n, s.do.down)
}

// rmsNorm normalises each of the step's rows of src.
func (m *Model) rmsNorm(dst, src, weight []float32) {
	s := &m.scratch
	s.normDst, s.normSrc, s.normWeight = dst, src, weight
	m.pool.Run(s.n, s.do.norm)
}

func (m *Model) normRow(_, row int) {
	s, h := &m.scratch, m.cfg.Hidden
	kernel.RMSNorm(part(s.normDst, row, h), part(s.normSrc, row, h), s.normWeight, m.cfg.NormEps)
}

// rotateRow applies the rotary position to a row's queries and keys and puts keys and values into the row's cache.
func (m *Model) rotateRow(_, row int) {
	s, c := &m.scratch, &m.cfg
	cos, sin := part(s.cos, row, c.RopeDim/2), part(s.sin, row, c.RopeDim/2)
	queries := part(s.q, row, c.Heads*c.HeadDim)
	for h := range c.Heads {
		kernel.RopeNorm(part(queries, h, c.HeadDim)[:c.RopeDim], cos, sin)
	}
	r := s.rows[row]
	keys, values := part(s.k, row, c.KVHeads*c.HeadDim), part(s.v, row, c.KVHeads*c.HeadDim)
	for h, head := range r.cache.heads[s.layer] {
		key := part(keys, h, c.HeadDim)
		kernel.RopeNorm(key[:c.RopeDim], cos, sin)
		head.Put(r.position, key, part(values, h, c.HeadDim))
	}
}

// attendTile computes the query heads of one KV head for one tile of rows, in place of their queries.
func (m *Model) attendTile(worker, i int) {
	s, c := &m.scratch, &m.cfg
	t, head := s.tiles[i/c.KVHeads], i%c.KVHeads
	first := s.rows[t.row]
	group, stride := c.Heads/c.KVHeads, c.Heads*c.HeadDim // query heads of the KV head; floats of a row
	q := s.q[t.row*stride+head*group*c.HeadDim:]
	a := kernel.Attention{
		Dst: q, Q: q, Stride: stride, Rows: t.rows, Heads: group,
		Pos: first.position, Scale: m.scale, Scores: s.scores[worker],
	}
	first.cache.heads[s.layer][head].Attend(&a)
}

func (m *Model) swigluRow(worker, row int) {
	s := &m.scratch
	gate := part(s.gate, row, m.cfg.FFN)
	kernel.SwiGLU(gate, gate, part(s.up, row, m.cfg.FFN))
	if s.planes == 2 {
		s.remainders[worker].Write(part(s.gate, s.n+row, m.cfg.FFN), gate)
	}
}

// downRow adds the feed-forward branch's output to the residual stream: the planes' products first (docs/numerics.md §2).
func (m *Model) downRow(_, row int) {
	s := &m.scratch
	out := part(s.out, row, m.cfg.Hidden)
	if s.planes == 2 {
		kernel.Add(out, part(s.out, s.n+row, m.cfg.Hidden))
	}
	kernel.Add(part(s.x, row, m.cfg.Hidden), out)
}

// residualRow adds a branch's output to the residual stream.
func (m *Model) residualRow(_, row int) {
	s := &m.scratch
	kernel.Add(part(s.x, row, m.cfg.Hidden), part(s.out, row, m.cfg.Hidden))
}

// part returns the i-th of equal parts of x.
func part(x []float32, i, size int) []float32 { return x[i*size:][:size:size] }
