// SPDX-License-Identifier: MIT

package layers

import "github.com/shardnode/shardnode/internal/kernel"

// block is one layer of a model.
type block struct {
	attention
	feedForward
	local bool // it sees the last Config.Window positions only
}

// attention is the first half of a layer. What a family does not have is nil.
type attention struct {
	attnNorm     []float32      // [hidden]
	q            *kernel.Matrix // [heads·headDim][hidden]
	k, v         *kernel.Matrix // [kvHeads·headDim][hidden]
	qBias        []float32      // [heads·headDim]
	kBias, vBias []float32      // [kvHeads·headDim]
	qNorm, kNorm []float32      // [headDim] of each head, before it is rotated
	sinks        []float32      // [heads]
	o            *kernel.Matrix // [hidden][heads·headDim]
	oBias        []float32      // [hidden]
	attnPost     []float32      // [hidden] of the norm behind the branch
}

// feedForward is the second half: one network for all rows, or a mixture of experts.
type feedForward struct {
	ffnNorm  []float32      // [hidden]
	gate, up *kernel.Matrix // [ffn][hidden]
	down     *kernel.Matrix // [hidden][ffn]
	experts  *experts       // in place of gate, up and down
	ffnPost  []float32      // [hidden] of the norm behind the branch
}

// runBlock takes the step's rows through one layer: x += attention(norm(x)), x += ffn(norm(x)). Matrices take all rows at once; what has one
// row's data only runs in parallel over rows. Shapes are those of [scratch].
func (m *Model) runBlock(b *block) {
	s := &m.scratch
	s.block = b
	m.attend(b)
	if b.experts != nil {
		m.feedExperts(b)
	} else {
		m.feed(b)
	}
}

// attend is attention: what each position takes from those up to it.
func (m *Model) attend(b *block) {
	s := &m.scratch
	m.rmsNorm(s.normed, s.x, b.attnNorm)
	s.acts.Set(s.normed, s.n, m.cfg.Hidden)
	m.pool.MatMul(s.q, b.q, s.acts)
	m.pool.MatMul(s.k, b.k, s.acts)
	m.pool.MatMul(s.v, b.v, s.acts)
	m.pool.Run(s.n, s.do.rotate) // q and k by position; k and v into the cache
	m.pool.Run(len(s.tiles)*m.cfg.KVHeads, s.do.attend)
	s.acts.Set(s.q, s.n, m.cfg.Heads*m.cfg.HeadDim)
	m.pool.MatMul(s.out, b.o, s.acts)
	m.pool.Run(s.n, s.do.residual)
}

// feed is the feed-forward network: each position by itself.
func (m *Model) feed(b *block) {
	s, ffn := &m.scratch, m.cfg.FFN
	m.rmsNorm(s.normed, s.x, b.ffnNorm)
	s.acts.Set(s.normed, s.n, m.cfg.Hidden)
	m.pool.MatMul(s.gate, b.gate, s.acts)
	m.pool.MatMul(s.up, b.up, s.acts)
	m.activate(s.n, b.down)
	s.acts.Set(s.gate, s.planes*s.n, ffn)
	m.pool.MatMul(s.out, b.down, s.acts)
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

// rotateRow makes a row's queries and keys ready, turns them by the row's position, and puts keys and values into the row's cache.
func (m *Model) rotateRow(_, row int) {
	s, c, b := &m.scratch, &m.cfg, m.scratch.block
	turn := s.turn[m.ropeOf(b)].of(row, c.RopeDim/2)
	queries := part(s.q, row, c.Heads*c.HeadDim)
	addBias(queries, b.qBias)
	for h := range c.Heads {
		m.rotateHead(part(queries, h, c.HeadDim), b.qNorm, turn)
	}
	r := s.rows[row]
	keys, values := part(s.k, row, c.KVHeads*c.HeadDim), part(s.v, row, c.KVHeads*c.HeadDim)
	addBias(keys, b.kBias)
	addBias(values, b.vBias)
	for h, head := range r.cache.heads[s.layer] {
		key := part(keys, h, c.HeadDim)
		m.rotateHead(key, b.kNorm, turn)
		head.Put(r.position, key, part(values, h, c.HeadDim))
	}
}

func (m *Model) rotateHead(x, norm []float32, t angles) {
	if norm != nil {
		kernel.RMSNorm(x, x, norm, m.cfg.NormEps)
	}
	if x = x[:m.cfg.RopeDim]; m.cfg.RopeNeox {
		kernel.RopeNeox(x, t.cos, t.sin)
	} else {
		kernel.RopeNorm(x, t.cos, t.sin)
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
		Pos: first.position, Scale: c.AttnScale, Cap: c.AttnCap, Scores: s.scores[worker],
	}
	if s.block.local {
		a.Window = c.Window
	}
	if s.block.sinks != nil {
		a.Sinks = part(s.block.sinks, head, group)
	}
	first.cache.heads[s.layer][head].Attend(&a)
}

// residualRow adds the attention branch's output to the residual stream.
func (m *Model) residualRow(_, row int) {
	s := &m.scratch
	out := part(s.out, row, m.cfg.Hidden)
	addBias(out, s.block.oBias)
	m.addBranch(row, out, s.block.attnPost)
}

// activate turns the gates of n rows into the activations of the down projection, and where that is quantised makes the second plane of them
// (docs/numerics.md §2).
func (m *Model) activate(n int, down *kernel.Matrix) {
	s := &m.scratch
	s.planes, s.active = 1, n
	if down.Quantized() {
		s.planes = 2
	}
	m.pool.Run(n, s.do.activate)
}

func (m *Model) activateRow(worker, row int) {
	s, ffn := &m.scratch, m.cfg.FFN
	gate, up := part(s.gate, row, ffn), part(s.up, row, ffn)
	addBias(gate, s.gateBias)
	addBias(up, s.upBias)
	switch m.cfg.Activation {
	case SwiGLU:
		kernel.SwiGLU(gate, gate, up)
	case GeGLU:
		kernel.GeGLU(gate, gate, up)
	case SwiGLUClamped:
		kernel.SwiGLUClamped(gate, gate, up)
	}
	if s.planes == 2 {
		s.remainders[worker].Write(part(s.gate, s.active+row, ffn), gate)
	}
}

// downRow adds the feed-forward branch's output to the residual stream.
func (m *Model) downRow(_, row int) {
	m.addBranch(row, m.joinPlanes(row, m.scratch.n), m.scratch.block.ffnPost)
}

// joinPlanes returns a row of the n that the down projection gave: the sum of its planes' products.
func (m *Model) joinPlanes(row, n int) []float32 {
	s, h := &m.scratch, m.cfg.Hidden
	out := part(s.out, row, h)
	if s.planes == 2 {
		kernel.Add(out, part(s.out, n+row, h))
	}
	return out
}

// addBranch adds a branch's output to a row of the residual stream, by way of a norm if there is one.
func (m *Model) addBranch(row int, out, norm []float32) {
	if norm != nil {
		kernel.RMSNorm(out, out, norm, m.cfg.NormEps)
	}
	kernel.Add(part(m.scratch.x, row, m.cfg.Hidden), out)
}

func addBias(x, bias []float32) {
	if bias != nil {
		kernel.Add(x, bias)
	}
}

// part returns the i-th of equal parts of x.
func part(x []float32, i, size int) []float32 { return x[i*size:][:size:size] }
