// SPDX-License-Identifier: MIT

package pipeline

import (
	"fmt"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// healing is an interruption that has not ended yet.
type healing struct {
	since    time.Time
	recovery Recovery
	from     int       // where the hops were resumed
	until    time.Time // when waiting for a placement ends; zero: nothing is waited for
	lack     error     // why there is none
	before   []protocol.Hop
}

// applyFailed judges a failure and begins to heal the route, or ends the generation.
func (s *PipelineState) applyFailed(now time.Time, e EventFailed) []Effect {
	if e.Epoch != s.epoch {
		return s.applyOldFailure(now, e)
	}
	if s.hops[e.Hop].lost != nil {
		return nil
	}
	hop, r := s.judge(e)
	switch {
	case r == remedyNone:
		return nil
	case r == remedyGiveUp || !s.cfg.Recover:
		return s.fail(hop, e.Err)
	case r == remedyReopen:
		return s.reopen(now, e.Err)
	}
	return s.lose(now, hop, e.Err)
}

// applyOldFailure takes from a failure of an older epoch's stream no more than that a peer was lost.
func (s *PipelineState) applyOldFailure(now time.Time, e EventFailed) []Effect {
	peer, ok := lostPeer(e.Err)
	if !ok || e.Told || !s.cfg.Recover {
		return nil
	}
	hop := slices.IndexFunc(s.route, func(h protocol.Hop) bool { return h.Peer == peer })
	if hop < 0 || s.hops[hop].lost != nil {
		return nil
	}
	return s.lose(now, hop, e.Err)
}

// misled handles an answer that cannot be right.
func (s *PipelineState) misled(now time.Time, hop int, err error) []Effect {
	return s.applyFailed(now, EventFailed{Epoch: s.epoch, Hop: hop, Told: true, Err: err})
}

// interrupted begins a recovery, unless one is under way, and counts what was tried.
func (s *PipelineState) interrupted(now time.Time) {
	if s.heal == nil {
		s.heal = &healing{since: now, recovery: Recovery{Phase: s.phase, Position: s.answered}, before: s.route}
	}
	s.handover, s.probed = nil, nil
}

// lose gives a hop up and asks for a route without it.
func (s *PipelineState) lose(now time.Time, hop int, err error) []Effect {
	if s.hops[hop].lost != nil {
		return nil
	}
	if !s.cfg.Recover {
		return s.fail(hop, err)
	}
	s.interrupted(now)
	s.hops[hop].lost = err
	notice := NoticeLost{
		Hop: s.route[hop], Shard: hop + 1, Shards: len(s.route), Phase: s.phase, Position: s.answered, Silence: now.Sub(s.sign), Err: err,
	}
	s.heal.recovery.Lost = append(s.heal.recovery.Lost, notice)
	effects := []Effect{EffectNotice{notice}}
	if s.tried >= maxAttempts {
		return append(effects, s.fail(hop, s.exhausted(err))...)
	}
	if s.stage != stagePlacing {
		s.heal.until, s.heal.lack = now.Add(s.cfg.RecoverTimeout), nil
	}
	s.stage = stagePlacing
	return append(effects, s.placement(func(i int) bool { return s.hops[i].lost != nil }))
}

// exhausted says that no further route is tried.
func (s *PipelineState) exhausted(err error) error {
	return fmt.Errorf("%d routes tried without an answer, the last failed: %w", s.tried, err)
}

// placement asks for a route without some hops.
func (s *PipelineState) placement(without func(hop int) bool) Effect {
	s.attempt++
	repair := Repair{Route: s.route, Positions: s.Positions()}
	for i := range s.hops {
		if without(i) {
			repair.Lost = append(repair.Lost, LostHop{Hop: i, Err: s.hops[i].lost, Leaving: s.hops[i].leaving && s.hops[i].lost == nil})
		}
	}
	return EffectPlace{Attempt: s.attempt, Repair: repair}
}

// reopen begins the next epoch along the same route.
func (s *PipelineState) reopen(now time.Time, err error) []Effect {
	if s.stage == stagePlacing {
		return nil // the next epoch comes anyway
	}
	silence := now.Sub(s.sign)
	s.interrupted(now)
	effects := []Effect{EffectNotice{NoticeReopen{Phase: s.phase, Silence: silence, Err: err}}}
	if s.tried >= maxAttempts {
		return append(effects, s.fail(s.awaited(), s.exhausted(err))...)
	}
	return s.nextEpoch(now, s.route, effects)
}

// nextEpoch opens route.
func (s *PipelineState) nextEpoch(now time.Time, route []protocol.Hop, effects []Effect) []Effect {
	s.setRoute(route)
	s.epoch++
	if s.heal != nil {
		s.heal.recovery.Epochs++
		s.heal.until = time.Time{}
	}
	return s.open(now, effects)
}

func (s *PipelineState) applyPlaced(now time.Time, e EventPlaced) []Effect {
	if e.Attempt != s.attempt {
		return nil
	}
	layers := s.route[len(s.route)-1].Layers.To
	switch {
	case s.stage == stagePlacing:
		if !tiles(e.Route, layers) {
			return s.fail(-1, fmt.Errorf("the route placed does not tile layers 0 to %d", layers-1))
		}
		return s.nextEpoch(now, e.Route, nil)
	case s.handover != nil && tiles(e.Route, layers):
		s.handover.route = e.Route
		if s.stage == stageRunning {
			return s.fill(now, nil)
		}
	}
	return nil
}

// tiles reports whether a route has all layers in order.
func tiles(route []protocol.Hop, layers int) bool {
	next := 0
	for _, h := range route {
		if h.Layers.From != next || h.Layers.Len() <= 0 || h.Peer == "" {
			return false
		}
		next = h.Layers.To
	}
	return next == layers
}

func (s *PipelineState) applyUnplaced(now time.Time, e EventUnplaced) []Effect {
	if e.Attempt != s.attempt || s.stage != stagePlacing {
		return nil
	}
	s.heal.lack = e.Err
	hop := slices.IndexFunc(s.hops, func(h hopState) bool { return h.lost != nil })
	if e.Final {
		return s.fail(hop, fmt.Errorf("%w; no replacement: %w", s.hops[hop].lost, e.Err))
	}
	// Before anything was computed, a node that says no is an answer, not a loss to be waited for.
	if s.phase == PhaseOpening && !slices.ContainsFunc(s.hops, func(h hopState) bool { return h.lost != nil && !refusal(h.lost) }) {
		return s.fail(hop, s.hops[hop].lost)
	}
	return []Effect{EffectNotice{NoticeWaiting{Layers: s.lostLayers(), Left: s.heal.until.Sub(now), Err: e.Err}}}
}

// lostLayers lists what has to be placed anew.
func (s *PipelineState) lostLayers() []protocol.LayerRange {
	var list []protocol.LayerRange
	for i := range s.hops {
		if s.hops[i].lost != nil {
			list = append(list, s.route[i].Layers)
		}
	}
	return list
}

// healed ends the recovery: a row is answered that was not before.
func (s *PipelineState) healed(now time.Time, effects []Effect) []Effect {
	r := &s.heal.recovery
	r.Took = now.Sub(s.heal.since)
	r.Replayed = max(0, r.Position-s.heal.from)
	for i := range s.route {
		if !slices.ContainsFunc(s.heal.before, func(o protocol.Hop) bool { return sameHop(&o, &s.route[i]) }) {
			r.New = append(r.New, s.route[i])
		}
	}
	s.heal = nil
	s.recovered = append(s.recovered, r)
	effects = append(effects, EffectNotice{NoticeRecovered{r}})
	return append(effects, s.askHandover()...)
}

// awaited names the hop whose answer is due: the first that has not opened, else the last (only it answers).
func (s *PipelineState) awaited() int {
	if i := slices.IndexFunc(s.hops, func(h hopState) bool { return !h.opened }); i >= 0 && s.stage == stageOpening {
		return i
	}
	return len(s.route) - 1
}
