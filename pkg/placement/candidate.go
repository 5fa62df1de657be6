// SPDX-License-Identifier: MIT

package placement

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// Candidate is one node that serves layers of the model, as its last status told.
type Candidate struct {
	Peer        string              // peer ID, textual; unique among the candidates
	Addrs       []string            // copied to the hop
	Layers      protocol.LayerRange // what it serves; a hop may use a part
	StepCost    time.Duration       // of a one-row step through all of Layers, measured; 0: unknown
	RTT         time.Duration       // between coordinator and node; 0: unknown
	Sessions    int                 // open now
	MaxSessions int                 // no more than these; 0: unknown
	Draining    bool                // leaving: takes no sessions
	Context     int                 // positions of a session at the most; 0: unknown
	Asked       time.Time           // when it was asked for all this

	Standing Standing  // see [History.Judge]
	Until    time.Time // end of the standing
}

// Why a node has no room now.
const (
	reasonBusy = "busy" // it said so a moment ago
	reasonFull = "full" // it has as many sessions as it takes
)

// reason says why a candidate cannot take a session now; "" when it can.
func (c *Candidate) reason(opt *Options) string {
	switch {
	case opt.Exclude[c.Peer]:
		return "given up on"
	case c.Context > 0 && c.Context < opt.Positions:
		return fmt.Sprintf("takes %d positions at the most", c.Context)
	case c.Standing.reason(c.Until) != "":
		return c.Standing.reason(c.Until)
	case c.Draining:
		return "draining"
	case c.MaxSessions > 0 && c.Sessions >= c.MaxSessions:
		return reasonFull
	}
	return ""
}

// hopOverhead is what a hop costs beside computing and distance: framing, copies, wake-ups. Measured 0.15-0.3 ms on
// one LAN.
const hopOverhead = 250 * time.Microsecond

// sessionLoad is how many open sessions slow a step by its own length: sessions are idle most of the time (their user
// reads), and the engine batches those that are not.
const sessionLoad = 4

// cost is a duration in ns, ties broken by hops. Sums stay below 2^63: see maxStep.
type cost struct {
	ns   int64
	hops int
}

func (a cost) plus(b cost) cost { return cost{a.ns + b.ns, a.hops + b.hops} }

func (a cost) compare(b cost) int {
	return cmp.Or(cmp.Compare(a.ns, b.ns), cmp.Compare(a.hops, b.hops))
}

// maxStep bounds a candidate's claims, so that no sum of them overflows.
const maxStep = time.Hour

// node is a usable candidate with its prices.
type node struct {
	*Candidate
	oneWay   int64 // ns, half its round trip
	enter    int64 // ns to have it as a hop at all: one way, and the overhead
	perLayer int64 // ns of one layer
}

// usualLayer is what one layer is taken to cost where nobody has measured any: a loaded node is still dearer than an idle one.
const usualLayer = time.Millisecond

// price turns the usable candidates into nodes, sorted by peer ID. Who has not measured a step yet is taken to be as
// fast as the mean of those who have.
func price(usable []*Candidate) []node {
	nodes := make([]node, 0, len(usable))
	var known, sum int64
	for _, c := range usable {
		oneWay := int64(min(max(c.RTT, 0), maxStep)) / 2
		n := node{Candidate: c, oneWay: oneWay, enter: oneWay + int64(hopOverhead), perLayer: -1}
		if c.StepCost > 0 {
			n.perLayer = int64(min(c.StepCost, maxStep)) / int64(c.Layers.Len())
			known++
			sum += n.perLayer
		}
		nodes = append(nodes, n)
	}
	for i := range nodes {
		n := &nodes[i]
		switch {
		case n.perLayer < 0 && known > 0:
			n.perLayer = sum / known
		case n.perLayer < 0:
			n.perLayer = int64(usualLayer)
		}
		n.perLayer += n.perLayer * int64(min(max(n.Sessions, 0), 1<<10)) / sessionLoad
	}
	slices.SortFunc(nodes, func(a, b node) int { return cmp.Compare(a.Peer, b.Peer) })
	return nodes
}
