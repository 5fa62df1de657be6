// SPDX-License-Identifier: MIT

package pipeline

import (
	"errors"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// handover is a change of route that nothing forces yet: nodes of the route will leave.
type handover struct {
	route []protocol.Hop // nil: not placed yet
}

var errLeaving = errors.New("its node is leaving")

// applyLeaving notes that a hop's node will leave, and asks for a route without it. The generation goes on meanwhile.
func (s *PipelineState) applyLeaving(e EventLeaving) []Effect {
	if e.Epoch != s.epoch || s.hops[e.Hop].leaving || s.hops[e.Hop].lost != nil || !s.cfg.Recover {
		return nil
	}
	s.hops[e.Hop].leaving = true
	notice := NoticeLost{
		Hop: s.route[e.Hop], Shard: e.Hop + 1, Shards: len(s.route), Phase: s.phase, Position: s.answered, Err: errLeaving, Leaving: true,
	}
	return append([]Effect{EffectNotice{notice}}, s.askHandover()...)
}

// askHandover asks for a route without the leaving hops, if there are any and nothing else is being healed.
func (s *PipelineState) askHandover() []Effect {
	if s.heal != nil || s.stage == stagePlacing {
		return nil // after that
	}
	for i := range s.hops {
		if s.hops[i].leaving {
			s.handover = &handover{}
			return []Effect{s.placement(func(i int) bool { return s.hops[i].leaving })}
		}
	}
	return nil
}

// switchOver begins the next epoch along the route without the leaving hops. Nothing is under way.
func (s *PipelineState) switchOver(now time.Time, effects []Effect) []Effect {
	route := s.handover.route
	s.heal = &healing{since: now, recovery: Recovery{Phase: s.phase, Position: s.answered}, before: s.route}
	for i := range s.hops {
		if s.hops[i].leaving {
			s.heal.recovery.Lost = append(s.heal.recovery.Lost, NoticeLost{
				Hop: s.route[i], Shard: i + 1, Shards: len(s.route), Phase: s.phase, Position: s.answered, Err: errLeaving, Leaving: true,
			})
		}
	}
	s.handover, s.probed = nil, nil
	return s.nextEpoch(now, route, effects)
}
