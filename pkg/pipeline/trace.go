// SPDX-License-Identifier: MIT

package pipeline

import (
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// StepTrace says where the time of one step went. Total is the sum of Recovery, Coordinator, Wire and all of Hops, exactly.
// Everything is a duration on one machine's clock: Total, Recovery and Coordinator are the coordinator's, what is in Hops each hop's own.
// Wire is the rest, so clocks are never compared.
type StepTrace struct {
	Phase    Phase // PhasePrefill: a chunk of the prompt; PhaseDecode: a generated token's row
	Position int   // of the first row
	Rows     int
	Epoch    protocol.Epoch // of the route it went along
	Route    []protocol.Hop // that route; shared, must not be changed

	// Start is when the step's time begins, from the generation's start on: of a decode step, when the answer before it came; of a
	// chunk, when it was sent. Chunks are under way together, so their times overlap.
	Start time.Duration
	Total time.Duration // from Start until its answer came

	Recovery    time.Duration // of a decode step, until it was sent along another route than the answer before it came from
	Coordinator time.Duration // choosing what to send, the user's callbacks, and handing the frame to the transport
	Hops        []HopTrace    // in the route's order
	Wire        time.Duration // all that nobody claims: the network, the machines' network stacks, reading and writing of frames

	// Scaled says that the hops claimed more time than there was. Their claims were made smaller, in proportion, and Wire is 0.
	Scaled bool
}

// HopTrace is what one hop says of its own time.
type HopTrace struct {
	Queue   time.Duration // from received to the pass's beginning
	Decode  time.Duration // bytes to hidden states
	Compute time.Duration // the pass
	Encode  time.Duration // hidden states to bytes and their digest; at the last hop, the draw of the token
}

// Sum is all of it.
func (h *HopTrace) Sum() time.Duration { return h.Queue + h.Decode + h.Compute + h.Encode }

// tracer measures the steps of a generation on the coordinator's clock. It belongs to the driver's goroutine.
type tracer struct {
	emit  func(*StepTrace)
	begun time.Time
	sent  []tracedStep // under way, in order

	last  time.Time      // when the latest new answer came
	epoch protocol.Epoch // that it came from
}

// tracedStep is a step under way.
type tracedStep struct {
	epoch       protocol.Epoch
	step        uint32
	began, done time.Time     // of handing it to the transport
	relayed     time.Duration // handing it on between hops, on the relay path
}

// send measures the sending of a frame that came in answer to what arrived; begun is when it began.
func (t *tracer) send(f protocol.Frame, arrived, begun, now time.Time) {
	switch f := f.(type) {
	case *protocol.Step:
		if len(t.sent) > 0 && t.sent[0].epoch != f.Epoch {
			t.sent = t.sent[:0]
		}
		t.sent = append(t.sent, tracedStep{epoch: f.Epoch, step: f.Step, began: begun, done: now})
	case *protocol.IntermediateResult:
		if i := t.find(f); i >= 0 {
			t.sent[i].relayed += now.Sub(arrived)
		}
	}
}

func (t *tracer) find(r *protocol.IntermediateResult) int {
	return slices.IndexFunc(t.sent, func(s tracedStep) bool { return s.epoch == r.Epoch && s.step == r.Step })
}

// answer takes the answer to a step. fresh says that its rows were not answered before.
func (t *tracer) answer(r *protocol.IntermediateResult, arrived time.Time, fresh bool, s *PipelineState) {
	i := t.find(r)
	if i < 0 {
		return
	}
	step := t.sent[i]
	t.sent = slices.Delete(t.sent, 0, i+1)
	if !fresh {
		return
	}
	out := &StepTrace{Phase: PhasePrefill, Position: int(r.Position), Rows: len(r.Tokens), Epoch: r.Epoch, Route: s.route, Hops: make([]HopTrace, len(r.Hops))}
	start := step.began
	if out.Position >= len(s.req.Tokens) {
		out.Phase, start = PhaseDecode, t.last
		if r.Epoch != t.epoch {
			out.Recovery = step.began.Sub(start)
		}
	}
	t.last, t.epoch = arrived, r.Epoch
	out.Start, out.Total = start.Sub(t.begun), arrived.Sub(start)
	out.Coordinator = step.done.Sub(start) - out.Recovery + step.relayed
	out.divide(r.Hops)
	t.emit(out)
}

// divide takes over what hops say of their time. They may say anything: the parts never make more than the whole.
func (t *StepTrace) divide(hops []protocol.HopTiming) {
	// An answer can come before the send that it answers has returned.
	t.Coordinator = max(0, min(t.Coordinator, t.Total-t.Recovery))
	rest := t.Total - t.Recovery - t.Coordinator
	claim := func(ns uint64) time.Duration {
		t.Scaled = t.Scaled || ns > uint64(rest)
		return time.Duration(min(ns, uint64(rest)))
	}
	var sum time.Duration
	for i, h := range hops {
		t.Hops[i] = HopTrace{Queue: claim(h.Queue), Decode: claim(h.Decode), Compute: claim(h.Processing), Encode: claim(h.Encode)}
		sum += t.Hops[i].Sum()
	}
	if sum > rest {
		t.Scaled = true
		part := float64(rest) / float64(sum)
		sum = 0
		for i := range t.Hops {
			h := &t.Hops[i]
			for _, d := range []*time.Duration{&h.Queue, &h.Decode, &h.Compute, &h.Encode} {
				*d = min(time.Duration(float64(*d)*part), rest-sum)
				sum += *d
			}
		}
	}
	t.Wire = rest - sum
	if t.Scaled && len(t.Hops) > 0 { // what rounding left
		t.Hops[0].Compute += t.Wire
		t.Wire = 0
	}
}
