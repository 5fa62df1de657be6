// SPDX-License-Identifier: MIT

package engine

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/pipeline"
	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// simCoordinator drives one generation: the real PipelineState, and the simulation of its driver, of package p2p's coordinator side and of
// internal/client's way to find replacements.
type simCoordinator struct {
	w     *simWorld
	name  string
	cfg   pipeline.Config
	req   protocol.InferenceRequest
	state *pipeline.PipelineState
	ends  *pipeline.Ends // nil: hops get tokens
	lives []*simStint
	dead  bool

	history placement.History
	seen    map[string]time.Time // when nodes last answered
	placing int                  // the attempt under way
	ticking time.Duration        // when the next tick is due

	wantTokens []protocol.TokenID
	wantLogits []uint64
	tokens     []protocol.TokenID
	logits     int // rows seen
	problem    string
	recoveries int
}

// simStint is an epoch's streams.
type simStint struct {
	epoch   protocol.Epoch
	streams []*simStream
}

func (c *simCoordinator) peerID() string { return c.name }
func (c *simCoordinator) up() bool       { return !c.dead }
func (c *simCoordinator) frozen() bool   { return false }

func (c *simCoordinator) start() {
	state, err := pipeline.New(c.cfg, c.req)
	if err != nil {
		panic(err)
	}
	c.state = state
	c.apply(pipeline.EventStart{})
}

// apply is the driver's apply: effects in order; a send that fails is an event in place of those that were to follow.
func (c *simCoordinator) apply(e pipeline.Event) {
	if c.dead || c.state.Ended() {
		return
	}
	effects := c.state.Apply(c.w.clock(), e)
	for len(effects) > 0 {
		effect := effects[0]
		effects = effects[1:]
		if send, ok := effect.(pipeline.EffectSend); ok {
			s := c.lives[len(c.lives)-1].streams[send.Hop]
			if !s.open {
				effects = c.state.Apply(c.w.clock(), pipeline.EventFailed{Epoch: c.state.Epoch(), Hop: send.Hop, Err: errSimEnded})
				continue
			}
			s.send(c.enter(send))
			continue
		}
		c.do(effect)
	}
	c.schedule()
}

// enter is what endsStream does with what is sent.
func (c *simCoordinator) enter(e pipeline.EffectSend) protocol.Frame {
	if c.ends == nil || e.Hop > 0 {
		return e.Frame
	}
	f, err := c.ends.Enter(e.Frame)
	if err != nil {
		panic(err)
	}
	return f
}

// leave is what endsStream does with what comes.
func (c *simCoordinator) leave(hop, hops int, r *protocol.IntermediateResult) error {
	if c.ends == nil || hop < hops-1 {
		return nil
	}
	if slices.ContainsFunc(r.Tokens, func(t protocol.TokenID) bool { return t != 0 }) || len(r.Generated) > 0 {
		c.wrong("the last hop knows tokens: %+v", r)
	}
	return c.ends.Leave(r)
}

func (c *simCoordinator) do(effect pipeline.Effect) {
	switch e := effect.(type) {
	case pipeline.EffectOpen:
		c.w.logf("%s opens epoch %d along %s", c.name, e.Epoch, simRoute(c.state.Route()))
		c.lives = append(c.lives, &simStint{epoch: e.Epoch, streams: make([]*simStream, len(c.state.Route()))})
		for hop := range c.state.Route() {
			c.dial(hop)
		}
	case pipeline.EffectRelease:
		for len(c.lives) > 0 && c.lives[0].epoch < e.Epoch {
			c.lives[0].close()
			c.lives = c.lives[1:]
		}
	case pipeline.EffectProbe:
		for _, hop := range e.Hops {
			c.probe(e.Epoch, hop)
		}
	case pipeline.EffectPlace:
		c.place(e)
	case pipeline.EffectEmit:
		if n := len(c.tokens); n >= len(c.wantTokens) || c.wantTokens[n] != e.Token {
			c.wrong("token %d is %d, want %v", n, e.Token, c.wantTokens)
		}
		c.tokens = append(c.tokens, e.Token)
	case pipeline.EffectLogits:
		for i, p := range e.Positions {
			got := toyDecode(e.Rows[i*4*toyVocab:], protocol.F32)
			if c.cfg.Logits == pipeline.LogitsPrompt && p != c.logits || got != c.wantLogits[p] {
				c.wrong("logits of row %d are %x, want %x; %d rows were seen", p, got, c.wantLogits[p], c.logits)
			}
			c.logits++
		}
	case pipeline.EffectNotice:
		c.notice(e.Notice)
	case pipeline.EffectClose:
		for _, l := range c.lives {
			l.close()
		}
	}
}

