// SPDX-License-Identifier: MIT

package engine

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

func bitsOf(x uint32) float32 { return math.Float32frombits(x) }
func ofBits(x float32) uint32 { return math.Float32bits(x) }

var (
	errSimEnded = errors.New("the peer ended the stream")
	errSimGone  = errors.New("there is nobody at that address")
)

// simEnd is a hop's part of a session on the network: the coordinator's stream and the links; see package p2p's session.
type simEnd struct {
	l        *simLife
	open     *protocol.Open
	coord    *simStream
	session  *simSession
	next     *simStream       // link to the next hop; nil: not yet
	unlinked bool             // there will be no link
	waiting  []protocol.Frame // outputs that wait for the link
	previous *simStream
	told     bool // the loss of a link is reported
	over     bool
}

// accept takes a coordinator's stream.
func (l *simLife) accept(s *simStream) {
	e := &simEnd{l: l, coord: s}
	s.received = e.fromCoordinator
	s.failed = func(error) { e.end() }
}

func (e *simEnd) fromCoordinator(f protocol.Frame) {
	if o, ok := f.(*protocol.Open); ok {
		e.start(o)
		return
	}
	if e.session == nil || e.open.Index > 0 && e.open.Path == protocol.PathDirect {
		return
	}
	e.input(f)
}

func (e *simEnd) start(o *protocol.Open) {
	e.open = o
	s, opened, err := e.l.open(o, e.deliver)
	if err != nil {
		e.coord.send(err)
		e.coord.close(errSimEnded)
		return
	}
	e.session = s
	e.l.ends = append(e.l.ends, e)
	answer := func() {
		if !e.over && !e.l.ended {
			e.coord.send(opened)
			e.attach()
		}
	}
	if len(o.Sources) == 0 || opened.CachedTo >= o.Rows {
		answer()
		return
	}
	e.l.n.w.after(e.l.n.w.between(e.l.n.w.latency, 6*e.l.n.w.latency), func() {
		if !e.over && !e.l.ended && !s.ended && e.l.takeOver(s, o) {
			opened.CachedTo, opened.KeptTo = o.Rows, 0
			e.l.n.w.moved++
		}
		answer()
	})
}

// takeOver brings a fresh session the rows that the Open's sources have; all of them, or it brings none.
func (l *simLife) takeOver(s *simSession, o *protocol.Open) bool {
	sums := make([][]uint64, o.Rows)
	var history []protocol.TokenID
	for _, source := range o.Sources {
		i := slices.IndexFunc(l.n.w.nodes, func(n *simNode) bool { return n.peer == source.Peer })
		if !l.n.w.answers(l, source.Peer) {
			return false
		}
		from := l.n.w.nodes[i].life.sessions[o.Session]
		if from == nil || from.kv == nil || from.kv.rows < o.Rows || !from.layers.Contains(source.Layers) {
			return false
		}
		at := source.Layers.From - from.layers.From
		for row := range sums {
			sums[row] = append(sums[row], from.kv.cache.sums[row][at:at+source.Layers.Len()]...)
		}
		history = from.kv.history
	}
	s.kv.cache.sums, s.kv.rows = sums, o.Rows
	if s.last && !s.localEnds {
		s.kv.history = slices.Clone(history[:o.Rows])
	}
	s.order = newOrder(o, o.Rows, 0)
	return true
}

func (e *simEnd) last() bool   { return int(e.open.Index) == len(e.open.Route)-1 }
func (e *simEnd) direct() bool { return e.open.Path == protocol.PathDirect }

// input gives the session a frame; a refusal is told to the coordinator.
func (e *simEnd) input(f protocol.Frame) {
	if err := e.l.submit(e.session, f); err != nil {
		e.report(err)
	}
}

func (e *simEnd) report(err *protocol.Error) {
	err.Session, err.Epoch, err.Peer, err.Layers = e.open.Session, e.open.Epoch, e.l.n.peer, e.open.Route[e.open.Index].Layers
	e.coord.send(err)
}

// deliver sends an output on.
func (e *simEnd) deliver(f protocol.Frame) {
	switch {
	case e.over || e.unlinked:
	case !e.direct() || e.last():
		e.coord.send(f)
	case e.next == nil:
		e.waiting = append(e.waiting, f)
	default:
		e.next.send(f)
	}
}

// attach opens the link to the next hop, which may not have heard of the session yet.
func (e *simEnd) attach() {
	if !e.direct() || e.last() {
		return
	}
	hop := e.open.Route[e.open.Index+1]
	e.l.n.w.dial(e.l, hop.Peer, func(there *simLife, err error) {
		switch {
		case e.over || !e.l.up():
		case err != nil:
			e.lost("no link to the next hop", hop.Peer)
		default:
			e.join(there, e.l.n.w.now+5*time.Second)
		}
	})
}

