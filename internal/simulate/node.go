// SPDX-License-Identifier: MIT

package simulate

import (
	"fmt"
	"time"

	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// node is a machine that serves what placement.Chooser says.
type node struct {
	w       *world
	peer    string
	key     uint64 // its place in the ring of all nodes
	site    *site
	room    int64   // bytes for weights
	decode  float64 // bytes of weights a second of a one-row step
	prefill float64 // FLOP a second
	choose  placement.Chooser
	look    viewer

	appeared time.Duration // when others could first hear of it; before, and while it looks for layers, beyond all time
	layers   protocol.LayerRange
	serving  bool
	about    bool // it gave notice
	draining bool
	moving   bool // it drains to serve other layers, not to leave
	gone     bool
	end      time.Duration // when it went
	told     []state       // what it answered, oldest first

	seats  map[*generation]*seat
	kv     int64 // reserved
	jobs   []*job
	busy   bool
	step   time.Duration // mean of one row through all layers; 0: none yet
	served bool          // counted as serving
}

const (
	never = 1 << 62
	// loadRate is how fast weights are read and packed, in bytes a second.
	loadRate = 1e9
	// drainTime is how long sessions may stay: the daemon's --drain-timeout.
	drainTime = 20 * time.Second
	// maxSessions is the daemon's --max-sessions.
	maxSessions = 64
	// kvBudget is the daemon's --kv-budget.
	kvBudget = 1 << 30
	// replacedAfter is the mean time until another node takes the place of one that left.
	replacedAfter = time.Minute
)

// machines are what nodes have: memory for weights, decode in bytes/s, prefill in FLOP/s. Laptops, desktops, workstations, servers.
var machines = []struct {
	room    int64
	decode  float64
	prefill float64
}{{4 << 30, 30e9, 0.3e12}, {8 << 30, 50e9, 0.8e12}, {16 << 30, 100e9, 3e12}, {24 << 30, 300e9, 10e12}}

func (w *world) newNode() *node {
	m := machines[w.rng.IntN(len(machines))]
	vary := 0.7 + 0.6*w.rng.Float64()
	n := &node{
		w: w, key: w.rng.Uint64(), site: w.sites[w.rng.IntN(len(w.sites))], room: max(m.room, w.cfg.Model.LayerBytes), decode: m.decode * vary, prefill: m.prefill * vary,
		appeared: never, seats: map[*generation]*seat{},
	}
	n.peer = fmt.Sprintf("n%016x", w.rng.Uint64())
	n.choose = placement.Chooser{Peer: n.peer, NLayers: w.cfg.Model.Layers, Speed: n.decode, Fits: n.fits}
	n.look = viewer{w: w, key: n.key, site: n.site, joined: w.now}
	return n
}

func (n *node) fits(r protocol.LayerRange) bool {
	return int64(r.Len())*n.w.cfg.Model.LayerBytes <= n.room
}

// join lets a new node look for its place.
func (w *world) join() {
	n := w.newNode()
	w.enter(n)
	if w.cfg.Churn > 0 {
		life := time.Duration(w.rng.ExpFloat64() / w.cfg.Churn * float64(time.Hour))
		w.after(life, n.retire)
	}
	n.look.eager++
	w.after(placement.LookMost, n.claim)
}

// members are the nodes that n knows.
func (n *node) members() []placement.Member {
	out := n.w.members[:0]
	n.look.known(func(o *node, _ time.Duration, s *state) {
		out = append(out, placement.Member{
			Holder: placement.Holder{Layers: s.layers, Speed: o.decode}, Peer: o.peer, Draining: s.draining, Loading: s.loading,
		})
	})
	n.w.members = out
	return out
}

func (n *node) claim() {
	if n.gone {
		return
	}
	c := n.choose.Claim(n.members())
	n.layers = c.Layers
	n.tell()
	if n.appeared == never {
		n.appeared = n.w.now
	}
	if !c.Settled {
		n.w.after(placement.ClaimTime, n.claim)
		return
	}
	n.look.eager--
	n.load(func() { n.w.after(placement.ReviewEvery, n.review) })
}

// load reads the layers and serves them.
func (n *node) load(then func()) {
	bytes := float64(int64(n.layers.Len()) * n.w.cfg.Model.LayerBytes)
	n.w.after(time.Duration(bytes/loadRate*float64(time.Second)), func() {
		if n.gone {
			return
		}
		n.serving, n.draining, n.moving = true, false, false
		n.changed()
		then()
	})
}

// changed tells of a change, and counts who serves what.
func (n *node) changed() {
	n.tell()
	serves := n.serving && !n.draining && !n.gone
	if serves != n.served {
		n.served = serves
		n.w.cover(n.layers, serves)
	}
}

// review is the daemon's, once a minute.
func (n *node) review() {
	if n.gone || n.draining {
		return
	}
	wish, _, verdict := n.choose.Review(n.members(), n.layers)
	if verdict != placement.GiveNotice {
		n.w.after(placement.ReviewEvery, n.review)
		return
	}
	n.about = true
	n.changed()
	n.look.eager++
	n.w.after(placement.NoticeTime, func() {
		n.look.eager--
		n.about = false
		if n.gone || n.draining {
			return
		}
		if _, stays := n.choose.Confirm(n.members(), n.layers, wish); stays != "" {
			n.changed()
			n.w.after(placement.ReviewEvery, n.review)
			return
		}
		n.w.m.moved()
		n.moving = true
		n.drain(func() {
			n.layers = wish
			n.step = 0
			n.load(func() { n.w.after(placement.ReviewEvery, n.review) })
		})
	})
}

// retire ends a node's life, and lets another one come in its place.
func (n *node) retire() {
	w := n.w
	w.after(time.Duration(w.rng.ExpFloat64()*float64(replacedAfter)), w.join)
	if w.rng.Float64() < w.cfg.Crash || !n.serving {
		n.crash()
		return
	}
	n.moving = false
	if n.draining {
		return // it leaves where it would have loaded
	}
	n.drain(n.leave)
}

// drain takes no new sessions and returns the layers when those that are open have gone, or have had their time.
func (n *node) drain(then func()) {
	n.draining = true
	n.changed()
	for _, s := range n.seatsInOrder() {
		g := s.g
		n.w.after(oneWay(n.site, g.c.site), func() { g.leaving(n) })
	}
	until := n.w.now + drainTime
	var wait func()
	wait = func() {
		switch {
		case n.gone:
			return
		case len(n.seats) > 0 && n.w.now < until:
			n.w.after(200*time.Millisecond, wait)
			return
		}
		for _, s := range n.seatsInOrder() {
			n.lose(s, oneWay(n.site, s.g.c.site))
		}
		n.serving = false
		n.changed()
		if !n.moving {
			n.leave()
			return
		}
		then()
	}
	wait()
}

// leave is a clean end: peers notice at once.
func (n *node) leave() {
	n.gone, n.end, n.serving = true, n.w.now, false
	n.changed()
	n.w.remove(n)
}

const (
	// noticedAfter and noticedMore are how long a peer with a session needs to notice a death: what pkg/p2p's silence waits at the least
	// on top of the round trip, and up to the pause between two beats (docs/adr/007).
	noticedAfter = 650 * time.Millisecond
	noticedMore  = 250 * time.Millisecond
	// ghostTime is how long those without a session may take the dead for alive.
	ghostTime = maxAge
)

// crash is an end without a word.
func (n *node) crash() {
	n.gone, n.end, n.serving = true, n.w.now, false
	n.changed()
	n.jobs = nil
	for _, s := range n.seatsInOrder() {
		n.lose(s, noticedAfter+n.w.upTo(noticedMore)+2*oneWay(n.site, s.g.c.site))
	}
	n.w.after(ghostTime, func() { n.w.remove(n) })
}

// lose ends a seat whose coordinator notices after a while.
func (n *node) lose(s *seat, after time.Duration) {
	n.vacate(s)
	g := s.g
	n.w.after(after, func() { g.lost(n) })
}
