// SPDX-License-Identifier: MIT

package solver

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shardnode/shardnode/pkg/protocol"
)

// TestAgainstBruteForce compares Solve with an enumeration of every plan, on 2,000 instances and more of each objective that have a plan;
// with SHARDNODE_EXHAUSTIVE set (make placement) on 10,000 and more.
func TestAgainstBruteForce(t *testing.T) {
	if testing.Short() {
		t.Skip("it only computes")
	}
	for _, o := range Objectives {
		t.Run(string(o), func(t *testing.T) {
			t.Parallel()
			found, each, want := 0, 32, 2000
			if exhaustive() {
				each, want = 160, 10000
			}
			rapid.Check(t, func(t *rapid.T) {
				r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
				for range each {
					if compareWithBruteForce(t, randomInstance(r, o, 4, 6)) {
						found++
					}
				}
			})
			if found < want {
				t.Errorf("only %d of %d instances had a plan, want %d", found, 100*each, want)
			}
		})
	}
}

// exhaustive reports whether tests are to take minutes.
func exhaustive() bool { return os.Getenv("SHARDNODE_EXHAUSTIVE") != "" }

func compareWithBruteForce(t *rapid.T, in *Instance) bool {
	want, ok := bruteForce(in)
	plan, err := Solve(t.Context(), in, Options{})
	if !ok {
		var no *InfeasibleError
		if !errors.As(err, &no) {
			t.Fatalf("no plan exists, got %v, %v of %+v", plan, err, in)
		}
		return false
	}
	if err != nil {
		t.Fatalf("%v, but there is a plan of cost %v: %+v", err, want, in)
	}
	if !plan.Optimal || plan.Bound > plan.Cost {
		t.Fatalf("not proven: %+v", plan)
	}
	// The enumeration adds floating point numbers; costs are whole picoseconds.
	if math.Abs(plan.Cost-want) > 1e-9*want+1e-10 {
		t.Fatalf("cost %v, brute force %v\nplan %+v\nof %+v", plan.Cost, want, plan, in)
	}
	if got := price(in, plan.Routes); math.Abs(got-want) > 1e-9*want+1e-10 {
		t.Fatalf("the plan is said to cost %v and costs %v: %+v", plan.Cost, got, plan)
	}
	return true
}

// randomInstance makes an instance of up to so many devices and layers.
func randomInstance(r *rand.Rand, o Objective, devices, most int) *Instance {
	n, layers := 1+r.IntN(devices), 1+r.IntN(most)
	in := &Instance{Objective: o, Patent: UsualPatent}
	in.Load = Load{Prompt: r.IntN(3) * 100, Output: 1 + r.IntN(200), Sessions: 1 + r.IntN(2), Streams: 1 + r.IntN(5)}
	in.Load.Context = in.Load.Prompt + in.Load.Output
	even := r.IntN(2) == 0
	for l := range layers {
		layer := Layer{Bytes: 1e8, FLOPs: 2e8, KV: 1000}
		if !even {
			layer = Layer{Bytes: int64(1+r.IntN(3)) * 5e7, FLOPs: int64(1+r.IntN(3)) * 1e8, KV: int64(r.IntN(3)) * 1000}
		}
		if l > 0 && r.IntN(4) == 0 {
			layer = in.Model.Layers[l-1]
		}
		in.Model.Layers = append(in.Model.Layers, layer)
	}
	in.Model.Hidden = int64(1+r.IntN(4)) * 8192
	if r.IntN(2) == 0 {
		in.Model.Embedding, in.Model.Head = 5e7, Layer{Bytes: 5e7, FLOPs: 1e8}
	}
	if o != Patented && r.IntN(4) == 0 {
		in.Replicas = 2
		in.Model.Layers = in.Model.Layers[:min(layers, most/2)]
	}
	if r.IntN(4) == 0 {
		in.MaxDevices = 1 + r.IntN(n)
	}
	layers = len(in.Model.Layers)
	for i := range n {
		d := Device{
			Name: fmt.Sprintf("d%d", (i*5)%8), Memory: int64(2+r.IntN(3*layers)) * 8e7, Decode: float64(1+r.IntN(8)) * 1e9,
			Prefill: float64(1+r.IntN(8)) * 1e10, Overhead: time.Duration(r.IntN(3)) * 250 * time.Microsecond,
		}
		if r.IntN(16) == 0 {
			from := r.IntN(layers)
			d.Pinned = &protocol.LayerRange{From: from, To: from + 1 + r.IntN(layers-from)}
		}
		in.Devices = append(in.Devices, d)
	}
	for range n + 1 {
		row := make([]Link, n+1)
		for j := range row {
			row[j] = Link{
				Latency: time.Duration(r.IntN(5)) * 7 * time.Millisecond, Jitter: time.Duration(r.IntN(3)) * time.Millisecond,
				Loss: []float64{0, 0, 0.001, 0.02}[r.IntN(4)], Bandwidth: []float64{0, 1e6, 1e7}[r.IntN(3)], None: r.IntN(30) == 0,
			}
		}
		in.Links = append(in.Links, row)
	}
	if n > 1 && r.IntN(4) == 0 {
		in.Forbidden = append(in.Forbidden, [2]int{r.IntN(n), n})
	}
	return in
}

