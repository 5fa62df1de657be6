// SPDX-License-Identifier: MIT

package layers

import (
	"errors"
	"fmt"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Step is one session's part of a batch: what [Model.Forward] takes and gives.
type Step struct {
	Cache  *Cache
	Input  Input
	Output *Output
}

// StepError says which of a batch's steps cannot be run. The others could be.
type StepError struct {
	Step int // index into the batch
	Err  error
}

func (e *StepError) Error() string { return fmt.Sprintf("session %d: %v", e.Step, e.Err) }

func (e *StepError) Unwrap() error { return e.Err }

// batch is the memory of a step of several sessions.
type batch struct {
	tokens []protocol.TokenID // of all sessions' rows; 0 for those that are not embedded
	rows   []int              // of each session
	wanted []uint32           // rows of the step whose logits are wanted
	out    Output
}

// ForwardBatch runs rows of several sessions in one step, which reads the weights once for all of them. Each session gets the bits that
// [Model.Forward] alone would give it. Sessions have different caches and outputs and run the same layers, with at most [MaxRows] rows
// together. What the outputs have is valid until the model's next step. A step no larger than one before it allocates nothing. On error,
// a *StepError where it is about one of them, all caches are as they were.
func (m *Model) ForwardBatch(steps []Step) error {
	b := &m.scratch.batch
	r, err := m.checkBatch(b, steps)
	if err != nil {
		return fmt.Errorf("forward %d sessions: %w", len(steps), err)
	}
	start := m.now()
	s := &m.scratch
	s.rows, b.tokens, b.wanted = s.rows[:0], b.tokens[:0], b.wanted[:0]
	for i, step := range steps {
		if r.To == m.cfg.NLayers && !step.Input.LocalEnds {
			for _, w := range step.Input.Logits {
				b.wanted = append(b.wanted, uint32(len(s.rows))+w)
			}
		}
		for k := range b.rows[i] {
			s.rows = append(s.rows, row{cache: step.Cache, position: step.Cache.length + k, round: step.Input.Round})
		}
	}
	m.begin()
	m.enter(steps, r)
	m.run(r)
	last := r.To == m.cfg.NLayers
	if last {
		b.out.Logits = b.out.Logits[:0]
		m.logits(b.wanted, &b.out)
	}
	b.split(steps, s.x, last, m.cfg.Hidden, m.cfg.Vocab)
	clear(s.rows) // keep no session's cache alive
	s.tokens = nil
	took := m.now().Sub(start)
	for i, step := range steps {
		step.Cache.length += b.rows[i]
		step.Cache.layers = r
		step.Output.Processing = took
	}
	return nil
}

// enter makes the rows of the residual stream that layers r begin with. Sessions that embed and those that bring hidden states may mix.
func (m *Model) enter(steps []Step, r protocol.LayerRange) {
	s, b := &m.scratch, &m.scratch.batch
	embed := false
	for i, step := range steps {
		if r.From == 0 && !step.Input.LocalEnds {
			embed = true
			b.tokens = append(b.tokens, step.Input.Tokens...)
			continue
		}
		for range b.rows[i] {
			b.tokens = append(b.tokens, 0)
		}
	}
	if embed {
		s.tokens = b.tokens
		m.pool.Run(s.n, s.do.embed)
	}
	x := s.x
	for i, step := range steps {
		if r.From > 0 || step.Input.LocalEnds {
			copy(x, step.Input.Hidden)
		}
		x = x[b.rows[i]*m.cfg.Hidden:]
	}
}

// checkBatch sets b.rows and returns the layers that all sessions run, or why the step cannot be run.
func (m *Model) checkBatch(b *batch, steps []Step) (r protocol.LayerRange, err error) {
	if len(steps) == 0 {
		return r, errors.New("want at least one session")
	}
	b.rows = b.rows[:0]
	total := 0
	for i := range steps {
		in := steps[i].Input
		if in.Layers == (protocol.LayerRange{}) {
			in.Layers = m.layers
		}
		if i == 0 {
			r = in.Layers
		}
		k, err := m.check(steps[i].Cache, &in)
		if err != nil {
			return r, &StepError{i, err}
		}
		if in.Layers != r {
			return r, &StepError{i, fmt.Errorf("layers %s in a step of layers %s", in.Layers, r)}
		}
		for j := range i {
			if steps[j].Cache == steps[i].Cache || steps[j].Output == steps[i].Output {
				return r, fmt.Errorf("sessions %d and %d have the same cache or output", j, i)
			}
		}
		b.rows = append(b.rows, k)
		if total += k; total > MaxRows {
			return r, fmt.Errorf("a step of more than %d rows", MaxRows)
		}
	}
	return r, nil
}

// split hands each session its rows.
func (b *batch) split(steps []Step, hidden []float32, last bool, width, vocab int) {
	logits := b.out.Logits
	for i, step := range steps {
		out := step.Output
		out.Hidden, out.Logits = nil, nil
		n := b.rows[i] * width
		if last && !step.Input.LocalEnds {
			n := len(step.Input.Logits) * vocab
			out.Logits, logits = logits[:n:n], logits[n:]
		} else {
			out.Hidden = hidden[:n:n]
		}
		hidden = hidden[n:]
	}
}
