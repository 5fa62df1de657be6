// SPDX-License-Identifier: MIT

package pipeline

import (
	"slices"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// sources returns who has the rows that hop i of a new route lacks: hops of the route before that leave, or have to give layers up,
// but live. nil: it lacks none, or nobody has them all.
func (s *PipelineState) sources(i int) []protocol.Hop {
	hop := &s.route[i]
	if s.heal == nil || s.answered == 0 || slices.ContainsFunc(s.heal.before, func(b protocol.Hop) bool { return sameHop(&b, hop) }) {
		return nil
	}
	var from []protocol.Hop
	for _, b := range s.heal.before {
		r := protocol.LayerRange{From: max(b.Layers.From, hop.Layers.From), To: min(b.Layers.To, hop.Layers.To)}
		if r.Len() <= 0 {
			continue
		}
		gone := slices.ContainsFunc(s.heal.recovery.Lost, func(l NoticeLost) bool { return l.Hop.Peer == b.Peer && !l.Leaving })
		if gone || b.Peer == hop.Peer {
			return nil
		}
		from = append(from, protocol.Hop{Peer: b.Peer, Addrs: b.Addrs, Layers: r})
	}
	return from
}
