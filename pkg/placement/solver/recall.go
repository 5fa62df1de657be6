// SPDX-License-Identifier: MIT

package solver

import (
	"math/bits"
	"slices"
)

// recall is a relaxation in which a way remembers the devices near the one it is at, and may not use those again: to come back to a
// device it must go far from it. A state is a device and which of its neighbours are remembered; the best way is a dynamic programme
// over boundary and state, in dense tables. Hops between devices that no way below the value to beat can use are struck for good.
type recall struct {
	r     *ring
	p     *prices
	size  int        // states, once what was grown is learnt
	limit int64      // dearer beginnings are left out
	near  [][]int    // [n]: the devices remembered behind a device, itself left out
	off   []int      // [n+1]: a device's first state; a state's low bits say which neighbours are remembered
	of    []int32    // [states]: device
	onto  []int32    // [states][n]: the state at the next device; -1: the device is remembered
	next  [][]uint16 // [layers*n]: the devices that may follow, by boundary and device
	add   []int64    // [n][n]: cost of going on to a device, its entry and prices included
	start []int64    // [layers][states]: least relaxed cost of the way up to a boundary where the device begins
	end   []int64    // [layers+1][states]: the same up to a boundary where its range ends
	cheap []int64    // as subsets returns
}

const (
	maxNear    = 7       // neighbours of a device: its states are two to that power
	maxEntries = 1 << 22 // of a table: 32 MB
)

func newRecall(r *ring) *recall {
	x := &recall{r: r, near: make([][]int, r.n), next: make([][]uint16, r.layers*r.n), add: make([]int64, r.n*r.n)}
	for b := 1; b < r.layers; b++ {
		for i := range r.n {
			k := b*r.n + i
			if b > 1 && b%r.model != 0 && (b-1)%r.model != 0 && r.alike(b) {
				x.next[k] = x.next[k-r.n]
				continue
			}
			for j := range r.n {
				if i != j && r.last[j][b] > b && r.between(i, j, b) < inf {
					x.next[k] = append(x.next[k], uint16(j))
				}
			}
		}
	}
	x.learn()
	return x
}

// alike reports whether the same devices may begin at a boundary and at the one before it.
func (r *ring) alike(b int) bool {
	for j := range r.n {
		if (r.last[j][b] > b) != (r.last[j][b-1] > b-1) {
			return false
		}
	}
	return true
}

// states is how many states there are at a boundary.
func (x *recall) states() int { return len(x.of) }

// learn makes the tables for the neighbourhoods.
func (x *recall) learn() {
	r := x.r
	x.off = make([]int, r.n+1)
	x.of = x.of[:0]
	for i := range r.n {
		x.off[i+1] = x.off[i] + 1<<len(x.near[i])
		for range 1 << len(x.near[i]) {
			x.of = append(x.of, int32(i))
		}
	}
	n := x.states()
	x.size = n
	x.onto = make([]int32, n*r.n)
	place := make([]int, r.n) // of a device among j's neighbours, plus one
	bit := make([]int, maxNear)
	for j := range r.n {
		for k, d := range x.near[j] {
			place[d] = k + 1
		}
		for i := range r.n {
			self := 0
			if place[i] > 0 {
				self = 1 << (place[i] - 1)
			}
			banned := 0
			for k, d := range x.near[i] {
				bit[k] = 0
				if place[d] > 0 {
					bit[k] = 1 << (place[d] - 1)
				}
				if d == j {
					banned = 1 << k
				}
			}
			for s := range 1 << len(x.near[i]) {
				to := int32(-1)
				if i != j && s&banned == 0 {
					t := self
					for m := s; m != 0; m &= m - 1 {
						t |= bit[bits.TrailingZeros(uint(m))]
					}
					to = int32(x.off[j] + t)
				}
				x.onto[(x.off[i]+s)*r.n+j] = to
			}
		}
		for _, d := range x.near[j] {
			place[d] = 0
		}
	}
	x.start = make([]int64, r.layers*n)
	x.end = make([]int64, (r.layers+1)*n)
}

// run fills the tables, as far as ways below upper need them, and returns its effort in search nodes. The ring is the one that the
// recall was made for, with other prices of cuts.
func (x *recall) run(r *ring, p *prices, upper int64) int {
	n := x.states()
	x.r, x.p = r, p
	x.limit = min(inf, upper+p.credit(r))
	for i := range r.n {
		for j := range r.n {
			x.add[i*r.n+j] = min(inf, r.link[i][j]+r.enter[j]+p.device[j]+p.hop)
		}
	}
	for i := range x.start {
		x.start[i] = inf
	}
	for i := range x.end {
		x.end[i] = inf
	}
	for j := range r.n {
		x.start[x.off[j]] = min(inf, r.link[r.n][j]+r.enter[j]+p.device[j]+p.hop)
	}
	looked := 2 * r.layers * n
	for b := range r.layers {
		if b > 0 {
			for i := range r.n {
				looked += x.follow(i, b)
			}
		}
		for j := range r.n {
			looked += x.ranges(j, b)
		}
	}
	return looked / stateShare
}

// stateShare is how many entries of the tables count as one search node: so many are looked at in a microsecond.
const stateShare = 400

