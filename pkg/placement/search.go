// SPDX-License-Identifier: MIT

package placement

import (
	"math"
	"slices"
)

// The cheapest path over layer boundaries is a dynamic programme, but for the rule that a node appears once: a wide node
// could be left for a faster one and entered again behind it. So the state is the boundary plus which of the watched
// nodes have been used. At first none is watched; while the best path uses a node twice, that node is watched and the
// search runs again. A path without repetition that is best among paths which may repeat is best.

// maxStates bounds the search's memory and time once nodes are watched: 32 MiB, some ten milliseconds.
const maxStates = 1 << 21

// cheapest returns the best path of nodes sorted by peer ID that cover all layers. The way back costs what the farthest
// hop sets, which is no sum over hops: so it searches among all nodes, then among those nearer than the farthest hop of what it found, and
// so on. In between nothing else would be found, since what was found is there too. The hops' own sum rises on the way; that ends it.
func cheapest(nodes []node, nLayers int) *path {
	best := search(nodes, nLayers)
	for p := best; p.back > 0; {
		var nearer []node
		for _, n := range nodes {
			if n.oneWay < p.back {
				nearer = append(nearer, n)
			}
		}
		if !covers(nearer, nLayers) {
			break
		}
		nodes = nearer
		p = search(nodes, nLayers)
		if p.sum.ns > best.total().ns {
			break
		}
		if p.compare(best) < 0 {
			best = p
		}
	}
	return best
}

// covers reports whether the nodes serve all layers.
func covers(nodes []node, nLayers int) bool {
	list := make([]*Candidate, len(nodes))
	for i := range nodes {
		list[i] = nodes[i].Candidate
	}
	slices.SortFunc(list, func(a, b *Candidate) int { return a.Layers.From - b.Layers.From })
	return len(gaps(list, nLayers)) == 0
}

// search returns the path with the least sum of its hops' costs.
func search(nodes []node, nLayers int) *path {
	s := &searcher{nodes: nodes, nLayers: nLayers, bit: make([]int, len(nodes))}
	for {
		s.solve()
		p := &path{nodes: nodes, pieces: s.walk()}
		repeated := repeats(p.pieces, len(nodes))
		if len(repeated) > 0 && s.states()<<len(repeated) > maxStates {
			p.pieces = merge(p.pieces, repeated[0], len(nodes))
			repeated = nil
		}
		if len(repeated) == 0 {
			p.add()
			return p
		}
		for _, i := range repeated {
			s.bit[i] = 1 << s.watched
			s.watched++
		}
	}
}

type searcher struct {
	nodes   []node // sorted by peer ID
	nLayers int
	bit     []int // per node: its bit in a set of watched nodes, 0 if not watched
	watched int

	rest []cost   // [boundary<<watched | used]: least cost of tiling the layers from boundary on, hops included
	stay [][]cost // per node, as rest: the same when the node computes up to the boundary, and may go on
}

var unreachable = cost{ns: math.MaxInt64}

// states is how many costs solve computes.
func (s *searcher) states() int {
	n := s.nLayers + 1
	for i := range s.nodes {
		n += s.nodes[i].Layers.Len() + 1
	}
	return n << s.watched
}

// solve fills rest and stay from the last boundary to the first.
func (s *searcher) solve() {
	sets := 1 << s.watched
	s.rest = make([]cost, (s.nLayers+1)*sets)
	s.stay = make([][]cost, len(s.nodes))
	for i := range s.nodes {
		s.stay[i] = make([]cost, (s.nodes[i].Layers.Len()+1)*sets)
	}
	for b := s.nLayers; b >= 0; b-- {
		for used := range sets {
			if b < s.nLayers {
				best := unreachable
				for i := range s.nodes {
					if c := s.enter(i, b, used); c.compare(best) < 0 {
						best = c
					}
				}
				s.rest[b<<s.watched|used] = best
			}
		}
		for i := range s.nodes {
			n := &s.nodes[i]
			if b <= n.Layers.From || b > n.Layers.To {
				continue
			}
			for used := range sets {
				c := s.end(b, used)
				if b < n.Layers.To {
					if on := s.goOn(i, b, used); on.compare(c) < 0 {
						c = on
					}
				}
				*s.at(i, b, used) = c
			}
		}
	}
}

// at is stay's element for node i, which has computed up to boundary b.
func (s *searcher) at(i, b, used int) *cost {
	return &s.stay[i][(b-s.nodes[i].Layers.From)<<s.watched|used]
}

// enter is the cost from boundary b on when node i takes the layer there.
func (s *searcher) enter(i, b, used int) cost {
	n := &s.nodes[i]
	if b < n.Layers.From || b >= n.Layers.To || used&s.bit[i] != 0 {
		return unreachable
	}
	next := *s.at(i, b+1, used|s.bit[i])
	if next == unreachable {
		return unreachable
	}
	return cost{n.enter + n.perLayer, 1}.plus(next)
}

// goOn is the cost from boundary b on when node i, already a hop, takes the layer there too.
func (s *searcher) goOn(i, b, used int) cost {
	next := *s.at(i, b+1, used)
	if next == unreachable {
		return unreachable
	}
	return cost{ns: s.nodes[i].perLayer}.plus(next)
}

// end is the cost from boundary b on when a hop ends there.
func (s *searcher) end(b, used int) cost {
	if b == s.nLayers {
		return cost{}
	}
	return s.rest[b<<s.watched|used]
}

// walk takes the cheapest way: at each boundary the lowest peer ID, then the longest hop.
func (s *searcher) walk() []piece {
	var pieces []piece
	for b, used := 0, 0; b < s.nLayers; {
		best := s.rest[b<<s.watched|used]
		i := 0
		for s.enter(i, b, used) != best {
			i++
		}
		used |= s.bit[i]
		p := piece{node: i, from: b}
		for b++; b < s.nodes[i].Layers.To && s.goOn(i, b, used) == *s.at(i, b, used); {
			b++
		}
		p.to = b
		pieces = append(pieces, p)
	}
	return pieces
}
