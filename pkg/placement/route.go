// SPDX-License-Identifier: MIT

package placement

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Options of [Route]. The zero value is right for a first try.
type Options struct {
	Exclude   map[string]bool // peers not to use
	Positions int             // rows of KV cache a hop needs; 0: not known yet
}

// Route returns the hops that tile layers 0 to nLayers at the least cost: each hop's share of its node's step cost and
// half its round trip, and once half the longest round trip, for the way back. (Nobody knows how far the nodes are from
// each other; this is right for nodes of one place and for one that is far from the rest.) A hop may use a part of what
// its node serves; a node appears at most once. Of equally cheap routes the one with the fewest hops wins; among those,
// from the first hop on, the lowest peer ID and then the longest hop. Nodes that cannot take a session now are left out; those of
// doubtful standing are used only where there is no route without them. The error is a [*NoRouteError] when layers are not
// served.
//
// The result is exact, but for swarms where the cheapest way would enter many nodes twice each: there a bounded search
// gives a route near it.
func Route(cands []Candidate, nLayers int, opt Options) ([]protocol.Hop, error) {
	p, err := cheapestRoute(cands, nLayers, opt)
	if err != nil {
		return nil, err
	}
	return p.hops(), nil
}

func cheapestRoute(cands []Candidate, nLayers int, opt Options) (*path, error) {
	if nLayers < 1 || nLayers > protocol.MaxLayers {
		return nil, fmt.Errorf("route through %d layers: want 1 to %d", nLayers, protocol.MaxLayers)
	}
	var good, usable []*Candidate
	for _, c := range sorted(cands, nLayers) {
		if c.reason(&opt) != "" {
			continue
		}
		usable = append(usable, c)
		if c.Standing == StandingOK {
			good = append(good, c)
		}
	}
	if len(gaps(good, nLayers)) == 0 {
		return cheapest(price(good), nLayers), nil
	}
	if missing := gaps(usable, nLayers); len(missing) > 0 {
		return nil, newNoRouteError(cands, nLayers, missing, &opt)
	}
	return cheapest(price(usable), nLayers), nil
}

// Missing returns the layer ranges of 0 to nLayers which no candidate serves, in order. Draining and full nodes count
// as serving.
func Missing(cands []Candidate, nLayers int) []protocol.LayerRange {
	return gaps(sorted(cands, nLayers), nLayers)
}

// sorted returns the candidates whose ranges make sense, by first layer, one entry a peer.
func sorted(cands []Candidate, nLayers int) []*Candidate {
	list := make([]*Candidate, 0, len(cands))
	seen := make(map[string]bool, len(cands))
	for i := range cands {
		if c := &cands[i]; c.Layers.Valid(nLayers) && !seen[c.Peer] {
			seen[c.Peer] = true
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *Candidate) int {
		return cmp.Or(cmp.Compare(a.Layers.From, b.Layers.From), cmp.Compare(a.Layers.To, b.Layers.To), cmp.Compare(a.Peer, b.Peer))
	})
	return list
}

// gaps returns what candidates sorted by first layer leave open.
func gaps(list []*Candidate, nLayers int) []protocol.LayerRange {
	var missing []protocol.LayerRange
	covered := 0
	for _, c := range list {
		if c.Layers.From > covered {
			missing = append(missing, protocol.LayerRange{From: covered, To: c.Layers.From})
		}
		covered = max(covered, c.Layers.To)
	}
	if covered < nLayers {
		missing = append(missing, protocol.LayerRange{From: covered, To: nLayers})
	}
	return missing
}
