// SPDX-License-Identifier: MIT

package client

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// chaosLayers is how many layers the model of these schedules has.
const chaosLayers = 8

// chaosPlan is a swarm, what is asked of it, and what goes wrong when. It depends on nothing but the seed.
type chaosPlan struct {
	seed     uint64
	latency  time.Duration // one way
	ranges   int           // of the first route; its nodes come first
	nodes    []chaosSpec   // those that join later last
	late     int           // how many those are
	requests []chaosRequest
	clients  int
	faults   []chaosFault        // by time
	doomed   protocol.LayerRange // layers all of whose nodes are killed for good; empty: none
	rough    bool                // packets are lost or delayed at times
	calm     bool                // nothing goes wrong, but that frames come again
}

// chaosSpec is a node.
type chaosSpec struct {
	layers protocol.LayerRange
	step   time.Duration // of one row
	replay int64         // budget for kept outputs, bytes; 0: the default
}

// chaosRequest is a generation.
type chaosRequest struct {
	client int
	at     time.Duration
	wire   protocol.DType
	local  bool // the model's ends are the client's
	req    Request
}

// chaosKind says what goes wrong.
type chaosKind uint8

const (
	chaosKill   chaosKind = iota // node a's process ends without a word; it comes back with the same key, unless it is doomed
	chaosFreeze                  // host a stops
	chaosCut                     // nothing passes to and from host a
	chaosPart                    // nothing passes between a and b
	chaosHalf                    // nothing passes from a to b; the other way it does
	chaosDrain                   // node a leaves in good order; it comes back
	chaosJoin                    // node a joins
	chaosReplay                  // node a sends frames of the past again, those of older epochs among them
	chaosLoss                    // packets are lost
	chaosJitter                  // packets are delayed, and overtake each other
	chaosDie                     // client a's process ends without a word
)

func (k chaosKind) String() string {
	return [...]string{"kill", "freeze", "cut", "part", "half", "drain", "join", "replay", "loss", "jitter", "die"}[k]
}

// chaosFault is one of them. Hosts are counted from 0: nodes, then clients.
type chaosFault struct {
	at, lasts time.Duration // lasts 0: for good
	kind      chaosKind
	a, b      int
	often     float64       // of loss: the probability
	most      time.Duration // of jitter
}

func (f chaosFault) String() string {
	s := fmt.Sprintf("%-6s at %s", f.kind, f.at)
	switch f.kind {
	case chaosPart, chaosHalf:
		s += fmt.Sprintf(" from %d to %d", f.a, f.b)
	case chaosLoss:
		s += fmt.Sprintf(" of %.1f %%", 100*f.often)
	case chaosJitter:
		s += fmt.Sprintf(" of up to %s", f.most)
	default:
		s += fmt.Sprintf(" host %d", f.a)
	}
	if f.lasts > 0 {
		s += fmt.Sprintf(", for %s", f.lasts)
	}
	return s
}

// newChaosPlan draws the schedule of a seed.
func newChaosPlan(seed uint64) *chaosPlan {
	r := chaosRand{rand.New(rand.NewPCG(seed, 0xc4a05))}
	p := &chaosPlan{seed: seed, latency: []time.Duration{200 * time.Microsecond, 2 * time.Millisecond, 15 * time.Millisecond}[r.IntN(3)]}
	p.drawNodes(r)
	p.drawRequests(r)
	p.drawFaults(r)
	slices.SortStableFunc(p.faults, func(a, b chaosFault) int { return cmp.Compare(a.at, b.at) })
	return p
}

type chaosRand struct{ *rand.Rand }

// between draws a duration of at least from and less than to.
func (r chaosRand) between(from, to time.Duration) time.Duration {
	return (from + time.Duration(r.Int64N(int64(to-from)))).Round(100 * time.Microsecond)
}

// drawNodes draws the nodes of a route, then replicas and nodes whose ranges lie as they like.
func (p *chaosPlan) drawNodes(r chaosRand) {
	add := func(l protocol.LayerRange) {
		p.nodes = append(p.nodes, chaosSpec{layers: l, step: r.between(time.Millisecond, 20*time.Millisecond), replay: []int64{0, 0, 512, -1}[r.IntN(4)]})
	}
	p.ranges = 2 + r.IntN(3)
	cuts := r.Perm(chaosLayers - 1)[:p.ranges-1]
	slices.Sort(cuts)
	from := 0
	for _, c := range append(cuts, chaosLayers-1) {
		add(protocol.LayerRange{From: from, To: c + 1})
		from = c + 1
	}
	for i := range p.ranges {
		if r.IntN(3) > 0 {
			add(p.nodes[i].layers)
		}
	}
	some := func() protocol.LayerRange {
		from := r.IntN(chaosLayers)
		return protocol.LayerRange{From: from, To: from + 1 + r.IntN(chaosLayers-from)}
	}
	switch r.IntN(4) {
	case 0:
		add(some())
	case 1:
		i := r.IntN(p.ranges - 1) // two neighbours' layers: it takes the place of both
		add(protocol.LayerRange{From: p.nodes[i].layers.From, To: p.nodes[i+1].layers.To})
	}
	if r.IntN(4) == 0 {
		p.late = 1
		add(some())
	}
}

