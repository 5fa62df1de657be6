// SPDX-License-Identifier: MIT

package layers

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/internal/quant"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// MaxRows is the most rows of one step. Scratch memory grows with the rows of the largest step: a coordinator sends a long prompt in chunks.
const MaxRows = protocol.MaxRows

// Input is k consecutive rows of one session, 1 ≤ k ≤ [MaxRows], at the positions from the cache's length on.
type Input struct {
	Layers protocol.LayerRange // to run, within the model's range; zero: all of it
	Tokens []protocol.TokenID  // [k]; embedded when Layers begins with the model's first layer, otherwise not looked at
	Hidden []float32           // [k][hidden]; the input when nothing is embedded, otherwise not looked at
	Logits []uint32            // distinct rows whose logits are wanted, in any order, when Layers ends with the model's last layer

	// LocalEnds leaves embedding, final norm and head to the caller, who has them ([Ends]): Hidden is the input of the model's first layer
	// too, and Output.Hidden the output of its last one. Tokens and Logits are not looked at.
	LocalEnds bool

	// Round are layer boundaries, rising; those within Layers round the hidden states that pass them to float16, as a wire of that type does
	// between two hops. So one hop can stand in for several that were joined by such a wire.
	Round []uint32
}

// Output is what a step gives. The slices belong to the output and are used again by the next Forward into it.
type Output struct {
	Hidden     []float32     // [k][hidden]; empty where there are logits instead
	Logits     []float32     // [len(Input.Logits)][vocab]; only when Layers ends with the model's last layer and the ends are not local
	Processing time.Duration // from before the first kernel to after the last
}

// embeds reports whether the step begins with token IDs.
func (in *Input) embeds() bool { return in.Layers.From == 0 && !in.LocalEnds }

// heads reports whether the step ends with logits.
func (m *Model) heads(in *Input) bool { return in.Layers.To == m.cfg.NLayers && !in.LocalEnds }

// Forward runs a step and appends its rows to the cache. While a cache holds rows, it must be used with the same Layers. A step of no more rows
// than one before it, on a cache of no more positions, allocates nothing. On error the cache is as it was.
func (m *Model) Forward(c *Cache, in Input, out *Output) error {
	if in.Layers == (protocol.LayerRange{}) {
		in.Layers = m.layers
	}
	k, err := m.check(c, &in)
	if err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	start := m.now()
	s := &m.scratch
	s.rows = s.rows[:0]
	for i := range k {
		s.rows = append(s.rows, row{cache: c, position: c.length + i, round: in.Round})
	}
	m.begin()
	if in.embeds() {
		s.tokens = in.Tokens
		m.pool.Run(s.n, s.do.embed)
	} else {
		copy(s.x, in.Hidden)
	}
	m.run(in.Layers)
	out.Hidden, out.Logits = out.Hidden[:0], out.Logits[:0]
	if m.heads(&in) {
		m.logits(in.Logits, out)
	} else {
		out.Hidden = append(out.Hidden, s.x[:k*m.cfg.Hidden]...)
	}
	c.length += k
	c.layers = in.Layers
	clear(s.rows) // keep no session's cache alive
	s.tokens = nil
	out.Processing = m.now().Sub(start)
	return nil
}

// run takes the rows of the residual stream s.x through layers r.
func (m *Model) run(r protocol.LayerRange) {
	s := &m.scratch
	m.pool.Run(s.n, s.do.angles)
	for l := r.From; l < r.To; l++ {
		s.layer = l - m.layers.From
		m.runBlock(m.blocks[s.layer])
		if l+1 < r.To {
			s.roundAt(uint32(l+1), m.cfg.Hidden)
		}
	}
}

// roundAt rounds the rows that want it at a layer boundary.
func (s *scratch) roundAt(boundary uint32, width int) {
	for i := range s.rows {
		if _, ok := slices.BinarySearch(s.rows[i].round, boundary); !ok {
			continue
		}
		x := part(s.x, i, width)
		for j, v := range x {
			x[j] = quant.F16ToF32(quant.F32ToF16(v))
		}
	}
}

