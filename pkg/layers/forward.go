// SPDX-License-Identifier: MIT

package layers

import (
	"fmt"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Input is k ≥ 1 consecutive rows of one session, at the positions from the cache's length on.
type Input struct {
	Layers protocol.LayerRange // to run, within the model's range; empty: all of it
	Tokens []protocol.TokenID  // [k]; embedded when Layers begins with the first layer
	Hidden []float32           // [k][hidden]; the input otherwise
	Logits []uint32            // rows whose logits are wanted when Layers ends with the last layer
}

// Output is what a step gives. The slices belong to the output and are reused by the next Forward into it.
type Output struct {
	Hidden     []float32     // [k][hidden]; empty when Layers ends with the last layer
	Logits     []float32     // [len(Input.Logits)][vocab]; only when Layers ends with the last layer
	Processing time.Duration // first to last kernel
}

// Forward runs a step and appends its rows to the cache. A session must always use the same Layers with its cache. In steady state it
// allocates nothing. On error the cache is unchanged.
func (m *Model) Forward(c *Cache, in Input, out *Output) error {
	if in.Layers == (protocol.LayerRange{}) {
		in.Layers = m.layers
	}
	n := len(in.Tokens)
	if err := m.check(c, &in); err != nil {
		return err
	}
	begin := m.now()
	m.prepare(n, c.length+n)
	s, h := &m.scratch, m.cfg.Hidden
	s.cache, s.n = c, n
	x := s.x[:n*h]
	if in.Layers.From == 0 {
		for i, t := range in.Tokens {
			m.embedding.EmbedRow(x[i*h:(i+1)*h], int(t))
		}
	} else {
		copy(x, in.Hidden)
	}
	half := m.cfg.RopeDim / 2
	for i := range n {
		m.rope.Angles(s.cos[i*half:(i+1)*half], s.sin[i*half:(i+1)*half], c.length+i)
	}
	for l := in.Layers.From; l < in.Layers.To; l++ {
		s.layer = l - m.layers.From
		s.block = &m.blocks[s.layer]
		m.llamaBlock()
	}
	out.Hidden, out.Logits = out.Hidden[:0], out.Logits[:0]
	if in.Layers.To == m.cfg.NLayers {
		m.logits(in.Logits, out)
	} else {
		out.Hidden = append(out.Hidden, x...)
	}
	c.length += n
	s.cache = nil
	out.Processing = m.now().Sub(begin)
	return nil
}

// logits applies norm and head to the wanted rows.
func (m *Model) logits(rows []uint32, out *Output) {
	if len(rows) == 0 {
		return
	}
	s, h := &m.scratch, m.cfg.Hidden
	gathered := s.out[:len(rows)*h]
	for i, r := range rows {
		copy(gathered[i*h:(i+1)*h], s.x[int(r)*h:(int(r)+1)*h])
	}
	m.rmsNorm(s.normed, gathered, m.norm)
	s.acts.Set(s.normed, len(rows), h)
	size := len(rows) * m.cfg.Vocab
	out.Logits = slices.Grow(out.Logits, size)[:size]
	m.pool.MatMul(out.Logits, m.head, s.acts)
}

func (m *Model) check(c *Cache, in *Input) error {
	n := len(in.Tokens)
	switch {
	case !m.layers.Contains(in.Layers) || in.Layers.Len() < 1:
		return fmt.Errorf("forward: layers %s are not within %s", in.Layers, m.layers)
	case c.layers != m.layers:
		return fmt.Errorf("forward: a cache of layers %s for a model of layers %s", c.layers, m.layers)
	case n == 0:
		return fmt.Errorf("forward: no rows")
	case n > c.positions-c.length:
		return fmt.Errorf("%w: %d rows at position %d of %d", ErrCacheFull, n, c.length, c.positions)
	case in.Layers.From > 0 && len(in.Hidden) != n*m.cfg.Hidden:
		return fmt.Errorf("forward: %d hidden states for %d rows of %d", len(in.Hidden), n, m.cfg.Hidden)
	}
	for _, t := range in.Tokens {
		if int64(t) >= int64(m.cfg.Vocab) {
			return fmt.Errorf("forward: token %d is outside the vocabulary of %d", t, m.cfg.Vocab)
		}
	}
	for _, r := range in.Logits {
		if int(r) >= n {
			return fmt.Errorf("forward: logits of row %d wanted of %d rows", r, n)
		}
	}
	return nil
}