func (c *simCoordinator) wrong(format string, args ...any) {
	if c.problem == "" {
		c.problem = fmt.Sprintf(format, args...)
		c.w.logf("%s: WRONG: %s", c.name, c.problem)
	}
}

func (c *simCoordinator) notice(n pipeline.Notice) {
	switch n := n.(type) {
	case pipeline.NoticeLost:
		c.w.logf("%s: shard %d at %s lost in %s after %d rows: %v", c.name, n.Shard, n.Hop.Peer, n.Phase, n.Position, n.Err)
	case pipeline.NoticeReopen:
		c.w.logf("%s: same route again: %v", c.name, n.Err)
	case pipeline.NoticeWaiting:
		c.w.logf("%s: waits: %v", c.name, n.Err)
	case pipeline.NoticeRecovered:
		c.recoveries++
		c.w.after(3*time.Second, c.checkReleased(c.state.Epoch()))
		c.w.logf("%s: recovered in %s, %d rows fed again", c.name, n.Recovery.Took, n.Recovery.Replayed)
	}
}

// checkReleased sees to it that nodes which left the route are not held by it for the rest of the generation. A node that could not hear
// lately gets a second to.
func (c *simCoordinator) checkReleased(epoch protocol.Epoch) func() {
	var check func()
	check = func() {
		if c.dead || c.state.Ended() || c.state.Epoch() != epoch {
			return
		}
		for _, n := range c.w.nodes {
			if slices.ContainsFunc(c.state.Route(), func(h protocol.Hop) bool { return h.Peer == n.peer }) || !c.w.answers(c, n.peer) {
				continue
			}
			switch {
			case n.life.sessions[c.cfg.Session] == nil:
			case c.w.now < c.w.deaf[n.peer]+time.Second:
				c.w.after(time.Second, check)
				return
			default:
				c.wrong("%s has left the route and still holds the session", n.peer)
			}
		}
	}
	return check
}

func (l *simStint) close() {
	for _, s := range l.streams {
		if s != nil {
			s.close(errSimEnded)
		}
	}
}

// dial opens a hop of the current epoch.
func (c *simCoordinator) dial(hop int) {
	frame := c.state.OpenFrame(hop)
	epoch := frame.Epoch
	refused := func(err error) { c.apply(pipeline.EventFailed{Epoch: epoch, Hop: hop, Err: err}) }
	c.w.dial(c, frame.Route[hop].Peer, func(there *simLife, err error) {
		switch {
		case c.dead || c.state.Ended():
			return
		case err != nil:
			refused(err)
			return
		}
		here, far := c.w.newStream(c, there)
		there.accept(far)
		there.whoLeaves(far, func() { c.apply(pipeline.EventLeaving{Epoch: epoch, Hop: hop}) })
		opening := true
		here.failed = func(err error) { refused(err) }
		here.received = func(f protocol.Frame) {
			switch f := f.(type) {
			case *protocol.Opened:
				if opening {
					opening = false
					c.opened(hop, f, here)
				}
			case *protocol.Error:
				if opening {
					opening = false
					here.close(errSimEnded)
					refused(f)
					return
				}
				c.apply(pipeline.EventFailed{Epoch: epoch, Hop: hop, Told: true, Err: f})
			case *protocol.IntermediateResult:
				if err := c.leave(hop, len(frame.Route), f); err != nil {
					refused(err)
					return
				}
				if f.Epoch > 0 && len(f.Generated) > 0 && c.w.chance(c.w.chaos.forged) {
					old := *f // of an older life, it says anything
					old.Epoch, old.Generated = f.Epoch-1, []protocol.TokenID{toyVocab - 1 - f.Generated[0]}
					c.apply(pipeline.EventResult{Hop: hop, Result: &old})
				}
				c.apply(pipeline.EventResult{Hop: hop, Result: f})
			case *protocol.Resume:
				c.apply(pipeline.EventResumed{Hop: hop, Resume: f})
			}
		}
		if c.ends != nil {
			here.send(c.ends.Open(frame))
		} else {
			here.send(frame)
		}
		c.w.after(12*time.Second, func() {
			if opening && here.open {
				opening = false
				here.close(errSimEnded)
				refused(errors.New("no answer to open"))
			}
		})
	})
}

