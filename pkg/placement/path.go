// SPDX-License-Identifier: MIT

package placement

import (
	"cmp"
	"slices"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// piece is a hop by node index.
type piece struct {
	node     int
	from, to int
}

// path is a way through all layers.
type path struct {
	nodes  []node
	pieces []piece
	sum    cost  // of the hops
	back   int64 // ns from the last hop to the coordinator
}

// add computes sum and back.
func (p *path) add() {
	p.sum, p.back = cost{}, 0
	for _, x := range p.pieces {
		n := &p.nodes[x.node]
		p.sum = p.sum.plus(cost{n.enter + n.perLayer*int64(x.to-x.from), 1})
		p.back = max(p.back, n.oneWay)
	}
}

func (p *path) total() cost { return p.sum.plus(cost{ns: p.back}) }

// compare is the order Route documents; the lesser path is the better one.
func (p *path) compare(q *path) int {
	if c := p.total().compare(q.total()); c != 0 {
		return c
	}
	return slices.CompareFunc(p.pieces, q.pieces, func(a, b piece) int {
		return cmp.Or(cmp.Compare(p.nodes[a.node].Peer, q.nodes[b.node].Peer), cmp.Compare(b.to, a.to))
	})
}

func (p *path) hops() []protocol.Hop {
	hops := make([]protocol.Hop, len(p.pieces))
	for i, x := range p.pieces {
		n := &p.nodes[x.node]
		hops[i] = protocol.Hop{Peer: n.Peer, Addrs: slices.Clone(n.Addrs), Layers: protocol.LayerRange{From: x.from, To: x.to}}
	}
	return hops
}

// repeats returns which of n nodes appear more than once, in order of index.
func repeats(pieces []piece, n int) []int {
	count := make([]int, n)
	var twice []int
	for _, p := range pieces {
		if count[p.node]++; count[p.node] == 2 {
			twice = append(twice, p.node)
		}
	}
	slices.Sort(twice)
	return twice
}

// merge makes a path without repetition, beginning with the given one of n nodes: a node that appears again computes
// everything in between as well, which its range holds.
func merge(pieces []piece, node, n int) []piece {
	is := func(p piece) bool { return p.node == node }
	first, last := slices.IndexFunc(pieces, is), len(pieces)-1
	for !is(pieces[last]) {
		last--
	}
	pieces[first].to = pieces[last].to
	pieces = slices.Delete(pieces, first+1, last+1)
	if more := repeats(pieces, n); len(more) > 0 {
		return merge(pieces, more[0], n)
	}
	return pieces
}
