// SPDX-License-Identifier: MIT

package solver

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// share is a beginning of an assignment: layers up to some one, the last of them on device.
type share struct {
	cost   int64   // without prices
	priced int64   // with them
	used   []int64 // bytes of each device
	device int
	parent int // in the list of the layer before; -1: none
}

// solve looks for the best assignment: prices by subgradient steps, a beam for a first assignment, then all beginnings that may be better.
func (p *patent) solve(e *effort) outcome {
	upper, lower := int64(inf), int64(-inf)
	var best []int
	offer := func(way []int) {
		if way == nil {
			return
		}
		if v := p.value(way); v < upper {
			upper, best = v, way
		}
	}
	var need, room int64
	for _, v := range p.need {
		need += v
	}
	for _, v := range p.room {
		room += v
	}
	if need > room {
		return p.outcome(nil, upper, upper)
	}
	lambda := make([]int64, p.n)
	at := slices.Clone(lambda)
	scale, stuck := 1.0, 0
	for range patentSteps {
		bound, _, way := p.relax(lambda)
		if way == nil {
			return p.outcome(nil, upper, upper)
		}
		offer(way)
		if bound > lower {
			lower, at, stuck = bound, slices.Clone(lambda), 0
		} else if stuck++; stuck >= 6 {
			scale, stuck, lambda = scale/2, 0, slices.Clone(at)
		}
		if lower >= upper || !e.spend(len(p.cost)*p.n*p.n/stepShare) {
			return p.outcome(best, upper, lower)
		}
		lambda = p.step(lambda, way, float64(scale*float64(min(upper, 2*abs(bound)+1<<20)-bound)))
	}
	_, rest, _ := p.relax(at)
	way, _, _ := p.search(at, rest, patentBeam, upper, e)
	offer(way)
	if lower >= upper {
		return p.outcome(best, upper, lower)
	}
	way, ended, open := p.search(at, rest, 0, upper, e)
	offer(way)
	if ended {
		open = upper
	}
	return p.outcome(best, upper, max(lower, min(open, upper)))
}

const (
	patentSteps = 120
	patentBeam  = 200
)

// step makes memory dearer where the relaxed assignment takes too much, and cheaper where it leaves some.
func (p *patent) step(lambda []int64, way []int, gap float64) []int64 {
	over := make([]float64, p.n)
	for i := range over {
		over[i] = -float64(p.room[i]) / (1 << granule)
	}
	for l, i := range way {
		over[i] += float64(p.need[l]) / (1 << granule)
	}
	norm := 0.0
	for i, g := range over {
		if g < 0 && lambda[i] == 0 {
			over[i] = 0
		} else {
			norm += float64(g * g)
		}
	}
	next := slices.Clone(lambda)
	if norm == 0 {
		return next
	}
	for i, g := range over {
		next[i] = min(maxCost, max(0, lambda[i]+int64(float64(gap*g)/norm)))
	}
	return next
}

// search goes from layer to layer with all beginnings that may lead below upper, or with the width most promising ones. It returns the best
// assignment below upper, whether it came to its end, and if not the least bound of what it did not look at.
func (p *patent) search(lambda []int64, rest [][]int64, width int, upper int64, e *effort) (best []int, ended bool, open int64) {
	layers := len(p.cost)
	credit := p.credit(lambda)
	left := make([]int64, layers+1) // bytes of the layers from one on
	for l := layers - 1; l >= 0; l-- {
		left[l] = left[l+1] + p.need[l]
	}
	level := []share{{used: make([]int64, p.n), device: -1, parent: -1}}
	lists := [][]share{level}
	for l := range layers {
		next := []share{}
		index := map[string]int{}
		for k := range level {
			if !e.spend(1) {
				open = -inf // nothing is known before the first layer
				if l > 0 {
					open = inf
					for _, s := range level {
						open = min(open, s.priced+rest[l][s.device]-credit)
					}
				}
				return nil, false, open
			}
			for j := range p.n {
				if s, ok := p.extend(&level[k], k, l, j, lambda[j]); ok && s.priced+rest[l+1][j]-credit < upper && p.holds(&s, left[l+1]) {
					next = keep(next, index, s)
				}
			}
		}
		bound := func(s *share) int64 { return s.priced + rest[l+1][s.device] }
		slices.SortStableFunc(next, func(a, b share) int { return cmp.Compare(bound(&a), bound(&b)) })
		if next = p.undominated(next); width > 0 && len(next) > width {
			next = next[:width]
		}
		lists, level = append(lists, next), next
	}
	if len(level) == 0 {
		return nil, true, inf
	}
	least := 0
	for k := range level {
		if level[k].cost < level[least].cost {
			least = k
		}
	}
	for l, k := layers, least; l > 0; l-- {
		best = append(best, lists[l][k].device)
		k = lists[l][k].parent
	}
	slices.Reverse(best)
	return best, true, inf
}

// extend gives layer l to device j.
func (p *patent) extend(s *share, parent, l, j int, lambda int64) (share, bool) {
	cost := p.cost[l][j]
	if s.device >= 0 {
		cost += p.link[s.device][j]
	}
	if cost >= inf || s.used[j]+p.need[l] > p.room[j] {
		return share{}, false
	}
	next := share{cost: s.cost + cost, priced: s.priced + cost + priced(lambda, p.need[l]), device: j, parent: parent}
	next.used = slices.Clone(s.used)
	next.used[j] += p.need[l]
	devices := 0
	for _, u := range next.used {
		if u > 0 {
			devices++
		}
	}
	return next, devices <= p.most
}

// holds reports whether so many bytes may still fit.
func (p *patent) holds(s *share, bytes int64) bool {
	for i, u := range s.used {
		bytes -= p.room[i] - u
	}
	return bytes <= 0
}

// keep adds a share to a list, unless one with the same device and memory costs no more.
func keep(list []share, index map[string]int, s share) []share {
	key := make([]byte, 0, 8*len(s.used)+8)
	key = binary.AppendVarint(key, int64(s.device))
	for _, u := range s.used {
		key = binary.AppendVarint(key, u)
	}
	if k, ok := index[string(key)]; !ok {
		index[string(key)] = len(list)
		return append(list, s)
	} else if s.cost < list[k].cost {
		list[k] = s
	}
	return list
}

// undominated drops shares that use no less of any device than another at the same device that costs no more. The list is sorted.
func (p *patent) undominated(list []share) []share {
	limited := p.most < min(p.n, len(p.cost))
	var kept []share
	byDevice := make([][]int, p.n)
	for _, s := range list {
		dominated := false
		for _, k := range byDevice[s.device][:min(compared, len(byDevice[s.device]))] {
			o := &kept[k]
			if o.cost > s.cost {
				continue
			}
			dominated = true
			for i, u := range o.used {
				if u > s.used[i] || limited && u > 0 && s.used[i] == 0 {
					dominated = false
					break
				}
			}
			if dominated {
				break
			}
		}
		if !dominated {
			byDevice[s.device] = append(byDevice[s.device], len(kept))
			kept = append(kept, s)
		}
	}
	return kept
}