// opened takes a stream, unless its epoch was released.
func (c *simCoordinator) opened(hop int, o *protocol.Opened, s *simStream) {
	for _, l := range c.lives {
		if l.epoch == o.Epoch && !c.state.Ended() {
			l.streams[hop] = s
			c.apply(pipeline.EventOpened{Epoch: o.Epoch, Hop: hop, CachedTo: int(o.CachedTo), KeptTo: int(o.KeptTo)})
			return
		}
	}
	s.close(errSimEnded)
}

func (c *simCoordinator) probe(epoch protocol.Epoch, hop int) {
	peer := c.state.Route()[hop].Peer
	answered := false
	answer := func(err error) {
		if !answered {
			answered = true
			c.apply(pipeline.EventProbed{Epoch: epoch, Hop: hop, Err: err})
		}
	}
	c.w.after(2*c.w.latency, func() {
		if c.w.answers(c, peer) {
			answer(nil)
		}
	})
	c.w.after(2*time.Second, func() { answer(errors.New("no answer to a status request")) })
}

// answers reports whether a node would answer a question now.
func (w *simWorld) answers(from simHost, peer string) bool {
	i := slices.IndexFunc(w.nodes, func(n *simNode) bool { return n.peer == peer })
	return i >= 0 && w.nodes[i].life != nil && !w.nodes[i].life.sleeping && !w.cut(from.peerID(), peer)
}

// place looks for a route now and then, as the directory learns of nodes.
func (c *simCoordinator) place(e pipeline.EffectPlace) {
	c.placing = e.Attempt
	now := c.w.clock()
	opt := placement.Options{Positions: e.Repair.Positions, Exclude: map[string]bool{}}
	var lost []int
	for _, l := range e.Repair.Lost {
		lost = append(lost, l.Hop)
		peer := e.Repair.Route[l.Hop].Peer
		if l.Leaving {
			opt.Exclude[peer] = true
			continue
		}
		c.history.Note(now, peer, placement.OutcomeOf(l.Err), now)
	}
	var look func()
	said := ""
	until := c.w.now + time.Second
	look = func() {
		if c.dead || c.state.Ended() || c.placing != e.Attempt && c.w.chance(0.5) {
			return // else it answers though it was told to stop
		}
		route, err := placement.Repair(c.candidates(), e.Repair.Route, lost, opt)
		if err == nil {
			if c.placing == e.Attempt {
				c.placing = 0
			}
			c.apply(pipeline.EventPlaced{Attempt: e.Attempt, Route: route})
			return
		}
		if c.w.now >= until && err.Error() != said {
			said = err.Error()
			c.apply(pipeline.EventUnplaced{Attempt: e.Attempt, Err: err})
		}
		c.w.after(200*time.Millisecond, look)
	}
	c.w.after(c.w.between(0, 3*c.w.latency), look)
}

// candidates is the directory: who answers, and who did not long ago.
func (c *simCoordinator) candidates() []placement.Candidate {
	var cands []placement.Candidate
	now := c.w.clock()
	for _, n := range c.w.nodes {
		cand := placement.Candidate{Peer: n.peer, Layers: n.layers, StepCost: n.step * time.Duration(n.layers.Len())}
		if c.w.answers(c, n.peer) {
			c.seen[n.peer] = now
			cand.Draining, cand.Sessions, cand.MaxSessions = n.draining, len(n.life.sessions), n.slots
		}
		asked, ok := c.seen[n.peer]
		if !ok || now.Sub(asked) > 5*time.Second {
			continue
		}
		cand.Asked = asked
		cands = append(cands, cand)
	}
	c.history.Judge(now, cands)
	return cands
}

// schedule makes sure that a tick comes when the state wants one.
func (c *simCoordinator) schedule() {
	if c.state.Ended() {
		return
	}
	at := time.Duration(c.state.Deadline().UnixNano())
	if c.ticking > c.w.now && c.ticking <= at {
		return // that one looks again
	}
	c.ticking = max(at, c.w.now+time.Microsecond)
	due := c.ticking
	c.w.after(due-c.w.now, func() {
		if c.ticking != due || c.dead {
			return
		}
		c.ticking = 0
		c.apply(pipeline.EventTick{})
	})
}

func simRoute(hops []protocol.Hop) string {
	s := ""
	for _, h := range hops {
		s += fmt.Sprintf(" %s@%s", h.Layers, h.Peer)
	}
	return s
}
