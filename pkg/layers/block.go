// SPDX-License-Identifier: MIT

package layers

import "github.com/shardnode/shardnode/internal/kernel"

// llamaBlock runs one layer over the step's rows: x += attention(norm(x)), x += ffn(norm(x)) (Touvron et al., 2023). Shapes are those of [scratch].
func (m *Model) llamaBlock() {
	s, c, b, pool := &m.scratch, &m.cfg, m.scratch.block, m.pool
	x := s.x[:s.n*c.Hidden]
	out := s.out[:s.n*c.Hidden]

	// Attention.
	m.rmsNorm(s.normed, x, b.attnNorm)
	s.acts.Set(s.normed, s.n, c.Hidden)
	pool.MatMul(s.q, b.q, s.acts)
	pool.MatMul(s.k, b.k, s.acts)
	pool.MatMul(s.v, b.v, s.acts)
	pool.Run(s.n, s.rotate) // and into the KV cache
	pool.Run(m.attentionPieces(), s.attend)
	s.acts.Set(s.q, s.n, c.Heads*c.HeadDim)
	pool.MatMul(out, b.o, s.acts)
	kernel.Add(x, out)

	// Feed forward.
	m.rmsNorm(s.normed, x, b.ffnNorm)
	s.acts.Set(s.normed, s.n, c.Hidden)
	pool.MatMul(s.gate, b.gate, s.acts)
	pool.MatMul(s.up, b.up, s.acts)
	kernel.SwiGLU(s.gate[:s.n*c.FFN], s.gate[:s.n*c.FFN], s.up[:s.n*c.FFN])
	s.acts.Set(s.gate, s.n, c.FFN)
	pool.MatMul(out, b.down, s.acts)
	kernel.Add(x, out)
}

// rmsNorm normalises each row of src.
func (m *Model) rmsNorm(dst, src, weight []float32) {
	s := &m.scratch
	s.normDst, s.normSrc, s.normWeight = dst, src, weight
	m.pool.Run(len(src)/m.cfg.Hidden, s.norm)
}

func (m *Model) normRow(_, row int) {
	s, h := &m.scratch, m.cfg.Hidden
	kernel.RMSNorm(s.normDst[row*h:(row+1)*h], s.normSrc[row*h:(row+1)*h], s.normWeight, m.cfg.NormEps)
}

// rotateRow applies the rotary positions to a row's queries and keys and puts keys and values into the cache.
func (m *Model) rotateRow(_, row int) {
	s, c := &m.scratch, &m.cfg
	half := c.RopeDim / 2
	cos, sin := s.cos[row*half:(row+1)*half], s.sin[row*half:(row+1)*half]
	q := s.q[row*c.Heads*c.HeadDim:]
	for h := range c.Heads {
		kernel.RopeNorm(q[h*c.HeadDim:][:c.RopeDim], cos, sin)
	}
	k, v := s.k[row*c.KVHeads*c.HeadDim:], s.v[row*c.KVHeads*c.HeadDim:]
	for h, head := range s.cache.heads[s.layer] {
		key, value := k[h*c.HeadDim:][:c.HeadDim], v[h*c.HeadDim:][:c.HeadDim]
		kernel.RopeNorm(key[:c.RopeDim], cos, sin)
		head.Put(s.cache.length+row, key, value)
	}
}

// attentionPieces is the number of pieces that [Model.attendPiece] is called for: each KV head times each chunk of rows.
func (m *Model) attentionPieces() int {
	s := &m.scratch
	return m.cfg.KVHeads * ((s.n + s.chunk - 1) / s.chunk)
}

// attendPiece computes the query heads of one KV head for one chunk of rows, in place of their queries.
func (m *Model) attendPiece(worker, piece int) {
	s, c := &m.scratch, &m.cfg
	head, row := piece%c.KVHeads, piece/c.KVHeads*s.chunk
	group, stride := c.Heads/c.KVHeads, c.Heads*c.HeadDim
	q := s.q[row*stride+head*group*c.HeadDim:]
	a := kernel.Attention{
		Dst: q, Q: q, Stride: stride, Rows: min(s.chunk, s.n-row), Heads: group,
		Pos: s.cache.length + row, Scale: m.scale, Scores: s.scores[worker],
	}
	s.cache.heads[s.layer][head].Attend(&a)
}
