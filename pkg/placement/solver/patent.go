// SPDX-License-Identifier: MIT

package solver

import (
	"math"
	"math/bits"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// The patent's model has each layer on one device, the first on the first device, and lets a device have any layers: a way may come back
// to a device, and every step from one device to another uses a link. So a device's memory is shared by all its ranges. The relaxation
// has a price for memory in place of the limit; the search goes from layer to layer and knows what each device has left.

// patent is the patent's instance in integers.
type patent struct {
	c     *compiled
	scale float64
	n     int
	cost  [][]int64 // [layers][n]: of a layer on a device, inf where it must not be
	link  [][]int64 // [n][n]: of a step between devices; 0 to itself
	need  []int64   // bytes of a layer
	room  []int64   // bytes of a device
	most  int       // devices
	extra int64     // cost of every assignment
}

func newPatent(c *compiled) *patent {
	in, n := c.in, c.ring.n
	w := in.Patent
	p := &patent{c: c, n: n, most: c.ring.hops, scale: 1e12}
	layers := len(in.Model.Layers)
	compute := make([][]float64, layers)
	var most float64
	for l := range compute {
		var dearest float64
		for _, d := range c.devices {
			t := in.patentLayer(&in.Devices[d], l)
			compute[l] = append(compute[l], t)
			dearest = max(dearest, t)
		}
		most += dearest
	}
	links := make([][]float64, n)
	var dearest float64
	for i, a := range c.devices {
		for j, b := range c.devices {
			v := -1.0
			if i == j {
				v = 0
			} else if in.allows(a, b) {
				v = in.patentLink(a, b)
			}
			links[i] = append(links[i], v)
			dearest = max(dearest, v)
		}
	}
	most += float64(layers)*(dearest+w.Complexity) + 1
	for most*p.scale > inf/4096 {
		p.scale /= 10
	}
	units := func(v float64) int64 { return int64(math.Round(float64(v * p.scale))) }
	p.extra = int64(layers) * units(w.Complexity)
	for l := range layers {
		row := make([]int64, n)
		for i, d := range c.devices {
			row[i] = units(compute[l][i])
			if !in.mayHold(d, l) {
				row[i] = inf
			}
		}
		p.cost = append(p.cost, row)
		p.need = append(p.need, in.need(l))
	}
	for i := range n {
		row := make([]int64, n)
		for j := range row {
			if row[j] = inf; links[i][j] >= 0 {
				row[j] = units(links[i][j])
			}
		}
		p.link = append(p.link, row)
		p.room = append(p.room, int64(float64(w.Memory*float64(in.Devices[c.devices[i]].Memory))))
	}
	return p
}

// patentLayer is T_compute of a layer on a device.
func (in *Instance) patentLayer(d *Device, l int) float64 {
	return float64(in.Model.Layers[l].FLOPs) / d.Prefill
}

// patentLink is T_data and T_QoS of a step from device i to device j.
func (in *Instance) patentLink(i, j int) float64 {
	l, w := &in.Links[i][j], &in.Patent
	t := 0.0
	if l.Bandwidth > 0 {
		t = float64(in.Model.Hidden) / float64(w.Efficiency*l.Bandwidth)
	}
	return l.Latency.Seconds() + t + float64(w.Jitter*l.Jitter.Seconds()) + float64(w.Transfer*t*l.Loss) + float64(w.Loss*l.Loss*l.Loss)
}

// mayHold applies x[0,0] = 1, the first layer on the first device of the inventory, and pinned ranges, which nobody else's layers are in.
func (in *Instance) mayHold(d, l int) bool {
	if l == 0 && d != 0 {
		return false
	}
	for i := range in.Devices {
		if p := in.Devices[i].Pinned; p != nil && (l >= p.From && l < p.To) != (i == d) && (i == d || l >= p.From && l < p.To) {
			return false
		}
	}
	return true
}

// granule is what a price of memory is for, as a power of two of bytes.
const granule = 20

// priced is the part of a memory price that so many bytes pay, rounded down: so parts never add up to more than the whole pays.
func priced(lambda, bytes int64) int64 {
	hi, lo := bits.Mul64(uint64(lambda), uint64(bytes))
	if hi>>(granule-3) != 0 {
		return inf
	}
	return min(inf, int64(hi<<(64-granule)|lo>>granule))
}

// relax returns the cheapest assignment when memory has prices and no limit, and the bound it gives: its cost less what all memory would
// pay. rest[l][i] is the least cost from layer l on when the layer before is on device i.
func (p *patent) relax(lambda []int64) (bound int64, rest [][]int64, way []int) {
	layers := len(p.cost)
	cost := make([][]int64, layers)
	for l := range cost {
		cost[l] = make([]int64, p.n)
		for j := range cost[l] {
			cost[l][j] = min(inf, p.cost[l][j]+priced(lambda[j], p.need[l]))
		}
	}
	rest = make([][]int64, layers+1)
	rest[layers] = make([]int64, p.n)
	for l := layers - 1; l > 0; l-- {
		rest[l] = make([]int64, p.n)
		for i := range p.n {
			rest[l][i] = inf
			for j := range p.n {
				rest[l][i] = min(rest[l][i], p.link[i][j]+cost[l][j]+rest[l+1][j])
			}
		}
	}
	bound = inf
	for j := range p.n {
		if c := cost[0][j] + rest[1][j]; c < bound {
			bound, way = c, []int{j}
		}
	}
	if way == nil {
		return inf, rest, nil
	}
	for l := 1; l < layers; l++ {
		i := way[l-1]
		for j := range p.n {
			if p.link[i][j]+cost[l][j]+rest[l+1][j] == rest[l][i] {
				way = append(way, j)
				break
			}
		}
	}
	return bound - p.credit(lambda), rest, way
}

// credit is what all memory pays.
func (p *patent) credit(lambda []int64) int64 {
	sum := int64(0)
	for i, v := range lambda {
		sum += priced(v, p.room[i])
	}
	return sum
}

// value is the cost of an assignment without extra; inf if it breaks a constraint.
func (p *patent) value(way []int) int64 {
	used := make([]int64, p.n)
	in := make([]bool, p.n)
	var sum int64
	devices := 0
	for l, i := range way {
		if !in[i] {
			in[i] = true
			devices++
		}
		used[i] += p.need[l]
		sum += p.cost[l][i]
		if l > 0 {
			sum += p.link[way[l-1]][i]
		}
		if sum >= inf || used[i] > p.room[i] {
			return inf
		}
	}
	if devices > p.most {
		return inf
	}
	return sum
}

func (p *patent) outcome(way []int, cost, bound int64) outcome {
	if way == nil {
		return outcome{proven: bound >= cost}
	}
	var route []Hop
	for l, i := range way {
		if l > 0 && way[l-1] == i {
			route[len(route)-1].Layers.To++
			continue
		}
		route = append(route, Hop{p.c.devices[i], protocol.LayerRange{From: l, To: l + 1}})
	}
	return outcome{routes: [][]Hop{route}, cost: cost + p.extra, bound: min(cost, max(bound, 0)) + p.extra, divisor: 1}
}
