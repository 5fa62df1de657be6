// SPDX-License-Identifier: MIT

package layers

import (
	"errors"

	"github.com/shardnode/shardnode/internal/kernel"
	"github.com/shardnode/shardnode/pkg/gguf"
)

// angles are cosines and sines of rows, [rows][ropeDim/2] each.
type angles struct{ cos, sin []float32 }

func (a angles) of(row, half int) angles {
	return angles{part(a.cos, row, half), part(a.sin, row, half)}
}

// A model has one rotary table, or a second one for its local layers.
const (
	ropeAll = iota
	ropeLocal
	ropes
)

func (m *Model) ropeOf(b *block) int {
	if b.local && m.rope[ropeLocal] != nil {
		return ropeLocal
	}
	return ropeAll
}

// loadRope makes the tables.
func (m *Model) loadRope(l *loader) {
	c := &m.cfg
	var factors []float32
	if c.RopeFactors != "" && (c.RopeFactors != llamaFactors || l.has(llamaFactors)) {
		factors = l.vector(c.RopeFactors, c.RopeDim/2)
	}
	if l.err != nil || !l.loading() {
		return
	}
	if c.Yarn != nil {
		m.rope[ropeAll], l.err = kernel.NewYarn(c.RopeDim, c.RopeBase, *c.Yarn)
	} else {
		m.rope[ropeAll], l.err = kernel.NewRope(c.RopeDim, c.RopeBase, factors, c.RopeScale)
	}
	if l.err == nil {
		m.rope[ropeAll], l.err = m.rope[ropeAll].WithMagnitude(c.RopeMagnitude)
	}
	if l.err == nil && c.LocalRopeBase != 0 {
		m.rope[ropeLocal], l.err = kernel.NewRope(c.RopeDim, c.LocalRopeBase, nil, 1)
	}
}

// angleRow writes the angles of a row's position.
func (m *Model) angleRow(_, row int) {
	s := &m.scratch
	for i, r := range m.rope {
		if r != nil {
			t := s.turn[i].of(row, m.cfg.RopeDim/2)
			r.Angles(t.cos, t.sin, s.rows[row].position)
		}
	}
}

// scaling reads how the context was stretched: not at all, linearly or by YaRN; any other kind is refused. As in llama.cpp, a file that names a
// factor but no kind means linear, and a factor of 0 means none.
func (r *keyReader) scaling(c *Config) {
	kind, err := r.meta.String(r.prefix + "rope.scaling.type")
	if err != nil && !errors.Is(err, gguf.ErrNoKey) {
		r.fail("%w", err)
	}
	c.RopeScale, c.RopeMagnitude = 1, r.floatOr("rope.scaling.attn_factor", 1)
	factor := r.floatOr("rope.scaling.factor", r.floatOr("rope.scale_linear", 1))
	if factor == 0 {
		factor = 1
	}
	switch kind {
	case "none", "longrope": // a longrope's factors are tensors: phi3.go
	case "linear", "":
		c.RopeScale = factor
	case "yarn":
		c.Yarn = &kernel.Yarn{
			Factor: factor, Context: r.intOr("rope.scaling.original_context_length", 1, maxContext, c.Context), Truncate: true,
			Fast: r.floatOr("rope.scaling.yarn_beta_fast", 32), Slow: r.floatOr("rope.scaling.yarn_beta_slow", 1),
		}
		if !(factor >= 1 && factor <= 1e6) {
			r.fail("%srope.scaling.factor %g: want a number from 1 to 1e6", r.prefix, factor)
			return
		}
		c.RopeMagnitude *= c.Yarn.Magnitude()
	default:
		r.fail("rope scaling %q is not supported (none, linear and yarn are)", kind)
	}
}
