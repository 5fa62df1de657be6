// SPDX-License-Identifier: MIT

package pipeline

import (
	"errors"
	"slices"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// remedy says what a failure asks for.
type remedy uint8

const (
	remedyNone    remedy = iota // a frame that came late: nothing is wrong with the route
	remedyReplace               // the hop is of no use to this session
	remedyReopen                // the hops are out of step, or a link between two of them broke: open the same route again
	remedyGiveUp                // no other node would do better
)

// judge says which hop a failure is about, and what to do.
func (s *PipelineState) judge(e EventFailed) (hop int, r remedy) {
	var told *protocol.Error
	if !errors.As(e.Err, &told) {
		return e.Hop, remedyReplace
	}
	if told.Lost != "" {
		return s.accuse(e.Hop, told.Lost)
	}
	switch told.Code {
	case protocol.CodeForbidden, protocol.CodeBadRequest:
		return e.Hop, remedyGiveUp
	case protocol.CodeStaleEpoch:
		if e.Told {
			return e.Hop, remedyNone // it speaks of a frame, not of the session
		}
		r = remedyReopen
	case protocol.CodeOutOfOrder, protocol.CodeSessionNotFound, protocol.CodeBadFrame:
		r = remedyReopen
	case protocol.CodeUnreachable:
		if !e.Told {
			return e.Hop, remedyReplace
		}
		r = remedyReopen // its link broke, and the node at the other end lives
	default:
		return e.Hop, remedyReplace
	}
	if s.strike(e.Hop) > maxReopens {
		r = remedyReplace
	}
	return e.Hop, r
}

// accuse finds the hop whose peer another one has lost. A node that loses everybody is itself the one that is cut off.
func (s *PipelineState) accuse(by int, peer string) (hop int, r remedy) {
	hop = slices.IndexFunc(s.route, func(h protocol.Hop) bool { return h.Peer == peer })
	switch {
	case hop < 0:
		return by, remedyNone // it has left the route
	case hop != by && s.strike(by) > maxAccusations:
		return by, remedyReplace
	}
	return hop, remedyReplace
}

// A node that tells of a broken route this often, and nothing new is answered in between, is replaced itself.
const (
	maxReopens     = 1
	maxAccusations = 2
)

// strike counts complaints of a hop's node since the last answer.
func (s *PipelineState) strike(hop int) int {
	if s.strikes == nil {
		s.strikes = map[string]int{}
	}
	peer := s.route[hop].Peer
	s.strikes[peer]++
	return s.strikes[peer]
}

// refusal reports whether a node refused the session for its own part, so that waiting for that node makes no sense.
func refusal(err error) bool {
	var told *protocol.Error
	if !errors.As(err, &told) || told.Lost != "" {
		return false
	}
	switch told.Code {
	case protocol.CodeBusy, protocol.CodeTooLong, protocol.CodeWrongModel, protocol.CodeWrongLayers, protocol.CodeWrongNumerics, protocol.CodeBadFrame, protocol.CodeUnsupported:
		return true
	}
	return false
}
