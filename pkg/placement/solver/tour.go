// SPDX-License-Identifier: MIT

package solver

import (
	"math/rand/v2"
	"slices"
)

// tour improves a way by local search over the order of its devices: where the cuts lie best for an order is a dynamic programme of one
// row a device, so a change is priced by the rows it touches.
type tour struct {
	r      *ring
	e      *effort
	random *rand.Rand // the same numbers in each Solve
	queue  []int
	before [][]int64 // [k][layers+1]: least cost of the first k devices when they end at a boundary
	behind [][]int64 // [k][layers+1]: least cost from device k's beginning at a boundary on, the link to it included where a device is before it
	row    []int64
}

// rowShare is how many cells of a row count as one search node.
const rowShare = 64

func newTour(r *ring, e *effort) *tour {
	return &tour{
		r: r, e: e, random: rand.New(rand.NewPCG(1, 2)), queue: make([]int, r.layers+1), row: make([]int64, r.layers+1),
	}
}

// extend fills row with the least cost of ending at each boundary with device j, which follows device i (r.n: the coordinator) whose row
// is prev.
func (t *tour) extend(row, prev []int64, i, j int) {
	r := t.r
	q, head, tail := t.queue, 0, 0
	work, last := r.work[j], r.last[j]
	row[0] = inf
	for b := range r.layers {
		if c := prev[b]; c < inf && last[b] > b {
			if c += r.into(i, j, b); c < inf {
				c -= work[b]
				for tail > head && prev[q[tail-1]]+r.into(i, j, q[tail-1])-work[q[tail-1]] >= c {
					tail--
				}
				q[tail] = b
				tail++
			}
		}
		for head < tail && last[q[head]] <= b {
			head++
		}
		row[b+1] = inf
		if head < tail {
			if a := q[head]; !r.pinned[j] || last[a] == b+1 {
				row[b+1] = prev[a] + r.into(i, j, a) - work[a] + work[b+1] + r.enter[j]
			}
		}
	}
}

// precede fills row with the least cost from each boundary on, where device j begins and is followed by device i, whose row is next
// (r.n: the coordinator, and next is nil).
func (t *tour) precede(row, next []int64, j, i int) {
	r := t.r
	work, last := r.work[j], r.last[j]
	q, head, tail := t.queue, 0, 0 // ends, falling; the front is the best
	follow := func(b int) int64 {
		switch {
		case next == nil && b == r.layers:
			return r.link[j][r.n]
		case next == nil || b == r.layers || next[b] >= inf:
			return inf
		}
		return r.between(j, i, b) + next[b]
	}
	for a := r.layers - 1; a >= 0; a-- {
		if c := follow(a + 1); c < inf {
			c += work[a+1]
			for tail > head && follow(q[tail-1])+work[q[tail-1]] >= c {
				tail--
			}
			q[tail] = a + 1
			tail++
		}
		row[a] = inf
		if last[a] <= a {
			continue
		}
		if r.pinned[j] {
			if c := follow(last[a]); c < inf {
				row[a] = c + work[last[a]] - work[a] + r.enter[j]
			}
			continue
		}
		for head < tail && q[head] > last[a] {
			head++
		}
		if head < tail {
			row[a] = follow(q[head]) + work[q[head]] - work[a] + r.enter[j]
		}
	}
	row[r.layers] = inf
}

// tables fills before and behind for an order.
func (t *tour) tables(order []int) {
	r := t.r
	for len(t.before) <= len(order)+1 {
		t.before = append(t.before, make([]int64, r.layers+1))
		t.behind = append(t.behind, make([]int64, r.layers+1))
	}
	for b := range t.before[0] {
		t.before[0][b] = inf
	}
	t.before[0][0] = 0
	prev := r.n
	for k, j := range order {
		t.extend(t.before[k+1], t.before[k], prev, j)
		prev = j
	}
	for k := len(order) - 1; k >= 0; k-- {
		if k == len(order)-1 {
			t.precede(t.behind[k], nil, order[k], r.n)
		} else {
			t.precede(t.behind[k], t.behind[k+1], order[k], order[k+1])
		}
	}
	t.e.spend((2*len(order) + 1) * r.layers / rowShare)
}

// join is the value of a row of device i, followed by order[k:].
func (t *tour) join(row []int64, i int, order []int, k int) int64 {
	r := t.r
	if k == len(order) {
		if row[r.layers] >= inf || i == r.n {
			return inf
		}
		return row[r.layers] + r.link[i][r.n]
	}
	best := int64(inf)
	next := t.behind[k]
	for b, c := range row[:r.layers] {
		if c < inf && next[b] < inf {
			best = min(best, c+r.into(i, order[k], b)+next[b])
		}
	}
	return best
}

// at returns the device before place k, the coordinator before the first.
func (t *tour) at(order []int, k int) int {
	if k == 0 {
		return t.r.n
	}
	return order[k-1]
}

