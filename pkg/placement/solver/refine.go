// SPDX-License-Identifier: MIT

package solver

const (
	refineSteps = 6  // of prices, between two label searches
	firstWidth  = 32 // of the first label search; later ones are wider
	stuckSteps  = 5  // steps that bring nothing, before they get shorter
	aim         = 32 // steps aim at a bound higher by one part in so many
)

// refine closes the gap: steps of prices for ways that remember neighbours, with larger neighbourhoods where the cheapest way uses a
// device twice, and between them label searches, which find ways, and in the end find that there is no better one.
func (s *search) refine() {
	if s.r.n > maxLabelled {
		return
	}
	s.there, s.back = newRecall(s.r), newRecall(s.reverse)
	width := firstWidth
	s.look(width)
	p, best, bestBound := s.p, s.p, int64(-inf)
	move := make([]float64, s.r.n+1)
	scale, stuck, grown := 1.0, 0, false
	for k := 1; !s.done(); k++ {
		s.e.spend(s.there.run(p, s.upper))
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
				scale = min(1, 2*scale)
			}
			grown = false
		}
		if next, moved := p.step(s.r, way, move, scale, min(s.upper, bestBound+bestBound/aim), bound); moved {
			p = next
		}
	}
}

// look strikes hops with the best prices, and searches for ways with so many labels of a boundary.
func (s *search) look(width int) {
	s.e.spend(s.there.run(s.p, s.upper))
	s.e.spend(s.back.run(s.p, s.upper))
	if _, at := s.there.bound(); at < 0 {
		s.lower = s.upper
		return
	}
	s.e.spend(s.there.strike(s.back, s.upper))
	l := newLabelSearch(s.there, newAhead(s.back), s.upper, width, s.e)
	ended := l.run()
	s.offer(l.way)
	if ended {
		s.lower = s.upper
		return
	}
	s.lower = max(s.lower, min(l.open, s.upper))
}
