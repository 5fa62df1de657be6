// SPDX-License-Identifier: MIT

package solver

import "math"

const (
	mostCut       = 256  // devices; with more, the programme's tables are too large
	mostCutRounds = 400  // of adding cuts
	flatRounds    = 20   // its value must rise in so many ...
	flatPart      = 4000 // ... by one part in so many, or the rounds end
	mostPrice     = maxCost >> 8
	cutShare      = 8 // pairs of devices that count as one search node when cuts are looked for
)

// tighten finds prices of devices and cuts by a linear programme; the bound that they give is near what there is. Cuts that its solution
// breaks are added until there are none. No more than a share of the effort left is spent. It reports whether the programme had a solution.
func (s *search) tighten(share float64) bool {
	part := s.e.part(share)
	defer s.e.rejoin(part)
	x := newSimplex(s.r)
	if !x.solve(part) && !part.over {
		return false
	}
	arcs := make([]float64, x.side*x.side)
	last := 0.0
	for round := 0; round < mostCutRounds && !part.over && x.objective() < float64(s.upper); round++ {
		if round%flatRounds == 0 {
			if now := x.objective(); now >= last+last/flatPart {
				last = now
			} else {
				break
			}
		}
		x.purge()
		x.mean(arcs)
		found := newFlow(s.r.n, arcs).cuts(x.cuts)
		part.spend(s.r.n * s.r.n / cutShare)
		if len(found) == 0 {
			break
		}
		for _, c := range found {
			x.add(c)
		}
		if !x.solve(part) {
			break
		}
	}
	whole := func(price float64) int64 { return int64(math.Round(min(mostPrice, max(0, float64(price*x.unit))))) }
	s.p = newPrices(s.r.n)
	for i := range s.p.device {
		s.p.device[i] = whole(x.reduced[x.loop(i)])
	}
	s.p.hop = whole(-x.price[x.hops()])
	s.cuts, s.p.cut = x.cuts, make([]int64, len(x.cuts))
	for k := range s.p.cut {
		s.p.cut[k] = whole(-x.price[x.fixed()+k])
	}
	for k, col := range x.basis {
		if i := col - x.loop(0); i >= 0 && i < x.n {
			s.uses[i] -= int(1000 * min(1, x.value[k]))
		}
	}
	return true
}
