// SPDX-License-Identifier: MIT

package simulate

import (
	"fmt"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// generation drives one pipeline.PipelineState, as pipeline.Generate does with real streams.
type generation struct {
	w      *world
	c      *coordinator
	number int
	state  *pipeline.PipelineState
	route  []*node // of the current epoch
	used   []*node // that may have a seat
	since  map[*node]time.Time
	ended  func(g *generation)

	ticking time.Duration // when the next tick is due; 0: none
	placing int           // attempt under way; 0: none
	pauses  []time.Duration
	queue   time.Duration // of decode steps at all hops
}

// openTimeout is how long an open may be without an answer of a node that is gone.
const openTimeout = 1500 * time.Millisecond

func (g *generation) apply(e pipeline.Event) {
	if g.state.Ended() {
		return
	}
	for _, effect := range g.state.Apply(g.w.time(), e) {
		g.do(effect)
	}
	if g.state.Ended() {
		g.ended(g)
		return
	}
	g.schedule()
}

func (g *generation) do(effect pipeline.Effect) {
	switch e := effect.(type) {
	case pipeline.EffectOpen:
		g.open()
	case pipeline.EffectSend:
		g.send(e.Frame)
	case pipeline.EffectRelease:
		g.release(e.Epoch)
	case pipeline.EffectClose:
		g.release(1 << 31)
	case pipeline.EffectProbe:
		g.probe(e)
	case pipeline.EffectPlace:
		g.place(e)
	case pipeline.EffectNotice:
		if r, ok := e.Notice.(pipeline.NoticeRecovered); ok && r.Recovery.Phase != pipeline.PhaseOpening {
			pause := r.Recovery.Took
			if len(r.Recovery.Lost) > 0 {
				pause += r.Recovery.Lost[0].Silence
			}
			g.pauses = append(g.pauses, pause)
		}
	case pipeline.EffectEmit, pipeline.EffectLogits, pipeline.EffectShards:
	}
}

// open opens the session at every hop of the route.
func (g *generation) open() {
	hops := g.state.Route()
	g.route = make([]*node, len(hops))
	for i, h := range hops {
		g.route[i] = g.w.byPeer[h.Peer]
	}
	epoch, route := g.state.Epoch(), g.route
	for i, n := range route {
		fail := func(err error) func() {
			return func() { g.apply(pipeline.EventFailed{Epoch: epoch, Hop: i, Err: err}) }
		}
		if n == nil { // it is long gone
			g.w.after(openTimeout, fail(lostPeer(hops[i].Peer)))
			continue
		}
		if !slices.Contains(g.used, n) {
			g.used = append(g.used, n)
		}
		if g.since[n].IsZero() {
			g.since[n] = g.w.time()
		}
		o := g.state.OpenFrame(i)
		way := oneWay(g.c.site, n.site)
		g.w.after(way, func() {
			if n.gone {
				g.w.after(openTimeout-way, fail(lostPeer(n.peer)))
				return
			}
			if g.state.Ended() {
				return
			}
			s, refusal := n.open(g, o, route)
			if refusal != nil {
				g.w.after(way, fail(refusal))
				return
			}
			took := n.fetch(s, o)
			if i+1 < len(route) {
				if route[i+1] == nil || route[i+1].gone {
					return // its own open fails
				}
				took += 2 * oneWay(n.site, route[i+1].site) // attach
			}
			g.w.after(took+way, func() {
				if n.seats[g] == s {
					g.apply(pipeline.EventOpened{Epoch: epoch, Hop: i, CachedTo: s.rows, KeptTo: s.kept})
				}
			})
		})
	}
}

func lostPeer(peer string) error {
	err := protocol.Errorf(protocol.CodeUnreachable, "gone")
	err.Lost = peer
	return err
}

// send gives an input to the first hop.
func (g *generation) send(f protocol.Frame) {
	n, epoch := g.route[0], g.state.Epoch()
	j := &job{}
	switch f := f.(type) {
	case *protocol.Step:
		j.step = f
		j.timings = make([]protocol.HopTiming, 0, len(g.route))
	case *protocol.Resume:
		j.resume = f
	default:
		panic(fmt.Sprintf("a generation sends a %T", f))
	}
	g.w.after(oneWay(g.c.site, n.site), func() {
		if s := n.seats[g]; s != nil && s.epoch == epoch {
			j.s = s
			n.receive(j)
		}
	})
}

// drawn is the token of every answer: nobody reads it.
var drawn = []protocol.TokenID{1}

// answered takes what the last hop gave.
func (g *generation) answered(j *job) {
	last := j.s.index
	if j.resume != nil {
		g.apply(pipeline.EventResumed{Hop: last, Resume: j.resume})
		return
	}
	r := &protocol.IntermediateResult{
		Session: j.step.Session, Epoch: j.step.Epoch, Step: j.step.Step, Position: j.step.Position, Tokens: j.step.Tokens, Hops: j.timings,
	}
	if j.step.Sample {
		r.Generated = drawn
	}
	if g.state.Phase() == pipeline.PhaseDecode {
		for _, h := range j.timings {
			g.queue += time.Duration(h.Queue)
		}
	}
	g.apply(pipeline.EventResult{Hop: last, Result: r})
}

// release ends the seats of epochs before one.
func (g *generation) release(before protocol.Epoch) {
	for _, n := range g.used {
		g.w.after(oneWay(g.c.site, n.site), func() {
			if s := n.seats[g]; s != nil && s.epoch < before {
				n.vacate(s)
			}
		})
	}
}

func (g *generation) probe(e pipeline.EffectProbe) {
	for _, hop := range e.Hops {
		n := g.route[hop]
		rtt := 2 * oneWay(g.c.site, n.site)
		g.w.after(rtt, func() {
			if !n.gone {
				g.apply(pipeline.EventProbed{Epoch: e.Epoch, Hop: hop})
				return
			}
			g.w.after(2*time.Second-rtt, func() { g.apply(pipeline.EventProbed{Epoch: e.Epoch, Hop: hop, Err: lostPeer(n.peer)}) })
		})
	}
}

// place looks for a route until there is one, or the generation wants another.
func (g *generation) place(e pipeline.EffectPlace) {
	if g.placing == 0 {
		g.c.eager++
	}
	g.placing = e.Attempt
	opt := placement.Options{Positions: e.Repair.Positions, Exclude: map[string]bool{}}
	var lost []int
	for _, l := range e.Repair.Lost {
		lost = append(lost, l.Hop)
		peer := e.Repair.Route[l.Hop].Peer
		if l.Leaving {
			opt.Exclude[peer] = true
			continue
		}
		g.note(peer, placement.OutcomeOf(l.Err))
	}
	began, said := g.w.now, false
	var try func()
	try = func() {
		if g.state.Ended() || g.placing != e.Attempt {
			return
		}
		route, err := placement.Repair(g.c.candidates(), e.Repair.Route, lost, opt)
		if err == nil {
			g.placed()
			g.apply(pipeline.EventPlaced{Attempt: e.Attempt, Route: route})
			return
		}
		if !said && g.w.now-began >= time.Second {
			said = true
			g.apply(pipeline.EventUnplaced{Attempt: e.Attempt, Err: err})
		}
		g.w.after(500*time.Millisecond, try)
	}
	g.w.after(0, try)
}

func (g *generation) placed() {
	if g.placing != 0 {
		g.placing = 0
		g.c.eager--
	}
}

// note remembers how the use of a node ended.
func (g *generation) note(peer string, o placement.Outcome) {
	n := g.w.byPeer[peer]
	if began, ok := g.since[n]; ok {
		g.c.history.Note(g.w.time(), peer, o, began)
		delete(g.since, n)
	}
}

// leaving tells that a node of the route will leave.
func (g *generation) leaving(n *node) {
	if i := slices.Index(g.route, n); i >= 0 {
		g.apply(pipeline.EventLeaving{Epoch: g.state.Epoch(), Hop: i, Grace: drainTime})
	}
}

// lost tells that a node with a seat is gone.
func (g *generation) lost(n *node) {
	if i := slices.Index(g.route, n); i >= 0 && !g.state.Ended() {
		g.c.dir.Remove(n.peer)
		g.apply(pipeline.EventFailed{Epoch: g.state.Epoch(), Hop: i, Err: lostPeer(n.peer)})
	}
}

// schedule makes sure that a tick comes when the state wants one.
func (g *generation) schedule() {
	at := g.state.Deadline().Sub(moment(0))
	if g.ticking > g.w.now && g.ticking <= at {
		return // that one looks again
	}
	at = max(at, g.w.now+time.Microsecond)
	g.ticking = at
	g.w.after(at-g.w.now, func() {
		if g.ticking == at && !g.state.Ended() {
			g.ticking = 0
			g.apply(pipeline.EventTick{})
		}
	})
}
