// SPDX-License-Identifier: MIT

package solver

import (
	"math"
	"slices"
)

// cut says that a way enters a set of devices from outside at least as often as it uses one of them. Ways of which parts go in circles do
// not. A cut's price comes off the links into the set, and is put on the entry of the device: no true way gets dearer.
type cut struct {
	set    []bool
	inside []int // the set's devices
	device int   // one of them
}

// priced returns the ring with the prices of cuts in its links and entries. Its ways cost no more than the ring's.
func (r *ring) priced(cuts []cut, price []int64) *ring {
	if len(cuts) == 0 {
		return r
	}
	v := *r
	v.enter = slices.Clone(r.enter)
	v.link = make([][]int64, r.n+1)
	into := make([]int64, r.n+1)
	for i := range v.link {
		v.link[i] = slices.Clone(r.link[i])
	}
	for k := range cuts {
		c := &cuts[k]
		v.enter[c.device] += price[k]
		for _, j := range c.inside {
			into[j] += price[k]
			for _, i := range c.inside {
				v.link[i][j] += price[k]
			}
		}
	}
	for i := range v.link {
		for j, p := range into {
			if v.link[i][j] -= p; r.link[i][j] >= inf {
				v.link[i][j] = inf
			}
		}
	}
	return &v
}

// broken is by how much a way breaks the cut; less than nothing where there is room.
func (c *cut) broken(r *ring, way []hop) int {
	n, inside := 0, false
	for _, h := range way {
		if inside = inside && h.from%r.model != 0; c.set[h.device] && !inside {
			n--
		}
		if inside = c.set[h.device]; h.device == c.device {
			n++
		}
	}
	return n
}

// without returns the cuts among the devices kept, and their prices. Those of devices that are not kept are left out.
func without(cuts []cut, price []int64, keep []int) ([]cut, []int64) {
	var some []cut
	var paid []int64
	for k := range cuts {
		c := cut{set: make([]bool, len(keep)), device: slices.Index(keep, cuts[k].device)}
		if c.device < 0 {
			continue
		}
		for i, old := range keep {
			if c.set[i] = cuts[k].set[old]; c.set[i] {
				c.inside = append(c.inside, i)
			}
		}
		some, paid = append(some, c), append(paid, price[k])
	}
	return some, paid
}

// flow finds cuts that a way in parts breaks: how much of each arc it takes is a capacity, and a set that less flows into than a device
// of it is used makes a cut.
type flow struct {
	n        int
	capacity []float64 // [n+1][n+1]
	left     []float64
	near     [][]int
	from     []int
	list     []int
}

// slightly is by how much a cut must be broken to be wanted, and little is what is not counted as flow.
const (
	slightly = 0.03
	little   = 1e-3
)

func newFlow(devices int, capacity []float64) *flow {
	n := devices + 1
	f := &flow{n: n, capacity: capacity, left: make([]float64, n*n), near: make([][]int, n), from: make([]int, n)}
	for i := range n {
		for j := range n {
			if i != j && (capacity[i*n+j] > little || capacity[j*n+i] > little) {
				f.near[i] = append(f.near[i], j)
			}
		}
	}
	return f
}

// cuts returns what is broken, without what is known.
func (f *flow) cuts(known []cut) []cut {
	devices := f.n - 1
	uses := make([]float64, devices)
	for i := range f.n {
		for j := range devices {
			uses[j] += f.capacity[i*f.n+j]
		}
	}
	var found []cut
	for k, use := range uses {
		if use < 2*slightly || f.run(devices, k) > min(1, use)-slightly {
			continue
		}
		for _, set := range [][]bool{f.far(devices), f.around(k)} {
			c := cut{set: set[:devices], device: k}
			for i, in := range c.set {
				if in {
					c.inside = append(c.inside, i)
					if uses[i] > uses[c.device] {
						c.device = i
					}
				}
			}
			same := func(o cut) bool { return o.device == c.device && slices.Equal(o.inside, c.inside) }
			if !slices.ContainsFunc(known, same) && !slices.ContainsFunc(found, same) {
				found = append(found, c)
			}
		}
	}
	return found
}

// run finds the greatest flow between two, and returns it.
func (f *flow) run(s, t int) float64 {
	copy(f.left, f.capacity)
	sum := 0.0
	for f.search(s, t) {
		least := math.Inf(1)
		for j := t; j != s; j = f.from[j] {
			least = min(least, f.left[f.from[j]*f.n+j])
		}
		for j := t; j != s; j = f.from[j] {
			f.left[f.from[j]*f.n+j] -= least
			f.left[j*f.n+f.from[j]] += least
		}
		sum += least
	}
	return sum
}

// search looks for a way for more flow, breadth first, and reports whether there is one.
func (f *flow) search(s, t int) bool {
	for i := range f.from {
		f.from[i] = -1
	}
	f.from[s] = s
	f.list = append(f.list[:0], s)
	for k := 0; k < len(f.list); k++ {
		i := f.list[k]
		for _, j := range f.near[i] {
			if f.from[j] < 0 && f.left[i*f.n+j] > little {
				f.from[j] = i
				if f.list = append(f.list, j); j == t {
					return true
				}
			}
		}
	}
	return false
}

// far returns the largest set that no more can flow into: all that the last search did not reach.
func (f *flow) far(s int) []bool {
	set := make([]bool, f.n)
	for i, from := range f.from {
		set[i] = from < 0 && i != s
	}
	return set
}

// around returns the smallest such set: all from where more could flow to t.
func (f *flow) around(t int) []bool {
	set := make([]bool, f.n)
	set[t] = true
	f.list = append(f.list[:0], t)
	for k := 0; k < len(f.list); k++ {
		j := f.list[k]
		for _, i := range f.near[j] {
			if !set[i] && f.left[i*f.n+j] > little {
				set[i] = true
				f.list = append(f.list, i)
			}
		}
	}
	return set
}
