// SPDX-License-Identifier: MIT

package placement

import "github.com/shardnode/shardnode/pkg/protocol"

// AtRisk returns the layer ranges of 0 to nLayers whose layers are served, but by no more than one node that stays: when that is lost,
// generations wait for another. Ranges are in order and do not span nodes. A draining node does not stay.
func AtRisk(cands []Candidate, nLayers int) []protocol.LayerRange {
	list := sorted(cands, nLayers)
	var ranges []protocol.LayerRange
	last := "" // whose the range before is
	for l := range nLayers {
		served, stay, owner := false, 0, ""
		for _, c := range list {
			if l < c.Layers.From || l >= c.Layers.To {
				continue
			}
			served = true
			if !c.Draining {
				stay, owner = stay+1, c.Peer
			}
		}
		if !served || stay > 1 {
			last = ""
			continue
		}
		if n := len(ranges); n > 0 && ranges[n-1].To == l && owner == last {
			ranges[n-1].To++
		} else {
			ranges = append(ranges, protocol.LayerRange{From: l, To: l + 1})
		}
		last = owner
	}
	return ranges
}