// bruteForce prices every plan.
func bruteForce(in *Instance) (float64, bool) {
	best, ok := math.Inf(1), false
	each(in, func(routes [][]Hop) {
		if v := price(in, routes); v < best {
			best, ok = v, true
		}
	})
	return best, ok
}

// each calls f with every choice of routes: ranges for all objectives but the patent's, else a device for each layer.
func each(in *Instance, f func([][]Hop)) {
	copies, layers := in.replicas(), len(in.Model.Layers)
	used := make([]bool, len(in.Devices))
	routes := make([][]Hop, copies)
	var extend func(k, at int)
	extend = func(k, at int) {
		if at == layers {
			if k, at = k+1, 0; k == copies {
				f(routes)
				return
			}
		}
		for i := range in.Devices {
			if in.Objective == Patented {
				before := routes[0]
				if n := len(before); n > 0 && before[n-1].Device == i {
					routes[0] = append(slices.Clone(before[:n-1]), Hop{i, protocol.LayerRange{From: before[n-1].Layers.From, To: at + 1}})
				} else {
					routes[0] = append(slices.Clone(before), Hop{i, protocol.LayerRange{From: at, To: at + 1}})
				}
				extend(0, at+1)
				routes[0] = before
				continue
			}
			if used[i] {
				continue
			}
			used[i] = true
			for to := at + 1; to <= layers; to++ {
				routes[k] = append(routes[k], Hop{i, protocol.LayerRange{From: at, To: to}})
				extend(k, to)
				routes[k] = routes[k][:len(routes[k])-1]
			}
			used[i] = false
		}
	}
	extend(0, 0)
}

// price is what routes cost by docs/placement.md, infinite if they break a constraint.
func price(in *Instance, routes [][]Hop) float64 {
	home := len(in.Devices)
	never := math.Inf(1)
	memory := make([]int64, home)
	hops := make([]int, home)
	var total, stage, own float64
	patent := in.Patent.Complexity * float64(len(in.Model.Layers))
	for _, route := range routes {
		prev := home
		for _, h := range route {
			d := &in.Devices[h.Device]
			if !in.allows(prev, h.Device) && (in.Objective != Patented || prev != home) {
				return never
			}
			work := d.Overhead.Seconds()
			for l := h.Layers.From; l < h.Layers.To; l++ {
				memory[h.Device] += in.need(l)
				work += in.stepSeconds(d, l)
				patent += float64(in.Model.Layers[l].FLOPs) / d.Prefill
				if in.Objective == Patented && l == 0 && h.Device != 0 {
					return never
				}
			}
			hops[h.Device]++
			total += work + in.linkSeconds(prev, h.Device)
			own = max(own, work)
			stage = max(stage, in.busySeconds(prev, h.Device))
			if prev != home {
				l := &in.Links[prev][h.Device]
				t := 0.0
				if l.Bandwidth > 0 {
					t = float64(in.Model.Hidden) / (in.Patent.Efficiency * l.Bandwidth)
				}
				patent += l.Latency.Seconds() + t
				patent += in.Patent.Jitter*l.Jitter.Seconds() + in.Patent.Transfer*t*l.Loss + in.Patent.Loss*l.Loss*l.Loss
			}
			prev = h.Device
		}
		if !in.allows(prev, home) && in.Objective != Patented {
			return never
		}
		total += in.linkSeconds(prev, home)
		stage = max(stage, in.busySeconds(prev, home))
	}
	devices := 0
	for i := range in.Devices {
		d := &in.Devices[i]
		if hops[i] > 0 {
			devices++
		}
		if memory[i] > d.Memory || !keepsToPin(in, i, routes) {
			return never
		}
	}
	if in.MaxDevices > 0 && devices > in.MaxDevices {
		return never
	}
	k, copies := float64(in.Load.Streams), float64(len(routes))
	switch in.Objective {
	case Throughput:
		return max(total/k, max(stage, own)) / copies
	case Balanced:
		return own
	case Patented:
		return patent
	}
	return total / copies
}

// keepsToPin reports whether a pinned device has its layers, and with one copy nobody else has them.
func keepsToPin(in *Instance, i int, routes [][]Hop) bool {
	p := in.Devices[i].Pinned
	if p == nil {
		return true
	}
	n := 0
	for _, route := range routes {
		for _, h := range route {
			if h.Device == i {
				n += h.Layers.Len()
				if h.Layers.From < p.From || h.Layers.To > p.To {
					return false
				}
			}
		}
	}
	return n == p.Len()
}
