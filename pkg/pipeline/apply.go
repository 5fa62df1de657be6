// SPDX-License-Identifier: MIT

package pipeline

import (
	"fmt"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Apply changes the state by one event and returns what to do now. After Done or Failed every event is ignored.
func (s *PipelineState) Apply(now time.Time, e Event) []Effect {
	if s.Ended() {
		return nil
	}
	switch e := e.(type) {
	case EventStart:
		s.started = now
		return s.open(now, nil)
	case EventOpened:
		return s.applyOpened(now, e)
	case EventResult:
		return s.applyResult(now, e)
	case EventResumed:
		return s.applyResumed(now, e)
	case EventFailed:
		return s.applyFailed(now, e)
	case EventLeaving:
		return s.applyLeaving(e)
	case EventProbed:
		return s.applyProbed(now, e)
	case EventPlaced:
		return s.applyPlaced(now, e)
	case EventUnplaced:
		return s.applyUnplaced(now, e)
	case EventCancel:
		return s.fail(-1, e.Err)
	case EventTick:
		return s.applyTick(now)
	}
	return nil
}

// open begins an epoch: every hop of the route is to be opened.
func (s *PipelineState) open(now time.Time, effects []Effect) []Effect {
	s.stage = stageOpening
	s.flights, s.nextStep, s.nextDone, s.rows = s.flights[:0], 0, 0, nil
	s.tried++
	s.alive(now)
	return append(effects, EffectOpen{Epoch: s.epoch})
}

func (s *PipelineState) applyOpened(now time.Time, e EventOpened) []Effect {
	if e.Epoch != s.epoch || s.stage != stageOpening || s.hops[e.Hop].opened {
		return nil
	}
	h := &s.hops[e.Hop]
	h.opened, h.cachedTo, h.keptTo = true, e.CachedTo, e.KeptTo
	s.alive(now)
	if slices.ContainsFunc(s.hops, func(h hopState) bool { return !h.opened }) {
		return nil
	}
	return s.begin(now)
}

// begin sends the first inputs of an epoch whose hops are all open.
func (s *PipelineState) begin(now time.Time) []Effect {
	if s.opensDone.IsZero() {
		s.opensDone = now
	}
	first := s.phase == PhaseOpening
	if first {
		s.phase = PhasePrefill
	}
	s.stage = stageRunning
	var effects []Effect
	if s.epoch > 0 {
		effects = append(effects, EffectRelease{Epoch: s.epoch})
	}
	if want := s.stalled; want > 0 {
		s.stalled = 0
		if i := slices.IndexFunc(s.hops, func(h hopState) bool { return h.cachedTo < want }); i >= 0 {
			return append(effects, s.lose(now, i, fmt.Errorf("no answer in %s, though its node lives", s.cfg.StepTimeout))...)
		}
	}
	s.position = 0
	if slices.ContainsFunc(s.hops, func(h hopState) bool { return h.cachedTo > 0 }) {
		s.rows = s.resumeRows()
		s.position = slices.Min(s.rows)
		effects = s.appendResume(now, effects)
	}
	if first {
		s.cached = s.position
	}
	if s.heal != nil {
		s.heal.from = s.position
	}
	return s.fill(now, effects)
}

// applyResumed passes a resume on, or takes it back from the last hop.
func (s *PipelineState) applyResumed(now time.Time, e EventResumed) []Effect {
	r := e.Resume
	if r.Session != s.cfg.Session || r.Epoch != s.epoch || s.stage != stageRunning {
		return nil
	}
	if effects, done := s.forward(now, e.Hop, r); done {
		return effects
	}
	if r.Step < s.nextDone {
		return nil
	}
	if r.Step != s.nextDone || len(s.flights) == 0 || s.flights[0].end != 0 {
		return s.misled(now, e.Hop, protocol.Errorf(protocol.CodeOutOfOrder, "returned a resume as input %d, expected an answer to input %d", r.Step, s.nextDone))
	}
	s.land(now)
	return s.fill(now, nil)
}

// forward sends what a hop that is not the last gave to the next one, on the relay path.
func (s *PipelineState) forward(now time.Time, hop int, f protocol.Frame) (effects []Effect, done bool) {
	if hop == len(s.route)-1 {
		return nil, false
	}
	if s.cfg.Path != protocol.PathRelay {
		return s.misled(now, hop, protocol.Errorf(protocol.CodeBadFrame, "sent its output to the coordinator on the direct path")), true
	}
	s.alive(now)
	return []Effect{EffectSend{Hop: hop + 1, Frame: f}}, true
}

func (s *PipelineState) applyResult(now time.Time, e EventResult) []Effect {
	r := e.Result
	if r.Session != s.cfg.Session || r.Epoch != s.epoch || s.stage != stageRunning {
		return nil // of another life of this route; fenced by the epoch
	}
	if effects, done := s.forward(now, e.Hop, r); done {
		return effects
	}
	if r.Step < s.nextDone {
		return nil // it comes a second time
	}
	if err := s.expected(r); err != nil {
		return s.misled(now, e.Hop, err)
	}
	again := s.flights[0].end <= s.answered
	s.land(now)
	effects := append(make([]Effect, 0, 4), EffectShards{Hops: r.Hops}) // room for a decode step's: logits, a token, a send
	if again {
		return s.fill(now, effects)
	}
	effects = s.progress(now, int(r.Position)+len(r.Tokens), effects)
	s.account(now, r)
	if len(r.LogitRows) > 0 {
		positions := make([]int, len(r.Logits))
		for i, row := range r.Logits {
			positions[i] = int(r.Position) + int(row)
		}
		effects = append(effects, EffectLogits{Positions: positions, Rows: r.LogitRows})
	}
	if s.answered < len(s.tokens) {
		return s.fill(now, effects) // more of the prompt is under way
	}
	if s.req.MaxTokens == 0 {
		return s.finish(FinishLength, effects)
	}
	if s.phase == PhasePrefill {
		s.firstToken = now
		s.phase = PhaseDecode
	}
	return s.applyToken(now, r, effects)
}

// expected checks an answer against the input it must be of.
func (s *PipelineState) expected(r *protocol.IntermediateResult) error {
	if r.Step != s.nextDone || len(s.flights) == 0 || s.flights[0].end == 0 {
		return protocol.Errorf(protocol.CodeOutOfOrder, "answered step %d, expected step %d", r.Step, s.nextDone)
	}
	end := s.flights[0].end
	switch {
	case int(r.Position)+len(r.Tokens) != end:
		return protocol.Errorf(protocol.CodeBadFrame, "answered rows up to %d, expected %d", int(r.Position)+len(r.Tokens), end)
	case len(r.Hops) != len(s.route):
		return protocol.Errorf(protocol.CodeBadFrame, "answered with %d hop timings for %d hops", len(r.Hops), len(s.route))
	case s.draws(end) && len(r.Generated) != 1:
		return protocol.Errorf(protocol.CodeBadFrame, "answered with %d tokens, expected one", len(r.Generated))
	case s.draws(end) && (len(r.Logprobs) > 0) != (s.req.Sampling.Logprobs > 0):
		return protocol.Errorf(protocol.CodeBadFrame, "answered with %d log probabilities, %d were asked for", len(r.Logprobs), s.req.Sampling.Logprobs)
	}
	return nil
}

// land takes the first input under way back.
func (s *PipelineState) land(now time.Time) {
	since := s.flights[0].sent
	if s.sign.After(since) {
		since = s.sign // it was awaited only since the one before it came
	}
	s.flights = slices.Delete(s.flights, 0, 1)
	s.nextDone++
	s.pace.observe(now.Sub(since))
	s.alive(now)
}

// progress notes that rows up to end are answered for the first time.
func (s *PipelineState) progress(now time.Time, end int, effects []Effect) []Effect {
	s.answered = end
	s.tried = 0
	clear(s.strikes)
	if s.heal == nil {
		return effects
	}
	return s.healed(now, effects)
}

// applyToken takes the token the last hop drew and sends it round again, or ends.
func (s *PipelineState) applyToken(now time.Time, r *protocol.IntermediateResult, effects []Effect) []Effect {
	token := r.Generated[0]
	s.lastToken = now
	if s.cfg.End != nil && s.cfg.End(token) {
		return s.finish(FinishStop, effects)
	}
	s.tokens = append(s.tokens, token)
	effects = append(effects, EffectEmit{Token: token, Logprobs: r.Logprobs})
	switch generated := s.Generated(); {
	case s.cfg.Stop != nil && s.cfg.Stop(generated):
		return s.finish(FinishStop, effects)
	case len(generated) >= int(s.req.MaxTokens) || s.answered >= s.cfg.Context:
		return s.finish(FinishLength, effects)
	}
	return s.fill(now, effects)
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
		return
	}
	s.prefillProc += processing
}

func (s *PipelineState) finish(reason FinishReason, effects []Effect) []Effect {
	s.phase = PhaseDone
	s.reason = reason
	return append(effects, EffectClose{})
}

// fail ends the generation. hop is -1 where no hop is to blame.
func (s *PipelineState) fail(hop int, err error) []Effect {
	f := &FailedError{Phase: s.phase, Generated: s.Generated(), Position: s.answered, Err: err}
	if hop >= 0 {
		f.Hop = &s.route[hop]
		f.Shard, f.Shards = hop+1, len(s.route)
	}
	s.phase = PhaseFailed
	s.err = f
	return []Effect{EffectClose{}}
}
