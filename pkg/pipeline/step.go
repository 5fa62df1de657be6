// SPDX-License-Identifier: MIT

package pipeline

import (
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// window is how many inputs may be under way at once: one in every shard and one on the wire keeps all of them busy; more
// would only fill queues.
func (s *PipelineState) window() int { return len(s.route) + 1 }

// fill sends rows that are known and not sent in this epoch, as far as the window allows: the prompt's, those fed again after a
// resume, the latest token's. It is also the step boundary at which leaving hops hand over.
func (s *PipelineState) fill(now time.Time, effects []Effect) []Effect {
	if s.handover != nil && s.handover.route != nil {
		if len(s.flights) > 0 {
			return effects
		}
		return s.switchOver(now, effects)
	}
	for len(s.flights) < s.window() && s.position < len(s.tokens) {
		effects = append(effects, EffectSend{Hop: 0, Frame: s.nextRows(now)})
	}
	return effects
}

// nextRows makes the step of the next rows: as many as a chunk may have, none of which some hop has and another row's has not.
func (s *PipelineState) nextRows(now time.Time) *protocol.Step {
	end := min(s.position+s.cfg.ChunkRows, len(s.tokens))
	cut := func(at int) {
		if s.position < at && at < end {
			end = at
		}
	}
	for _, n := range s.rows {
		cut(n)
	}
	cut(s.answered) // of these nothing is wanted any more
	step := &protocol.Step{
		Session: s.cfg.Session, Epoch: s.epoch, Step: s.nextStep,
		Position: uint32(s.position), Tokens: s.tokens[s.position:end:end], Sample: s.draws(end),
	}
	for row := s.position; row < end; row++ {
		if row >= s.answered && (s.cfg.Logits == LogitsPrompt || s.cfg.Logits == LogitsDrawn && row == len(s.tokens)-1) {
			step.Logits = append(step.Logits, uint32(row-s.position))
		}
	}
	s.takeOff(now, end)
	s.position = end
	return step
}

// draws reports whether a token is drawn from the last row before end.
func (s *PipelineState) draws(end int) bool {
	return end == len(s.tokens) && s.req.MaxTokens > 0
}

// takeOff notes an input that is being sent.
func (s *PipelineState) takeOff(now time.Time, end int) {
	if len(s.flights) == 0 {
		s.alive(now)
	}
	s.flights = append(s.flights, flight{end: end, sent: now})
	s.nextStep++
}

// settled is how many rows need no answer any more: those that have one, and those of the prompt but for its last, unless their logits
// are wanted.
func (s *PipelineState) settled() int {
	if s.cfg.Logits == LogitsPrompt {
		return s.answered
	}
	return max(s.answered, len(s.req.Tokens)-1)
}

// resumeRows decides with how many rows each hop goes on: all it has, but for rows whose answer is wanted, and rows whose outputs
// the next hop lacks and this one did not keep. The latter are computed again.
func (s *PipelineState) resumeRows() []int {
	rows := make([]int, len(s.hops))
	for i := len(rows) - 1; i >= 0; i-- {
		h := &s.hops[i]
		rows[i] = min(h.cachedTo, s.settled())
		if i+1 < len(rows) && rows[i+1] < rows[i] && h.keptTo < rows[i] {
			rows[i] = max(rows[i+1], h.keptTo)
		}
	}
	return rows
}

// appendResume adds the epoch's first input.
func (s *PipelineState) appendResume(now time.Time, effects []Effect) []Effect {
	f := &protocol.Resume{Session: s.cfg.Session, Epoch: s.epoch, Step: s.nextStep, Rows: make([]uint32, len(s.rows))}
	for i, n := range s.rows {
		f.Rows[i] = uint32(n)
	}
	s.takeOff(now, 0)
	return append(effects, EffectSend{Hop: 0, Frame: f})
}
