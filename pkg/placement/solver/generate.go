// SPDX-License-Identifier: MIT

package solver

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Generate makes an instance as a community swarm would: machines in a few places, slow links between places and asymmetric ones to each
// machine, speeds over a twentyfold range, and so little memory that at least 60 % of the devices (with fewer layers than devices: as many
// as 60 % of the layers) are needed. The model is like one of 70 billion parameters in four bits. Equal arguments give equal instances; the
// benchmarks of docs/placement.md use seeds 1 to 100.
func Generate(devices, layers int, seed uint64) *Instance {
	r := rand.New(rand.NewPCG(seed, uint64(devices)<<32|uint64(layers)))
	in := &Instance{Objective: Latency, Patent: UsualPatent, Load: Load{Prompt: 256, Output: 256, Context: 2048, Sessions: 1, Streams: 4}}
	for range layers {
		in.Model.Layers = append(in.Model.Layers, Layer{Bytes: 500e6, FLOPs: 17e8, KV: 4096})
	}
	in.Model.Embedding, in.Model.Head, in.Model.Hidden = 600e6, Layer{Bytes: 860e6}, 4*8192
	capacity := capacities(r, devices, layers)
	for i := range devices {
		decode := 10e9 * math.Pow(20, r.Float64())
		room := int64(float64(in.need(min(1, layers-1))) * (float64(capacity[i]) + 0.5))
		if i < 2 || r.IntN(3) == 0 {
			room += 860e6 // some have room for an end of the model beside their layers
		}
		in.Devices = append(in.Devices, Device{
			Name: fmt.Sprintf("m%04d", i), Memory: room, Decode: decode, Prefill: decode * (20 + 60*r.Float64()), Overhead: 250 * time.Microsecond,
		})
	}
	in.Links = generateLinks(r, devices)
	return in
}

// capacities draws how many layers each device holds, again and again until there is enough, and no more than is asked for.
func capacities(r *rand.Rand, devices, layers int) []int {
	for {
		held := make([]int, devices)
		mean := max(1, float64(layers)/(0.75*float64(devices)))
		sum := 0
		for i := range held {
			held[i] = max(1, int(math.Round(mean*(0.5+r.Float64()))))
			sum += held[i]
		}
		most := slices.Clone(held)
		slices.SortFunc(most, func(a, b int) int { return b - a })
		needed, have := 0, 0
		for have < layers && needed < devices {
			have += most[needed]
			needed++
		}
		if sum >= layers+layers/10 && 10*needed >= 6*min(devices, layers) || devices == 1 {
			return held
		}
	}
}

// generateLinks puts machines in three to six places of a square that light in glass crosses in 60 ms.
func generateLinks(r *rand.Rand, devices int) [][]Link {
	type point struct{ x, y float64 }
	places := make([]point, 3+r.IntN(4))
	for i := range places {
		places[i] = point{r.Float64(), r.Float64()}
	}
	at := make([]point, devices+1)
	up, down := make([]float64, devices+1), make([]float64, devices+1)
	for i := range at {
		p := places[r.IntN(len(places))]
		at[i] = point{p.x + 0.02*r.NormFloat64(), p.y + 0.02*r.NormFloat64()}
		down[i] = 6e6 * math.Pow(20, r.Float64())
		up[i] = down[i] / (1 + 4*r.Float64())
	}
	links := make([][]Link, devices+1)
	for i := range links {
		links[i] = make([]Link, devices+1)
		for j := range links[i] {
			away := math.Hypot(at[i].x-at[j].x, at[i].y-at[j].y)
			latency := (0.0002 + 0.06*away) * (1 + 0.3*r.Float64())
			links[i][j] = Link{Latency: duration(latency), Bandwidth: min(up[i], down[j])}
			if away > 0.1 {
				links[i][j].Jitter = duration(0.05 * latency * r.Float64())
				links[i][j].Loss = 0.002 * r.Float64()
			}
		}
	}
	return links
}