// follow computes the beginnings at b of devices that follow device i, and returns how many entries it looked at.
func (x *recall) follow(i, b int) int {
	r, n := x.r, x.states()
	next := x.next[b*r.n+i]
	if len(next) == 0 {
		return 0
	}
	start, end := x.start[b*n:(b+1)*n], x.end[b*n+x.off[i]:b*n+x.off[i+1]]
	cheap := x.subsets(end)
	add := x.add[i*r.n : (i+1)*r.n]
	if b%r.model == 0 {
		add = slices.Clone(add)
		for j := range add {
			add[j] = min(inf, r.between(i, j, b)+r.enter[j]+x.p.device[j]+x.p.hop)
		}
	}
	looked := len(end)
	for s, c := range end {
		if c >= x.limit || c > cheap[s] {
			continue
		}
		onto := x.onto[(x.off[i]+s)*r.n : (x.off[i]+s+1)*r.n]
		for _, j := range next {
			if t := onto[j]; t >= 0 {
				if v := c + add[j]; v < start[t] {
					start[t] = v
				}
			}
		}
		looked += len(next)
	}
	return looked
}

// subsets returns, for each state of a device, the least cost of all that remember no device that it does not.
func (x *recall) subsets(cost []int64) []int64 {
	x.cheap = append(x.cheap[:0], cost...)
	for bit := 1; bit < len(cost); bit <<= 1 {
		for s := bit; s < len(cost); s = (s + 1) | bit {
			x.cheap[s] = min(x.cheap[s], x.cheap[s^bit])
		}
	}
	return x.cheap
}

// ranges computes where device j may end when it begins at b, and returns how many entries it looked at.
func (x *recall) ranges(j, b int) int {
	r, n := x.r, x.states()
	start := x.start[b*n+x.off[j] : b*n+x.off[j+1]]
	if slices.Min(start) >= inf {
		return 0
	}
	looked := 0
	for e := r.last[j][b]; e > b && r.ends(j, b, e); e-- {
		work := r.work[j][e] - r.work[j][b]
		end := x.end[e*n+x.off[j] : e*n+x.off[j+1]]
		for s, c := range start {
			if c += work; c < end[s] {
				end[s] = c
			}
		}
		looked += len(start)
	}
	return looked
}

// bound is the relaxed value of the whole, and the state its way ends in; inf and -1 if there is none.
func (x *recall) bound() (int64, int) {
	r := x.r
	best, at := int64(inf), -1
	for s, c := range x.end[r.layers*x.states():] {
		if c += r.link[x.of[s]][r.n]; c < best {
			best, at = c, s
		}
	}
	if at < 0 {
		return inf, -1
	}
	return best - x.p.credit(r), at
}

// walk returns the way that ends in a state.
func (x *recall) walk(s int) []hop {
	r, n := x.r, x.states()
	var way []hop
	for b := r.layers; ; {
		j, a := int(x.of[s]), b-1
		for !r.ends(j, a, b) || x.start[a*n+s] >= inf || x.start[a*n+s]+r.work[j][b]-r.work[j][a] != x.end[b*n+s] {
			a--
		}
		way = append(way, hop{j, a, b})
		if a == 0 {
			break
		}
		want := x.start[a*n+s] - r.enter[j] - x.p.device[j] - x.p.hop
		prev := 0
		for u := x.end[a*n:]; int(x.onto[prev*r.n+j]) != s || u[prev] >= inf || u[prev]+r.between(int(x.of[prev]), j, a) != want; {
			prev++
		}
		s, b = prev, a
	}
	slices.Reverse(way)
	return way
}

// grow makes the devices that a way passes between two uses of the same device remember it. It reports whether any learnt something.
func (x *recall) grow(way []hop) bool {
	grown := false
	last := map[int]int{}
	for k, h := range way {
		if from, ok := last[h.device]; ok {
			for _, m := range way[from+1 : k] {
				near := x.near[m.device]
				more := 1 << len(near) // states
				if m.device == h.device || len(near) == maxNear || slices.Contains(near, h.device) || (x.size+more)*x.r.layers > maxEntries {
					continue
				}
				x.near[m.device] = append(near, h.device)
				x.size += more
				grown = true
			}
		}
		last[h.device] = k
	}
	return grown
}

// strike leaves out the hops between devices that are in no way below upper, as the tables say together with those of the reversed ring
// under the same prices. It does so for both, and returns its effort in search nodes.
func (x *recall) strike(y *recall, upper int64) int {
	r, n, m := x.r, x.states(), y.states()
	limit := upper + x.p.credit(r)
	to, from := make([]int64, r.n*r.n), make([]int64, r.n*r.n)
	for b := 1; b < r.layers; b++ {
		x.nearest(to, x.end[b*n:(b+1)*n])
		y.nearest(from, y.end[(r.layers-b)*m:(r.layers-b+1)*m])
		back := y.next[(r.layers-b)*r.n : (r.layers-b+1)*r.n]
		for j := range back {
			back[j] = nil
		}
		for i := range r.n {
			next := x.next[b*r.n+i]
			keep := make([]uint16, 0, len(next))
			for _, j := range next {
				if to[i*r.n+int(j)]+r.between(i, int(j), b)+from[int(j)*r.n+i] < limit {
					keep = append(keep, j)
					back[j] = append(back[j], uint16(i))
				}
			}
			x.next[b*r.n+i] = keep
		}
	}
	return r.layers * r.n * (n + m) / stateShare
}

// nearest computes the least cost of ending at a device without remembering another, for each two.
func (x *recall) nearest(least, end []int64) {
	n := x.r.n
	for k := range least {
		least[k] = inf
	}
	for s, c := range end {
		if c >= inf {
			continue
		}
		row := least[int(x.of[s])*n : int(x.of[s]+1)*n]
		for j, t := range x.onto[s*n : (s+1)*n] {
			if t >= 0 && c < row[j] {
				row[j] = c
			}
		}
	}
}
