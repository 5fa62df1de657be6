// SPDX-License-Identifier: MIT

package solver

import (
	"cmp"
	"math"
	"slices"
)

// compiled is an instance in integers, devices ordered by name.
type compiled struct {
	in      *Instance
	devices []int   // [n]: the instance's number of each device
	scale   float64 // units a second
	ring    *ring
	busy    [][]int64 // [n][n]: how long a token occupies the link, of objective Throughput
}

// stepSeconds is what a layer of one decoded token costs on a device, its share of the prompt included. The cache is read as it is
// when half of the output is there.
func (in *Instance) stepSeconds(d *Device, l int) float64 {
	return in.decodeSeconds(d, l) + in.promptSeconds(d, l)/float64(in.Load.Output)
}

// decodeSeconds is what a layer of one decoded token costs.
func (in *Instance) decodeSeconds(d *Device, l int) float64 {
	layer := &in.Model.Layers[l]
	positions := in.Load.Prompt + in.Load.Output/2
	bytes := layer.Bytes + layer.KV*int64(positions)
	if l == len(in.Model.Layers)-1 {
		bytes += in.Model.Head.Bytes
	}
	return float64(bytes) / d.Decode
}

// promptSeconds is what a layer of the whole prompt costs. The head computes its last row only, which counts as decoding.
func (in *Instance) promptSeconds(d *Device, l int) float64 {
	return float64(in.Model.Layers[l].FLOPs) * float64(in.Load.Prompt) / d.Prefill
}

// sizes returns the bytes that go from i to j for a decoded token, and for the prompt.
func (in *Instance) sizes(i, j int) (step, prompt float64) {
	home := len(in.Devices)
	switch {
	case i == home:
		return frame + token, frame + token*float64(in.Load.Prompt)
	case j == home:
		return frame + token, 0 // the first token comes behind the prompt, as every other does
	}
	return frame + float64(in.Model.Hidden), frame + float64(in.Model.Hidden)*float64(in.Load.Prompt)
}

// linkSeconds is what the way from i to j costs a token, its share of the prompt included.
func (in *Instance) linkSeconds(i, j int) float64 {
	l, back := &in.Links[i][j], &in.Links[j][i]
	step, prompt := in.sizes(i, j)
	t := l.delivery(back, step)
	if prompt > frame && in.Load.Prompt > 0 {
		t += l.delivery(back, prompt) / float64(in.Load.Output)
	}
	return t
}

// busySeconds is how long a token and its share of the prompt occupy the link from i to j.
func (in *Instance) busySeconds(i, j int) float64 {
	step, prompt := in.sizes(i, j)
	return in.Links[i][j].transfer(step) + in.Links[i][j].transfer(prompt)/float64(in.Load.Output)
}

// compile turns an instance into a ring.
func compile(in *Instance) *compiled {
	c := &compiled{in: in, devices: make([]int, len(in.Devices))}
	for i := range c.devices {
		c.devices[i] = i
	}
	slices.SortFunc(c.devices, func(a, b int) int { return cmp.Compare(in.Devices[a].Name, in.Devices[b].Name) })
	n, model := len(c.devices), len(in.Model.Layers)
	r := &ring{n: n, model: model, layers: model * in.replicas(), hops: min(n, model*in.replicas())}
	if in.MaxDevices > 0 {
		r.hops = min(r.hops, in.MaxDevices)
	}
	c.ring = r
	c.choose()
	for _, d := range c.devices {
		dev := &in.Devices[d]
		work := make([]int64, r.layers+1)
		for l := range r.layers {
			work[l+1] = work[l] + c.units(in.stepSeconds(dev, l%model))
		}
		r.work = append(r.work, work)
		r.enter = append(r.enter, c.units(dev.Overhead.Seconds()))
		r.last = append(r.last, c.reach(dev))
		r.pinned = append(r.pinned, dev.Pinned != nil)
	}
	for i := range n + 1 {
		row, busy := make([]int64, n+1), make([]int64, n+1)
		for j := range row {
			a, b := c.machine(i), c.machine(j)
			switch {
			case i == j && i == n: // a way has at least one hop
			case i == j:
				row[j] = inf
			case !in.allows(a, b):
				row[j] = inf
			default:
				row[j], busy[j] = c.units(in.linkSeconds(a, b)), c.units(in.busySeconds(a, b))
			}
		}
		r.link = append(r.link, row)
		c.busy = append(c.busy, busy)
	}
	return c
}

// machine is the instance's number of the ring's device i, or of the coordinator.
func (c *compiled) machine(i int) int {
	if i == len(c.devices) {
		return i
	}
	return c.devices[i]
}

// choose sets the scale: picoseconds, or the next power of ten of them with which the dearest way stays far below inf.
func (c *compiled) choose() {
	in := c.in
	var most float64
	for d := range in.Devices {
		sum := in.Devices[d].Overhead.Seconds() * float64(c.ring.layers)
		for l := range in.Model.Layers {
			sum += in.stepSeconds(&in.Devices[d], l) * float64(in.replicas())
		}
		most = max(most, sum)
	}
	var way float64
	for i := range in.Links {
		for j := range in.Links {
			if i != j && in.allows(i, j) {
				way = max(way, in.linkSeconds(i, j))
			}
		}
	}
	most += 2 * way * float64(c.ring.layers+1)
	c.scale = 1e12
	for most*c.scale > inf/4096 {
		c.scale /= 10
	}
}

func (c *compiled) units(seconds float64) int64 { return int64(math.Round(float64(seconds * c.scale))) }

// reach returns where a device's ranges may end, by where they begin.
func (c *compiled) reach(d *Device) []int {
	in, r := c.in, c.ring
	last := make([]int, r.layers)
	var free int64
	end := 0
	for a := range last {
		// From a to end there is room for; free is what is left of the memory.
		if end <= a {
			end, free = a, d.Memory
		}
		for end < r.layers && (end == a || end%r.model != 0) && in.need(end%r.model) <= free {
			free -= in.need(end % r.model)
			end++
		}
		last[a] = end
		if end > a {
			free += in.need(a % r.model)
		}
	}
	if d.Pinned != nil {
		return pinnedReach(last, d, r.model)
	}
	if in.replicas() > 1 {
		return last
	}
	// What others are pinned to is theirs.
	for i := range in.Devices {
		if p := in.Devices[i].Pinned; p != nil {
			for a := range last {
				switch {
				case a >= p.From && a < p.To:
					last[a] = a
				case a < p.From:
					last[a] = min(last[a], p.From)
				}
			}
		}
	}
	return last
}

// pinnedReach leaves a pinned device its one range in each copy, if it fits.
func pinnedReach(last []int, d *Device, model int) []int {
	for a := range last {
		from := a % model
		if from == d.Pinned.From && last[a] >= a+d.Pinned.Len() {
			last[a] = a + d.Pinned.Len()
		} else {
			last[a] = a
		}
	}
	return last
}
