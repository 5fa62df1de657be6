// SPDX-License-Identifier: MIT

package solver

import (
	"math"
	"slices"
)

// ring is an instance as the search sees it: integers, no units. A way through it begins at the coordinator, passes devices that each
// compute one range of layers, and ends at the coordinator. Copies of a model stand end to end: layer b of copy r is layer r*model + b,
// and at the end of each copy the way returns to the coordinator. Read-only once made.
type ring struct {
	n      int       // devices; device n is the coordinator
	layers int       // of all copies; boundaries are 0 to layers
	model  int       // layers of one copy
	work   [][]int64 // [n][layers+1]: cost of all layers before a boundary
	enter  []int64   // [n]: cost of being a hop at all
	link   [][]int64 // [n+1][n+1] from, to; inf: not allowed
	last   [][]int   // [n][layers]: the furthest end of a range that begins there; no range where it is not greater. Never falls with the start.
	pinned []bool    // [n]: must be a hop, of exactly the one range that last allows
	hops   int       // at the most
}

// inf is beyond every cost, and four of it can be added up.
const inf = math.MaxInt64 / 4

// maxCost bounds the cost of any hop or link, so that no way costs inf: there are fewer than 2^14 of them.
const maxCost = inf >> 14

// hop is a range on a device.
type hop struct{ device, from, to int }

// between is the cost of the way from device i to device j at boundary b, which is neither the first nor the last.
func (r *ring) between(i, j, b int) int64 {
	if b%r.model == 0 {
		return min(inf, r.link[i][r.n]+r.link[r.n][j])
	}
	return r.link[i][j]
}

// into is the cost of the way to device j at boundary b from device i, the coordinator at the first boundary.
func (r *ring) into(i, j, b int) int64 {
	if i == r.n {
		return r.link[i][j]
	}
	return r.between(i, j, b)
}

// ends reports whether device i may compute the layers from a to b.
func (r *ring) ends(i, a, b int) bool {
	if r.pinned[i] && b < r.last[i][a] {
		return false
	}
	return a < b && b <= r.last[i][a]
}

// room is the most layers that each device could take.
func (r *ring) room() []int {
	room := make([]int, r.n)
	for i := range room {
		for a, b := range r.last[i] {
			room[i] = max(room[i], b-a)
		}
	}
	return room
}

// restrict returns the ring of some of the devices, in rising order; device k of it is keep[k].
func (r *ring) restrict(keep []int) *ring {
	v := &ring{n: len(keep), layers: r.layers, model: r.model, hops: min(r.hops, len(keep))}
	for _, i := range keep {
		v.work = append(v.work, r.work[i])
		v.enter = append(v.enter, r.enter[i])
		v.last = append(v.last, r.last[i])
		v.pinned = append(v.pinned, r.pinned[i])
	}
	for _, i := range append(slices.Clone(keep), r.n) {
		row := make([]int64, 0, v.n+1)
		for _, j := range keep {
			row = append(row, r.link[i][j])
		}
		v.link = append(v.link, append(row, r.link[i][r.n]))
	}
	return v
}

// value is the cost of a way; inf if it is not allowed.
func (r *ring) value(way []hop) int64 {
	used := make([]bool, r.n)
	at, prev, sum := 0, r.n, int64(0)
	for _, h := range way {
		if h.from != at || used[h.device] || !r.ends(h.device, h.from, h.to) {
			return inf
		}
		used[h.device] = true
		sum = min(inf, sum+r.into(prev, h.device, at)+r.enter[h.device]+r.work[h.device][h.to]-r.work[h.device][h.from])
		at, prev = h.to, h.device
	}
	if at != r.layers || len(way) > r.hops {
		return inf
	}
	for i, must := range r.pinned {
		if must && !used[i] {
			return inf
		}
	}
	return min(inf, sum+r.link[prev][r.n])
}

// reversed is the ring run backwards: its ways are this one's, from the end.
func (r *ring) reversed() *ring {
	v := &ring{n: r.n, layers: r.layers, model: r.model, enter: r.enter, pinned: r.pinned, hops: r.hops}
	v.work = make([][]int64, r.n)
	v.last = make([][]int, r.n)
	for i := range r.n {
		v.work[i] = make([]int64, r.layers+1)
		v.last[i] = make([]int, r.layers)
		for b := range v.work[i] {
			v.work[i][b] = r.work[i][r.layers] - r.work[i][r.layers-b]
		}
		for a := range v.last[i] {
			v.last[i][a] = a
		}
		// The least start for each end, from the last start to the first.
		for a := r.layers - 1; a >= 0; a-- {
			for e := a + 1; e <= r.last[i][a]; e++ {
				if r.ends(i, a, e) {
					v.last[i][r.layers-e] = r.layers - a
				}
			}
		}
	}
	v.link = make([][]int64, r.n+1)
	for i := range v.link {
		v.link[i] = make([]int64, r.n+1)
		for j := range v.link {
			v.link[i][j] = r.link[j][i]
		}
	}
	return v
}
