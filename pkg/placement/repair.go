// SPDX-License-Identifier: MIT

package placement

import (
	"fmt"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Repair returns a route in which the lost hops of route (places in it, rising) are replaced at the least cost, each by one node or by
// several. The other hops stay as they are, whatever could serve their layers better: they have rows of a session. Only where the
// lost layers cannot be served beside them is the whole route chosen anew, as [Route] does, and a hop that stays may get other
// layers. The error is a [*NoRouteError] when layers are not served.
func Repair(cands []Candidate, route []protocol.Hop, lost []int, opt Options) ([]protocol.Hop, error) {
	if len(route) == 0 {
		return nil, fmt.Errorf("repair an empty route")
	}
	r := newRepairer(cands, route, lost, opt)
	if best := r.best(); best != nil {
		return best, nil
	}
	// A node that serves the session already is not full for it, nor does it matter that it will leave: it is better than no route.
	whole := slices.Clone(cands)
	for i := range whole {
		if r.stays[whole[i].Peer] {
			whole[i].Sessions, whole[i].Draining, whole[i].Standing = 0, false, StandingOK
		}
	}
	return Route(whole, route[len(route)-1].Layers.To, opt)
}

// gap is a run of lost layers.
type gap struct {
	layers protocol.LayerRange
	at     int // place of the first lost hop in the route
}

// repairer fills gaps one after the other. The order matters where a node could fill several: it may be in the route once.
type repairer struct {
	cands []Candidate
	route []protocol.Hop
	lost  map[int]bool
	stays map[string]bool // peers
	gaps  []gap
	opt   Options

	filled map[int][]protocol.Hop // by gap.at
	used   map[string]bool
	cost   cost
	found  []protocol.Hop
	least  cost
}

func newRepairer(cands []Candidate, route []protocol.Hop, lost []int, opt Options) *repairer {
	r := &repairer{
		cands: cands, route: route, opt: opt, lost: map[int]bool{}, stays: map[string]bool{}, filled: map[int][]protocol.Hop{}, used: map[string]bool{},
	}
	for _, i := range lost {
		r.lost[i] = true
	}
	for i, h := range route {
		if !r.lost[i] {
			r.stays[h.Peer] = true
			continue
		}
		if n := len(r.gaps); n > 0 && i > 0 && r.lost[i-1] {
			r.gaps[n-1].layers.To = h.Layers.To
			continue
		}
		r.gaps = append(r.gaps, gap{layers: h.Layers, at: i})
	}
	return r
}

// maxOrders is the most gaps for which every order of filling them is tried; with more of them the first to last is.
const maxOrders = 5

// best returns the cheapest repaired route, nil if some gap cannot be filled.
func (r *repairer) best() []protocol.Hop {
	r.fill(r.gaps)
	return r.found
}

// fill fills the gaps that are left in every order, and keeps the cheapest result.
func (r *repairer) fill(left []gap) {
	if len(left) == 0 {
		if r.found == nil || r.cost.compare(r.least) < 0 {
			r.found, r.least = r.join(), r.cost
		}
		return
	}
	for i, g := range left {
		if i > 0 && len(r.gaps) > maxOrders {
			return
		}
		hops, cost, ok := r.one(g)
		if !ok {
			continue
		}
		before := r.cost
		r.filled[g.at], r.cost = hops, r.cost.plus(cost)
		for _, h := range hops {
			r.used[h.Peer] = true
		}
		r.fill(slices.Concat(left[:i], left[i+1:]))
		for _, h := range hops {
			delete(r.used, h.Peer)
		}
		r.cost = before
	}
}

// one fills a gap with nodes that are not used yet.
func (r *repairer) one(g gap) (hops []protocol.Hop, c cost, ok bool) {
	var inside []Candidate
	for _, cand := range r.cands {
		from, to := max(cand.Layers.From, g.layers.From), min(cand.Layers.To, g.layers.To)
		if from >= to || r.stays[cand.Peer] || r.used[cand.Peer] {
			continue
		}
		// As if the gap were the whole model, and the node had no other layers.
		if n := cand.Layers.Len(); n > 0 {
			cand.StepCost = min(cand.StepCost, maxStep) / time.Duration(n) * time.Duration(to-from)
		}
		cand.Layers = protocol.LayerRange{From: from - g.layers.From, To: to - g.layers.From}
		inside = append(inside, cand)
	}
	p, err := cheapestRoute(inside, g.layers.Len(), r.opt)
	if err != nil {
		return nil, cost{}, false
	}
	hops = p.hops()
	for i := range hops {
		hops[i].Layers.From += g.layers.From
		hops[i].Layers.To += g.layers.From
	}
	return hops, p.total(), true
}

// join puts the hops that stay and those that fill the gaps in order.
func (r *repairer) join() []protocol.Hop {
	var hops []protocol.Hop
	for i, h := range r.route {
		if !r.lost[i] {
			hops = append(hops, h)
		}
		hops = append(hops, r.filled[i]...)
	}
	return hops
}
