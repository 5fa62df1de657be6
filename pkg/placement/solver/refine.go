// SPDX-License-Identifier: MIT

package solver

const (
	refineSteps = 6  // of prices, between two label searches
	firstWidth  = 32 // of the first label search; later ones are wider
	stuckSteps  = 5  // steps that bring nothing, before they get shorter
	aim         = 32 // steps aim at a bound higher by one part in so many

	firmWidth = 64  // of the first label search, where a programme found the prices, ...
	firmScale = 0.1 // ... and the length of steps from them
)

// refine closes the gap: steps of prices for ways that remember neighbours, with larger neighbourhoods where the cheapest way uses a
// device twice, and between them label searches, which find ways, and in the end find that there is no better one.
func (s *search) refine() {
	if s.r.n > maxLabelled {
		return
	}
	s.there, s.back = newRecall(s.r), newRecall(s.r.reversed())
	width, longest := firstWidth, 1.0
	if len(s.cuts) > 0 {
		width, longest = firmWidth, firmScale
	}
	s.look(width)
	p, best, bestBound := s.p, s.p, int64(-inf)
	move := make([]float64, s.r.n+1+len(s.cuts))
	scale, stuck, grown := longest, 0, false
	for k := 1; !s.done(); k++ {
		s.e.spend(s.there.run(s.r.priced(s.cuts, p.cut), p, s.upper))
		bound, at := s.there.bound()
		if at < 0 {
			s.lower = s.upper
			return
		}
		way := s.there.walk(at)
		s.lower = max(s.lower, bound)
		s.offer(way)
		if bound > bestBound {
			best, bestBound, stuck = p, bound, 0
		} else if stuck++; stuck >= stuckSteps {
			scale, stuck, p = scale/2, 0, best
		}
		grown = s.there.grow(way) || grown
		if k%refineSteps == 0 && !s.done() {
			s.p = best
			width += width / 4
			s.look(width)
			if grown {
				s.there.learn()
				s.back.near = s.there.near
				s.back.learn()
				scale = min(longest, 2*scale)
			}
			grown = false
		}
		if next, moved := p.step(s.r, s.cuts, way, move, scale, min(s.upper, bestBound+bestBound/aim), bound); moved {
			p = next
		}
	}
}

// look strikes hops with the best prices, and searches for ways with so many labels of a boundary.
func (s *search) look(width int) {
	v := s.r.priced(s.cuts, s.p.cut)
	s.e.spend(s.there.run(v, s.p, s.upper))
	s.e.spend(s.back.run(v.reversed(), s.p, s.upper))
	if _, at := s.there.bound(); at < 0 {
		s.lower = s.upper
		return
	}
	s.e.spend(s.there.strike(s.back, s.upper))
	l := newLabelSearch(s.r, s.there, newAhead(s.back), s.upper, width, s.e)
	ended := l.run()
	s.offer(l.way)
	if ended {
		s.lower = s.upper
		return
	}
	s.lower = max(s.lower, min(l.open, s.upper))
}
