// SPDX-License-Identifier: MIT

package solver

import (
	"cmp"
	"slices"
)

// groups finds the cheapest device to come from, for each device, without looking at all pairs: devices that are near each other form a
// group, and a group is passed over when its cheapest member and its cheapest link together are too dear.
type groups struct {
	r       *ring
	of      []int   // [n]: a device's group
	members [][]int // by the cost of ending, once sorted; only devices that can end
	cheap   []int64 // [n*groups]: the least link into a device from a group
	first   []int   // groups by their first member's cost; only those that have one
	looked  int     // devices looked at
}

// fewDevices make one group: there is nothing to pass over.
const fewDevices = 32

func newGroups(r *ring) groups {
	g := groups{r: r, of: make([]int, r.n)}
	n := 1
	if r.n > fewDevices {
		for n*n < r.n {
			n++
		}
	}
	// Each next leader is the device farthest from all leaders so far.
	away := make([]int64, r.n)
	for i := range away {
		away[i] = inf
	}
	leader := 0
	for k := range n {
		next := 0
		for i := range r.n {
			if d := min(r.link[i][leader], r.link[leader][i]); i == leader {
				away[i], g.of[i] = 0, k
			} else if d < away[i] {
				away[i], g.of[i] = d, k
			}
			if away[i] > away[next] {
				next = i
			}
		}
		leader = next
	}
	g.members = make([][]int, n)
	g.cheap = make([]int64, r.n*n)
	for k := range g.cheap {
		g.cheap[k] = inf
	}
	for i, k := range g.of {
		for j := range r.n {
			if i != j {
				g.cheap[j*n+k] = min(g.cheap[j*n+k], r.link[i][j])
			}
		}
	}
	return g
}

// sort takes the costs of ending at a boundary, and returns the least of them with the link to the coordinator.
func (g *groups) sort(end []int64) int64 {
	home := int64(inf)
	for k := range g.members {
		g.members[k] = g.members[k][:0]
	}
	for i, c := range end {
		if c < inf {
			g.members[g.of[i]] = append(g.members[g.of[i]], i)
			home = min(home, c+g.r.link[i][g.r.n])
		}
	}
	g.first = g.first[:0]
	for k, m := range g.members {
		if len(m) > 0 {
			slices.SortFunc(m, func(i, j int) int { return cmp.Compare(end[i], end[j]) })
			g.first = append(g.first, k)
		}
	}
	slices.SortFunc(g.first, func(k, l int) int { return cmp.Compare(end[g.members[k][0]], end[g.members[l][0]]) })
	return home
}

// least returns the least cost of ending and going on to device j; inf if there is no way.
func (g *groups) least(end []int64, j int) int64 {
	best := int64(inf)
	cheap := g.cheap[j*len(g.members) : (j+1)*len(g.members)]
	look := func(k int) {
		for _, i := range g.members[k] {
			if end[i]+cheap[k] >= best {
				return
			}
			g.looked++
			if i != j {
				best = min(best, end[i]+g.r.link[i][j])
			}
		}
	}
	own := g.of[j]
	look(own)
	for _, k := range g.first {
		if end[g.members[k][0]] >= best {
			break
		}
		if k != own {
			look(k)
		}
	}
	return best
}
