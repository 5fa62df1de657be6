// SPDX-License-Identifier: MIT

package engine

import "github.com/shardnode/shardnode/pkg/protocol"

// output is one of a session's output slots: frames whose buffers are used again once delivered.
type output struct {
	frame    protocol.Frame // one of the following
	result   protocol.IntermediateResult
	truncate protocol.Truncate
	resume   protocol.Resume
	cost     int64 // bytes charged
}

// setTruncate makes the output the echo of a truncate.
func (o *output) setTruncate(s *Session, in *input) {
	o.truncate = protocol.Truncate{Session: s.id, Epoch: s.epoch, Step: in.step, Position: in.position}
	o.frame = &o.truncate
}

// setResume makes the output the echo of a resume.
func (o *output) setResume(s *Session, in *input) {
	o.resume = protocol.Resume{Session: s.id, Epoch: s.epoch, Step: in.step, Rows: append(o.resume.Rows[:0], in.counts...)}
	o.frame = &o.resume
}

// setRows fills in what an output shares with its input, and empties the rest.
func (o *output) setRows(s *Session, in *input) {
	r := &o.result
	*r = protocol.IntermediateResult{
		Session: s.id, Epoch: s.epoch, Step: in.step, Position: in.position,
		Tokens: append(r.Tokens[:0], in.tokens...), Logits: append(r.Logits[:0], in.logits...), Sample: in.sample,
		DType: s.out, Hidden: r.Hidden[:0], Generated: r.Generated[:0], LogitRows: r.LogitRows[:0], Logprobs: r.Logprobs[:0],
		Hops: append(r.Hops[:0], in.hops...),
	}
	o.frame = r
}
