// SPDX-License-Identifier: MIT

package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// alive notes a sign of the route: silence begins anew.
func (s *PipelineState) alive(now time.Time) {
	s.sign, s.waits, s.probed = now, s.pace.late(), nil
}

// Deadline is when the driver must apply an [EventTick] at the latest.
func (s *PipelineState) Deadline() time.Time {
	if s.stage == stagePlacing {
		return s.heal.until
	}
	return s.sign.Add(min(s.waits, s.cfg.StepTimeout))
}

func (s *PipelineState) applyTick(now time.Time) []Effect {
	if now.Before(s.Deadline()) {
		return nil
	}
	silence := now.Sub(s.sign)
	switch {
	case s.stage == stagePlacing:
		return s.unplaced()
	case silence >= s.cfg.StepTimeout:
		return s.stall(now)
	}
	// The route is late. Slow or dead? Nodes that live answer at once, however long their queue is.
	s.waits = max(2*s.waits, silence+time.Second)
	if s.probed != nil || !s.cfg.Recover {
		return nil
	}
	s.probed = make([]bool, len(s.hops))
	probe := EffectProbe{Epoch: s.epoch}
	for i := range s.hops {
		probe.Hops = append(probe.Hops, i)
	}
	return []Effect{probe}
}

// unplaced ends a generation whose lost layers nobody took in time.
func (s *PipelineState) unplaced() []Effect {
	hop := slices.IndexFunc(s.hops, func(h hopState) bool { return h.lost != nil })
	err := fmt.Errorf("%w; no replacement in %s", s.hops[hop].lost, s.cfg.RecoverTimeout)
	if s.heal.lack != nil {
		err = fmt.Errorf("%w: %w", err, s.heal.lack)
	}
	return s.fail(hop, err)
}

// stall handles a route that lives and does not get on. While it opens, the hops that have not are at fault; after that the hops are opened
// again, and say how far they got.
func (s *PipelineState) stall(now time.Time) []Effect {
	err := fmt.Errorf("no answer in %s", s.cfg.StepTimeout)
	if !s.cfg.Recover || s.stage == stageOpening {
		return s.lose(now, s.awaited(), err)
	}
	s.stalled = s.position + 1
	if len(s.flights) > 0 && s.flights[0].end > 0 {
		s.stalled = s.flights[0].end
	}
	return s.reopen(now, err)
}

func (s *PipelineState) applyProbed(now time.Time, e EventProbed) []Effect {
	if e.Epoch != s.epoch || s.probed == nil {
		return nil
	}
	if e.Err != nil {
		return s.lose(now, e.Hop, fmt.Errorf("no answer in %s, and its node is silent: %w", now.Sub(s.sign).Round(time.Millisecond), e.Err))
	}
	s.probed[e.Hop] = true
	if slices.Contains(s.probed, false) {
		return nil
	}
	s.probed = nil
	return []Effect{EffectNotice{NoticeLate{Silence: now.Sub(s.sign)}}}
}

// lostPeer returns the peer that an error says was lost.
func lostPeer(err error) (string, bool) {
	var told *protocol.Error
	if errors.As(err, &told) && told.Lost != "" {
		return told.Lost, true
	}
	return "", false
}