// join makes the link as soon as the next hop has opened the session.
func (e *simEnd) join(there *simLife, until time.Duration) {
	w := e.l.n.w
	if e.over || !e.l.up() {
		return
	}
	for _, other := range there.ends {
		if !other.over && other.open.Session == e.open.Session && other.open.Epoch == e.open.Epoch && other.open.Index == e.open.Index+1 && !there.ended {
			here, far := w.newStream(e.l, there)
			e.next, other.previous = here, far
			here.failed = func(err error) { e.linkFailed("the link to the next hop broke", here.there.peerID(), err) }
			far.failed = func(err error) { other.linkFailed("the link from the previous hop broke", far.there.peerID(), err) }
			far.received = func(f protocol.Frame) {
				if !other.over {
					w.forge(other, f)
					other.input(f)
					w.haunt(other, f)
				}
			}
			waiting := e.waiting
			e.waiting = nil
			for _, f := range waiting {
				here.send(f)
			}
			return
		}
	}
	if w.now >= until || there.ended {
		peer := ""
		if there.ended {
			peer = there.n.peer
		}
		e.lost("the next hop does not know the session", peer)
		return
	}
	w.after(5*time.Millisecond, func() { e.join(there, until) })
}

func (e *simEnd) linkFailed(what, peer string, err error) {
	var wire *protocol.Error
	if !errors.As(err, &wire) { // it was ended, not lost
		peer = ""
	}
	e.lost(what, peer)
}

// lost reports a link, once.
func (e *simEnd) lost(what, peer string) {
	e.unlinked = true
	if e.over || e.told {
		return
	}
	e.told = true
	err := protocol.Errorf(protocol.CodeUnreachable, "%s", what)
	err.Lost = peer
	e.report(err)
}

// end is what the end of the coordinator's stream does.
func (e *simEnd) end() {
	if e.over {
		return
	}
	e.over = true
	e.l.ends = slices.DeleteFunc(e.l.ends, func(o *simEnd) bool { return o == e })
	if e.session != nil {
		e.l.end(e.session)
	}
	for _, s := range []*simStream{e.coord, e.next, e.previous} {
		if s != nil {
			s.close(errSimEnded)
		}
	}
}

// dial reaches for a peer: its current life, or an error after a while.
func (w *simWorld) dial(from simHost, peer string, done func(*simLife, error)) {
	wait := w.between(w.latency, 3*w.latency)
	w.after(wait, func() {
		for _, n := range w.nodes {
			if n.peer != peer {
				continue
			}
			if n.life != nil && !n.life.sleeping && !w.cut(from.peerID(), peer) {
				done(n.life, nil)
				return
			}
		}
		w.after(w.between(100*time.Millisecond, 2*time.Second), func() { done(nil, errSimGone) })
	})
}

// lostPeer is what a host's beats say of another.
func lostPeerError(peer string) error {
	err := protocol.Errorf(protocol.CodeUnreachable, "lost")
	err.Lost = peer
	return err
}

// forge gives a hop a frame of an older epoch that would fit now, with hidden states that are wrong.
func (w *simWorld) forge(e *simEnd, f protocol.Frame) {
	r, ok := f.(*protocol.IntermediateResult)
	if !ok || r.Epoch == 0 || len(r.Hidden) == 0 || !w.chance(w.chaos.forged) {
		return
	}
	old := *r
	old.Epoch--
	old.Hidden = slices.Clone(r.Hidden)
	for i := range old.Hidden {
		old.Hidden[i] ^= 0x55
	}
	e.input(&old)
}

// haunt gives a hop's frame once more, later, to whatever session the hop's node has then: another life of the route, or the same.
func (w *simWorld) haunt(e *simEnd, f protocol.Frame) {
	if !w.chance(w.chaos.old) {
		return
	}
	n, id := e.l.n, e.open.Session
	body, err := protocol.AppendBody(nil, f)
	if err != nil {
		panic(err)
	}
	w.after(w.between(0, 3*time.Second), func() {
		if n.life == nil || n.life.sleeping {
			return
		}
		for _, other := range slices.Clone(n.life.ends) {
			if !other.over && other.open.Session == id && other.open.Index > 0 {
				old, err := protocol.Decode(body)
				if err != nil {
					panic(err)
				}
				w.logf("an old %T haunts %s in epoch %d", old, n.peer, other.open.Epoch)
				other.input(old)
			}
		}
	})
}