func (p *chaosPlan) drawRequests(r chaosRand) {
	p.clients = 1 + r.IntN(2)
	for i := range p.clients + r.IntN(4-p.clients) {
		q := chaosRequest{client: i % p.clients, at: r.between(0, time.Second), wire: protocol.F32}
		if r.IntN(4) == 0 {
			q.wire = protocol.F16
		}
		q.req = Request{
			MaxTokens: uint32(5 + r.IntN(40)), ChunkRows: 1 + r.IntN(8), Path: protocol.Path(r.IntN(4) / 3),
			FailFast: r.IntN(25) == 0,
			Sampling: protocol.Sampling{Seed: r.Uint64()},
		}
		if r.IntN(3) > 0 {
			q.req.Sampling.Temperature, q.req.Sampling.RepeatPenalty = 0.9, 1.1
		}
		for range 1 + r.IntN(30) {
			q.req.Tokens = append(q.req.Tokens, protocol.TokenID(r.IntN(256)))
		}
		q.local = r.IntN(3) == 0
		p.requests = append(p.requests, q)
	}
}

// drawFaults decides what goes wrong when: mostly in the first three seconds, and for a few seconds. What was stopped goes on
// later, unless it is doomed.
func (p *chaosPlan) drawFaults(r chaosRand) {
	add := func(f chaosFault) { p.faults = append(p.faults, f) }
	if p.calm = r.IntN(10) == 0; p.calm {
		for i := range p.ranges {
			add(chaosFault{kind: chaosReplay, a: i})
		}
		return
	}
	if r.IntN(12) == 0 {
		p.doom(r)
	}
	if r.IntN(4) == 0 {
		p.rough = true
		add(chaosFault{kind: chaosLoss, at: r.between(0, time.Second), lasts: r.between(time.Second, 5*time.Second), often: []float64{0.01, 0.05, 0.15}[r.IntN(3)]})
	}
	if r.IntN(4) == 0 {
		p.rough = true
		add(chaosFault{kind: chaosJitter, at: r.between(0, time.Second), lasts: r.between(time.Second, 5*time.Second), most: r.between(time.Millisecond, 60*time.Millisecond)})
	}
	early := len(p.nodes) - p.late
	for i := early; i < len(p.nodes); i++ {
		if at := r.between(0, 2*time.Second); !p.isDoomed(i) {
			add(chaosFault{kind: chaosJoin, at: at, a: i})
		}
	}
	for i := range p.ranges {
		if r.IntN(4) == 0 {
			add(chaosFault{kind: chaosReplay, a: i})
		}
	}
	if r.IntN(4) == 0 {
		i, at, lasts := r.IntN(p.ranges-1), r.between(0, 2*time.Second), r.between(time.Second, 4*time.Second)
		add(chaosFault{kind: chaosKill, at: at, lasts: lasts, a: i})
		add(chaosFault{kind: chaosKill, at: at, lasts: lasts, a: i + 1})
	}
	kinds := []chaosKind{chaosKill, chaosKill, chaosKill, chaosFreeze, chaosFreeze, chaosCut, chaosPart, chaosHalf, chaosHalf, chaosDrain, chaosDrain}
	for range 1 + r.IntN(5) {
		f := chaosFault{kind: kinds[r.IntN(len(kinds))], at: r.between(0, 3*time.Second), lasts: r.between(100*time.Millisecond, 4*time.Second), a: r.IntN(early)}
		if r.IntN(2) == 0 {
			f.a = r.IntN(p.ranges) // of the first route, if that is the one that is found
		}
		switch f.kind {
		case chaosPart, chaosHalf:
			f.b = p.someHost(r, f.a)
			if r.IntN(2) == 0 {
				f.a, f.b = f.b, f.a
			}
		case chaosFreeze, chaosCut:
			if r.IntN(5) == 0 {
				f.a = len(p.nodes) + r.IntN(p.clients)
			}
		}
		add(f)
	}
	if r.IntN(12) == 0 {
		add(chaosFault{kind: chaosDie, at: r.between(100*time.Millisecond, 2*time.Second), a: len(p.nodes) + r.IntN(p.clients)})
	}
}

// someHost draws a host other than a.
func (p *chaosPlan) someHost(r chaosRand, a int) int {
	b := r.IntN(len(p.nodes) + p.clients - 1)
	if b >= a {
		b++
	}
	return b
}

// doom kills all nodes of a layer for good.
func (p *chaosPlan) doom(r chaosRand) {
	layer := r.IntN(chaosLayers)
	p.doomed = protocol.LayerRange{From: layer, To: layer + 1}
	for i := range len(p.nodes) - p.late {
		if p.isDoomed(i) {
			p.faults = append(p.faults, chaosFault{kind: chaosKill, at: r.between(0, 1500*time.Millisecond), a: i})
		}
	}
}

func (p *chaosPlan) isDoomed(node int) bool {
	l := p.nodes[node].layers
	return p.doomed.Len() > 0 && l.From < p.doomed.To && p.doomed.From < l.To
}

// String tells what the plan is, for people.
func (p *chaosPlan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %s one way, %d clients\n", p.seed, p.latency, p.clients)
	for i, n := range p.nodes {
		fmt.Fprintf(&b, "  host %d: layers %s, %s a row, budget for outputs %d\n", i, n.layers, n.step, n.replay)
	}
	for i, q := range p.requests {
		fmt.Fprintf(&b, "  generation %d at %s of host %d: %d tokens to a prompt of %d, wire %s, path %d, chunks of %d, fail fast %t, local ends %t\n",
			i, q.at, len(p.nodes)+q.client, q.req.MaxTokens, len(q.req.Tokens), q.wire, q.req.Path, q.req.ChunkRows, q.req.FailFast, q.local)
	}
	for _, f := range p.faults {
		fmt.Fprintf(&b, "  %s\n", f)
	}
	return b.String()
}
