// SPDX-License-Identifier: MIT

package engine

import "github.com/shardnode/shardnode/pkg/protocol"

// check decides what becomes of a frame: it must be the next one, suit the hop, and be consistent. Frames that are
// dropped anyway are not looked into. On an error the order may have moved; the caller puts it back. Engine.mu is held.
func (s *Session) check(f protocol.Frame) (verdict, *protocol.Error) {
	o := &s.order
	switch f := f.(type) {
	case *protocol.Step:
		v, err := o.rows(f.Session, f.Epoch, f.Step, f.Position, len(f.Tokens))
		if err == nil && v == accept {
			err = s.checkStep(f)
		}
		return v, err
	case *protocol.IntermediateResult:
		v, err := o.rows(f.Session, f.Epoch, f.Step, f.Position, len(f.Tokens))
		if err == nil && v == accept {
			err = s.checkResult(f)
		}
		return v, err
	case *protocol.Truncate:
		return o.truncate(f.Session, f.Epoch, f.Step, f.Position)
	case *protocol.Resume:
		return o.resume(f.Session, f.Epoch, f.Step, f.Rows)
	}
	return accept, o.refuse(protocol.CodeBadFrame, "a frame of type %d is no input of a shard", f.FrameType())
}

func (s *Session) checkStep(f *protocol.Step) *protocol.Error {
	if !s.first() {
		return s.order.refuse(protocol.CodeBadFrame, "layers %s take hidden states, not tokens: send steps to the first hop", s.layers)
	}
	return s.checkRows(f.Position, f.Tokens, f.Logits, f.Sample)
}

func (s *Session) checkResult(f *protocol.IntermediateResult) *protocol.Error {
	refuse := func(format string, args ...any) *protocol.Error {
		return s.order.refuse(protocol.CodeBadFrame, format, args...)
	}
	hidden := s.engine.cfg.Model.Config().Hidden
	if f.Position < s.order.have {
		hidden = 0 // the rows are here
	}
	switch {
	case s.first():
		return refuse("the first hop takes tokens, not hidden states: send a step")
	case f.DType != s.in:
		return refuse("hidden states are %s, the session takes %s here", f.DType, s.in)
	case int64(len(f.Hidden)) != int64(len(f.Tokens))*int64(hidden)*int64(s.in.Size()):
		return refuse("%d bytes of hidden states for %d rows of %d %s", len(f.Hidden), len(f.Tokens), hidden, s.in)
	case len(f.Generated) > 0 || len(f.LogitRows) > 0:
		return refuse("the frame is a last hop's output, not an input")
	case len(f.Hops) > s.index:
		return refuse("%d hop timings before hop %d", len(f.Hops), s.index)
	}
	return s.checkRows(f.Position, f.Tokens, f.Logits, f.Sample)
}

func (s *Session) checkRows(position uint32, tokens []protocol.TokenID, logits []uint32, sample bool) *protocol.Error {
	refuse := func(format string, args ...any) *protocol.Error {
		return s.order.refuse(protocol.CodeBadFrame, format, args...)
	}
	vocab := s.engine.cfg.Model.Config().Vocab
	if s.order.again(position) && (sample || len(logits) > 0) {
		return s.order.refuse(protocol.CodeOutOfOrder, "a token or logits are wanted of row %d, which was computed before: resume with fewer rows", position)
	}
	if len(tokens) > s.engine.cfg.MaxRows {
		return refuse("%d rows in one step, the most is %d: send smaller chunks", len(tokens), s.engine.cfg.MaxRows)
	}
	for _, t := range tokens {
		if int64(t) >= int64(vocab) {
			return refuse("token %d is outside the vocabulary of %d", t, vocab)
		}
	}
	for i, r := range logits {
		if int64(r) >= int64(len(tokens)) || i > 0 && r <= logits[i-1] {
			return refuse("logits are wanted of row %d: want rising row numbers below %d", r, len(tokens))
		}
	}
	if n := int64(len(logits)) * int64(vocab) * 4; n > protocol.MaxTensor {
		return refuse("logits of %d rows are %d bytes, the most is %d: ask for fewer", len(logits), n, protocol.MaxTensor)
	}
	return nil
}
