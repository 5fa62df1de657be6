// SPDX-License-Identifier: MIT

package solver

// ascend looks for the multipliers with the highest bound, by subgradient steps: a device that the relaxed way uses more than once gets
// dearer, one that it leaves out cheaper. The best prices and their bound are returned. visit sees each relaxed way. upper is asked for
// the value to beat, which sets the length of steps and ends the ascent when the bound reaches it.
func (x *relaxation) ascend(r *ring, cuts []cut, from *prices, steps int, e *effort, upper func() int64, visit func([]hop)) (*prices, int64) {
	p := from.clone()
	best, bestBound := from.clone(), int64(-inf)
	move := make([]float64, r.n+1+len(cuts)) // the direction, of which the last steps' is a part
	scale, stuck := 1.0, 0
	for range steps {
		spent := x.run(r.priced(cuts, p.cut), p)
		bound, device := x.bound()
		if device < 0 {
			return p, inf // not even the relaxed ring has a way
		}
		if bound > bestBound {
			best, bestBound, stuck = p.clone(), bound, 0
		} else if stuck++; stuck >= 8 {
			scale, stuck = scale/2, 0
			p = best.clone()
		}
		way := x.walk(device, r.layers)
		visit(way)
		if bestBound >= upper() || !e.spend(spent) || scale < 1e-3 {
			break
		}
		next, moved := p.step(r, cuts, way, move, scale, upper(), bound)
		if !moved {
			break
		}
		p = next
	}
	return best, bestBound
}

// stepShare is how many states of the relaxation count as one search node: so many take as long as one label.
const stepShare = 16

func abs(v int64) int64 { return max(v, -v) }

// step returns prices that should give a higher bound than these, whose relaxed way is given. move is the direction of the last step and
// becomes this one's. It reports whether there is anywhere to go.
func (p *prices) step(r *ring, cuts []cut, way []hop, move []float64, scale float64, upper, bound int64) (*prices, bool) {
	uses := make([]int, r.n)
	for _, h := range way {
		uses[h.device]++
	}
	norm := 0.0
	for i := range move {
		var g float64
		var price int64
		switch {
		case i < r.n:
			g, price = float64(uses[i]-1), p.device[i]
		case i == r.n:
			g, price = float64(len(way)-min(r.hops, r.layers)), p.hop
		default:
			g, price = float64(cuts[i-r.n-1].broken(r, way)), p.cut[i-r.n-1]
		}
		if g < 0 && price <= 0 && (i >= r.n || !r.pinned[i]) {
			g = 0
		}
		move[i] = float64(0.3*move[i]) + g
		norm += float64(move[i] * move[i])
	}
	if norm == 0 {
		return p, false
	}
	gap := float64(min(upper, 2*abs(bound)+1<<20) - bound)
	length := float64(scale*gap) / norm
	next := p.clone()
	for i := range move {
		d := int64(float64(length * move[i]))
		switch {
		case i > r.n:
			next.cut[i-r.n-1] = min(mostPrice, max(0, p.cut[i-r.n-1]+d))
		case i == r.n:
			next.hop = min(maxCost, max(0, p.hop+d))
		case r.pinned[i]:
			next.device[i] = min(maxCost, max(-maxCost, p.device[i]+d))
		default:
			next.device[i] = min(maxCost, max(0, p.device[i]+d))
		}
	}
	return next, true
}
