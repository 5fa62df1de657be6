// SPDX-License-Identifier: MIT

package engine

import (
	"context"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// keepOutput bounds the buffers that an output slot keeps once it has been delivered: a decode step's at a width of 16,384. Those of a
// prefill chunk must not stay with the session for its thousands of decode steps.
const keepOutput = 64 << 10

// buffers bounds the memory of inputs that wait and of outputs on their way, of all sessions together. Whoever submits waits for room:
// that stops its stream, and by QUIC's flow control whoever sends. Guarded by Engine.mu.
type buffers struct {
	used  int64
	freed chan struct{} // closed when something is given back; nil while nobody waits for it
}

// cost returns the bytes that f takes until its output is delivered: its hidden states, and twice its output, of which the stream makes
// a copy to send.
func (s *Session) cost(f protocol.Frame) int64 {
	var rows, logits, hidden int
	switch f := f.(type) {
	case *protocol.Step:
		rows, logits = len(f.Tokens), len(f.Logits)
	case *protocol.IntermediateResult:
		rows, logits, hidden = len(f.Tokens), len(f.Logits), len(f.Hidden)/s.in.Size()*4
	}
	cfg := s.engine.cfg.Model.Config()
	out := int64(rows) * int64(cfg.Hidden) * int64(s.out.Size())
	if s.last() {
		out = int64(logits) * int64(s.answerWidth()) * 4
	}
	return int64(hidden) + 2*min(out, protocol.MaxTensor)
}

// charge takes n bytes from the budget for the session, or waits until there are so many, ctx ends or the session does. When nothing is in
// use, it takes any number: a frame larger than the budget goes through alone.
func (s *Session) charge(ctx context.Context, n int64) error {
	e := s.engine
	for {
		e.mu.Lock()
		b := &e.buffers
		if n == 0 || s.ended || s.cut || b.used == 0 || n <= e.cfg.BufferBudget-b.used {
			if !s.ended && !s.cut { // else accept refuses the frame
				b.used += n
				s.buffered += n
			}
			e.mu.Unlock()
			return nil
		}
		if b.freed == nil {
			b.freed = make(chan struct{})
		}
		freed := b.freed
		e.mu.Unlock()
		select {
		case <-freed:
		case <-s.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// discharge gives n bytes back, as far as they have not been given back together. Engine.mu is held.
func (s *Session) discharge(n int64) {
	n = min(n, s.buffered)
	b := &s.engine.buffers
	s.buffered -= n
	b.used -= n
	if n > 0 && b.freed != nil {
		close(b.freed)
		b.freed = nil
	}
}

// shrink drops buffers that are larger than a decode step's.
func (o *output) shrink() {
	if cap(o.result.Hidden) > keepOutput {
		o.result.Hidden = nil
	}
	if cap(o.result.LogitRows) > keepOutput {
		o.result.LogitRows = nil
	}
}
