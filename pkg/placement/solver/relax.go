// SPDX-License-Identifier: MIT

package solver

import "slices"

// The relaxation lets a device be a hop many times, at a price each time (its multiplier): then the best way is a dynamic programme
// over boundary and device. What the multipliers would bring in were each device used once is taken off again, so the value is
// never above that of a true way. A hop more than allowed and a pinned device left out have prices too.

// prices are the multipliers. Zero prices relax most.
type prices struct {
	device []int64 // [n]: of each use; may be negative for pinned devices only
	hop    int64   // of each hop
	cut    []int64 // of each cut; they are in links and entries of the ring that is relaxed (see priced)
}

func newPrices(n int) *prices { return &prices{device: make([]int64, n)} }

func (p *prices) clone() *prices { return &prices{slices.Clone(p.device), p.hop, slices.Clone(p.cut)} }

// credit is what is taken off a relaxed value.
func (p *prices) credit(r *ring) int64 {
	sum := p.hop * int64(min(r.hops, r.layers))
	for _, d := range p.device {
		sum += d
	}
	return sum
}

// relaxation holds the tables of one direction. The zero value is ready; memory is kept from pass to pass.
type relaxation struct {
	r     *ring
	p     *prices
	start []int64 // [layers+1][n]: least relaxed cost of the way up to a boundary where the device begins, the link to it and its entry included
	end   []int64 // [layers+1][n]: the same up to a boundary where its range ends
	queue [][]int // [n][layers]: starts that may be best for an end to come, costs rising, ...
	head  []int   // ... from here ...
	tail  []int   // ... to here
	group groups
}

// run fills the tables, and returns its effort in search nodes.
func (x *relaxation) run(r *ring, p *prices) int {
	if x.r == nil || x.r.n != r.n {
		x.start = make([]int64, (r.layers+1)*r.n)
		x.end = make([]int64, (r.layers+1)*r.n)
		x.queue = make([][]int, r.n)
		x.head, x.tail = make([]int, r.n), make([]int, r.n)
		for i := range x.queue {
			x.queue[i] = make([]int, r.layers)
		}
	}
	if x.r != r {
		x.r, x.group = r, newGroups(r)
	}
	x.p = p
	x.group.looked = 0
	clear(x.head)
	clear(x.tail)
	for b := range r.layers + 1 {
		end := x.end[b*r.n : (b+1)*r.n]
		for i := range end {
			end[i] = x.ending(i, b)
		}
		if b < r.layers {
			x.starting(b, end)
		}
	}
	return (stateCost*r.n*r.layers + x.group.looked) / lookShare
}

// A pass looks at each state, which takes as long as stateCost looks at a device that may precede another, and at such devices. So many
// looks count as one search node.
const (
	stateCost = 12
	lookShare = 60
)

// ending is the least cost of ending at b with device i.
func (x *relaxation) ending(i, b int) int64 {
	q, r := x.queue[i], x.r
	for x.head[i] < x.tail[i] && r.last[i][q[x.head[i]]] < b {
		x.head[i]++
	}
	if x.head[i] == x.tail[i] {
		return inf
	}
	a := q[x.head[i]]
	if r.pinned[i] && r.last[i][a] != b {
		return inf
	}
	return x.start[a*r.n+i] - r.work[i][a] + r.work[i][b]
}

// starting fills in the cost of each device's beginning at b.
func (x *relaxation) starting(b int, end []int64) {
	r := x.r
	start := x.start[b*r.n : (b+1)*r.n]
	home := x.group.sort(end)
	for j := range start {
		start[j] = inf
		if r.last[j][b] <= b {
			continue
		}
		var best int64
		switch {
		case b == 0:
			best = r.link[r.n][j]
		case b%r.model == 0:
			best = home + r.link[r.n][j] // that a device would follow itself around the coordinator is relaxed too
		default:
			best = x.group.least(end, j)
		}
		if best >= inf {
			continue
		}
		start[j] = best + r.enter[j] + x.p.device[j] + x.p.hop
		x.push(j, b)
	}
}

// push notes that device j may begin at b. A start is dropped when a later one is no dearer: it reaches at least as far.
func (x *relaxation) push(j, b int) {
	r, q := x.r, x.queue[j]
	at := func(a int) int64 { return x.start[a*r.n+j] - r.work[j][a] }
	for x.head[j] < x.tail[j] && at(q[x.tail[j]-1]) >= at(b) {
		x.tail[j]--
	}
	q[x.tail[j]] = b
	x.tail[j]++
}

// bound is the relaxed value of the whole, and where its way ends; inf if there is none.
func (x *relaxation) bound() (int64, int) {
	r := x.r
	best, device := int64(inf), -1
	for i := range r.n {
		if c := x.end[r.layers*r.n+i] + r.link[i][r.n]; c < best {
			best, device = c, i
		}
	}
	if device < 0 {
		return inf, -1
	}
	return best - x.p.credit(r), device
}

// walk returns the way that ends with a device at a boundary, backwards in time of its making but in order of layers.
func (x *relaxation) walk(i, b int) []hop {
	r := x.r
	var way []hop
	for b > 0 {
		a := b - 1
		for x.start[a*r.n+i] >= inf || !r.ends(i, a, b) || x.start[a*r.n+i]-r.work[i][a]+r.work[i][b] != x.end[b*r.n+i] {
			a--
		}
		way = append(way, hop{i, a, b})
		if a == 0 {
			break
		}
		want := x.start[a*r.n+i] - r.enter[i] - x.p.device[i] - x.p.hop
		prev := 0
		for x.end[a*r.n+prev] >= inf || prev == i && a%r.model != 0 || x.end[a*r.n+prev]+r.between(prev, i, a) != want {
			prev++
		}
		i, b = prev, a
	}
	slices.Reverse(way)
	return way
}

// after returns what the way costs from each boundary on, behind a device that ended there, from the reversed ring's tables:
// [layers+1][n], [b*n+i]. The link to the next device is part of it.
func (x *relaxation) after() []int64 { return x.rest(x.end) }

// rest turns costs of ending (of the reversed ring x.r) into costs of what follows a device (of the ring).
func (x *relaxation) rest(end []int64) []int64 {
	v := x.r
	n, l := v.n, v.layers
	out := make([]int64, (l+1)*n)
	for b := 1; b <= l; b++ {
		row := out[b*n : (b+1)*n]
		if b == l {
			copy(row, v.link[n])
			continue
		}
		ends := end[(l-b)*n : (l-b+1)*n] // of the devices that begin at b
		home := x.group.sort(ends)
		for i := range row {
			if b%v.model == 0 {
				row[i] = min(inf, home+v.link[n][i])
			} else {
				row[i] = x.group.least(ends, i)
			}
		}
	}
	return out
}
