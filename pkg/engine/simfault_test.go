// SPDX-License-Identifier: MIT

package engine

import (
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// boot starts a node that is down.
func (n *simNode) boot() {
	if n.life != nil {
		return
	}
	n.life, n.draining = &simLife{n: n, sessions: map[protocol.SessionID]*simSession{}}, false
	n.w.logf("%s (layers %s) is up", n.peer, n.layers)
}

// kill ends a node's process without a word.
func (n *simNode) kill() {
	l := n.life
	if l == nil {
		return
	}
	n.w.logf("%s is killed", n.peer)
	n.life, l.ended = nil, true
	n.w.suspect(l, 10*time.Millisecond, 1200*time.Millisecond, func(simHost) bool { return true })
}

// freeze stops a node's process for a while.
func (n *simNode) freeze(d time.Duration) {
	l := n.life
	if l == nil || l.sleeping {
		return
	}
	n.w.logf("%s is frozen for %s", n.peer, d)
	l.sleeping = true
	n.w.suspect(l, 700*time.Millisecond, 1500*time.Millisecond, func(simHost) bool { return l.sleeping })
	n.w.after(d, func() {
		if !l.ended {
			n.w.logf("%s thaws", n.peer)
		}
		l.sleeping, n.w.deaf[n.peer] = false, n.w.now
	})
}

// partition lets nothing pass between two peers for a while.
func (w *simWorld) partition(a, b simHost, d time.Duration) {
	pair := [2]string{a.peerID(), b.peerID()}
	if a == b || w.cuts[pair] {
		return
	}
	w.logf("nothing passes between %s and %s for %s", pair[0], pair[1], d)
	w.cuts[pair] = true
	w.after(d, func() {
		delete(w.cuts, pair)
		w.deaf[pair[0]], w.deaf[pair[1]] = w.now, w.now
	})
	for _, ends := range [][2]simHost{{a, b}, {b, a}} {
		w.suspect(ends[0], 700*time.Millisecond, 1500*time.Millisecond, func(by simHost) bool { return by == ends[1] && w.cuts[pair] })
	}
}

// leave drains a node: it tells, takes nothing new, and goes when nobody needs it or after grace.
func (n *simNode) leave(grace time.Duration) {
	l := n.life
	if l == nil || n.draining {
		return
	}
	n.w.logf("%s drains for %s", n.peer, grace)
	n.draining = true
	for _, e := range l.ends {
		if tell := e.coord.leaves; tell != nil {
			n.w.after(n.w.latency, tell)
		}
	}
	until := n.w.now + grace
	var wait func()
	wait = func() {
		if l.ended {
			return
		}
		if len(l.sessions) > 0 && n.w.now < until {
			n.w.after(20*time.Millisecond, wait)
			return
		}
		n.w.logf("%s leaves with %d sessions", n.peer, len(l.sessions))
		for _, e := range slices.Clone(l.ends) {
			e.report(protocol.Errorf(protocol.CodeDraining, "the node stops"))
			e.end()
		}
		n.life, l.ended = nil, true
	}
	wait()
}

// whoLeaves calls tell when the node drains while the stream is open; at once if it does already.
func (l *simLife) whoLeaves(far *simStream, tell func()) {
	far.leaves = func() {
		if far.open {
			tell()
		}
	}
	if l.n.draining {
		l.n.w.after(2*l.n.w.latency, far.leaves)
	}
}

// die ends a coordinator's process without a word.
func (c *simCoordinator) die() {
	if c.dead || c.state == nil || c.state.Ended() {
		return
	}
	c.w.logf("%s dies", c.name)
	c.dead = true
	c.w.suspect(c, 10*time.Millisecond, 1500*time.Millisecond, func(simHost) bool { return true })
}
