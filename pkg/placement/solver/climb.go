// SPDX-License-Identifier: MIT

package solver

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// climb improves a way by local search over the order of its devices: changes are judged by links alone, and by what the work of a set of
// devices costs if layers are alike and none is an end of the model. Those that seem to help are then priced as they are.
type climb struct {
	*tour
	random *rand.Rand // the same numbers in each Solve
	work   []int64    // [n]: of a layer
	room   []int      // [n]: layers
	cheap  []int      // devices by work
	used   []bool     // [n]: devices of the order
	tries  []change
	looked int
}

// change leaves out the device at a place, if that is not negative, and puts one in before a place of what is left, if it is not negative.
type change struct {
	gain           int64 // what it seems to cost more
	out, in, place int
}

func newClimb(r *ring, e *effort) *climb {
	c := &climb{tour: newTour(r, e), random: rand.New(rand.NewPCG(1, 2)), room: r.room(), used: make([]bool, r.n)}
	for i := range r.n {
		c.work = append(c.work, r.work[i][r.layers]/int64(r.layers))
		if r.layers > 2 {
			c.work[i] = (r.work[i][r.layers-1] - r.work[i][1]) / int64(r.layers-2)
		}
		c.cheap = append(c.cheap, i)
	}
	slices.SortStableFunc(c.cheap, func(i, j int) int { return cmp.Compare(c.work[i], c.work[j]) })
	return c
}

// run improves an order of some value, and offers each better one that it finds.
func (c *climb) run(order []int, value int64, shakes int, offer func([]int)) {
	best, least := c.descend(order, value)
	if least < value {
		offer(best)
	}
	for range shakes {
		if c.e.over || len(best) == 0 {
			return
		}
		next := c.shake(best)
		v := c.value(next)
		if v >= inf {
			continue
		}
		if next, v = c.descend(next, v); v <= least {
			if v < least {
				offer(next)
			}
			best, least = next, v
		}
	}
}

// descend changes an order until nothing helps.
func (c *climb) descend(order []int, value int64) ([]int, int64) {
	for !c.e.over {
		next, v := c.rearrange(order, value)
		if v >= value {
			next, v = c.exchange(order, value)
		}
		if v >= value {
			break
		}
		order, value = next, v
	}
	return order, value
}

// layersCost is the least cost of all layers on the devices used but one and with another, which may be -1.
func (c *climb) layersCost(out, in int) int64 {
	left, sum := c.r.layers, int64(0)
	for _, j := range c.cheap {
		if c.used[j] && j != out || j == in {
			left--
			sum += c.r.enter[j] + c.work[j]
		}
	}
	if left < 0 {
		return inf
	}
	for _, j := range c.cheap {
		if c.used[j] && j != out || j == in {
			n := min(left, c.room[j]-1)
			sum += int64(n) * c.work[j]
			if left -= n; left == 0 {
				return sum
			}
		}
	}
	return inf
}

// exchange leaves a device out, or puts one in, or both.
func (c *climb) exchange(order []int, value int64) ([]int, int64) {
	r := c.r
	clear(c.used)
	for _, j := range order {
		c.used[j] = true
	}
	now := c.layersCost(-1, -1)
	c.tries = c.tries[:0]
	rest := make([]int, 0, len(order)+1)
	for out := -1; out < len(order); out++ {
		gone, links := -1, int64(0)
		rest = append(rest[:0], order...)
		if out >= 0 {
			if gone = order[out]; r.pinned[gone] {
				continue
			}
			a, b := c.at(order, out), c.behind(order, out)
			links = r.link[a][b] - r.link[a][gone] - r.link[gone][b]
			if len(order) == 1 {
				links = 0
			}
			rest = slices.Delete(rest, out, out+1)
			if gain := links + c.layersCost(gone, -1) - now; gain < 0 && len(rest) > 0 {
				c.tries = append(c.tries, change{gain, out, -1, 0})
			}
		}
		if len(rest)+1 > r.hops {
			continue
		}
		for j := range r.n {
			if c.used[j] {
				continue
			}
			base := links - now + c.layersCost(gone, j)
			if base >= inf/2 {
				continue
			}
			best, place := int64(inf), 0
			for k := range len(rest) + 1 {
				a, b := c.at(rest, k), r.n
				if k < len(rest) {
					b = rest[k]
				}
				if v := min(inf, r.link[a][j]+r.link[j][b]) - r.link[a][b]; v < best {
					best, place = v, k
				}
			}
			if best+base < 0 {
				c.tries = append(c.tries, change{best + base, out, j, place})
			}
		}
		c.looked += (r.n - len(rest)) * (3*len(rest) + 2*r.n)
	}
	slices.SortStableFunc(c.tries, func(a, b change) int { return cmp.Compare(a.gain, b.gain) })
	for _, t := range c.tries[:min(len(c.tries), mostTries)] {
		next := slices.Clone(order)
		if t.out >= 0 {
			next = slices.Delete(next, t.out, t.out+1)
		}
		if t.in >= 0 {
			next = slices.Insert(next, t.place, t.in)
		}
		if v := c.value(next); v < value {
			return next, v
		}
	}
	c.settle()
	return order, value
}

