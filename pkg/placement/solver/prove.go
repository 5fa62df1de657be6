// SPDX-License-Identifier: MIT

package solver

import (
	"cmp"
	"slices"
)

// neighbourhoods returns for each device itself and the size-1 devices nearest to it, there and back.
func neighbourhoods(r *ring, size int) []uint64 {
	near := make([]uint64, r.n)
	others := make([]int, 0, r.n)
	for i := range near {
		others = others[:0]
		for j := range r.n {
			if j != i {
				others = append(others, j)
			}
		}
		away := func(j int) int64 { return r.link[i][j] + r.link[j][i] }
		slices.SortStableFunc(others, func(a, b int) int { return cmp.Compare(away(a), away(b)) })
		near[i] = 1 << i
		for _, j := range others[:min(size-1, len(others))] {
			near[i] |= 1 << j
		}
	}
	return near
}

// tighten improves the prices for ways that remember neighbours, by steps as ascend's.
func (s *search) tighten() {
	if s.r.n > maxLabelled {
		return
	}
	s.near = neighbourhoods(s.r, nearFirst)
	p, best := s.p, s.p
	bestBound := int64(-inf)
	move := make([]float64, s.r.n+1)
	scale, stuck := 1.0, 0
	for range nearSteps {
		s.backward.run(s.reverse, p)
		rest := s.backward.after()
		l := s.label(s.r, p, s.near, [2][]int64{rest, rest})
		if !l.run() {
			break
		}
		s.lower = max(s.lower, l.best)
		if l.found < 0 || s.done() {
			return
		}
		way := l.way(l.found)
		s.offer(way)
		if l.best > bestBound {
			best, bestBound, stuck = p, l.best, 0
		} else if stuck++; stuck >= 3 {
			scale, stuck, p = scale/2, 0, best
		}
		next, moved := p.step(s.r, way, move, scale, s.upper, l.best)
		if !moved {
			break
		}
		p = next
	}
	s.p = best
}

// label makes a label search of the search's.
func (s *search) label(r *ring, p *prices, near []uint64, after [2][]int64) *labelSearch {
	l := newLabelSearch(r, p, near, after, s.upper, s.e)
	l.even = newEven(r)
	return l
}

// prove searches forwards and backwards in turn, each time with what the last search says of the rest of the way, and with larger
// neighbourhoods where the cheapest way uses a device twice. When few labels are left it searches exactly.
func (s *search) prove() {
	if s.r.n > maxLabelled {
		return
	}
	s.forward.run(s.r, s.p)
	s.backward.run(s.reverse, s.p)
	ahead, back := s.backward.after(), s.forward.after()
	rest := [2][2][]int64{{ahead, ahead}, {back, back}}
	rings := [2]*ring{s.r, s.reverse}
	relaxed := [2]*relaxation{&s.forward, &s.backward}
	tried := 0
	for d := 0; !s.done(); d = 1 - d {
		l := s.label(rings[d], s.p, s.near, rest[d])
		if !l.run() {
			s.lower = max(s.lower, min(l.open, l.best))
			return
		}
		s.lower = max(s.lower, l.best)
		if l.found < 0 || s.done() {
			return
		}
		way := l.way(l.found)
		s.widen(way)
		if d == 1 {
			way = backwards(way, s.r.layers)
		}
		s.offer(way)
		clean, all := l.ends()
		rest[1-d] = [2][]int64{relaxed[d].rest(all), relaxed[d].rest(clean)}
		if n := len(l.labels); n < exactBelow && n > tried {
			x := s.label(rings[1-d], s.p, everyone(s.r.n), rest[1-d])
			x.most = exactFactor * n
			ended := x.run()
			if x.found >= 0 {
				way := x.way(x.found)
				if d == 0 {
					way = backwards(way, s.r.layers)
				}
				s.offer(way)
			}
			if ended {
				s.lower = s.upper
				return
			}
			tried = 2 * n
		}
	}
}

// An exact search is tried after a relaxed one of fewer labels than exactBelow, and given up at exactFactor times as many.
const (
	exactBelow  = 1 << 18
	exactFactor = 8
)

// widen makes each device remember those which the way comes back to from it.
func (s *search) widen(way []hop) {
	for x := range way {
		for y := x + 1; y < len(way); y++ {
			if way[y].device == way[x].device {
				for _, h := range way[x+1 : y] {
					s.near[h.device] |= 1 << way[x].device
				}
				break
			}
		}
	}
}
