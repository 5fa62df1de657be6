// SPDX-License-Identifier: MIT

package solver

// tour prices an order of devices: where the cuts between them lie best is a dynamic programme of one row a device.
type tour struct {
	r      *ring
	e      *effort
	queue  []int
	begun  []int64   // [layers]: cost of beginning at a boundary, less the work of all layers before it
	last   []int     // the order that before is of
	before [][]int64 // [k][layers+1]: least cost of the first k devices when they end at a boundary
}

// rowShare is how many cells of a row count as one search node.
const rowShare = 64

func newTour(r *ring, e *effort) *tour {
	return &tour{r: r, e: e, queue: make([]int, r.layers+1), begun: make([]int64, r.layers)}
}

// extend fills row with the least cost of ending at each boundary with device j, which follows device i (r.n: the coordinator) whose row
// is prev.
func (t *tour) extend(row, prev []int64, i, j int) {
	r := t.r
	q, head, tail := t.queue, 0, 0
	work, last := r.work[j], r.last[j]
	direct := r.link[i][j]
	home := direct // where a copy of the model ends
	if i != r.n {
		home = min(inf, r.link[i][r.n]+r.link[r.n][j])
	}
	row[0] = inf
	end := r.model
	for b := range r.layers {
		link := direct
		if b == end {
			link, end = home, end+r.model
		}
		if c := prev[b]; c < inf && last[b] > b && link < inf {
			c += link - work[b]
			for tail > head && t.begun[q[tail-1]] >= c {
				tail--
			}
			q[tail], t.begun[b] = b, c
			tail++
		}
		for head < tail && last[q[head]] <= b {
			head++
		}
		row[b+1] = inf
		if head < tail {
			if a := q[head]; !r.pinned[j] || last[a] == b+1 {
				row[b+1] = t.begun[a] + work[b+1] + r.enter[j]
			}
		}
	}
}

// tables fills before for an order, from where it differs from the last one.
func (t *tour) tables(order []int) {
	r := t.r
	for len(t.before) <= len(order) {
		t.before = append(t.before, make([]int64, r.layers+1))
	}
	if len(t.last) == 0 {
		for b := range t.before[0] {
			t.before[0][b] = inf
		}
		t.before[0][0] = 0
	}
	same := 0 // what the order before this one began with too
	for same < min(len(order), len(t.last)) && order[same] == t.last[same] {
		same++
	}
	for k := same; k < len(order); k++ {
		t.extend(t.before[k+1], t.before[k], t.at(order, k), order[k])
	}
	t.last = append(t.last[:0], order...)
	t.e.spend(1 + (len(order)-same)*r.layers/rowShare)
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
	r := t.r
	if len(order) > r.hops || len(order) == 0 {
		return inf
	}
	t.tables(order)
	return min(inf, t.before[len(order)][r.layers]+r.link[t.at(order, len(order))][r.n])
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