// mostTries is how many exchanges are priced, at the most, before they are given up.
const mostTries = 12

// behind returns the device behind place k, the coordinator behind the last.
func (c *climb) behind(order []int, k int) int {
	if k+1 == len(order) {
		return c.r.n
	}
	return order[k+1]
}

// rearrange moves a part of the order elsewhere, or runs one backwards, or both.
func (c *climb) rearrange(order []int, value int64) ([]int, int64) {
	link := c.r.link
	n := len(order)
	home := c.r.n
	device := func(k int) int {
		if k < 0 || k >= n {
			return home
		}
		return order[k]
	}
	for i := range n {
		turned := int64(0) // what it costs more to pass order[i:j] backwards
		for j := i + 1; j <= n; j++ {
			if j > i+1 {
				turned = min(inf/2, turned+link[order[j-1]][order[j-2]]) - link[order[j-2]][order[j-1]]
			}
			a, first, last, b := device(i-1), order[i], order[j-1], device(j)
			if n > 1 && j > i+1 {
				if link[a][last]+link[first][b]+turned < link[a][first]+link[last][b] {
					next := slices.Clone(order)
					slices.Reverse(next[i:j])
					if v := c.value(next); v < value {
						return next, v
					}
				}
			}
			if j-i == n {
				continue
			}
			saved := link[a][first] + link[last][b] - link[a][b]
			if saved <= 0 {
				continue
			}
			for k := 0; k <= n; k++ { // before what is at k now
				if k >= i && k <= j {
					continue
				}
				p, q := device(k-1), device(k)
				open := saved + link[p][q]
				straight, back := link[p][first]+link[last][q], link[p][last]+link[first][q]+turned
				if straight >= open && back >= open {
					continue
				}
				part := slices.Clone(order[i:j])
				if back < straight {
					slices.Reverse(part)
				}
				next := slices.Delete(slices.Clone(order), i, j)
				at := k
				if k > j {
					at -= j - i
				}
				next = slices.Insert(next, at, part...)
				if v := c.value(next); v < value {
					return next, v
				}
			}
			c.looked += n
		}
	}
	c.settle()
	return order, value
}

// settle counts what was looked at.
func (c *climb) settle() {
	c.e.spend(c.looked / looksPerNode)
	c.looked = 0
}

// looksPerNode is how many changes count as one search node.
const looksPerNode = 400

// shake changes an order at random: two neighbouring parts change places, or devices are replaced.
func (c *climb) shake(order []int) []int {
	r, n := c.r, len(order)
	o := slices.Clone(order)
	if n >= 4 && c.random.IntN(2) == 0 {
		from := c.random.IntN(n - 2)
		cut := []int{from, from + 1 + c.random.IntN(min(12, n-from-1)), 0}
		cut[2] = min(n, cut[1]+1+c.random.IntN(12))
		return slices.Concat(o[:cut[0]], o[cut[1]:cut[2]], o[cut[0]:cut[1]], o[cut[2]:])
	}
	for range 1 + c.random.IntN(3) {
		k, j := c.random.IntN(n), c.random.IntN(r.n)
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