// value is the least value of an order; its tables are filled.
func (t *tour) value(order []int) int64 {
	if len(order) > t.r.hops {
		return inf
	}
	t.tables(order)
	return t.join(t.before[len(order)], t.at(order, len(order)), order, len(order))
}

// cuts returns the way of least value in an order.
func (t *tour) cuts(order []int) []hop {
	r := t.r
	if t.value(order) >= inf {
		return nil
	}
	way := make([]hop, len(order))
	b := r.layers
	for k := len(order) - 1; k >= 0; k-- {
		j, i := order[k], t.at(order, k)
		a := b - 1
		for t.before[k][a] >= inf || r.into(i, j, a) >= inf || !r.ends(j, a, b) ||
			t.before[k][a]+r.into(i, j, a)-r.work[j][a]+r.work[j][b]+r.enter[j] != t.before[k+1][b] {
			a--
		}
		way[k] = hop{j, a, b}
		b = a
	}
	return way
}

// improve descends from an order until no change helps, and returns the best order and its value.
func (t *tour) improve(order []int, value int64) ([]int, int64) {
	for !t.e.over {
		next, v := t.exchange(order, value)
		if v >= value {
			next, v = t.turn(order, value)
		}
		if v >= value {
			return order, value
		}
		order, value = next, v
	}
	return order, value
}

// exchange tries to leave one device out, or none, and to put one in, or none, anywhere.
func (t *tour) exchange(order []int, value int64) ([]int, int64) {
	r := t.r
	var best []int
	used := make([]bool, r.n)
	for _, j := range order {
		used[j] = true
	}
	for out := -1; out < len(order) && !t.e.over; out++ {
		base := order
		if out >= 0 {
			if r.pinned[order[out]] {
				continue
			}
			base = slices.Delete(slices.Clone(order), out, out+1)
		}
		if v := t.value(base); v < value {
			best, value = slices.Clone(base), v
		}
		if len(base)+1 > r.hops {
			continue
		}
		for j := range r.n {
			if used[j] && (out < 0 || j != order[out]) {
				continue
			}
			for k := range len(base) + 1 {
				t.extend(t.row, t.before[k], t.at(base, k), j)
				if v := t.join(t.row, j, base, k); v < value {
					best, value = slices.Insert(slices.Clone(base), k, j), v
				}
			}
			if !t.e.spend((len(base) + 1) * r.layers / rowShare) {
				break
			}
		}
	}
	return best, value
}

// turn tries to run a part of the order backwards, to move a part, and to swap two devices, where that makes links cheaper.
func (t *tour) turn(order []int, value int64) ([]int, int64) {
	r := t.r
	links := func(o []int) int64 {
		sum, prev := int64(0), r.n
		for _, j := range o {
			sum, prev = min(inf, sum+r.link[prev][j]), j
		}
		return min(inf, sum+r.link[prev][r.n])
	}
	now := links(order)
	try := func(o []int) bool {
		if r.model == r.layers && links(o) >= now {
			return false
		}
		return t.value(o) < value
	}
	n := len(order)
	for i := range n {
		for j := i + 1; j < n; j++ {
			if !t.e.spend(1 + n/stepShare) {
				return nil, value
			}
			o := slices.Clone(order)
			slices.Reverse(o[i : j+1])
			if try(o) {
				return o, t.value(o)
			}
			o = slices.Clone(order)
			o[i], o[j] = o[j], o[i]
			if try(o) {
				return o, t.value(o)
			}
		}
	}
	for length := 2; length <= min(4, n-1); length++ {
		for i := range n - length + 1 {
			part := order[i : i+length]
			rest := slices.Delete(slices.Clone(order), i, i+length)
			for k := range len(rest) + 1 {
				if !t.e.spend(1 + n/stepShare) {
					return nil, value
				}
				if k == i {
					continue
				}
				if o := slices.Insert(slices.Clone(rest), k, part...); try(o) {
					return o, t.value(o)
				}
			}
		}
	}
	return nil, value
}

// shake changes an order at random: a part moves elsewhere, or devices are replaced.
func (t *tour) shake(order []int) []int {
	r, n := t.r, len(order)
	o := slices.Clone(order)
	if n >= 4 && t.random.IntN(2) == 0 {
		cut := []int{1 + t.random.IntN(n-1), 1 + t.random.IntN(n-1), 1 + t.random.IntN(n-1)}
		slices.Sort(cut)
		return slices.Concat(o[:cut[0]], o[cut[1]:cut[2]], o[cut[0]:cut[1]], o[cut[2]:])
	}
	for range 1 + t.random.IntN(3) {
		k, j := t.random.IntN(n), t.random.IntN(r.n)
		at := slices.Index(o, j)
		if at < 0 && r.pinned[o[k]] {
			continue
		}
		if at >= 0 {
			o[at] = o[k]
		}
		o[k] = j
	}
	return o
}
