// SPDX-License-Identifier: MIT

package engine

import "github.com/shardnode/shardnode/pkg/protocol"

// shape is what a session's inputs must fit.
type shape struct {
	layers    protocol.LayerRange
	in        protocol.DType // of hidden states that come
	index     int            // place in the route
	hidden    int            // width of hidden states
	vocab     int
	maxRows   int  // of one input
	localEnds bool // the coordinator has them: no tokens come, and none go
}

func shapeOf(o *protocol.Open, hidden, vocab, maxRows int) shape {
	layers := o.Route[o.Index].Layers
	return shape{
		layers: layers, in: o.WireAt(layers.From), index: int(o.Index), hidden: hidden, vocab: vocab, maxRows: maxRows, localEnds: o.LocalEnds(),
	}
}

// embeds says whether the hop takes tokens: it has the model's first layer, and embeds.
func (s *shape) embeds() bool { return s.layers.From == 0 && !s.localEnds }

// answerWidth is how many elements of a row the last hop returns where they are wanted.
func (s *shape) answerWidth() int {
	if s.localEnds {
		return s.hidden
	}
	return s.vocab
}

// check decides what becomes of a frame: it must be the next one by o, suit the hop, and be consistent. Frames that are
// dropped anyway are not looked into. On an error o may have moved; the caller puts it back.
func (s *shape) check(o *order, f protocol.Frame) (verdict, *protocol.Error) {
	switch f := f.(type) {
	case *protocol.Step:
		v, err := o.rows(f.Session, f.Epoch, f.Step, f.Position, len(f.Tokens))
		if err == nil && v == accept {
			err = s.checkStep(o, f)
		}
		return v, err
	case *protocol.IntermediateResult:
		v, err := o.rows(f.Session, f.Epoch, f.Step, f.Position, len(f.Tokens))
		if err == nil && v == accept {
			err = s.checkResult(o, f)
		}
		return v, err
	case *protocol.Truncate:
		return o.truncate(f.Session, f.Epoch, f.Step, f.Position)
	case *protocol.Resume:
		return o.resume(f.Session, f.Epoch, f.Step, f.Rows)
	}
	return accept, o.refuse(protocol.CodeBadFrame, "a frame of type %d is no input of a shard", f.FrameType())
}

func (s *shape) checkStep(o *order, f *protocol.Step) *protocol.Error {
	if !s.embeds() {
		return o.refuse(protocol.CodeBadFrame, "layers %s take hidden states, not tokens: send steps to a first hop that embeds", s.layers)
	}
	return s.checkRows(o, f.Position, f.Tokens, f.Logits, f.Sample)
}

func (s *shape) checkResult(o *order, f *protocol.IntermediateResult) *protocol.Error {
	refuse := func(format string, args ...any) *protocol.Error {
		return o.refuse(protocol.CodeBadFrame, format, args...)
	}
	hidden := s.hidden
	if f.Position < o.have {
		hidden = 0 // the rows are here
	}
	switch {
	case s.embeds():
		return refuse("the first hop takes tokens, not hidden states: send a step")
	case f.DType != s.in:
		return refuse("hidden states are %s, the session takes %s here", f.DType, s.in)
	case int64(len(f.Hidden)) != int64(len(f.Tokens))*int64(hidden)*int64(s.in.Size()):
		return refuse("%d bytes of hidden states for %d rows of %d %s", len(f.Hidden), len(f.Tokens), hidden, s.in)
	case len(f.Generated) > 0 || len(f.LogitRows) > 0 || len(f.Logprobs) > 0:
		return refuse("the frame is a last hop's output, not an input")
	case len(f.Hops) > s.index:
		return refuse("%d hop timings before hop %d", len(f.Hops), s.index)
	}
	return s.checkRows(o, f.Position, f.Tokens, f.Logits, f.Sample)
}

func (s *shape) checkRows(o *order, position uint32, tokens []protocol.TokenID, logits []uint32, sample bool) *protocol.Error {
	refuse := func(format string, args ...any) *protocol.Error {
		return o.refuse(protocol.CodeBadFrame, format, args...)
	}
	if o.again(position) && (sample || len(logits) > 0) {
		return o.refuse(protocol.CodeOutOfOrder, "a token or logits are wanted of row %d, which was computed before: resume with fewer rows", position)
	}
	if len(tokens) > s.maxRows {
		return refuse("%d rows in one step, the most is %d: send smaller chunks", len(tokens), s.maxRows)
	}
	if s.localEnds && sample {
		return refuse("a token is to be drawn, but the coordinator has the head: ask for the row")
	}
	for _, t := range tokens {
		if s.localEnds && t != 0 {
			return refuse("token %d in a session whose tokens stay with the coordinator: send 0 for each row", t)
		}
		if int64(t) >= int64(s.vocab) {
			return refuse("token %d is outside the vocabulary of %d", t, s.vocab)
		}
	}
	for i, r := range logits {
		if int64(r) >= int64(len(tokens)) || i > 0 && r <= logits[i-1] {
			return refuse("logits are wanted of row %d: want rising row numbers below %d", r, len(tokens))
		}
	}
	if n := int64(len(logits)) * int64(s.answerWidth()) * 4; n > protocol.MaxTensor {
		return refuse("logits of %d rows are %d bytes, the most is %d: ask for fewer", len(logits), n, protocol.MaxTensor)
	}
	return nil
}
