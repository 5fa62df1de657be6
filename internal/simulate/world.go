// SPDX-License-Identifier: MIT

package simulate

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/shardnode/shardnode/pkg/placement"
	"github.com/shardnode/shardnode/pkg/protocol"
)

// world is a swarm and its people.
type world struct {
	clock
	cfg    Config
	rng    *rand.Rand
	sites  []*site
	ring   []*node // all that anybody may still take for alive, by key
	byPeer map[string]*node
	crowd  []*coordinator

	copies  []int // [layers] nodes that serve each
	members []placement.Member
	active  int // requests that have not ended
	numbers int // of generations
	closed  bool
	m       measures
}

func newWorld(cfg Config) *world {
	w := &world{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, uint64(cfg.Nodes))), byPeer: map[string]*node{}, copies: make([]int, cfg.Model.Layers)}
	w.sites = newSites(w.rng, cfg.Network, cfg.Nodes)
	// Nodes come in the first half of the warm-up.
	for range cfg.Nodes {
		w.after(w.upTo(Warmup/2), w.join)
	}
	users := max(1, int(cfg.Users*float64(cfg.Nodes)+0.5))
	for i := range users {
		if i%usersEach == 0 {
			w.crowd = append(w.crowd, w.newCoordinator())
		}
		c := w.crowd[len(w.crowd)-1]
		w.after(Warmup, c.user)
	}
	w.after(Warmup, func() { w.m.begin(w) })
	w.after(Warmup+cfg.Duration, func() { w.closed = true; w.m.close(w) })
	return w
}

// enter puts a node into the ring.
func (w *world) enter(n *node) {
	w.byPeer[n.peer] = n
	i, _ := slices.BinarySearchFunc(w.ring, n, byKey)
	w.ring = slices.Insert(w.ring, i, n)
}

// remove lets everybody forget a node.
func (w *world) remove(n *node) {
	if i, ok := slices.BinarySearchFunc(w.ring, n, byKey); ok {
		w.ring = slices.Delete(w.ring, i, i+1)
	}
	delete(w.byPeer, n.peer)
	for _, c := range w.crowd {
		c.dir.Remove(n.peer)
	}
}

func byKey(a, b *node) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.peer, b.peer)) }

// cover counts a node that begins or ceases to serve layers.
func (w *world) cover(r protocol.LayerRange, serves bool) {
	w.m.pass(w)
	d := map[bool]int{true: 1, false: -1}[serves]
	for l := r.From; l < r.To; l++ {
		w.copies[l] += d
	}
	w.m.least = slices.Min(w.copies)
}

// run lets time pass until the duration is over and all requests have ended, or ctx ends.
func (w *world) run(ctx context.Context, progress func(share float64)) {
	end := Warmup + w.cfg.Duration
	for i := 0; ; i++ {
		if i%4096 == 0 {
			if ctx.Err() != nil {
				w.m.interrupted = true
				break
			}
			if progress != nil {
				progress(min(1, float64(w.now)/float64(end)))
			}
		}
		if w.closed && w.active == 0 || !w.next() {
			break
		}
	}
	if !w.closed {
		w.m.close(w)
	}
	w.m.underWay = w.active
}

// upTo draws a time below d.
func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d))) }
