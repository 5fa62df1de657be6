// SPDX-License-Identifier: MIT

package solver

import (
	"cmp"
	"slices"
)

// ahead says what must still follow when a device begins at a boundary: for each of the sets of devices that the rest of the way may
// remember, the least it costs. A way that has used one of a set's devices cannot go on with that rest.
type ahead struct {
	n    int
	list [][]rest // [layers*n], costs rising; none remembers all that a cheaper one does
}

// rest is the cost of what follows, under the prices of the relaxation; the device's own entry is not part of it.
type rest struct {
	cost int64
	set  uint64
}

// newAhead reads the tables of the reversed ring's relaxation. Devices must be few enough for a set.
func newAhead(x *recall) *ahead {
	v, n := x.r, x.states()
	a := &ahead{n: v.n, list: make([][]rest, v.layers*v.n)}
	sets := make([]uint64, n)
	for s := range sets {
		for k, d := range x.near[x.of[s]] {
			if (s-x.off[x.of[s]])>>k&1 != 0 {
				sets[s] |= 1 << d
			}
		}
	}
	var all, keep []rest
	for b := range v.layers {
		end := x.end[(v.layers-b)*n : (v.layers-b+1)*n]
		for j := range v.n {
			all = all[:0]
			own := v.enter[j] + x.p.device[j] + x.p.hop
			for s := x.off[j]; s < x.off[j+1]; s++ {
				if end[s] < inf {
					all = append(all, rest{end[s] - own, sets[s]})
				}
			}
			slices.SortFunc(all, func(p, q rest) int { return cmp.Or(cmp.Compare(p.cost, q.cost), cmp.Compare(p.set, q.set)) })
			keep = keep[:0]
		next:
			for _, p := range all {
				for _, q := range keep {
					if q.set&^p.set == 0 {
						continue next
					}
				}
				keep = append(keep, p)
			}
			a.list[b*v.n+j] = slices.Clone(keep)
		}
	}
	return a
}

// least returns the least cost of what may follow device j, which begins at b, when a set of devices is used before it.
func (a *ahead) least(b, j int, set uint64) int64 {
	for _, p := range a.list[b*a.n+j] {
		if p.set&set == 0 {
			return p.cost
		}
	}
	return inf
}
