// SPDX-License-Identifier: MIT

package solver

import (
	"math"
	"slices"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// prefillChunk is how many prompt rows the coordinator sends at once.
const prefillChunk = 64

// Prediction is what the model of docs/placement.md says of one route, whatever the plan was made for.
type Prediction struct {
	Token           float64 // seconds a token, of decoding alone
	FirstToken      float64 // seconds from the prompt to the first token
	TokensPerSecond float64 // of all streams of the load together, if all took this route
	Hops            []HopTime
	Return          float64 // seconds from the last hop to the coordinator, part of Token
}

// HopTime is a hop's part of a token.
type HopTime struct {
	Compute float64 // seconds
	Link    float64 // seconds to come here
	Memory  int64   // bytes of weights and KV caches
}

// Predict returns what a route gives.
func Predict(in *Instance, route []Hop) Prediction {
	var p Prediction
	var compute, slowest, longest float64 // seconds of a chunk in all hops, and in the slowest; the longest stage of a token
	prev, home := len(in.Devices), len(in.Devices)
	prompt := float64(in.Load.Prompt)
	chunks := max(1, float64((in.Load.Prompt+prefillChunk-1)/prefillChunk))
	rows := min(prompt, prefillChunk)
	for _, h := range route {
		d := &in.Devices[h.Device]
		t := HopTime{Compute: d.Overhead.Seconds()}
		stage, chunk := d.Overhead.Seconds(), d.Overhead.Seconds()
		for l := h.Layers.From; l < h.Layers.To; l++ {
			t.Compute += in.decodeSeconds(d, l)
			stage += in.stepSeconds(d, l)
			chunk += in.promptSeconds(d, l) / chunks
			t.Memory += in.need(l)
		}
		step, _ := in.sizes(prev, h.Device)
		link, back := &in.Links[prev][h.Device], &in.Links[h.Device][prev]
		t.Link = link.delivery(back, step)
		bytes := frame + rows*token
		if prev != home {
			bytes = frame + rows*float64(in.Model.Hidden)
		}
		compute += chunk + link.delivery(back, bytes)
		slowest = max(slowest, chunk, link.transfer(bytes))
		longest = max(longest, stage, in.busySeconds(prev, h.Device))
		p.Token += t.Compute + t.Link
		p.Hops = append(p.Hops, t)
		prev = h.Device
	}
	step, _ := in.sizes(prev, home)
	p.Return = in.Links[prev][home].delivery(&in.Links[home][prev], step)
	p.Token += p.Return
	if in.Load.Prompt == 0 {
		p.FirstToken = p.Token
	} else {
		p.FirstToken = compute + (chunks-1)*slowest + p.Return
	}
	k, out := float64(in.Load.Streams), float64(in.Load.Output)
	p.TokensPerSecond = 1 / max((p.Token+p.FirstToken/out)/k, longest)
	return p
}

// Allowed says why routes are not a plan for the instance; "" if they are one.
func Allowed(in *Instance, routes [][]Hop) string {
	memory := map[int]int64{}
	for _, route := range routes {
		at, prev := 0, len(in.Devices)
		for _, h := range route {
			d := &in.Devices[h.Device]
			if h.Layers.From != at {
				return "layers are not tiled in order"
			}
			if in.Objective != Patented || prev != len(in.Devices) {
				if !in.allows(prev, h.Device) {
					return "no link to " + d.Name
				}
			}
			for l := h.Layers.From; l < h.Layers.To; l++ {
				memory[h.Device] += in.need(l)
			}
			if memory[h.Device] > d.Memory {
				return "it does not fit " + d.Name
			}
			at, prev = h.Layers.To, h.Device
		}
		if at != len(in.Model.Layers) {
			return "layers are missing"
		}
	}
	return ""
}

// Even is the plan that everybody makes first: all devices, in the order of the inventory, with as many layers each.
func Even(in *Instance) []Hop { return inProportion(in, func(*Device) float64 { return 1 }) }

// ByMemory gives layers in proportion to memory, as exo and llama.cpp do.
func ByMemory(in *Instance) []Hop {
	return inProportion(in, func(d *Device) float64 { return float64(d.Memory) })
}

// BySpeed gives layers in proportion to FLOP/s.
func BySpeed(in *Instance) []Hop {
	return inProportion(in, func(d *Device) float64 { return d.Prefill })
}

// inProportion cuts the layers by weight, and leaves out who would get less than half a layer. Where memory is in the way, what does not
// fit goes on to the next device.
func inProportion(in *Instance, weight func(*Device) float64) []Hop {
	layers := len(in.Model.Layers)
	var sum, part float64
	for i := range in.Devices {
		sum += weight(&in.Devices[i])
	}
	var route []Hop
	at := 0
	for i := range in.Devices {
		part += weight(&in.Devices[i])
		to := int(float64(layers)*part/sum + 0.5)
		if i == len(in.Devices)-1 {
			to = layers
		}
		free, end := in.Devices[i].Memory, at
		for end < to && in.need(end) <= free {
			free -= in.need(end)
			end++
		}
		if end > at {
			route = append(route, Hop{i, protocol.LayerRange{From: at, To: end}})
			at = end
		}
	}
	if at < layers {
		return nil
	}
	return route
}

// Without returns the instance without a device.
func (in *Instance) Without(device int) *Instance {
	v := *in
	v.Devices = slices.Delete(slices.Clone(in.Devices), device, device+1)
	v.Links = slices.Delete(slices.Clone(in.Links), device, device+1)
	for i := range v.Links {
		v.Links[i] = slices.Delete(slices.Clone(v.Links[i]), device, device+1)
	}
	v.Forbidden = nil
	for _, f := range in.Forbidden {
		if f[0] == device || f[1] == device {
			continue
		}
		for k := range f {
			if f[k] > device {
				f[k]--
			}
		}
		v.Forbidden = append(v.Forbidden, f)
	}
	return &v
}

// WithMemory returns the instance with so many bytes more on a device.
func (in *Instance) WithMemory(device int, bytes int64) *Instance {
	v := *in
	v.Devices = slices.Clone(in.Devices)
	v.Devices[device].Memory += bytes
	return &v
}

// Need returns the bytes that a range of layers takes of a device.
func (in *Instance) Need(r protocol.LayerRange) int64 {
	var sum int64
	for l := r.From; l < r.To; l++ {
		sum += in.need(l)
	}
	return sum
}

// Cost is what routes cost by the instance's objective, infinite if they break a constraint that costs know of: links and memory.
func Cost(in *Instance, routes [][]Hop) float64 {
	if Allowed(in, routes) != "" {
		return math.Inf(1)
	}
	var total, stage, own float64
	patent := in.Patent.Complexity * float64(len(in.Model.Layers))
	home := len(in.Devices)
	for _, route := range routes {
		prev := home
		for _, h := range route {
			d := &in.Devices[h.Device]
			work := d.Overhead.Seconds()
			for l := h.Layers.From; l < h.Layers.To; l++ {
				work += in.stepSeconds(d, l)
				patent += in.patentLayer(d, l)
			}
			if prev != home {
				patent += in.patentLink(prev, h.Device)
			}
			total += work + in.linkSeconds(prev, h.Device)
			own = max(own, work)
			stage = max(stage, in.busySeconds(prev, h.Device))
			prev = h.Device
		}
		total += in.linkSeconds(prev, home)
		stage = max(stage, in.busySeconds(prev, home))
	}
	copies := float64(len(routes))
	switch in.Objective {
	case Throughput:
		return max(total/float64(in.Load.Streams), stage, own) / copies
	case Balanced:
		return own
	case Patented:
		return patent
	case Latency:
	}
	return total / copies
}
