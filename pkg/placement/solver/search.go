// SPDX-License-Identifier: MIT

package solver

import (
	"cmp"
	"slices"
)

// search looks for the way of least cost through a ring, and for a bound that proves it. Steps that only find ways and steps that only
// prove take turns: each prunes the other.
type search struct {
	r     *ring // of the devices that are left: as the search goes on, those that no better way can use are struck
	cuts  []cut // of r
	ids   []int // of the devices left, in the ring that was given
	e     *effort
	any   bool // stop at the first way
	way   []hop
	upper int64 // cost of way, or what a way must be below to be wanted
	lower int64 // no way costs less, if any is below upper

	forward, backward relaxation // of r and of its reverse, with the prices of cuts
	p                 *prices
	there, back       *recall // as these two
	uses              []int   // per device: in how many relaxed ways it was
}

// How many steps of each kind. More bring little.
const (
	firstSteps  = 60 // of the ascent, before there is a way
	secondSteps = 60 // and when there is one to aim at
	manySteps   = 90 // of those, where refine does not go on
)

// minimise returns the cheapest way below upper, its cost and a lower bound of all ways' costs. Both are upper where there is none below it.
func minimise(r *ring, known []hop, upper int64, onlyAny bool, e *effort) (way []hop, cost, bound int64) {
	s := &search{r: r, e: e, any: onlyAny, upper: upper, lower: -inf, ids: make([]int, r.n)}
	for i := range s.ids {
		s.ids[i] = i
	}
	if !r.roomy() {
		return nil, upper, upper
	}
	s.offer(known)
	s.run()
	return s.way, s.upper, min(max(s.lower, 0), s.upper)
}

// roomy reports whether the devices hold all layers, if none is in another's way.
func (r *ring) roomy() bool {
	room := r.room()
	slices.SortFunc(room, func(a, b int) int { return b - a })
	sum := 0
	for _, n := range room[:min(len(room), r.hops)] {
		sum += n
	}
	return sum >= r.layers
}

// offer takes a way if it is better.
func (s *search) offer(way []hop) {
	if way == nil {
		return
	}
	if v := s.r.value(way); v < s.upper {
		s.upper, s.way = v, s.original(way)
	}
}

// original names a way's devices as the given ring does.
func (s *search) original(way []hop) []hop {
	out := slices.Clone(way)
	for k := range out {
		out[k].device = s.ids[out[k].device]
	}
	return out
}

// done reports whether there is nothing more to do.
func (s *search) done() bool {
	return s.e.over || s.lower >= s.upper || s.any && s.way != nil
}

func (s *search) run() {
	s.reset()
	var steps []func()
	switch {
	case s.r.n > mostCut:
		steps = []func(){
			func() { s.ascend(firstSteps, 0.15) },
			func() { s.construct(16) },
			func() { s.ascend(manySteps, 0.4) },
			func() { s.construct(16) },
			func() { s.polish(0.9) },
		}
	case newEven(s.r) != nil && !s.any:
		steps = []func(){s.price, func() { s.construct(4) }, func() { s.construct(16) }, func() { s.polish(0.75) }}
	default:
		steps = []func(){func() { s.ascend(firstSteps, 0.3) }, func() { s.construct(16) }, func() { s.ascend(secondSteps, 0.6) }}
		if s.r.n > maxLabelled {
			steps = append(steps, func() { s.construct(64) }, func() { s.polish(0.5) })
		}
	}
	for _, step := range append(steps, s.strike, s.refine) {
		if step(); s.done() {
			return
		}
	}
}

// price finds prices by the programme, or else by steps.
func (s *search) price() {
	steps := firstSteps
	if s.tighten(0.5) {
		steps = 1 // only what bound the prices give
	}
	s.ascend(steps, 0.3)
}

// reset makes what belongs to the ring.
func (s *search) reset() {
	s.uses = make([]int, s.r.n)
	if s.p == nil {
		s.p = newPrices(s.r.n)
	}
}

// ascend improves the prices, by no more than a share of the effort left.
func (s *search) ascend(steps int, share float64) {
	part := s.e.part(share)
	defer s.e.rejoin(part)
	p, bound := s.forward.ascend(s.r, s.cuts, s.p, steps, part, func() int64 { return s.upper }, func(way []hop) {
		for _, h := range way {
			s.uses[h.device]++
		}
		s.offer(way)
	})
	s.p, s.lower = p, max(s.lower, bound)
}

// construct finds a way, by a beam of so many.
func (s *search) construct(width int) {
	v := s.r.priced(s.cuts, s.p.cut)
	s.e.spend(s.backward.run(v.reversed(), s.p))
	s.offer(newBeam(s.r, v, s.p, s.backward.after(), width).run(s.e))
}

// polish improves the way, by no more than a share of the effort left.
func (s *search) polish(share float64) {
	if s.way == nil {
		return
	}
	part := s.e.part(share)
	defer s.e.rejoin(part)
	keep := s.promising()
	c := newClimb(s.r.restrict(keep), part)
	var order []int
	for _, h := range s.way {
		order = append(order, slices.Index(keep, slices.Index(s.ids, h.device)))
	}
	c.run(order, s.upper, shakes(len(order)), func(order []int) {
		way := c.cuts(order)
		for k := range way {
			way[k].device = keep[way[k].device]
		}
		s.offer(way)
	})
}

// shakes is how often a tour of so many devices is changed at random and improved again.
func shakes(n int) int { return 10 + 6*n }

// promising returns the devices among which a better way is looked for: those of the way and those that relaxed ways use most, all if
// they are few.
func (s *search) promising() []int {
	ids := make([]int, s.r.n)
	in := make([]bool, s.r.n)
	for i := range ids {
		ids[i] = i
	}
	for _, h := range s.way {
		in[slices.Index(s.ids, h.device)] = true
	}
	slices.SortStableFunc(ids, func(i, j int) int {
		if in[i] != in[j] {
			if in[i] {
				return -1
			}
			return 1
		}
		return cmp.Compare(s.uses[j], s.uses[i])
	})
	ids = ids[:min(len(ids), max(64, 2*len(s.way)))]
	slices.Sort(ids)
	return ids
}

// strike leaves out the devices that are in no way below upper.
func (s *search) strike() {
	r := s.r
	v := r.priced(s.cuts, s.p.cut)
	s.e.spend(s.forward.run(v, s.p) + s.backward.run(v.reversed(), s.p))
	after := s.backward.after()
	var keep []int
	for i := range r.n {
		best := int64(inf)
		for b := 1; b <= r.layers; b++ {
			best = min(best, s.forward.end[b*r.n+i]+after[b*r.n+i])
		}
		if best-s.p.credit(r) < s.upper || r.pinned[i] {
			keep = append(keep, i)
		}
	}
	if len(keep) == r.n || len(keep) == 0 {
		return
	}
	p := &prices{hop: s.p.hop}
	ids := make([]int, len(keep))
	for k, i := range keep {
		p.device = append(p.device, s.p.device[i])
		ids[k] = s.ids[i]
	}
	if r.hops > len(keep) {
		p.hop = 0
	}
	s.cuts, p.cut = without(s.cuts, s.p.cut, keep)
	s.r, s.ids, s.p = r.restrict(keep), ids, p
	s.reset()
}
