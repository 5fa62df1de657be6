// SPDX-License-Identifier: MIT

package pipeline

import (
	"errors"
	"fmt"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Apply changes the state by one event and returns what to do now. After Done or Failed every event is ignored.
func (s *PipelineState) Apply(now time.Time, e Event) []Effect {
	if s.phase == PhaseDone || s.phase == PhaseFailed {
		return nil
	}
	switch e := e.(type) {
	case EventStart:
		s.started = now
		s.deadline = now.Add(s.cfg.StepTimeout)
		return []Effect{EffectOpen{}}
	case EventOpened:
		return s.applyOpened(now, e.Hop)
	case EventResult:
		return s.applyResult(now, e)
	case EventFailed:
		return s.fail(s.blame(e), e.Err)
	case EventCancel:
		return s.fail(-1, e.Err)
	case EventTick:
		if !now.Before(s.deadline) {
			return s.fail(s.awaited(), fmt.Errorf("no answer in %s", s.cfg.StepTimeout))
		}
		return nil
	}
	return nil
}

func (s *PipelineState) applyOpened(now time.Time, hop int) []Effect {
	if s.opened[hop] {
		return nil
	}
	s.opened[hop] = true
	s.nOpened++
	if s.nOpened < len(s.opened) {
		return nil
	}
	s.phase = PhasePrefill
	s.opensDone = now
	var effects []Effect
	for range s.window() {
		effects = s.appendPrefill(now, effects)
	}
	return effects
}

// window is how many prefill steps may be under way at once: one in every shard and one on the wire keeps all of them
// busy; more would only fill queues.
func (s *PipelineState) window() int { return len(s.cfg.Route) + 1 }

// appendPrefill adds the step of the next prompt chunk, if one is left.
func (s *PipelineState) appendPrefill(now time.Time, effects []Effect) []Effect {
	if s.position >= len(s.req.Tokens) {
		return effects
	}
	end := min(s.position+s.cfg.ChunkRows, len(s.req.Tokens))
	last := end == len(s.req.Tokens)
	step := s.newStep(s.req.Tokens[s.position:end])
	step.Sample = last && s.req.MaxTokens > 0
	switch {
	case s.cfg.Logits == LogitsPrompt:
		for r := range step.Tokens {
			step.Logits = append(step.Logits, uint32(r))
		}
	case s.cfg.Logits == LogitsDrawn && last:
		step.Logits = []uint32{uint32(len(step.Tokens) - 1)}
	}
	s.deadline = now.Add(s.cfg.StepTimeout)
	return append(effects, EffectSend{Hop: 0, Frame: step})
}

// newStep takes the next step number and positions for the rows.
func (s *PipelineState) newStep(tokens []protocol.TokenID) *protocol.Step {
	step := &protocol.Step{
		Session: s.cfg.Session, Epoch: s.epoch, Step: s.nextStep,
		Position: uint32(s.position), Tokens: tokens,
	}
	s.nextStep++
	s.position += len(tokens)
	return step
}

func (s *PipelineState) applyResult(now time.Time, e EventResult) []Effect {
	r := e.Result
	if r.Session != s.cfg.Session || r.Epoch != s.epoch {
		return nil // of another life of this route; fenced by the epoch
	}
	if e.Hop < len(s.cfg.Route)-1 {
		if s.cfg.Path != protocol.PathRelay {
			return s.fail(e.Hop, protocol.Errorf(protocol.CodeBadFrame, "sent hidden states to the coordinator on the direct path"))
		}
		s.deadline = now.Add(s.cfg.StepTimeout)
		return []Effect{EffectSend{Hop: e.Hop + 1, Frame: r}}
	}
	if s.phase == PhaseOpening || r.Step != s.nextDone || s.nextDone >= s.nextStep {
		return s.fail(e.Hop, protocol.Errorf(protocol.CodeOutOfOrder, "answered step %d, expected step %d", r.Step, s.nextDone))
	}
	if len(r.Hops) != len(s.cfg.Route) {
		return s.fail(e.Hop, protocol.Errorf(protocol.CodeBadFrame, "answered with %d hop timings for %d hops", len(r.Hops), len(s.cfg.Route)))
	}
	s.nextDone++
	s.deadline = now.Add(s.cfg.StepTimeout)
	s.account(now, r)

	effects := []Effect{EffectShards{Hops: r.Hops}}
	if len(r.LogitRows) > 0 {
		positions := make([]int, len(r.Logits))
		for i, row := range r.Logits {
			positions[i] = int(r.Position) + int(row)
		}
		effects = append(effects, EffectLogits{Positions: positions, Rows: r.LogitRows})
	}
	if s.phase == PhasePrefill {
		effects = s.appendPrefill(now, effects)
		if s.nextDone < s.nextStep {
			return effects // more of the prompt is under way
		}
		if s.req.MaxTokens == 0 {
			return s.finish(FinishLength, effects)
		}
		s.firstToken = now
		s.phase = PhaseDecode
	}
	return s.applyToken(now, r, e.Hop, effects)
}

// applyToken takes the token the last hop drew and sends it round again, or ends.
func (s *PipelineState) applyToken(now time.Time, r *protocol.IntermediateResult, hop int, effects []Effect) []Effect {
	if len(r.Generated) != 1 {
		return s.fail(hop, protocol.Errorf(protocol.CodeBadFrame, "answered with %d tokens, expected one", len(r.Generated)))
	}
	token := r.Generated[0]
	s.lastToken = now
	if s.cfg.End != nil && s.cfg.End(token) {
		return s.finish(FinishStop, effects)
	}
	s.generated = append(s.generated, token)
	effects = append(effects, EffectEmit{Token: token})
	switch {
	case s.cfg.Stop != nil && s.cfg.Stop(s.generated):
		return s.finish(FinishStop, effects)
	case len(s.generated) >= int(s.req.MaxTokens) || s.position >= s.cfg.Context:
		return s.finish(FinishLength, effects)
	}
	step := s.newStep([]protocol.TokenID{token})
	step.Sample = true
	if s.cfg.Logits != LogitsNone {
		step.Logits = []uint32{0}
	}
	return append(effects, EffectSend{Hop: 0, Frame: step})
}

// account adds a finished step's durations.
func (s *PipelineState) account(now time.Time, r *protocol.IntermediateResult) {
	var processing time.Duration
	for i, h := range r.Hops {
		p := &s.shards[i]
		d := time.Duration(h.Processing)
		processing += d
		p.Queue += time.Duration(h.Queue)
		p.Rows += int(h.Rows)
		if s.phase == PhaseDecode {
			p.Decode += d
		} else {
			p.Prefill += d
		}
	}
	if s.phase == PhaseDecode {
		s.decodeTime += now.Sub(s.lastToken)
		s.decodeProc += processing
		s.decodeSteps++
	}
}

func (s *PipelineState) finish(reason FinishReason, effects []Effect) []Effect {
	s.phase = PhaseDone
	s.reason = reason
	return append(effects, EffectClose{})
}

// fail ends the generation. hop is -1 where no hop is to blame.
func (s *PipelineState) fail(hop int, err error) []Effect {
	f := &FailedError{Phase: s.phase, Generated: s.generated, Position: s.position, Err: err}
	if hop >= 0 {
		f.Hop = &s.cfg.Route[hop]
		f.Shard, f.Shards = hop+1, len(s.cfg.Route)
	}
	s.phase = PhaseFailed
	s.err = f
	return []Effect{EffectClose{}}
}

// blame says whose failure an event tells of: who cannot reach the next hop tells of that one.
func (s *PipelineState) blame(e EventFailed) int {
	if s.cfg.Path == protocol.PathDirect && e.Hop+1 < len(s.cfg.Route) && errors.Is(e.Err, &protocol.Error{Code: protocol.CodeUnreachable}) {
		var told *protocol.Error
		if errors.As(e.Err, &told) && told.Peer == s.cfg.Route[e.Hop].Peer {
			return e.Hop + 1
		}
	}
	return e.Hop
}

// awaited names the hop whose answer is due: the first that has not opened, else the last (only it answers), -1 if none.
func (s *PipelineState) awaited() int {
	for i, ok := range s.opened {
		if !ok {
			return i
		}
	}
	return len(s.cfg.Route) - 1
}
