// SPDX-License-Identifier: MIT

package engine

import "github.com/shardnode/shardnode/pkg/protocol"

// appendLogits puts the wanted logits and the drawn token into the last shard's output. The logits go out as the model
// gave them, before the sampler works on them.
func (e *Engine) appendLogits(j *job) error {
	s, in, r := j.s, j.in, &j.out.result
	vocab := e.cfg.Model.Config().Vocab
	rows := e.forward.Logits // [len(e.wanted)][vocab]
	r.LogitRows = protocol.AppendHidden(r.LogitRows, rows[:len(in.logits)*vocab], protocol.F32)
	if !in.sample {
		return nil
	}
	row := rows[(len(e.wanted)-1)*vocab:]
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

// want lists the rows whose logits a step needs: those the coordinator asked for and, to draw from, the last.
func (e *Engine) want(in *input) []uint32 {
	e.wanted = append(e.wanted[:0], in.logits...)
	last := uint32(len(in.tokens) - 1)
	if n := len(e.wanted); in.sample && (n == 0 || e.wanted[n-1] != last) {
		e.wanted = append(e.wanted, last)
	}
	return e.wanted
}
