// SPDX-License-Identifier: MIT

package engine

import "github.com/shardnode/shardnode/pkg/protocol"

// appendLogits puts the wanted logits and the drawn token into the last shard's output. The logits go out as the model
// gave them, before the sampler works on them.
func (e *Engine) appendLogits(j *job) error {
	s, in, r := j.s, j.in, &j.out.result
	vocab := e.cfg.Model.Config().Vocab
	rows := j.forward.Logits // [len(j.wanted)][vocab]
	r.LogitRows = protocol.AppendHidden(r.LogitRows, rows[:len(in.logits)*vocab], protocol.F32)
	if !in.sample {
		return nil
	}
	row := rows[(len(j.wanted)-1)*vocab:]
	// The drawn token's position is the number of tokens before it.
	history := j.kv.history
	allowed, err := s.allowed(history)
	if err != nil {
		return err
	}
	token, logprobs := e.sampler.Draw(row, history, uint32(len(history)), s.sampling, allowed, r.Logprobs)
	r.Generated, r.Logprobs = append(r.Generated, token), logprobs
	return nil
}

// appendWanted puts the wanted rows as the last layer gave them into the output of a last shard whose ends are the coordinator's.
func (e *Engine) appendWanted(j *job) {
	in, r := j.in, &j.out.result
	width := e.cfg.Model.Config().Hidden
	for _, row := range in.logits {
		r.LogitRows = protocol.AppendHidden(r.LogitRows, j.forward.Hidden[int(row)*width:][:width], protocol.F32)
	}
}

// want lists the rows whose logits a job needs: those the coordinator asked for and, to draw from, the last.
func (j *job) want() []uint32 {
	in := j.in
	j.wanted = append(j.wanted[:0], in.logits...)
	last := uint32(len(in.tokens) - 1)
	if n := len(j.wanted); in.sample && (n == 0 || j.wanted[n-1] != last) {
		j.wanted = append(j.wanted, last)
	}
	return j.wanted
}