func (m *Model) embedRow(_, row int) {
	s := &m.scratch
	x := part(s.x, row, m.cfg.Hidden)
	m.embedding.EmbedRow(x, int(s.tokens[row]))
	if m.cfg.EmbedScale != 1 {
		kernel.Scale(x, m.cfg.EmbedScale)
	}
}

// logits applies norm and head to the wanted rows. It is the end of a step: s.n and s.out are free.
func (m *Model) logits(wanted []uint32, out *Output) {
	if len(wanted) == 0 {
		return
	}
	s, h := &m.scratch, m.cfg.Hidden
	for i, r := range wanted {
		copy(part(s.out, i, h), part(s.x, int(r), h))
	}
	size := len(wanted) * m.cfg.Vocab
	out.Logits = slices.Grow(out.Logits, size)[:size]
	m.project(out.Logits, s.out, len(wanted))
}

// project applies norm and head to the first n rows of x: dst is [n][vocab].
func (m *Model) project(dst, x []float32, n int) {
	s := &m.scratch
	s.n = n
	m.rmsNorm(s.normed, x, m.norm)
	s.acts.Set(s.normed, n, m.cfg.Hidden)
	m.pool.MatMul(dst, m.head, s.acts)
	if m.cfg.LogitCap != 0 {
		s.capped = dst
		m.pool.Run((len(dst)+capPiece-1)/capPiece, s.do.bend)
		s.capped = nil
	}
}

// capPiece is how many logits are bent at a time.
const capPiece = 1 << 14

func (m *Model) bendPiece(_, i int) {
	logits := m.scratch.capped[i*capPiece:]
	kernel.SoftCap(logits[:min(capPiece, len(logits))], m.cfg.LogitCap)
}

// check returns the step's rows, or why it cannot be run.
func (m *Model) check(c *Cache, in *Input) (k int, err error) {
	if !m.layers.Contains(in.Layers) || in.Layers.Len() < 1 {
		return 0, fmt.Errorf("layers %s are not within the layers held, %s", in.Layers, m.layers)
	}
	if in.embeds() {
		k = len(in.Tokens)
		for _, t := range in.Tokens {
			if int64(t) >= int64(m.cfg.Vocab) {
				return 0, fmt.Errorf("token %d is outside the vocabulary of %d", t, m.cfg.Vocab)
			}
		}
	} else {
		k = len(in.Hidden) / m.cfg.Hidden
		if k == 0 || k*m.cfg.Hidden != len(in.Hidden) {
			return 0, fmt.Errorf("%d hidden states are not rows of %d", len(in.Hidden), m.cfg.Hidden)
		}
	}
	switch {
	case k < 1 || k > MaxRows:
		return 0, fmt.Errorf("a step of %d rows: want 1 to %d", k, MaxRows)
	case c.model != m:
		return 0, errors.New("the cache was made by another model")
	case c.length > 0 && c.layers != in.Layers:
		return 0, fmt.Errorf("layers %s with a cache whose rows have been through layers %s", in.Layers, c.layers)
	case k > c.positions-c.length:
		return 0, fmt.Errorf("%w: %d rows at position %d of %d reserved", ErrCacheFull, k, c.length, c.positions)
	case c.length+k > len(c.pages)*PageRows:
		return 0, fmt.Errorf("%w: %d rows at position %d with %d pages", ErrCacheFull, k, c.length, len(c.pages))
	case len(in.Logits) > k:
		return 0, fmt.Errorf("logits of %d rows wanted of %d rows", len(in.Logits), k)
	}
	for _, r := range in.Logits {
		if int64(r) >= int64(k) {
			return 0, fmt.Errorf("logits of row %d wanted of %d rows", r, k)
		}
	}
	return k, nil
}
